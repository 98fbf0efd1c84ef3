"""What a measured process runs: a function with its DynamoDB stubbed under botocore, called as often as it is told.

Its standard input begins with a line of JSON, the event and the answers of DynamoDB. Each line after it is an order:
`first`, to import the function and call it, a number of further calls, or `mark`. After calls it tells how they went
(`_tell`). It needs nothing of `bench`, and imports little before it imports what is measured.
"""

import importlib
import importlib.machinery
import json
import os
import sys
import time

# As typing has it, which baseline may well do without.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import TextIO

    from botocore.awsrequest import AWSPreparedRequest, AWSResponse


class Context:
    """What Lambda tells a function about its invocation."""

    function_name = "measured"
    function_version = "1"
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:measured"
    memory_limit_in_mb = 512
    aws_request_id = "5c1a2e7e-2c6a-4b0e-8f0b-0d7f3c1b9a51"
    log_group_name = "/aws/lambda/measured"
    log_stream_name = "2026/11/22/[1]5c1a2e7e2c6a4b0e"
    identity = None
    client_context = None

    def get_remaining_time_in_millis(self) -> int:
        """What the name says."""
        return 25_000


class Stub:
    """Replaces what sends botocore's requests, once that is imported; answers them, and remembers which they were."""

    def __init__(self, responses: dict[str, tuple[dict[str, str], bytes]]) -> None:
        """Headers and content of the answer to each operation."""
        self._answers = responses
        self.requests: list[str] = []
        sys.meta_path.insert(0, self)

    def find_spec(
        self, name: str, path: "Sequence[str] | None", _target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Finds `botocore.httpsession` as it would be found, and has it changed after its import."""
        if name != "botocore.httpsession":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_replace(module: "ModuleType") -> None:
            execute(module)
            module.URLLib3Session.send = lambda _session, request: self._answer(request)

        spec.loader.exec_module = execute_and_replace  # type: ignore[method-assign]
        return spec

    def _answer(self, request: "AWSPreparedRequest") -> "AWSResponse":
        target = request.headers["X-Amz-Target"]
        operation = (target.decode() if isinstance(target, bytes) else str(target)).rpartition(".")[2]
        self.requests.append(operation)
        headers, content = self._answers[operation]
        made = sys.modules["botocore.awsrequest"].AWSResponse
        # Of the kind that urllib3 makes.
        response: AWSResponse = made(
            request.url, 200, sys.modules["urllib3"].HTTPHeaderDict(headers), _Content(content)
        )
        return response


class _Content:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> list[bytes]:
        return [self._content]


def main() -> None:
    """Serves until its input ends."""
    told = os.fdopen(os.dup(1), "w")
    # What functions log.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    given = json.loads(sys.stdin.readline())
    responses = {name: (headers, content.encode()) for name, (headers, content) in given["answers"].items()}
    stub = Stub(responses)
    event, context = given["event"], Context()
    for line in sys.stdin:
        tombstone = line.strip()
        stub.requests.clear()
        if tombstone == "mark":
            _mark()
        elif tombstone == "first":
            started = time.process_time()
            handler = importlib.import_module("app").handler
            response = handler(event, context)
            _tell(told, time.process_time() - started, response, stub.requests)
        else:
            calls = range(int(tombstone))
            started = time.process_time()
            for _ in calls:
                response = handler(event, context)
            _tell(told, time.process_time() - started, response, stub.requests)
    # At once: what a process does at its end is never paid for on Lambda.
    os._exit(0)


def _mark() -> None:
    """Has valgrind tell how many instructions were executed until now, as it does where a process ends."""
    copy = os.fork()
    if not copy:
        os._exit(0)
    os.waitpid(copy, 0)


def _tell(told: "TextIO", seconds: float, response: object, requests: list[str]) -> None:
    """A line of JSON: CPU seconds of all threads, the last answer, the requests to DynamoDB."""
    told.write(json.dumps({"seconds": seconds, "answer": response, "requests": requests}) + "\n")
    told.flush()


if __name__ == "__main__":
    main()
