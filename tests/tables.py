"""What the tables hold, and what only a test puts into them."""

import functools
import os
import time
from typing import TYPE_CHECKING, Any

import boto3
from coherent import ids
from coherent.storage import rows
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def messages() -> list[dict[str, Any]]:
    """The rows of all messages."""
    return _scanned(os.environ["MESSAGES_TABLE_NAME"])


def conversations() -> list[dict[str, Any]]:
    """The rows of all conversations."""
    found = _scanned(os.environ["CONVERSATIONS_TABLE_NAME"])
    return [row for row in found if "is_archived" in row]


def delete_message(key: dict[str, Any]) -> None:
    """Removes one."""
    _client().delete_item(TableName=os.environ["MESSAGES_TABLE_NAME"], Key=key)


def tombstones() -> list[str]:
    """The partitions that are yet to be purged."""
    found = _scanned(os.environ["CONVERSATIONS_TABLE_NAME"])
    return [row["id"]["S"] for row in found if row["user_id"]["S"] == "purge"]


def age_tombstones() -> None:
    """Makes all orders to purge as old as they have to be before they are finished for good."""
    for partition in tombstones():
        _client().update_item(
            TableName=os.environ["CONVERSATIONS_TABLE_NAME"],
            Key=rows.values({"user_id": "purge", "id": partition}),
            UpdateExpression="SET created_at = :then",
            ExpressionAttributeValues=rows.values({":then": int(time.time()) - 601}),
        )


def everything() -> list[dict[str, Any]]:
    """Every row of both."""
    return _scanned(os.environ["CONVERSATIONS_TABLE_NAME"]) + messages()


def of_user(user_id: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of a user's conversations and messages, and of the orders to purge what was theirs."""
    conversations_table, messages_table = os.environ["CONVERSATIONS_TABLE_NAME"], os.environ["MESSAGES_TABLE_NAME"]
    return {
        "conversations": _queried(conversations_table, "user_id = :user", {":user": user_id}),
        "messages": _queried(messages_table, "user_id = :user", {":user": user_id}, IndexName="by_user"),
        "tombstones": _queried(
            conversations_table,
            "user_id = :purge AND begins_with(id, :user)",
            {":purge": "purge", ":user": f"{user_id}#"},
        ),
    }


def put(of_user: dict[str, list[dict[str, Any]]]) -> None:
    """Stores the rows of a user's conversations and messages, as `of_user` has them."""
    for name, found in of_user.items():
        for row in found:
            table = "MESSAGES_TABLE_NAME" if name == "messages" else "CONVERSATIONS_TABLE_NAME"
            _client().put_item(TableName=os.environ[table], Item=row)


def forget(user_id: str) -> None:
    """Removes all that a user has and had."""
    for table in dynamodb_backends[DEFAULT_ACCOUNT_ID][os.environ["AWS_DEFAULT_REGION"]].tables.values():
        for partition in list(table.items):
            if user_id in partition.value.replace("idempotency#", "").split("#"):
                del table.items[partition]
    for tombstone in of_user(user_id)["tombstones"]:
        key = {name: tombstone[name] for name in ("user_id", "id")}
        _client().delete_item(TableName=os.environ["CONVERSATIONS_TABLE_NAME"], Key=key)


def put_conversation(user_id: str) -> str:
    """Stores a conversation, as far as messages need one, and returns its id."""
    row = {"user_id": user_id, "id": ids.new(time.time_ns()), "is_archived": 0, "is_pinned": 0, "is_muted": 0}
    _client().put_item(TableName=os.environ["CONVERSATIONS_TABLE_NAME"], Item=rows.values(row))
    return str(row["id"])


def put_message(user_id: str, conversation_id: str, message: str = "hello", attachments: object = ()) -> str:
    """Stores a message as the service does, whether or not there is its conversation, and returns its id."""
    now_ns = time.time_ns()
    row = {
        "user_conversation": rows.user_conversation(user_id, conversation_id),
        "id": ids.new(now_ns),
        "user_id": user_id,
        "conversation_id": conversation_id,
        "message": message,
        "attachments": attachments or [],
        "reactions": [],
        "created_at": now_ns // 1_000_000_000,
        "version": 1,
    }
    _client().put_item(TableName=os.environ["MESSAGES_TABLE_NAME"], Item=rows.values(row))
    return str(row["id"])


def clear() -> None:
    """Empties them."""
    # In moto itself: row by row would take longer than most tests.
    for table in dynamodb_backends[DEFAULT_ACCOUNT_ID][os.environ["AWS_DEFAULT_REGION"]].tables.values():
        table.items.clear()


def _scanned(table_name: str) -> list[dict[str, Any]]:
    pages = _client().get_paginator("scan").paginate(TableName=table_name)
    found: list[Any] = [row for page in pages for row in page["Items"]]
    return found


def _queried(table_name: str, condition: str, values: dict[str, object], **more: Any) -> list[dict[str, Any]]:
    pages = (
        _client()
        .get_paginator("query")
        .paginate(
            TableName=table_name,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=rows.values(values),
            **more,
        )
    )
    found: list[Any] = [row for page in pages for row in page["Items"]]
    return found


@functools.cache
def _client() -> "DynamoDBClient":
    # Making one takes longer than most tests.
    return boto3.client("dynamodb")
