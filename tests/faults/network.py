"""The network between functions and AWS, which is moto over HTTP: each request may meet a fault on its way."""

import hashlib
import json
import os
import random
import select
import signal
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple

import boto3
from botocore import xform_name
from botocore.exceptions import ClientError

from tests.server import listening

_NAMES = {"DynamoDB_20120810": "dynamodb", "AmazonSQS": "sqs"}
_WRITES = {"DeleteItem", "PutItem", "TransactWriteItems", "UpdateItem"}
_BATCHES = {"BatchGetItem", "BatchWriteItem"}
# Within the functions' read timeout of 2 s, for an answer and for each byte of one.
SLOW_SECONDS = 1.5
_BYTE_SECONDS = 0.5
_MOST_SECONDS = 60
# Takes all the time there is, so that none is left for another attempt.
BYTE_BY_BYTE = "answer byte by byte"
KILLED_AT_RANDOM = "killed at some moment after it was sent"


class Response(NamedTuple):
    """What AWS says to a request."""

    status: int
    content: bytes


class Exchange(BaseHTTPRequestHandler):
    """One connection of a function, and the request on it that is under way."""

    protocol_version = "HTTP/1.1"
    network: "Network"
    operation: str

    def do_POST(self) -> None:
        """Carries the request to AWS and the answer back, unless there is a fault."""
        service, _, self.operation = self.headers["X-Amz-Target"].partition(".")
        self.environment = int(self.headers["X-Environment"])
        self._service = _NAMES[service]
        self.request_body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fault = self.network.route(self.environment).next_fault(self.operation)
        # A function that has been killed, or has given up, does not wait for its answer.
        with suppress(ConnectionError):
            fault(self)

    def carry_out(self) -> Response:
        """What AWS says, once it has done what it is asked to."""
        return self.network.carry_out(self._service, self.operation, self.request_body)

    def respond(self, response: Response) -> None:
        """Brings all of it."""
        self._begin(response)
        self.wfile.write(response.content)

    def refuse(self, status: int, code: str, headers: dict[str, str] | None = None, **more: object) -> None:
        """Answers with an error as DynamoDB has it."""
        body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "table conversations of kevin", **more}
        self._begin(response := Response(status, json.dumps(body).encode()), headers)
        self.wfile.write(response.content)

    def answer_in_part(self, response: Response) -> None:
        """Brings half of it, and then closes the connection."""
        self._begin(response)
        self.wfile.write(response.content[: len(response.content) // 2])
        self.close_connection = True

    def answer_by_bytes(self, response: Response) -> None:
        """Brings one byte after the other, for a minute, or until nobody waits any more."""
        self._begin(response)
        until = time.monotonic() + _MOST_SECONDS
        for byte in response.content:
            self.wfile.write(bytes([byte]))
            if self.is_given_up(_BYTE_SECONDS) or time.monotonic() > until:
                break
        self.close_connection = True

    def reset(self) -> None:
        """Ends the connection at once, without the usual farewell."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
        self.close_connection = True

    def is_given_up(self, seconds: float) -> bool:
        """Whether the function closes the connection within so many *seconds*."""
        readable, _, _ = select.select([self.connection], [], [], seconds)
        return bool(readable)

    def never_answer(self) -> None:
        """Says nothing until the function gives up."""
        self.is_given_up(_MOST_SECONDS)
        self.close_connection = True

    def kill(self) -> None:
        """Has the function's environment end here and now."""
        with suppress(ProcessLookupError):
            os.kill(self.environment, signal.SIGKILL)
        self.close_connection = True

    def _begin(self, response: Response, headers: dict[str, str] | None = None) -> None:
        self.send_response(response.status)
        given = {"Content-Type": "application/x-amz-json-1.0", "Content-Length": str(len(response.content))}
        if self._service == "dynamodb":
            given["x-amz-crc32"] = str(zlib.crc32(response.content))
        for name, value in (given | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


Fault = Callable[[Exchange], None]


def carry(exchange: Exchange) -> None:
    """No fault."""
    exchange.respond(exchange.carry_out())


@dataclass
class Route:
    """What the requests of one environment meet, and which there were, since the fault was set."""

    fault: Fault = carry
    # The first request that meets it, counted from 1, and whether the later ones do as well.
    at: int = 1
    is_lasting: bool = True
    requests: list[str] = field(default_factory=list)
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def next_fault(self, operation: str) -> Fault:
        """What the next request meets."""
        with self._one_at_a_time:
            self.requests.append(operation)
            number = len(self.requests)
        return self.fault if number == self.at or (self.is_lasting and number > self.at) else carry


class Network:
    """All connections, and AWS at their end. What AWS does, it does one after the other."""

    def __init__(self) -> None:
        """Carries everything."""
        self.url = ""
        # Held by whoever looks at the tables or changes them: moto knows no threads.
        self.aws = threading.RLock()
        self._dynamodb: Any = boto3.client("dynamodb")
        # What was put into the queue.
        self.dead_letters: list[str] = []
        self._routes: dict[int, Route] = {}
        self._done: dict[str, Response] = {}

    def route(self, environment: int) -> Route:
        """That of the environment with this process id."""
        return self._routes.setdefault(environment, Route())

    def set(self, environment: int, fault: Fault = carry, at: int = 1, *, is_lasting: bool = True) -> Route:
        """Has the environment meet *fault* from now on."""
        self._routes[environment] = Route(fault, at, is_lasting)
        return self._routes[environment]

    def carry_out(self, service: str, operation: str, request: dict[str, Any]) -> Response:
        """What AWS says. As in DynamoDB, a transaction that comes again with the same token is not done again."""
        token = request.get("ClientRequestToken")
        with self.aws:
            if token in self._done:
                return self._done[token]
            if service == "sqs":
                return self._keep(request["MessageBody"])
            try:
                done = getattr(self._dynamodb, xform_name(operation))(**request)
            except ClientError as error:
                error_response: dict[str, Any] = {**error.response}
                code = f"com.amazonaws.dynamodb.v20120810#{error_response['Error']['Code']}"
                return _answer(400, error_response | {"__type": code, "message": error_response["Error"]["Message"]})
            response = _answer(200, done)
            if token is not None:
                self._done[token] = response
            return response

    def _keep(self, dead_letter: str) -> Response:
        """As SQS does."""
        self.dead_letters.append(dead_letter)
        digest = hashlib.md5(dead_letter.encode(), usedforsecurity=False).hexdigest()
        return _answer(200, {"MessageId": str(len(self.dead_letters)), "MD5OfMessageBody": digest})


def _answer(status: int, body: dict[str, Any]) -> Response:
    kept = {name: value for name, value in body.items() if name not in ("ResponseMetadata", "Error")}
    return Response(status, json.dumps(kept).encode())


@contextmanager
def connected() -> Iterator[Network]:
    """A network, for as long as the block lasts. moto has to be at work."""
    network = Network()
    handler = type("_Exchange", (Exchange,), {"network": network})
    with listening(handler) as url:
        network.url = url
        yield network


# What may happen to a request. Each says whether AWS does what it is asked for.


def _throttle(exchange: Exchange) -> None:
    exchange.refuse(400, "ProvisionedThroughputExceededException")


def _throttle_for_long(exchange: Exchange) -> None:
    exchange.refuse(400, "ThrottlingException", {"x-amz-retry-after": "60000"})


def _conflict(exchange: Exchange) -> None:
    if exchange.operation not in _WRITES:
        carry(exchange)
        return
    writes = exchange.request_body.get("TransactItems")
    if writes is None:
        exchange.refuse(400, "TransactionConflictException")
    else:
        reasons = [{"Code": "TransactionConflict", "Message": "because"}, *({"Code": "None"} for _ in writes[1:])]
        exchange.refuse(400, "TransactionCanceledException", CancellationReasons=reasons)


def _fail(exchange: Exchange) -> None:
    exchange.refuse(500, "InternalServerError")


def _be_unavailable(exchange: Exchange) -> None:
    exchange.respond(Response(503, b"<html>Service Unavailable</html>"))


def _reset(exchange: Exchange) -> None:
    exchange.reset()


def _never_answer(exchange: Exchange) -> None:
    exchange.never_answer()


def _tear(exchange: Exchange) -> None:
    exchange.answer_in_part(exchange.carry_out())


def _lose(exchange: Exchange) -> None:
    exchange.carry_out()
    exchange.reset()


def _lose_and_never_answer(exchange: Exchange) -> None:
    exchange.carry_out()
    exchange.never_answer()


def _be_slow(exchange: Exchange) -> None:
    response = exchange.carry_out()
    if not exchange.is_given_up(SLOW_SECONDS):
        exchange.respond(response)


def _answer_by_bytes(exchange: Exchange) -> None:
    exchange.answer_by_bytes(exchange.carry_out())


def _process_nothing(exchange: Exchange) -> None:
    if exchange.operation not in _BATCHES:
        carry(exchange)
        return
    requested = exchange.request_body["RequestItems"]
    if exchange.operation == "BatchGetItem":
        body: dict[str, Any] = {"Responses": {table: [] for table in requested}, "UnprocessedKeys": requested}
    else:
        body = {"UnprocessedItems": requested}
    exchange.respond(_answer(200, body))


def _kill_before(exchange: Exchange) -> None:
    exchange.kill()


def _kill_after(exchange: Exchange) -> None:
    exchange.carry_out()
    exchange.kill()


def _kill_soon(exchange: Exchange) -> None:
    # Somewhere within the few milliseconds that a call takes.
    threading.Timer(random.uniform(0, 0.03), exchange.kill).start()  # noqa: S311 - any moment will do
    carry(exchange)


FAULTS: dict[str, Fault] = {
    "throttled": _throttle,
    "throttled, and told to wait": _throttle_for_long,
    "500": _fail,
    "503 that is no JSON": _be_unavailable,
    "connection reset": _reset,
    "no answer": _never_answer,
    "torn answer": _tear,
    "done, answer lost": _lose,
    "done, no answer": _lose_and_never_answer,
    "slow answer": _be_slow,
    BYTE_BY_BYTE: _answer_by_bytes,
    "conflict": _conflict,
    "nothing of a batch done": _process_nothing,
    "killed before the request": _kill_before,
    "killed after it was done": _kill_after,
    KILLED_AT_RANDOM: _kill_soon,
}
_OF_DYNAMODB = {"throttled", "throttled, and told to wait"}


def faults_of(operation: str) -> list[str]:
    """Those that a request for *operation* can meet."""
    if operation == "SendMessage":
        return [name for name in FAULTS if name not in _OF_DYNAMODB | {"conflict", "nothing of a batch done"}]
    barred = {
        "conflict": operation not in _WRITES,
        "nothing of a batch done": operation not in _BATCHES,
    }
    return [name for name in FAULTS if not barred.get(name)]
