"""The table of conversations by boto3's low-level client, for all frameworks; each has a copy beside its app."""

import os
import time
from typing import Any

import boto3

client = boto3.client("dynamodb")
TABLE = os.environ["CONVERSATIONS_TABLE_NAME"]


def page(user_id: str, limit: int, starting_after: str | None) -> dict[str, Any]:
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
    return {"has_more": len(found) > limit, "data": [conversation(row) for row in found[:limit]]}


def retrieve(user_id: str, id: str) -> dict[str, Any] | None:
    row = client.get_item(TableName=TABLE, Key=key(user_id, id), ConsistentRead=True).get("Item")
    return conversation(row) if row else None


def create(user_id: str, new: dict[str, str]) -> dict[str, Any]:
    now_ns = time.time_ns()
    row: dict[str, Any] = {"user_id": {"S": user_id}, "id": {"S": f"{now_ns:016x}"}, "version": {"N": "1"}}
    row |= {name: {"N": "0"} for name in ("is_archived", "is_pinned", "is_muted")}
    row |= {"created_at": {"N": str(now_ns // 1_000_000_000)}} | {name: {"S": value} for name, value in new.items()}
    if "group_id" in new:
        row["owner_group"] = {"S": f"{user_id}#{new['group_id']}"}
    client.put_item(TableName=TABLE, Item=row, ConditionExpression="attribute_not_exists(id)")
    return conversation(row)


def update(user_id: str, id: str, changes: dict[str, Any]) -> dict[str, Any] | None:
    if "archived_at" in changes:
        changes["is_archived"] = changes["archived_at"] is not None
    assigned, removed, values = ["version = version + :one"], [], {":one": {"N": "1"}}
    for name, value in changes.items():
        if value is None:
            removed.append(name)
        else:
            assigned.append(f"{name} = :{name}")
            values[f":{name}"] = {"S": value} if isinstance(value, str) else {"N": str(int(value))}
    try:
        row = client.update_item(
            TableName=TABLE,
            Key=key(user_id, id),
            UpdateExpression=f"SET {', '.join(assigned)}" + (f" REMOVE {', '.join(removed)}" if removed else ""),
            ExpressionAttributeValues=values,
            ConditionExpression="attribute_exists(id)",
            ReturnValues="ALL_NEW",
        )["Attributes"]
    except client.exceptions.ConditionalCheckFailedException:
        return None
    return conversation(row)


def delete(user_id: str, id: str) -> bool:
    try:
        client.delete_item(TableName=TABLE, Key=key(user_id, id), ConditionExpression="attribute_exists(id)")
    except client.exceptions.ConditionalCheckFailedException:
        return False
    return True


def existing(found: Any, error: Exception) -> Any:
    if not found:
        raise error
    return found


def key(user_id: str, id: str) -> dict[str, Any]:
    return {"user_id": {"S": user_id}, "id": {"S": id}}


def conversation(row: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": row["id"]["S"]}
    shown |= {name: row[name]["S"] if name in row else None for name in ("contact_id", "group_id", "pinned_message_id")}
    shown |= {name: row[name]["N"] == "1" for name in ("is_pinned", "is_muted")}
    times = ("last_active_at", "last_opened_at", "created_at", "archived_at")
    return shown | {name: int(row[name]["N"]) if name in row else None for name in times}
