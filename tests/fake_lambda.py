"""A fake of Lambda, CodeDeploy and SQS over HTTP, for the release hook: invocations run our handlers."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal, get_args
from urllib.parse import unquote

from tests.handlers import FUNCTIONS, Context, handler
from tests.server import Handler, Response, json_response, listening

HOOK = "exercise_release"
RELEASED = [function for function in FUNCTIONS if function != HOOK]
_ACCOUNT = "arn:aws:lambda:eu-west-1:123456789012:function"

# The function runs before the second and third fault, but not before the first.
Fault = Literal["connection reset", "response lost", "truncated response"]
FAULTS = get_args(Fault)


def versions(number: int) -> dict[str, str]:
    """Returns the hook's environment variables for a release with this version *number* of every function."""
    return {f"VERSION_{function.upper()}": f"{_ACCOUNT}:{function}:{number}" for function in RELEASED}


class FakeLambda:
    """The fake services: what they do, and the requests that they got."""

    def __init__(self) -> None:
        """Starts with good versions, which run our handlers, and without faults."""
        # What the bad version of each function does with an event.
        self.bad: dict[str, Callable[[dict[str, Any]], Any]] = {}
        # The next error responses, as HTTP status and code. The request has no effect.
        self.lambda_errors: list[tuple[int, str]] = []
        self.codedeploy_errors: list[tuple[int, str]] = []
        # The key is the number of the invocation, counted from 1.
        self.faults: dict[int, Fault] = {}
        self.requests = 0
        # The functions invoked, with their events.
        self.invoked: list[tuple[str, dict[str, Any]]] = []
        self.reported: list[dict[str, str]] = []
        self.has_report = threading.Condition()
        # The bodies of the messages sent to SQS.
        self.sent: list[str] = []
        # The account's concurrent executions.
        self.slots = threading.Semaphore(1000)
        self.has_ended = threading.Event()
        self._one_at_a_time = threading.Lock()

    def environment(self, url: str) -> dict[str, str]:
        """Returns the hook's environment variables for a fake at *url*."""
        services = {f"AWS_ENDPOINT_URL_{service}": url for service in ("LAMBDA", "CODEDEPLOY", "SQS")}
        return versions(7) | services | {"RELEASE_HOOKS_URL": f"{url}/123456789012/release-hooks.fifo"}

    @property
    def statuses(self) -> list[str]:
        """The reported statuses."""
        return [report["status"] for report in self.reported]

    def wait_for_reports(self, count: int, timeout: float) -> bool:
        """Waits until there are *count* reports. Returns whether there are."""
        with self.has_report:
            return self.has_report.wait_for(lambda: len(self.reported) >= count, timeout)

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

    class _Handler(Handler):
        def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
            request = self.read_json()
            # The client may have closed the connection.
            with suppress(ConnectionError):
                match self.headers["X-Amz-Target"]:
                    case None:
                        self._invoke(unquote(self.path.split("/")[3]), request)
                    case "AmazonSQS.SendMessage":
                        fake.sent.append(request["MessageBody"])
                        digest = hashlib.md5(request["MessageBody"].encode(), usedforsecurity=False).hexdigest()
                        self.respond(json_response(200, {"MessageId": "1", "MD5OfMessageBody": digest}))
                    case "CodeDeploy_20141006.PutLifecycleEventHookExecutionStatus":
                        self._report(request)

        def _report(self, report: dict[str, str]) -> None:
            execution = report["lifecycleEventHookExecutionId"]
            if execution in [completed["lifecycleEventHookExecutionId"] for completed in fake.reported]:
                fake.codedeploy_errors.append((400, "LifecycleEventAlreadyCompletedException"))
            if fake.codedeploy_errors:
                status, code = fake.codedeploy_errors.pop(0)
                self.respond(json_response(status, {"__type": code, "message": "because"}))
            else:
                with fake.has_report:
                    fake.reported.append(report)
                    fake.has_report.notify_all()
                self.respond(json_response(200, {}))

        def _invoke(self, arn: str, event: dict[str, Any]) -> None:
            fake.requests += 1
            fault = fake.faults.get(fake.requests)
            if fault == "connection reset":
                self.reset()
            elif fake.lambda_errors:
                self._reject(*fake.lambda_errors.pop(0))
            elif not fake.slots.acquire(blocking=False):
                self._reject(429, "TooManyRequestsException")
            else:
                try:
                    self._run(arn, event, fault)
                finally:
                    fake.slots.release()

        def _reject(self, status: int, code: str) -> None:
            body = {"Type": "User", "Message": "because"}
            self.respond(json_response(status, body), {"X-Amzn-ErrorType": code})

        def _run(self, arn: str, event: dict[str, Any], fault: Fault | None) -> None:
            try:
                payload = json.dumps(fake.invoke(arn, event)).encode()
            except Exception as error:  # noqa: BLE001 - Lambda reports any exception of a function
                raised = {"errorType": type(error).__name__, "errorMessage": str(error)}
                self.respond(json_response(200, raised), {"X-Amz-Function-Error": "Unhandled"})
            else:
                if fault == "response lost":
                    self.reset()
                else:
                    self.respond(Response(200, payload), is_truncated=fault == "truncated response")

    with listening(_Handler) as url:
        try:
            yield fake, url
        finally:
            fake.has_ended.set()
