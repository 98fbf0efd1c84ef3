"""A synthetic user, who invokes the functions of a release as API Gateway does."""

import json
import os
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

_METHODS = {"list": "GET", "count": "GET", "create": "POST", "retrieve": "GET", "update": "PUT", "delete": "DELETE"}
_JSON = "application/json"
# The function was not invoked, and a retry may succeed: no concurrency is left, or a version's snapshot is not ready.
_RETRYABLE = {"ResourceConflictException", "SnapStartNotReadyException", "TooManyRequestsException"}
# The role's policy names each new function, and IAM is eventually consistent.
_DENIED = "AccessDeniedException"
_GRANT_SECONDS = 60
# How long to wait for a GSI, and between two attempts.
_INDEX_SECONDS = 20
_PAUSE_SECONDS = 0.2

# One session for all clients: each new session reads botocore's data again.
session: Any = botocore.session.get_session()


class BadVersion(Exception):
    """A function did not respond as expected."""


class SyntheticUser:
    """A user who invokes functions for at most *seconds*.

    Invokes the version ARN in the environment variable VERSION_<function>; *alias* overrides the version.
    """

    def __init__(self, id: str, seconds: float, alias: str | None = None) -> None:
        self.id = id
        # The last three functions: the failure shows in the last one, and an earlier one may have caused it.
        self.called: list[str] = []
        self._until = time.monotonic() + seconds
        self._granted_at = time.monotonic() + _GRANT_SECONDS
        self._alias = alias

    def invoke(self, function: str, event: Mapping[str, object]) -> Any:  # noqa: ANN401 - any JSON
        """Returns the response of *function* to *event*. Raises `BadVersion` if it fails, and as botocore does."""
        if function not in self.called[-1:]:
            self.called = [*self.called[-2:], function]
        arn = os.environ[f"VERSION_{function.upper()}"]
        if self._alias is not None:
            arn = f"{arn.rpartition(':')[0]}:{self._alias}"
        while (seconds_left := self._until - time.monotonic()) > 0:
            # botocore must not retry: an invocation without a response may have happened.
            config = Config(connect_timeout=5, read_timeout=seconds_left, retries={"total_max_attempts": 1})
            with closing(session.create_client("lambda", config=config)) as client:
                try:
                    response = client.invoke(FunctionName=arn, Payload=json.dumps(event))
                except ClientError as error:
                    code = error.response["Error"]["Code"]
                    is_grant_pending = code == _DENIED and time.monotonic() < self._granted_at
                    if code not in _RETRYABLE and not is_grant_pending:
                        raise
                else:
                    payload = json.load(response["Payload"])
                    expect("FunctionError" not in response, f"it failed: {payload}")
                    return payload
            time.sleep(_PAUSE_SECONDS)
        raise BadVersion("no time was left")

    def call(  # noqa: PLR0913 - the parts of a request
        self,
        endpoint: str,
        status: int,
        expected: Mapping[str, object] | None = None,
        *,
        id: str = "",
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        key: str = "",
        is_anonymous: bool = False,
    ) -> dict[str, Any]:
        """Returns the response body.

        Raises `BadVersion` unless the response has *status*, and its body and headers contain *expected*.
        """
        resource, parameter = _resource(endpoint)
        path = resource if parameter is None else resource.replace(f"{{{parameter}}}", id)
        path_parameters = None if parameter is None else {parameter: id}
        headers = {"Content-Type": _JSON} | ({"Idempotency-Key": key} if key else {})
        claims = {} if is_anonymous else {"authorizer": {"claims": {"sub": self.id}}}
        event = {
            "resource": resource,
            "path": path,
            "httpMethod": _METHODS[endpoint.partition("_")[0]],
            "headers": headers,
            "multiValueHeaders": {name: [value] for name, value in headers.items()},
            "queryStringParameters": query,
            "multiValueQueryStringParameters": {name: [value] for name, value in query.items()} if query else None,
            "pathParameters": path_parameters,
            "requestContext": claims | {"resourcePath": resource, "path": f"/v1{path}", "requestId": self.id},
            "body": None if body is None else json.dumps(body),
            "isBase64Encoded": False,
        }
        response = self.invoke(endpoint, event)
        expect(response["statusCode"] == status, f"status {response['statusCode']}, not {status}")
        is_json = response["headers"].get("Content-Type") == _JSON
        body_json: dict[str, Any] = json.loads(response["body"]) if is_json else {}
        has_expected = (expected or {}).items() <= (response["headers"] | body_json).items()
        expect(has_expected, f"response {body_json}, not {expected}")
        return body_json

    def await_list(self, endpoint: str, attribute: str, values: list[object], **query: str) -> None:
        """Waits until a list shows *values* of *attribute*, since GSIs are eventually consistent.

        Raises `BadVersion` after 20 seconds.
        """
        until = time.monotonic() + _INDEX_SECONDS
        while (found := [row[attribute] for row in self.call(endpoint, 200, query=query)["data"]]) != values:
            expect(time.monotonic() < until, f"list {found}, not {values}")
            time.sleep(_PAUSE_SECONDS)


def _resource(endpoint: str) -> tuple[str, str | None]:
    """Returns the path of *endpoint* and the name of the parameter in it."""
    verb, _, noun = endpoint.partition("_")
    if noun in ("inbox", "unread"):
        return f"/{noun}", None
    if noun == "inbox_entry":
        return "/inbox/{conversation_id}", "conversation_id"
    if noun == "redelivery":
        return "/webhooks/{id}/redeliveries", "id"
    # Lists and creations have no id in their path.
    is_collection = noun.endswith("s") or verb == "create"
    return f"/{noun.removesuffix('s')}s" + ("" if is_collection else "/{id}"), None if is_collection else "id"


def expect(condition: bool, message: str) -> None:
    """Raises `BadVersion` with *message* unless *condition* is true."""
    if not condition:
        raise BadVersion(message)
