"""The table of conversations by boto3's low-level client, the same for each contender, which has a copy beside it."""

import os
import time
from typing import Any

import boto3

client = boto3.client("dynamodb")
TABLE = os.environ["CONVERSATIONS_TABLE_NAME"]


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
