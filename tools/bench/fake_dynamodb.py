"""DynamoDB on loopback: a process of its own that gives the same responses over and over, each after a set delay."""

import argparse
import asyncio
import json
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from tools.bench import responses
from tools.local.environment import HOST, ROOT
from tools.local.failure import Failure

# About what DynamoDB takes for one item, seen from a function in its region.
DELAY_SECONDS = 0.004

_STOP_SECONDS = 10
# Of a line that sets the responses.
_MAX_BYTES = 16 * 2**20

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_OPERATION = re.compile(rb"\r\nx-amz-target: *DynamoDB_20120810\.(\w+)", re.IGNORECASE)


class Counts(NamedTuple):
    """What it has served since it started: *errors* are requests that it could not read, had no answer to or lost."""

    requests: int
    errors: int
    connections: int
    cpu_seconds: float


class StandIn:
    """A running stand-in; functions find it by `AWS_ENDPOINT_URL_DYNAMODB`, which is to be *url*."""

    def __init__(self, url: str, questions: IO[str], replies: IO[str]) -> None:
        """Talks to the process by its standard input and output, a line each."""
        self.url = url
        self._questions = questions
        self._replies = replies

    def response(self, contents: Mapping[str, bytes]) -> None:
        """From now on, *contents* are the responses by operation, as in `bench.responses`; all others are refused."""
        self._ask(json.dumps({operation: content.decode() for operation, content in contents.items()}))

    def counts(self) -> Counts:
        """What it has served so far."""
        return self._ask("")

    def _ask(self, line: str) -> Counts:
        self._questions.write(f"{line}\n")
        self._questions.flush()
        return Counts(**json.loads(self._replies.readline()))


@contextmanager
def running(
    contents: Mapping[str, bytes] | None = None,
    *,
    delay: float = DELAY_SECONDS,
    certificate: Path | None = None,
    key: Path | None = None,
) -> Iterator[StandIn]:
    """A stand-in for as long as the block lasts, or this process; over TLS where it gets a *certificate* and its *key*.

    It gives *contents* after *delay* seconds; without, `responses.of_conversations()`. Raises `Failure`.
    """
    command = [sys.executable, "-m", "bench.fake_dynamodb", "--delay", str(delay)]
    if certificate and key:
        command += ["--certificate", str(certificate), "--key", str(key)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Ctrl-C reaches this program alone; the other one ends with its standard input.
        start_new_session=True,
    )
    try:
        assert process.stdin is not None  # noqa: S101 - for the types
        assert process.stdout is not None  # noqa: S101 - likewise
        url = process.stdout.readline().strip()
        if not url:
            raise Failure("The stand-in for DynamoDB did not start; the lines above say why.")
        fake_dynamodb = StandIn(url, process.stdin, process.stdout)
        if contents is not None:
            fake_dynamodb.response(contents)
        yield fake_dynamodb
        process.stdin.close()
        process.wait(_STOP_SECONDS)
    finally:
        process.kill()
        process.wait()


class _Service:
    """What all connections share."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.requests = self.errors = self.connections = 0
        self.responses: dict[bytes, bytes] = {}
        self.error_response = _response(
            b"400 Bad Request", b'{"__type":"com.amazon.coral.service#UnknownOperationException"}'
        )

    def set_answers(self, contents: Mapping[str, bytes]) -> None:
        self.responses = {operation.encode(): _response(b"200 OK", content) for operation, content in contents.items()}

    def counts(self) -> Counts:
        return Counts(self.requests, self.errors, self.connections, time.process_time())


def _response(status: bytes, content: bytes) -> bytes:
    head = "".join(f"{name}: {value}\r\n" for name, value in responses.headers(content).items())
    return b"HTTP/1.1 " + status + b"\r\n" + head.encode() + b"\r\n" + content


class _Connection(asyncio.Protocol):
    """One kept-alive connection. It reads no more of HTTP than botocore writes: that leaves the processor to others."""

    def __init__(self, service: _Service) -> None:
        self._service = service
        self._received = b""
        self._transport: asyncio.Transport
        self._pending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the types
        self._transport = transport
        self._service.connections += 1

    def connection_lost(self, _error: Exception | None) -> None:
        if self._pending or self._received:
            self._service.errors += 1
        if self._pending:
            self._pending.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        end_of_head = self._received.find(_END_OF_HEAD)
        if end_of_head < 0:
            return
        head = self._received[:end_of_head]
        length = _LENGTH.search(head)
        end = end_of_head + len(_END_OF_HEAD) + (int(length[1]) if length else 0)
        if len(self._received) < end:
            return
        self._received = self._received[end:]
        self._service.requests += 1
        operation = _OPERATION.search(head)
        response = self._service.responses.get(operation[1]) if operation else None
        if response is None:
            self._service.errors += 1
            response = self._service.error_response
        self._pending = asyncio.get_running_loop().call_later(self._service.delay, self._answer, response)

    def _answer(self, response: bytes) -> None:
        self._pending = None
        self._transport.write(response)


async def _serve(delay: float, tls: ssl.SSLContext | None) -> None:
    service = _Service(delay)
    service.set_answers(responses.of_conversations())
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(service), HOST, 0, ssl=tls, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    print(f"{'https' if tls else 'http'}://{HOST}:{port}", flush=True)
    lines = asyncio.StreamReader(_MAX_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        if line.strip():
            service.set_answers({operation: content.encode() for operation, content in json.loads(line).items()})
        print(json.dumps(service.counts()._asdict()), flush=True)


def main() -> None:
    """Prints the URL and serves until standard input ends.

    Each line of it is answered with the counts; one that is not empty, JSON, first sets the responses by operation.
    """
    parser = argparse.ArgumentParser(prog="python -m tools.bench.fake_dynamodb", description=__doc__)
    parser.add_argument("--delay", type=float, default=DELAY_SECONDS, metavar="SECONDS")
    parser.add_argument("--certificate", type=Path, help="serves TLS")
    parser.add_argument("--key", type=Path, help="of the certificate")
    options = parser.parse_args()
    tls = None
    if options.certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.certificate, options.key)
    asyncio.run(_serve(options.delay, tls))


if __name__ == "__main__":
    main()
