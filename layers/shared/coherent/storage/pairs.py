"""Pair rows: the newest conversation of a user with one contact in one group, or without a group.

Every create points the row at the new conversation. Deleting a conversation leaves the row as it is.
"""

import hashlib
import json
from typing import TYPE_CHECKING

from coherent.storage import rows
from coherent.storage.dynamodb import translate_errors

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from coherent.storage.dynamodb import Tables
    from coherent.storage.rows import Attributes


def key(user_id: str, contact_id: str | None, group_id: str | None) -> "Attributes":
    """Returns the key of the pair's row, in a partition of the user.

    A digest, since both names together can exceed the 1,024 bytes of a sort key, and may contain any separator.
    """
    digest = hashlib.sha256(json.dumps([contact_id, group_id]).encode()).hexdigest()
    return rows.values({"user_id": f"pair#{user_id}", "id": digest})


def newest(tables: "Tables", key: "Attributes") -> str | None:
    """Returns the id of the pair's newest conversation, which may be deleted, or None if there was none."""
    with translate_errors():
        response = tables.client.get_item(TableName=tables.conversations, Key=key, ConsistentRead=True)
    return response["Item"]["conversation_id"]["S"] if "Item" in response else None


def point(table_name: str, key: "Attributes", conversation_id: str) -> "TransactWriteItemTypeDef":
    """Returns the write that points the pair's row at a conversation."""
    row = key | rows.values({"conversation_id": conversation_id})
    return {"Put": {"TableName": table_name, "Item": row}}


def point_if_unchanged(
    table_name: str, key: "Attributes", conversation_id: str, known: str | None
) -> "TransactWriteItemTypeDef":
    """Returns the write of `point`. It fails unless the row still points at *known*, or, if that is None, is absent."""
    write = point(table_name, key, conversation_id)
    write["Put"]["ConditionExpression"] = rows.IS_NEW if known is None else "conversation_id = :known"
    if known is not None:
        write["Put"]["ExpressionAttributeValues"] = rows.values({":known": known})
    return write
