"""Chalice: its routes and requests. Chalice validates nothing, so this app does."""

from typing import Any

import table
from chalice import BadRequestError, Chalice, NotFoundError, Response

app = handler = Chalice(app_name="conversations")
NOT_FOUND = NotFoundError("no such conversation")
NEW = {"contact_id", "group_id"}
CHANGES = {"pinned_message_id", "is_pinned", "is_muted", "archived_at", "last_opened_at"}


@app.route("/conversations", methods=["GET"])
def list_conversations() -> dict[str, Any]:
    query = app.current_request.query_params or {}
    limit = query.get("limit", "10")
    if not limit.isdecimal() or not 1 <= int(limit) <= 100:
        raise BadRequestError("limit: must be an integer between 1 and 100")
    return table.page(user_id(), int(limit), query.get("starting_after"))


@app.route("/conversations", methods=["POST"])
def create_conversation() -> Response:
    return Response(table.create(user_id(), body(NEW)), status_code=201)


@app.route("/conversations/{id}", methods=["GET"])
def retrieve_conversation(id: str) -> dict[str, Any]:
    return table.existing(table.retrieve(user_id(), id), NOT_FOUND)


@app.route("/conversations/{id}", methods=["PUT"])
def update_conversation(id: str) -> dict[str, Any]:
    return table.existing(table.update(user_id(), id, body(CHANGES)), NOT_FOUND)


@app.route("/conversations/{id}", methods=["DELETE"])
def delete_conversation(id: str) -> Response:
    table.existing(table.delete(user_id(), id), NOT_FOUND)
    return Response("", status_code=204)


def user_id() -> str:
    return str(app.current_request.context["authorizer"]["claims"]["sub"])


def body(known: set[str]) -> dict[str, Any]:
    given: dict[str, Any] = app.current_request.json_body
    if not isinstance(given, dict) or not given.keys() <= known:
        raise BadRequestError(f"body: must be an object of {', '.join(sorted(known))}")
    return given
