"""What goes over the wire to DynamoDB: counted, and made to fail, by botocore's own events."""

import json
from collections.abc import Callable
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.client import BaseClient
from botocore.compat import HTTPHeaders

# What DynamoDB seems to answer; None lets the request through.
Fault = Callable[[AWSPreparedRequest], AWSResponse | None]


def error_response(request: AWSPreparedRequest, status: int, code: str, **more: object) -> AWSResponse:
    """An error as DynamoDB answers it."""
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "table conversations of kevin", **more}
    return response(request, body, status)


def response(request: AWSPreparedRequest, body: dict[str, Any], status: int = 200) -> AWSResponse:
    """*body* as DynamoDB answers it."""
    return AWSResponse(request.url, status, HTTPHeaders(), Content(json.dumps(body).encode()))


def cancelled_transaction(request: AWSPreparedRequest, code: str, second: str = "None", **more: object) -> AWSResponse:
    """A transaction of two writes that was cancelled because of the first, or the *second* as well."""
    reasons = [{"Code": code, "Message": "because"}, {"Code": second, **more}]
    return error_response(request, 400, "TransactionCanceledException", CancellationReasons=reasons)


class Content:
    """What an answer brings."""

    def __init__(self, content: bytes) -> None:
        """Brings *content*, all of it at once."""
        self._content = content

    def stream(self) -> list[bytes]:
        """As of urllib3."""
        return [self._content]


class Wire:
    """The operations requested, attempts included, and the items read since the last reset."""

    def __init__(self) -> None:
        """Listens to nobody yet."""
        self.reset()

    def listen(self, client: BaseClient) -> None:
        """Listens to *client* from now on."""
        events = client.meta.events
        # Their answers count, which botocore's stubs do not know.
        events.register_first("before-send.dynamodb", self._before_send)  # type: ignore[arg-type]
        events.register_first("needs-retry.dynamodb", self._needs_retry)  # type: ignore[arg-type]
        events.register("after-call.dynamodb", self._after_call)

    def reset(self) -> None:
        """Forgets what was counted, and lets everything through again."""
        self.requests: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.responses: list[dict[str, Any]] = []
        self.fault: Fault | None = None
        self.kill_after_response: BaseException | None = None
        self._loses_answer = False

    @property
    def items_read(self) -> int:
        """How many items the queries read, whether or not they returned them."""
        return sum(response.get("ScannedCount", 0) for response in self.responses)

    def lose_next_response(self) -> None:
        """Lets the next request do its work, and botocore repeat it as it does when no answer comes."""
        self._loses_answer = True

    def before(self, operation: str, act: Callable[[], object]) -> None:
        """Does *act* when the next request for *operation* is about to be sent."""

        def fault(_request: AWSPreparedRequest) -> None:
            if self.requests[-1] == operation:
                self.fault = None
                act()

        self.fault = fault

    def _before_send(self, request: AWSPreparedRequest, **_: object) -> AWSResponse | None:
        target = request.headers["X-Amz-Target"]
        operation = target.decode() if isinstance(target, bytes) else str(target)
        self.requests.append(operation.rpartition(".")[2])
        assert isinstance(request.body, bytes)
        self.bodies.append(json.loads(request.body))
        seeming_answer = self.fault(request) if self.fault else None
        if seeming_answer is not None:
            # botocore asks everybody for an answer and takes the first; moto must not carry the request out.
            request.url = "http://nowhere.invalid/"
        return seeming_answer

    def _needs_retry(self, **_: object) -> int | None:
        lost, self._loses_answer = self._loses_answer, False
        return 0 if lost else None

    def _after_call(self, parsed: dict[str, Any], **_: object) -> None:
        self.responses.append(parsed)
        if self.kill_after_response:
            killed, self.kill_after_response = self.kill_after_response, None
            raise killed
