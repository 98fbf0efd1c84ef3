"""The handlers, called as API Gateway calls them: with the files in `events/`, changed where a test wants it."""

import copy
import importlib
import json
from typing import Any, NamedTuple

from tests.template import ROOT

ENDPOINTS = sorted(path.name for path in (ROOT / "functions").iterdir() if (path / "app.py").exists())
# Those that a user calls, which is all but the page that tells how.
OF_USERS = [endpoint for endpoint in ENDPOINTS if endpoint != "retrieve_docs"]
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


class Answer(NamedTuple):
    """What the client gets to see."""

    status: int
    body: Any
    headers: dict[str, str]

    @property
    def message(self) -> str:
        """The message of an error."""
        return str(self.body["message"])


def event(endpoint: str) -> dict[str, Any]:
    """The sample event of *endpoint*, to be changed at will."""
    return copy.deepcopy(_EVENTS[endpoint])


def invoke(endpoint: str, event: dict[str, Any]) -> Answer:
    """Hands *event* to the handler of *endpoint*, and its answer back as JSON would bring it over."""
    handler = importlib.import_module(f"functions.{endpoint}.app").handler
    answer = json.loads(json.dumps(handler(event, None)))
    assert answer.keys() == {"statusCode", "headers", "body"}
    body = answer["body"] or None
    if body and answer["headers"]["Content-Type"] == JSON:
        body = json.loads(body)
    return Answer(answer["statusCode"], body, answer["headers"])


def call(
    endpoint: str,
    *,
    user: str = "kevin",
    id: str | None = None,
    query: dict[str, list[str]] | None = None,
    body: str | None = None,
    content_type: str = FORM,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Calls *endpoint* for *user*. Query values are lists, since a client may give a parameter any number of times."""
    request = event(endpoint)
    request["requestContext"]["authorizer"]["claims"]["sub"] = user
    request["multiValueQueryStringParameters"] = query
    request["queryStringParameters"] = {name: values[-1] for name, values in query.items()} if query else None
    for name, value in ({"Content-Type": content_type} | (headers or {})).items():
        request["headers"][name] = value
        request["multiValueHeaders"][name] = [value]
    request["body"] = body
    if id is not None:
        request["pathParameters"] = {"id": id}
        request["path"] = f"/conversations/{id}"
        request["requestContext"]["path"] = f"/v1/conversations/{id}"
    return invoke(endpoint, request)


def create(user: str = "kevin", **attributes: str) -> dict[str, Any]:
    """A new conversation of *user*, with harry unless *attributes* say otherwise."""
    answer = call(
        "create_conversation", user=user, body=json.dumps(attributes or {"contact_id": "harry"}), content_type=JSON
    )
    assert answer.status == 201, answer
    conversation: dict[str, Any] = answer.body
    return conversation


def update(conversation: dict[str, Any], user: str = "kevin", **changes: object) -> dict[str, Any]:
    """*conversation* with *changes* made to it."""
    answer = call("update_conversation", user=user, id=conversation["id"], body=json.dumps(changes), content_type=JSON)
    assert answer.status == 200, answer
    updated: dict[str, Any] = answer.body
    return updated


def list_all(user: str = "kevin", **query: str) -> list[dict[str, Any]]:
    """The first hundred conversations that *query* lists."""
    answer = call(
        "list_conversations", user=user, query={"limit": ["100"]} | {name: [value] for name, value in query.items()}
    )
    assert answer.status == 200, answer
    conversations: list[dict[str, Any]] = answer.body["data"]
    return conversations


_EVENTS = {endpoint: json.loads((ROOT / f"events/{endpoint}.json").read_text()) for endpoint in ENDPOINTS}
