"""Reads and writes the rows of the tables in moto directly."""

import functools
import os
import time
from typing import TYPE_CHECKING, Any

import boto3
from coherent import ids
from coherent.messages import orders as delivery_orders
from coherent.storage import rows
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_FINISHED = rows.values({"user_id": "inbox#preparation", "id": "progress", "started_at": 0, "finished_at": 0})


def backend() -> DynamoDBBackend:
    """Returns moto's DynamoDB of the region."""
    return dynamodb_backends[DEFAULT_ACCOUNT_ID][os.environ["AWS_DEFAULT_REGION"]]


def messages() -> list[dict[str, Any]]:
    """Returns the rows of all messages."""
    return _scanned(os.environ["MESSAGES_TABLE_NAME"])


def conversations() -> list[dict[str, Any]]:
    """Returns the rows of all conversations, without the other rows of their table."""
    found = _scanned(os.environ["CONVERSATIONS_TABLE_NAME"])
    return [row for row in found if "is_archived" in row]


def delete_message(key: dict[str, Any]) -> None:
    """Deletes the row of one message."""
    _client().delete_item(TableName=os.environ["MESSAGES_TABLE_NAME"], Key=key)


def changes(user_id: str) -> list[dict[str, Any]]:
    """Returns the rows of a user's feed in the order of their numbers, without the head."""
    found = _queried("changes", "user_id = :user", {":user": user_id})
    return [row for row in found if "event_id" in row]


def delete_change(user_id: str, number: int) -> dict[str, Any]:
    """Deletes a row of a user's feed, and returns it."""
    key = rows.values({"user_id": user_id, "number": number})
    deleted: Any = _client().delete_item(TableName="changes", Key=key, ReturnValues="ALL_OLD")["Attributes"]
    return dict(deleted)


def put_change(row: dict[str, Any]) -> None:
    """Writes a row of a feed."""
    _client().put_item(TableName="changes", Item=row)


def orders() -> list[dict[str, Any]]:
    """Returns the delivery orders that wait."""
    return _reserved_rows("deliver#", "MESSAGES_TABLE_NAME")


def put_undeliverable_order(sender: str, recipient: str) -> str:
    """Writes the first order of a pair: one without a text, which has failed for more than an hour. Returns its id."""
    pair = delivery_orders.pair(sender, recipient)
    order = {
        "user_conversation": pair.partition,
        "id": f"{pair.digest}#{'0' * 16}#{1:010}",
        "kind": "created",
        "sender": sender,
        "recipient": recipient,
        "conversation_id": "0" * 16,
        "message_id": "0" * 16,
        "ordered_at": int(time.time()) - 60 * 60 - 1,
    }
    put_rows({"messages": [rows.values(order)]})
    return str(order["id"])


def tombstones() -> list[str]:
    """Returns the message partitions that wait for their purge."""
    return [row["id"]["S"].partition("#")[2] for row in _tombstone_rows()]


def age_tombstones() -> None:
    """Makes all tombstones so old that the next sweep removes them."""
    table_name, then = os.environ["CONVERSATIONS_TABLE_NAME"], int(time.time()) - 601
    for row in _tombstone_rows():
        _client().delete_item(TableName=table_name, Key={name: row[name] for name in ("user_id", "id")})
        key = rows.values({"id": f"{then:010}#{row['id']['S'].partition('#')[2]}", "created_at": then})
        _client().put_item(TableName=table_name, Item=row | key)


def preparation() -> dict[str, Any]:
    """Returns the progress of the inbox's preparation: a row, or nothing."""
    key = {name: _FINISHED[name] for name in ("user_id", "id")}
    found = _client().get_item(TableName=os.environ["CONVERSATIONS_TABLE_NAME"], Key=key)
    return dict(found.get("Item", {}))


def age_preparation() -> None:
    """Makes the preparation so old that the next sweep prepares rows."""
    then = {"started_at": int(time.time()) - 60 * 60}
    _client().put_item(TableName=os.environ["CONVERSATIONS_TABLE_NAME"], Item=preparation() | rows.values(then))


def run_out_mutes() -> None:
    """Makes all timed mutes run out, in 1970."""
    table_name = os.environ["CONVERSATIONS_TABLE_NAME"]
    for row in [row for row in conversations() if "muted_until" in row]:
        _client().put_item(TableName=table_name, Item=row | rows.values({"muted_until": 1}))
    for row in _reserved_rows("unmute#"):
        _client().delete_item(TableName=table_name, Key={name: row[name] for name in ("user_id", "id")})
        _client().put_item(
            TableName=table_name, Item=row | rows.values({"id": f"{1:012}#{row['id']['S'].partition('#')[2]}"})
        )


def all_rows() -> list[dict[str, Any]]:
    """Returns all rows of both tables, without the progress of the inbox's preparation."""
    found = _scanned(os.environ["CONVERSATIONS_TABLE_NAME"]) + messages()
    return [row for row in found if row.get("user_id") != _FINISHED["user_id"]]


def lasting_partitions() -> set[str]:
    """Returns the partitions with rows that TTL does not delete."""
    return {row["user_id"]["S"] for row in all_rows() if "expires_at" not in row}


def user_rows(user_id: str) -> dict[str, list[dict[str, Any]]]:
    """Returns a user's rows: `conversations`, `messages`, and the reserved ones, by kind."""
    conversations_table, messages_table = os.environ["CONVERSATIONS_TABLE_NAME"], os.environ["MESSAGES_TABLE_NAME"]
    return {
        "conversations": _queried(conversations_table, "user_id = :user", {":user": user_id}),
        "messages": _queried(messages_table, "user_id = :user", {":user": user_id}, IndexName="by_user"),
        "pairs": _queried(conversations_table, "user_id = :user", {":user": f"pair#{user_id}"}),
        "deletions": [row for row in _reserved_rows("deleted#") if row["user_id"]["S"].split("#")[1] == user_id],
        "tombstones": [row for row in _tombstone_rows() if row["id"]["S"].split("#")[1] == user_id],
        "mutes": [row for row in _reserved_rows("unmute#") if row["id"]["S"].split("#")[1] == user_id],
    }


def put_rows(rows_by_kind: dict[str, list[dict[str, Any]]]) -> None:
    """Writes rows as `user_rows` returns them."""
    for name, found in rows_by_kind.items():
        for row in found:
            table = "MESSAGES_TABLE_NAME" if name == "messages" else "CONVERSATIONS_TABLE_NAME"
            _client().put_item(TableName=os.environ[table], Item=row)


def delete_user(user_id: str) -> None:
    """Deletes all rows of a user, including idempotency records, tombstones and timed mutes."""
    for table in backend().tables.values():
        for partition in list(table.items):
            if user_id in partition.value.replace("idempotency#", "").split("#"):
                del table.items[partition]
    found = user_rows(user_id)
    for row in found["tombstones"] + found["mutes"]:
        key = {name: row[name] for name in ("user_id", "id")}
        _client().delete_item(TableName=os.environ["CONVERSATIONS_TABLE_NAME"], Key=key)


def put_row(row: dict[str, Any]) -> None:
    """Writes a row of the conversations table."""
    _client().put_item(TableName=os.environ["CONVERSATIONS_TABLE_NAME"], Item=row)


def put_conversation(user_id: str) -> str:
    """Writes the row of a conversation, with the attributes that messages need, and returns its id."""
    row = {"user_id": user_id, "id": ids.new(time.time_ns()), "is_archived": 0, "is_pinned": 0, "is_muted": 0}
    _client().put_item(TableName=os.environ["CONVERSATIONS_TABLE_NAME"], Item=rows.values(row))
    return str(row["id"])


def put_message(user_id: str, conversation_id: str, message: str = "hello", attachments: object = ()) -> str:
    """Writes the row of a message, whether or not its conversation exists, and returns its id."""
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


def clear(*, is_inbox_prepared: bool = True) -> None:
    """Deletes all rows of both tables, and prepares the inbox unless *is_inbox_prepared* is False."""
    # Directly in moto: deleting row by row would take longer than most tests.
    for table in backend().tables.values():
        table.items.clear()
    if is_inbox_prepared:
        _client().put_item(TableName=os.environ["CONVERSATIONS_TABLE_NAME"], Item=_FINISHED)


def _tombstone_rows() -> list[dict[str, Any]]:
    return _reserved_rows("purge#")


def _reserved_rows(prefix: str, table_name: str = "CONVERSATIONS_TABLE_NAME") -> list[dict[str, Any]]:
    # From moto itself: a query of each partition would take longer than most tests.
    table = backend().tables[os.environ[table_name]]
    partitions = [items for partition, items in table.items.items() if partition.value.startswith(prefix)]
    return [item.to_json()["Attributes"] for items in partitions for item in items.values()]


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
    # Creating a client takes longer than most tests.
    return boto3.client("dynamodb")
