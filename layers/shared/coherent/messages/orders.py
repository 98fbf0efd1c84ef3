"""Delivery orders: what a user's message, edit, reaction or deletion must still change in the mailbox of a contact.

An order is a row that the same transaction writes as the change itself. It is deleted by the transaction that applies
it, so it is applied exactly once, by however many workers. Orders of one pair sort as they must be applied: by message,
which is the order of sending in a conversation, then by the message's version.
"""

import json
import time
import zlib
from typing import TYPE_CHECKING, NamedTuple

from coherent import errors
from coherent.messages.row import own_reactions
from coherent.storage import rows
from coherent.storage.dynamodb import translate_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb.type_defs import QueryOutputTypeDef, TransactWriteItemTypeDef

    from coherent.storage.dynamodb import Tables
    from coherent.storage.rows import Attributes

# One partition takes only 1,000 write units a second.
PARTITIONS = tuple(f"deliver#{number:02}" for number in range(16))
# The attributes of a message that its copy shares.
_CONTENT = ("message", "attachments", "created_at", "updated_at")
# In the place of the version: sorts after all of them.
_DELETION = 9_999_999_999
_PAGE = 25


class Pair(NamedTuple):
    """A sender and a recipient: the partition and the start of the sort key of their orders."""

    partition: str
    digest: str


def pair(sender: str, recipient: str) -> Pair:
    """Returns the pair of two users."""
    digest = rows.digest(json.dumps([sender, recipient]))
    return Pair(PARTITIONS[zlib.crc32(digest.encode()) % len(PARTITIONS)], digest)


def pair_of(order: "Attributes") -> Pair:
    """Returns the pair of *order*, a row or its key."""
    return Pair(order["user_conversation"]["S"], order["id"]["S"].partition("#")[0])


def recipient(message: "Attributes", conversation: "Attributes") -> str | None:
    """Returns who may have a copy of *message*, a row: the contact of the user's own message, or its sender.

    Returns None in a conversation with a group alone or with oneself, and if a contact's message came from outside.
    """
    if "contact_id" in message:
        return message["contact_id"]["S"] if "origin_id" in message else None
    contact_id = rows.text(conversation, "contact_id")
    return None if contact_id == message["user_id"]["S"] else contact_id


def creation(table_name: str, message: "Attributes", conversation: "Attributes", to: str) -> "TransactWriteItemTypeDef":
    """Returns the write that orders a copy of a new *message* for the user *to*."""
    group = {"group_id": conversation["group_id"]} if "group_id" in conversation else {}
    content = rows.values({"kind": "created"}) | group | _content(message)
    return _put(table_name, message, to, rows.version(message), content)


def change(table_name: str, before: "Attributes", message: "Attributes", to: str) -> "TransactWriteItemTypeDef":
    """Returns the write that orders the copy of *message*, which was the row *before*, to follow it.

    The copy of a contact's message is the contact's own row: only the user's reactions change there. The order has no
    text if that has not changed, and no reactions likewise: what was not delivered because of a block stays so.
    """
    content = rows.values({"kind": "changed"})
    if own_reactions(before) != own_reactions(message):
        content["reactions"] = rows.value(own_reactions(message))
    if "contact_id" in message:
        content |= {name: message[name] for name in ("origin_id", "origin_conversation_id")}
    elif _content(before) != _content(message):
        content |= _content(message)
    return _put(table_name, message, to, rows.version(message), content)


def deletion(table_name: str, message: "Attributes", to: str) -> "TransactWriteItemTypeDef":
    """Returns the write that orders the deletion of the copy of *message*."""
    return _put(table_name, message, to, _DELETION, rows.values({"kind": "deleted"}))


def completion(table_name: str, order: "Attributes") -> "TransactWriteItemTypeDef":
    """Returns the write that deletes *order* in the transaction that applies it. It fails if another one applied it."""
    return {"Delete": {"TableName": table_name, "Key": _key(order), "ConditionExpression": rows.EXISTS}}


def waiting(tables: "Tables", pair: Pair) -> "tuple[list[Attributes], bool]":
    """Returns the first orders of *pair* as they must be applied, at most 25, and whether more wait.

    Raises `errors.Unavailable`.
    """
    found = _query(tables, pair, f"{pair.digest}$")
    if not found["Items"]:
        return [], False
    # A Query is no snapshot: it can return an order and miss the one before it, if both are put meanwhile. The missed
    # one was put first, so a second Query returns it.
    complete = _query(tables, pair, found["Items"][-1]["id"]["S"])
    return complete["Items"], "LastEvaluatedKey" in found or "LastEvaluatedKey" in complete


def pairs(tables: "Tables", partition: str) -> "Iterator[Pair]":
    """Yields the pairs that have orders in *partition*. Raises `errors.Unavailable`."""
    after = "0"
    while True:
        with translate_errors():
            response = tables.client.query(
                TableName=tables.messages,
                KeyConditionExpression="user_conversation = :partition AND id > :after",
                ExpressionAttributeValues=rows.values({":partition": partition, ":after": after}),
                ProjectionExpression="user_conversation, id",
                ConsistentRead=True,
                Limit=1,
            )
        if not response["Items"]:
            return
        found = pair_of(response["Items"][0])
        yield found
        # "$" comes after "#".
        after = f"{found.digest}$"


def is_waiting(tables: "Tables", order: "Attributes") -> bool:
    """Returns whether *order* has not been applied yet. Raises `errors.Unavailable`."""
    with translate_errors():
        response = tables.client.get_item(TableName=tables.messages, Key=_key(order), ConsistentRead=True)
    return "Item" in response


def drop(tables: "Tables", order: "Attributes") -> None:
    """Deletes *order* without applying it. Raises `errors.Unavailable`."""
    with translate_errors():
        tables.client.delete_item(TableName=tables.messages, Key=_key(order))


def origin_key(user_id: str, origin_id: str) -> "Attributes":
    """Returns the key of the origin row, which says where the user's copy of a contact's message is."""
    return rows.values({"user_conversation": f"{user_id}#origins", "id": origin_id})


def copy_location(tables: "Tables", order: "Attributes") -> "Attributes":
    """Returns `conversation_id` and `copy_id` of the recipient's copy. Raises `errors.NotFound`."""
    key = origin_key(order["recipient"]["S"], order["message_id"]["S"])
    with translate_errors():
        response = tables.client.get_item(TableName=tables.messages, Key=key, ConsistentRead=True)
    if "Item" not in response:
        raise errors.NotFound("message")
    return response["Item"]


def _query(tables: "Tables", pair: Pair, last: str) -> "QueryOutputTypeDef":
    """Returns the first orders of *pair* up to the sort key *last*."""
    with translate_errors():
        return tables.client.query(
            TableName=tables.messages,
            KeyConditionExpression="user_conversation = :partition AND id BETWEEN :first AND :last",
            ExpressionAttributeValues=rows.values(
                {":partition": pair.partition, ":first": f"{pair.digest}#", ":last": last}
            ),
            ConsistentRead=True,
            Limit=_PAGE,
        )


def _content(message: "Attributes") -> "Attributes":
    return {name: message[name] for name in _CONTENT if name in message}


def _put(
    table_name: str, message: "Attributes", to: str, version: int, content: "Attributes"
) -> "TransactWriteItemTypeDef":
    sender = message["user_id"]["S"]
    partition, digest = pair(sender, to)
    order = {
        "user_conversation": partition,
        "id": f"{digest}#{message['id']['S']}#{version:010}",
        "sender": sender,
        "recipient": to,
        "conversation_id": message["conversation_id"]["S"],
        "message_id": message["id"]["S"],
        "ordered_at": int(time.time()),
    }
    return {"Put": {"TableName": table_name, "Item": rows.values(order) | content}}


def _key(order: "Attributes") -> "Attributes":
    return {name: order[name] for name in ("user_conversation", "id")}
