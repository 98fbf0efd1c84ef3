"""The functions of a release, called as a user of the API calls them, but before any real one does."""

import json
import os
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

_METHODS = {"list": "GET", "create": "POST", "retrieve": "GET", "update": "PUT", "delete": "DELETE"}
_JSON = "application/json"
# Nothing was invoked, but soon can be: Lambda's concurrency is used up, or the snapshot of a version is being made.
_NOT_YET = {"ResourceConflictException", "SnapStartNotReadyException", "TooManyRequestsException"}
# The role's policy names each new version, and IAM tells of it everywhere in a moment.
_DENIED = "AccessDeniedException"
_GRANT_SECONDS = 60
# How long an index may take to follow its table, and how long to wait before another look.
_INDEX_SECONDS = 20
_PAUSE_SECONDS = 0.2

# One for all clients: each session reads botocore's data anew.
session: Any = botocore.session.get_session()


class BadVersion(Exception):
    """A function did not do what it should."""


class SyntheticUser:
    """A user who calls functions until *seconds* are over.

    Of each it is the version that an environment variable of its name says, or with *alias* the one behind that.
    """

    def __init__(self, id: str, seconds: float, alias: str | None = None) -> None:
        self.id = id
        # The last three that were called: what is wrong shows in the last, and may come from those before.
        self.called: list[str] = []
        self._until = time.monotonic() + seconds
        self._granted_at = time.monotonic() + _GRANT_SECONDS
        self._alias = alias

    def invoke(self, function: str, event: Mapping[str, object]) -> Any:  # noqa: ANN401 - whatever it answers
        """What *function* answers to *event*. Raises `BadVersion` where it fails, or as botocore without an answer."""
        if function not in self.called[-1:]:
            self.called = [*self.called[-2:], function]
        arn = os.environ[function.upper()]
        if self._alias is not None:
            arn = f"{arn.rpartition(':')[0]}:{self._alias}"
        while (seconds_left := self._until - time.monotonic()) > 0:
            # botocore must not repeat it, since it cannot know whether a call without an answer was carried out.
            config = Config(connect_timeout=5, read_timeout=seconds_left, retries={"total_max_attempts": 1})
            with closing(session.create_client("lambda", config=config)) as client:
                try:
                    answer = client.invoke(FunctionName=arn, Payload=json.dumps(event))
                except ClientError as error:
                    code = error.response["Error"]["Code"]
                    is_yet_to_be_granted = code == _DENIED and time.monotonic() < self._granted_at
                    if code not in _NOT_YET and not is_yet_to_be_granted:
                        raise
                else:
                    payload = json.load(answer["Payload"])
                    expect("FunctionError" not in answer, f"it failed: {payload}")
                    return payload
            time.sleep(_PAUSE_SECONDS)
        raise BadVersion("there was no time left for it")

    def call(  # noqa: PLR0913 - as many parts as a request has
        self,
        endpoint: str,
        status: int,
        shown: Mapping[str, object] | None = None,
        *,
        id: str = "",
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        key: str = "",
        is_stranger: bool = False,
    ) -> dict[str, Any]:
        """The body of the answer. Raises `BadVersion` unless it has *status*, and in body or headers all of *shown*."""
        verb, noun = endpoint.split("_")
        resource = f"/{noun.removesuffix('s')}s"
        # A plural is a whole list, and what is yet to be created has no id.
        path_parameters = None if noun.endswith("s") or verb == "create" else {"id": id}
        path = resource
        if path_parameters:
            resource, path = f"{resource}/{{id}}", f"{resource}/{id}"
        headers = {"Content-Type": _JSON} | ({"Idempotency-Key": key} if key else {})
        claims = {} if is_stranger else {"authorizer": {"claims": {"sub": self.id}}}
        event = {
            "resource": resource,
            "path": path,
            "httpMethod": _METHODS[verb],
            "headers": headers,
            "multiValueHeaders": {name: [value] for name, value in headers.items()},
            "queryStringParameters": query,
            "multiValueQueryStringParameters": {name: [value] for name, value in query.items()} if query else None,
            "pathParameters": path_parameters,
            "requestContext": claims | {"resourcePath": resource, "path": f"/v1{path}", "requestId": self.id},
            "body": None if body is None else json.dumps(body),
            "isBase64Encoded": False,
        }
        answer = self.invoke(endpoint, event)
        expect(answer["statusCode"] == status, f"it answered {answer['statusCode']}, not {status}")
        is_json = answer["headers"].get("Content-Type") == _JSON
        answered: dict[str, Any] = json.loads(answer["body"]) if is_json else {}
        expect((shown or {}).items() <= (answer["headers"] | answered).items(), f"it answered {answered}, not {shown}")
        return answered

    def await_list(self, endpoint: str, attribute: str, values: list[object], **query: str) -> None:
        """Waits until a list has *values* for an attribute, as one read from an index has in a moment.

        Raises `BadVersion` if it does not come to that.
        """
        until = time.monotonic() + _INDEX_SECONDS
        while (found := [row[attribute] for row in self.call(endpoint, 200, query=query)["data"]]) != values:
            expect(time.monotonic() < until, f"it listed {found}, not {values}")
            time.sleep(_PAUSE_SECONDS)


def expect(holds: bool, otherwise: str) -> None:
    """Raises `BadVersion` that says *otherwise*, unless it holds."""
    if not holds:
        raise BadVersion(otherwise)
