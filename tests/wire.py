"""Records the requests that clients send to DynamoDB, and injects faults, through botocore's events."""

import copy
import json
import os
import threading
from collections.abc import Callable
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.client import BaseClient
from botocore.compat import HTTPHeaders
from botocore.exceptions import ReadTimeoutError
from botocore.model import OperationModel
from moto.core.models import DEFAULT_ACCOUNT_ID, botocore_stubber
from moto.dynamodb.models import dynamodb_backends

# Returns the response in place of DynamoDB's; None sends the request.
Fault = Callable[[AWSPreparedRequest], AWSResponse | None]


def error_response(request: AWSPreparedRequest, status: int, code: str, **more: object) -> AWSResponse:
    """Returns an error response of DynamoDB."""
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "table conversations of kevin", **more}
    return response(request, body, status)


def response(request: AWSPreparedRequest, body: dict[str, Any], status: int = 200) -> AWSResponse:
    """Returns a response of DynamoDB."""
    return AWSResponse(request.url, status, HTTPHeaders(), Content(json.dumps(body).encode()))


def cancelled_transaction(request: AWSPreparedRequest, code: str, second: str = "None", **more: object) -> AWSResponse:
    """Returns the error response for a transaction of two writes, with a cancellation reason for each."""
    reasons = [{"Code": code, "Message": "because"}, {"Code": second, **more}]
    return error_response(request, 400, "TransactionCanceledException", CancellationReasons=reasons)


class Content:
    """The content of a response, with the method of urllib3 that botocore calls."""

    def __init__(self, content: bytes) -> None:
        """Streams *content* in one chunk."""
        self._content = content

    def stream(self) -> list[bytes]:
        """Returns all chunks."""
        return [self._content]


class Wire:
    """The requests, including retries, and the responses since the last reset."""

    def __init__(self) -> None:
        """Records nothing until `listen`."""
        self.reset()

    def listen(self, client: BaseClient) -> None:
        """Records the requests of *client* from now on."""
        events = client.meta.events
        # botocore uses the handlers' return values; botocore-stubs types them as None.
        events.register_first("before-send.dynamodb", self._before_send)  # type: ignore[arg-type]
        events.register("after-call.dynamodb", self._after_call)
        events.register_last("before-parameter-build.dynamodb", self._note_parameters)
        events.register_last("before-call.dynamodb", self._note_serialized)

    def reset(self) -> None:
        """Clears the records and removes all faults."""
        self.requests: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.responses: list[dict[str, Any]] = []
        # The operation, parameters and serialized body of each request, without retries.
        self.serialized: list[tuple[str, dict[str, Any], bytes]] = []
        self.fault: Fault | None = None
        self.kill_after_response: BaseException | None = None
        self._loses_response = False
        self._applied_token: str | None = None

    @property
    def items_read(self) -> int:
        """The number of items that queries read, including those that they filtered out."""
        return sum(response.get("ScannedCount", 0) for response in self.responses)

    def lose_next_response(self) -> None:
        """Applies the next request but loses its response, so that botocore retries it."""
        self._loses_response = True

    def before(self, operation: str, act: Callable[[], object]) -> None:
        """Calls *act* immediately before the next request for *operation* is sent."""

        def fault(_request: AWSPreparedRequest) -> None:
            if self.requests[-1] == operation:
                self.fault = None
                act()

        self.fault = fault

    def freeze_indexes(self) -> None:
        """Makes queries of the conversations' indexes return the rows of this moment: DynamoDB's indexes lag."""
        name = os.environ["CONVERSATIONS_TABLE_NAME"]
        table = dynamodb_backends[DEFAULT_ACCOUNT_ID][os.environ["AWS_DEFAULT_REGION"]].tables[name]
        frozen, lock = copy.deepcopy(table.items), threading.Lock()

        def fault(request: AWSPreparedRequest) -> AWSResponse | None:
            assert isinstance(request.body, bytes)
            body = json.loads(request.body)
            if body.get("TableName") != name or "IndexName" not in body:
                return None
            with lock:
                current, table.items = table.items, frozen
                try:
                    answered = botocore_stubber("before-send", request)
                finally:
                    table.items = current
            assert answered
            return AWSResponse(request.url, answered.status_code, HTTPHeaders(), Content(answered.content))

        self.fault = fault

    def _note_parameters(self, params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
        context["parameters"] = params

    def _note_serialized(
        self, model: OperationModel, params: dict[str, Any], context: dict[str, Any], **_: object
    ) -> None:
        self.serialized.append((model.name, context["parameters"], params["body"]))

    def _before_send(self, request: AWSPreparedRequest, **_: object) -> AWSResponse | None:
        target = request.headers["X-Amz-Target"]
        operation = target.decode() if isinstance(target, bytes) else str(target)
        self.requests.append(operation.rpartition(".")[2])
        assert isinstance(request.body, bytes)
        self.bodies.append(json.loads(request.body))
        # moto does not know client request tokens. Like DynamoDB, applies a transaction once.
        token = self.bodies[-1].get("ClientRequestToken")
        replacement = self.fault(request) if self.fault else None
        if replacement is None and token is not None and token == self._applied_token:
            replacement = response(request, {})
        elif replacement is None and self._loses_response:
            self._loses_response, self._applied_token = False, token
            applied = botocore_stubber("before-send", request)
            assert applied
            assert applied.status_code == 200
            raise ReadTimeoutError(endpoint_url=request.url)
        if replacement is not None:
            # botocore calls all handlers and takes the first response; with this URL moto does not apply the request.
            request.url = "http://nowhere.invalid/"
        return replacement

    def _after_call(self, parsed: dict[str, Any], **_: object) -> None:
        self.responses.append(parsed)
        if self.kill_after_response:
            killed, self.kill_after_response = self.kill_after_response, None
            raise killed
