"""A fake of Lambda and CodeDeploy over HTTP, for the release hook: invocations run our handlers."""

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

# The function runs before the second and third fault, but not before the first.
Fault = Literal["connection reset", "response lost", "truncated response"]
FAULTS = get_args(Fault)


class FakeLambda:
    """The fake services: what they do, and the requests that they got."""

    def __init__(self) -> None:
        """Starts with good versions, which run our handlers, and without faults."""
        # By function: what its bad version does with an event.
        self.bad: dict[str, Callable[[dict[str, Any]], Any]] = {}
        # The next error responses, as HTTP status and code. The request has no effect.
        self.lambda_errors: list[tuple[int, str]] = []
        self.codedeploy_errors: list[tuple[int, str]] = []
        # By the number of the invocation, counted from 1.
        self.faults: dict[int, Fault] = {}
        self.requests = 0
        # The functions invoked, with their events.
        self.invoked: list[tuple[str, dict[str, Any]]] = []
        self.reported: list[dict[str, str]] = []
        self.has_ended = threading.Event()
        self._one_at_a_time = threading.Lock()

    def environment(self, url: str) -> dict[str, str]:
        """Returns the hook's environment variables for a fake at *url*."""
        versions = {function.upper(): f"{_ACCOUNT}:{function}:7" for function in RELEASED}
        return versions | {"AWS_ENDPOINT_URL_LAMBDA": url, "AWS_ENDPOINT_URL_CODEDEPLOY": url}

    def good(self, function: str, event: dict[str, Any]) -> Any:
        """Returns the response of our handler."""
        # An execution environment of Lambda handles one event at a time.
        with self._one_at_a_time:
            return handler(function)(event, Context())

    def never(self, _event: dict[str, Any]) -> None:
        """Hangs until the fake stops. A bad version."""
        self.has_ended.wait()

    def invoke(self, arn: str, event: dict[str, Any]) -> Any:
        """Returns the response of the version or alias *arn*."""
        function, qualifier = arn.removeprefix(f"{_ACCOUNT}:").split(":")
        self.invoked.append((function, event))
        if qualifier == "live" or function not in self.bad:
            return self.good(function, event)
        return self.bad[function](event)


@contextmanager
def serving() -> Iterator[tuple[FakeLambda, str]]:
    """Serves a fake during the block. Yields it and its URL. Requires moto."""
    fake = FakeLambda()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            # The client may have closed the connection.
            with suppress(ConnectionError):
                if "X-Amz-Target" in self.headers:
                    self._report(given)
                else:
                    self._invoke(unquote(self.path.split("/")[3]), given)

        def _report(self, given: dict[str, str]) -> None:
            assert self.headers["X-Amz-Target"] == "CodeDeploy_20141006.PutLifecycleEventHookExecutionStatus"
            if fake.codedeploy_errors:
                status, code = fake.codedeploy_errors.pop(0)
                self._respond(status, {"__type": code, "message": "because"})
            else:
                fake.reported.append(given)
                self._respond(200, {})

        def _invoke(self, arn: str, event: dict[str, Any]) -> None:
            fake.requests += 1
            fault = fake.faults.get(fake.requests)
            if fault == "connection reset":
                self._reset()
                return
            if fake.lambda_errors:
                status, code = fake.lambda_errors.pop(0)
                self._respond(status, {"Type": "User", "Message": "because"}, {"X-Amzn-ErrorType": code})
                return
            try:
                response = fake.invoke(arn, event)
            except Exception as error:  # noqa: BLE001 - Lambda reports any exception of a function
                raised = {"errorType": type(error).__name__, "errorMessage": str(error)}
                self._respond(200, raised, {"X-Amz-Function-Error": "Unhandled"})
            else:
                if fault == "response lost":
                    self._reset()
                else:
                    self._respond(200, response, is_truncated=fault == "truncated response")

        def _reset(self) -> None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())
            self.close_connection = True

        def _respond(
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
            """Logs nothing."""

    with listening(Handler) as url:
        try:
            yield fake, url
        finally:
            fake.has_ended.set()
