"""Block rows: the contacts that a user has blocked, in one row for each user.

It has digests of the contacts' ids, which may be long: 1,000 digests are 32 KB.
"""

from typing import TYPE_CHECKING

from coherent import errors
from coherent.storage import rows
from coherent.storage.dynamodb import translate_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from coherent.storage.dynamodb import Tables
    from coherent.storage.rows import Attributes

MAX_CONTACTS = 1000
_IS_BLOCKED = "contains(contacts, :digest)"
_IS_NOT_BLOCKED = f"(attribute_not_exists(contacts) OR NOT {_IS_BLOCKED})"
_HAS_ROOM = "(attribute_not_exists(contacts) OR size(contacts) < :max)"


def key(user_id: str) -> "Attributes":
    """Returns the key of the user's row, in a partition of the user."""
    return rows.values({"user_id": f"block#{user_id}", "id": "contacts"})


def is_blocked(tables: "Tables", user_id: str, contact_id: str) -> bool:
    """Returns whether the user blocks the contact. Raises `errors.Unavailable`."""
    with translate_errors():
        response = tables.client.get_item(TableName=tables.conversations, Key=key(user_id), ConsistentRead=True)
    return contains(response.get("Item"), contact_id)


def contains(row: "Attributes | None", contact_id: str | None) -> bool:
    """Returns whether *row*, a block row or None, has the contact. False without a contact."""
    return contact_id is not None and rows.digest(contact_id) in _digests(row)


def write(
    table_name: str, user_id: str, contact_id: str, row: "Attributes | None", *, is_blocked: bool
) -> "TransactWriteItemTypeDef":
    """Returns the write of a transaction that blocks or unblocks the contact, or checks it if there is no change.

    The write fails if the contact was blocked or unblocked after *row*, the user's block row, was read. Raises
    `errors.InvalidRequest` if the user blocks as many contacts as possible.
    """
    was_blocked, digest = contains(row, contact_id), rows.digest(contact_id)
    values: Attributes = {":digest": {"S": digest}}
    condition = _IS_BLOCKED if was_blocked else _IS_NOT_BLOCKED
    if is_blocked == was_blocked:
        return {
            "ConditionCheck": {
                "TableName": table_name,
                "Key": key(user_id),
                "ConditionExpression": condition,
                "ExpressionAttributeValues": values,
            }
        }
    if is_blocked:
        if len(_digests(row)) >= MAX_CONTACTS:
            raise errors.InvalidRequest(f"is_blocked: must not be true for more than {MAX_CONTACTS:,} contacts")
        condition = f"{condition} AND {_HAS_ROOM}"
        values[":max"] = rows.value(MAX_CONTACTS)
    return {
        "Update": {
            "TableName": table_name,
            "Key": key(user_id),
            "UpdateExpression": f"{'ADD' if is_blocked else 'DELETE'} contacts :digests",
            "ConditionExpression": condition,
            "ExpressionAttributeValues": values | {":digests": {"SS": [digest]}},
        }
    }


def _digests(row: "Attributes | None") -> "Sequence[str]":
    return row["contacts"]["SS"] if row is not None and "contacts" in row else ()
