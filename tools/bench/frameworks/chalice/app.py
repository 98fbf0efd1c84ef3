"""Chalice: its routes and requests; it validates nothing, so what is checked here is checked by hand."""

from typing import Any

from chalice import BadRequestError, Chalice, NotFoundError, Response
from table import TABLE, client, create, page, shown, update

app = handler = Chalice(app_name="conversations")
NEW = {"contact_id", "group_id"}
CHANGES = {"pinned_message_id", "is_pinned", "is_muted", "archived_at", "last_opened_at"}


@app.route("/conversations", methods=["GET"])
def list_conversations() -> dict[str, Any]:
    """One page."""
    query = app.current_request.query_params or {}
    limit = query.get("limit", "10")
    if not limit.isdecimal() or not 1 <= int(limit) <= 100:
        raise BadRequestError("limit: must be an integer between 1 and 100")
    return page(user_id(), int(limit), query.get("starting_after"))


@app.route("/conversations", methods=["POST"])
def create_conversation() -> Response:
    """A new one."""
    return Response(create(user_id(), body(NEW)), status_code=201)


@app.route("/conversations/{id}", methods=["GET"])
def retrieve_conversation(id: str) -> dict[str, Any]:
    """One."""
    found = client.get_item(TableName=TABLE, Key=key(id), ConsistentRead=True)
    if "Item" not in found:
        raise NotFoundError("no such conversation")
    return shown(found["Item"])


@app.route("/conversations/{id}", methods=["PUT"])
def update_conversation(id: str) -> dict[str, Any]:
    """One, changed."""
    try:
        return update(key(id), body(CHANGES))
    except client.exceptions.ConditionalCheckFailedException:
        raise NotFoundError("no such conversation") from None


@app.route("/conversations/{id}", methods=["DELETE"])
def delete_conversation(id: str) -> Response:
    """Deletes one."""
    try:
        client.delete_item(TableName=TABLE, Key=key(id), ConditionExpression="attribute_exists(id)")
    except client.exceptions.ConditionalCheckFailedException:
        raise NotFoundError("no such conversation") from None
    return Response("", status_code=204)


def user_id() -> str:
    """Who asks."""
    return str(app.current_request.context["authorizer"]["claims"]["sub"])


def body(known: set[str]) -> dict[str, Any]:
    """The attributes given, all of them *known*."""
    given: dict[str, Any] = app.current_request.json_body
    if not isinstance(given, dict) or not given.keys() <= known:
        raise BadRequestError(f"body: must be an object of {', '.join(sorted(known))}")
    return given


def key(id: str) -> dict[str, Any]:
    """The key of a conversation of who asks."""
    return {"user_id": {"S": user_id()}, "id": {"S": id}}
