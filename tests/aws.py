"""Lambda and CodeDeploy over HTTP, as far as the hook of a release calls them: with our handlers behind them."""

import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal, get_args
from urllib.parse import unquote

from tests.handlers import FUNCTIONS, Context, handler
from tests.server import listening

HOOK = "exercise_release"
RELEASED = [function for function in FUNCTIONS if function != HOOK]
_ACCOUNT = "arn:aws:lambda:eu-west-1:123456789012:function"


# What may happen to an invocation on its way, of which the second and third are carried out.
Fault = Literal["connection reset", "done, answer lost", "torn answer"]
FAULTS = get_args(Fault)


class Aws:
    """Both of them, and what came to them."""

    def __init__(self) -> None:
        """Every new version is good: it does what our handler does."""
        # What a new version does instead with an event.
        self.bad: dict[str, Callable[[dict[str, Any]], Any]] = {}
        # The errors that Lambda and CodeDeploy answer with before they do anything: HTTP status and code.
        self.lambda_errors: list[tuple[int, str]] = []
        self.codedeploy_errors: list[tuple[int, str]] = []
        # What befalls the invocations of these numbers, counted from 1: see `Fault`.
        self.faults: dict[int, Fault] = {}
        self.requests = 0
        # Which functions were invoked, and with what.
        self.invoked: list[tuple[str, dict[str, Any]]] = []
        self.reported: list[dict[str, str]] = []
        self.has_ended = threading.Event()
        self._one_at_a_time = threading.Lock()

    def environment(self, url: str) -> dict[str, str]:
        """What the hook has to know of them, if they answer at *url*."""
        versions = {function.upper(): f"{_ACCOUNT}:{function}:7" for function in RELEASED}
        return versions | {"AWS_ENDPOINT_URL_LAMBDA": url, "AWS_ENDPOINT_URL_CODEDEPLOY": url}

    def good(self, function: str, event: dict[str, Any]) -> Any:
        """What our handler answers."""
        # As in an environment of Lambda, where a function's state is its own.
        with self._one_at_a_time:
            return handler(function)(event, Context())

    def never(self, _event: dict[str, Any]) -> None:
        """Does not answer, as a new version."""
        self.has_ended.wait()

    def invoke(self, arn: str, event: dict[str, Any]) -> Any:
        """What the version or alias answers."""
        function, qualifier = arn.removeprefix(f"{_ACCOUNT}:").split(":")
        self.invoked.append((function, event))
        if qualifier == "live" or function not in self.bad:
            return self.good(function, event)
        return self.bad[function](event)


@contextmanager
def serving() -> Iterator[tuple[Aws, str]]:
    """Both of them and their URL, for as long as the block lasts. moto has to be at work."""
    aws = Aws()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            # Who does not wait for the answer any more does not get it.
            with suppress(ConnectionError):
                if "X-Amz-Target" in self.headers:
                    self._report(given)
                else:
                    self._invoke(unquote(self.path.split("/")[3]), given)

        def _report(self, given: dict[str, str]) -> None:
            assert self.headers["X-Amz-Target"] == "CodeDeploy_20141006.PutLifecycleEventHookExecutionStatus"
            if aws.codedeploy_errors:
                status, code = aws.codedeploy_errors.pop(0)
                self._answer(status, {"__type": code, "message": "because"})
            else:
                aws.reported.append(given)
                self._answer(200, {})

        def _invoke(self, arn: str, event: dict[str, Any]) -> None:
            aws.requests += 1
            fault = aws.faults.get(aws.requests)
            if fault == "connection reset":
                self._reset()
                return
            if aws.lambda_errors:
                status, code = aws.lambda_errors.pop(0)
                self._answer(status, {"Type": "User", "Message": "because"}, {"X-Amzn-ErrorType": code})
                return
            try:
                response = aws.invoke(arn, event)
            except Exception as error:  # noqa: BLE001 - Lambda answers for whatever a function raises
                raised = {"errorType": type(error).__name__, "errorMessage": str(error)}
                self._answer(200, raised, {"X-Amz-Function-Error": "Unhandled"})
            else:
                if fault == "done, answer lost":
                    self._reset()
                else:
                    self._answer(200, response, is_truncated=fault == "torn answer")

        def _reset(self) -> None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())
            self.close_connection = True

        def _answer(
            self, status: int, body: Any, headers: dict[str, str] | None = None, *, is_truncated: bool = False
        ) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | (headers or {})).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if is_truncated else content)
            self.close_connection = is_truncated

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with listening(Handler) as url:
        try:
            yield aws, url
        finally:
            aws.has_ended.set()
