"""Chalice: its routes and requests; it validates nothing, so what is checked here is checked by hand."""

import os
import time
from typing import Any

import boto3
from chalice import BadRequestError, Chalice, NotFoundError, Response

app = handler = Chalice(app_name="conversations")
client = boto3.client("dynamodb")
TABLE = os.environ["CONVERSATIONS_TABLE_NAME"]
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


def page(user_id: str, limit: int, starting_after: str | None) -> dict[str, Any]:
    """The newest conversations, or those that come after one."""
    condition, values = "user_id = :user_id", {":user_id": {"S": user_id}}
    if starting_after is not None:
        condition += " AND id < :cursor"
        values[":cursor"] = {"S": starting_after}
    found = client.query(
        TableName=TABLE,
        KeyConditionExpression=condition,
        ExpressionAttributeValues=values,
        ScanIndexForward=False,
        Limit=limit + 1,
        ConsistentRead=True,
    )["Items"]
    return {"has_more": len(found) > limit, "data": [shown(row) for row in found[:limit]]}


def create(user_id: str, given: dict[str, str]) -> dict[str, Any]:
    """A new conversation."""
    now_ns = time.time_ns()
    row: dict[str, Any] = {
        "user_id": {"S": user_id},
        "id": {"S": f"{now_ns:016x}"},
        "is_archived": {"N": "0"},
        "is_pinned": {"N": "0"},
        "is_muted": {"N": "0"},
        "created_at": {"N": str(now_ns // 1_000_000_000)},
        "version": {"N": "1"},
    }
    for name, value in given.items():
        row[name] = {"S": value}
    if "group_id" in given:
        row["owner_group"] = {"S": f"{user_id}#{given['group_id']}"}
    client.put_item(TableName=TABLE, Item=row, ConditionExpression="attribute_not_exists(id)")
    return shown(row)


def update(key: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The conversation with *changes* made to it."""
    if "archived_at" in changes:
        changes["is_archived"] = changes["archived_at"] is not None
    assigned, removed, values = ["version = version + :one"], [], {":one": {"N": "1"}}
    for name, value in changes.items():
        if value is None:
            removed.append(name)
        else:
            assigned.append(f"{name} = :{name}")
            values[f":{name}"] = {"S": value} if isinstance(value, str) else {"N": str(int(value))}
    expression = f"SET {', '.join(assigned)}"
    if removed:
        expression += f" REMOVE {', '.join(removed)}"
    row = client.update_item(
        TableName=TABLE,
        Key=key,
        UpdateExpression=expression,
        ExpressionAttributeValues=values,
        ConditionExpression="attribute_exists(id)",
        ReturnValues="ALL_NEW",
    )["Attributes"]
    return shown(row)


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """The conversation of *row* as clients see it."""
    return {
        "id": row["id"]["S"],
        "contact_id": text(row, "contact_id"),
        "group_id": text(row, "group_id"),
        "pinned_message_id": text(row, "pinned_message_id"),
        "is_pinned": row["is_pinned"]["N"] == "1",
        "is_muted": row["is_muted"]["N"] == "1",
        "last_active_at": seconds(row, "last_active_at"),
        "last_opened_at": seconds(row, "last_opened_at"),
        "created_at": seconds(row, "created_at"),
        "archived_at": seconds(row, "archived_at"),
    }


def text(row: dict[str, Any], name: str) -> str | None:
    """A text of *row*."""
    return row[name]["S"] if name in row else None


def seconds(row: dict[str, Any], name: str) -> int | None:
    """A time of *row*."""
    return int(row[name]["N"]) if name in row else None
