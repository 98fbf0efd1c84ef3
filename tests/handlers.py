"""The handlers, called as API Gateway calls them: with the files in `events/`, changed where a test wants it."""

import copy
import importlib
import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.template import ROOT

FUNCTIONS = sorted(path.name for path in (ROOT / "functions").iterdir() if (path / "app.py").exists())
_EVENTS = {function: json.loads((ROOT / f"events/{function}.json").read_text()) for function in FUNCTIONS}
# Those that answer HTTP.
ENDPOINTS = [function for function in FUNCTIONS if "httpMethod" in _EVENTS[function]]
# Those that a user calls, which is all but the page that tells how.
USER_ENDPOINTS = [endpoint for endpoint in ENDPOINTS if endpoint != "retrieve_docs"]
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


class Response(NamedTuple):
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


def handler(function: str) -> Callable[[Any, Any], Any]:
    """What Lambda calls."""
    called: Callable[[Any, Any], Any] = importlib.import_module(f"functions.{function}.app").handler
    return called


def invoke(endpoint: str, event: dict[str, Any]) -> Response:
    """Hands *event* to the handler of *endpoint*, and its answer back as JSON would bring it over."""
    response = json.loads(json.dumps(handler(endpoint)(event, Context(25))))
    assert response.keys() == {"statusCode", "headers", "body"}
    body = response["body"] or None
    if body and response["headers"]["Content-Type"] == JSON:
        body = json.loads(body)
    return Response(response["statusCode"], body, response["headers"])


class Context:
    """What Lambda tells a function about its invocation, as far as ours ask."""

    def __init__(self, seconds: float = 300) -> None:
        """An invocation that ends in so many *seconds*."""
        self._end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        """What the name says."""
        return max(0, int((self._end - time.monotonic()) * 1000))


def purge(*deleted: tuple[str, str], seconds: float = 300) -> list[str]:
    """Hands the deletions of these users' conversations to `purge_messages`; those that it did not manage."""
    sample = event("purge_messages")
    (record,) = sample["Records"]
    sample["Records"] = []
    for user_id, conversation_id in deleted:
        removal = copy.deepcopy(record)
        removal["dynamodb"]["Keys"] = {"user_id": {"S": user_id}, "id": {"S": conversation_id}}
        removal["dynamodb"]["SequenceNumber"] = conversation_id
        sample["Records"].append(removal)
    response = handler("purge_messages")(sample, Context(seconds))
    return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]


def sweep(seconds: float = 300) -> None:
    """Invokes `sweep_purges`."""
    handler("sweep_purges")(event("sweep_purges"), Context(seconds))


def request(
    endpoint: str,
    *,
    user: str = "kevin",
    id: str | None = None,
    query: dict[str, list[str]] | None = None,
    body: str | None = None,
    content_type: str = FORM,
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    """What API Gateway hands over when *user* calls *endpoint*.

    Query values are lists, since a client may give a parameter any number of times.
    """
    made = event(endpoint)
    made["requestContext"]["authorizer"]["claims"]["sub"] = user
    made["multiValueQueryStringParameters"] = query
    made["queryStringParameters"] = {name: values[-1] for name, values in query.items()} if query else None
    for name, value in ({"Content-Type": content_type} | (headers or {})).items():
        made["headers"][name] = value
        made["multiValueHeaders"][name] = [value]
    made["body"] = body
    if id is not None:
        made["pathParameters"] = {"id": id}
        made["path"] = made["resource"].replace("{id}", id)
        made["requestContext"]["path"] = f"/v1{made['path']}"
    return made


def call(endpoint: str, **given: Any) -> Response:
    """Calls *endpoint* with a `request`."""
    return invoke(endpoint, request(endpoint, **given))


def create(user: str = "kevin", **attributes: str) -> dict[str, Any]:
    """A new conversation of *user*, with harry unless *attributes* say otherwise."""
    response = call(
        "create_conversation", user=user, body=json.dumps(attributes or {"contact_id": "harry"}), content_type=JSON
    )
    assert response.status == 201, response
    conversation: dict[str, Any] = response.body
    return conversation


def send(conversation: dict[str, Any], message: str = "hello", user: str = "kevin", **more: Any) -> dict[str, Any]:
    """A new message of *user* in *conversation*."""
    attributes = {"conversation_id": conversation["id"], "message": message, **more}
    body = json.dumps(attributes, ensure_ascii=False)
    response = call("create_message", user=user, body=body, content_type=JSON)
    assert response.status == 201, response
    sent: dict[str, Any] = response.body
    return sent


def list_messages(user: str = "kevin", **query: str) -> list[dict[str, Any]]:
    """The first hundred messages that *query* lists."""
    given = {"limit": ["100"]} | {name: [value] for name, value in query.items()}
    response = call("list_messages", user=user, query=given)
    assert response.status == 200, response
    messages: list[dict[str, Any]] = response.body["data"]
    return messages


def update(conversation: dict[str, Any], user: str = "kevin", **changes: object) -> dict[str, Any]:
    """*conversation* with *changes* made to it."""
    response = call(
        "update_conversation", user=user, id=conversation["id"], body=json.dumps(changes), content_type=JSON
    )
    assert response.status == 200, response
    updated: dict[str, Any] = response.body
    return updated


def list_all(user: str = "kevin", **query: str) -> list[dict[str, Any]]:
    """The first hundred conversations that *query* lists."""
    response = call(
        "list_conversations", user=user, query={"limit": ["100"]} | {name: [value] for name, value in query.items()}
    )
    assert response.status == 200, response
    conversations: list[dict[str, Any]] = response.body["data"]
    return conversations
