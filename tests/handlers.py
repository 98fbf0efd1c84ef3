"""Calls the handlers as API Gateway and other event sources do, with the sample events in `events/`."""

import copy
import importlib
import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.template import ROOT

FUNCTIONS = sorted(path.name for path in (ROOT / "functions").iterdir() if (path / "app.py").exists())
_EVENTS = {function: json.loads((ROOT / f"events/{function}.json").read_text()) for function in FUNCTIONS}
# The functions behind API Gateway.
ENDPOINTS = [function for function in FUNCTIONS if "httpMethod" in _EVENTS[function]]
# The endpoints that require a user (all but retrieve_docs).
USER_ENDPOINTS = [endpoint for endpoint in ENDPOINTS if endpoint != "retrieve_docs"]
# Those of the operator, who calls them seldom.
OPERATOR_ENDPOINTS = [endpoint for endpoint in ENDPOINTS if _EVENTS[endpoint]["resource"].startswith("/webhooks")]
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


class Response(NamedTuple):
    """An HTTP response, as the client gets it."""

    status: int
    body: Any
    headers: dict[str, str]

    @property
    def message(self) -> str:
        """The message of an error response."""
        return str(self.body["message"])


def event(endpoint: str) -> dict[str, Any]:
    """Returns a copy of the sample event of *endpoint*."""
    sample: dict[str, Any] = copy.deepcopy(_EVENTS[endpoint])
    if endpoint == "create_redelivery":
        # The sample's period is too long ago.
        now = int(time.time())
        sample["body"] = f"from={now - 3600}&to={now}"
    return sample


def handler(function: str) -> Callable[[Any, Any], Any]:
    """Returns the Lambda handler of *function*."""
    called: Callable[[Any, Any], Any] = importlib.import_module(f"functions.{function}.app").handler
    return called


def invoke(endpoint: str, event: dict[str, Any]) -> Response:
    """Invokes the handler of *endpoint* with *event*. The response makes a round trip through UTF-8, as in Lambda."""
    response = json.loads(json.dumps(handler(endpoint)(event, Context(25)), ensure_ascii=False).encode())
    assert response.keys() == {"statusCode", "headers", "body"}
    body = response["body"] or None
    if body and response["headers"]["Content-Type"] == JSON:
        body = json.loads(body)
    return Response(response["statusCode"], body, response["headers"])


class Context:
    """The Lambda context, with the members that our functions use."""

    def __init__(self, seconds: float = 300) -> None:
        """Begins an invocation that Lambda would stop after *seconds*."""
        self._end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        """Returns the milliseconds until Lambda would stop the invocation."""
        return max(0, int((self._end - time.monotonic()) * 1000))


def deletions(*deleted: tuple[str, str]) -> dict[str, Any]:
    """Returns the event of `purge_messages` for *deleted* (user and conversation ids)."""
    sample = event("purge_messages")
    (record,) = sample["Records"]
    sample["Records"] = []
    for user_id, conversation_id in deleted:
        removal = copy.deepcopy(record)
        removal["dynamodb"]["Keys"] = {"user_id": {"S": user_id}, "id": {"S": conversation_id}}
        removal["dynamodb"]["SequenceNumber"] = conversation_id
        sample["Records"].append(removal)
    return sample


def order_records(orders: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the event of `deliver_messages` for *orders*, rows."""
    sample = event("deliver_messages")
    (record,) = sample["Records"]
    sample["Records"] = []
    for order in orders:
        put = copy.deepcopy(record)
        keys = {name: order[name] for name in ("user_conversation", "id")}
        put["dynamodb"] |= {"Keys": keys, "NewImage": dict(order), "SequenceNumber": order["id"]["S"]}
        sample["Records"].append(put)
    return sample


def purge(*deleted: tuple[str, str], seconds: float = 300) -> list[str]:
    """Invokes `purge_messages` with `deletions`. Returns the ids that it reports as failed."""
    response = handler("purge_messages")(deletions(*deleted), Context(seconds))
    return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]


def sweep(seconds: float = 300) -> None:
    """Invokes `sweep_purges` for all partitions."""
    handler("sweep_purges")({}, Context(seconds))


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
    """Returns the event with which API Gateway invokes *endpoint* for *user*.

    Query values are lists, since a client may repeat a parameter.
    """
    proxied = event(endpoint)
    proxied["requestContext"]["authorizer"]["claims"]["sub"] = user
    proxied["multiValueQueryStringParameters"] = query
    proxied["queryStringParameters"] = {name: values[-1] for name, values in query.items()} if query else None
    for name, value in ({"Content-Type": content_type} | (headers or {})).items():
        proxied["headers"][name] = value
        proxied["multiValueHeaders"][name] = [value]
    proxied["body"] = body
    if id is not None:
        (name,) = proxied["pathParameters"]
        proxied["pathParameters"] = {name: id}
        proxied["path"] = proxied["resource"].replace(f"{{{name}}}", id)
        proxied["requestContext"]["path"] = f"/v1{proxied['path']}"
    return proxied


def call(endpoint: str, **given: Any) -> Response:
    """Calls *endpoint*. Takes the arguments of `request`."""
    return invoke(endpoint, request(endpoint, **given))


def create(user: str = "kevin", **attributes: str) -> dict[str, Any]:
    """Creates a conversation of *user*, with harry unless *attributes* are given."""
    response = call(
        "create_conversation", user=user, body=json.dumps(attributes or {"contact_id": "harry"}), content_type=JSON
    )
    assert response.status == 201, response
    conversation: dict[str, Any] = response.body
    return conversation


def send(conversation: dict[str, Any], message: str = "hello", user: str = "kevin", **more: Any) -> dict[str, Any]:
    """Creates a message of *user* in *conversation*."""
    attributes = {"conversation_id": conversation["id"], "message": message, **more}
    body = json.dumps(attributes, ensure_ascii=False)
    response = call("create_message", user=user, body=body, content_type=JSON)
    assert response.status == 201, response
    sent: dict[str, Any] = response.body
    return sent


def receive(conversation: dict[str, Any], message: str = "hello", user: str = "kevin", **more: Any) -> str:
    """Stores a message from harry to *user* in *conversation* and returns its id."""
    received = event("receive_message") | {"id": str(uuid.uuid4())}
    contents = {"user_id": user, "conversation_id": conversation["id"], "contact_id": "harry", "message": message}
    received["detail"] = contents | more
    handler("receive_message")(received, Context(25))
    id: str = entry(conversation, user)["last_message"]["id"]
    return id


def entry(conversation: dict[str, Any], user: str = "kevin") -> dict[str, Any]:
    """Returns the inbox entry of *conversation*."""
    response = call("retrieve_inbox_entry", user=user, id=conversation["id"])
    assert response.status == 200, response
    found: dict[str, Any] = response.body
    return found


def put_entry(
    conversation: dict[str, Any], /, user: str = "kevin", headers: dict[str, str] | None = None, **changes: object
) -> Response:
    """Updates the inbox entry of *conversation*."""
    body = json.dumps(changes)
    id = conversation["id"]
    return call("update_inbox_entry", user=user, id=id, body=body, content_type=JSON, headers=headers)


def list_messages(user: str = "kevin", **query: str) -> list[dict[str, Any]]:
    """Returns the first 100 messages that match *query*."""
    given = {"limit": ["100"]} | {name: [value] for name, value in query.items()}
    response = call("list_messages", user=user, query=given)
    assert response.status == 200, response
    messages: list[dict[str, Any]] = response.body["data"]
    return messages


def update(conversation: dict[str, Any], user: str = "kevin", **changes: object) -> dict[str, Any]:
    """Updates *conversation* and returns it."""
    response = call(
        "update_conversation", user=user, id=conversation["id"], body=json.dumps(changes), content_type=JSON
    )
    assert response.status == 200, response
    updated: dict[str, Any] = response.body
    return updated


def list_conversations(user: str = "kevin", **query: str) -> list[dict[str, Any]]:
    """Returns the first 100 conversations that match *query*."""
    response = call(
        "list_conversations", user=user, query={"limit": ["100"]} | {name: [value] for name, value in query.items()}
    )
    assert response.status == 200, response
    conversations: list[dict[str, Any]] = response.body["data"]
    return conversations
