"""Idempotency keys: what a user's key was used for, kept for a day beside the conversations."""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from coherent import errors, rows

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from coherent.rows import Attributes

_SECONDS = 24 * 60 * 60

# DynamoDB removes what has expired within days, so until then it has to be looked past.
_IS_NEW_OR_EXPIRED = f"{rows.IS_NEW} OR expires_at <= :now"


def record(
    user_id: str, key: str, attributes: Mapping[str, object], made: "Attributes", table_name: str
) -> "TransactWriteItemTypeDef":
    """The write that remembers *key* together with the row *made* of *attributes*; it fails where the key is in use."""
    now = int(made["created_at"]["N"])
    item = rows.values(
        {
            # In a partition of its own: a record is no conversation and must never be listed.
            "user_id": f"idempotency#{user_id}",
            "id": key,
            "digest": hashlib.sha256(json.dumps(attributes, sort_keys=True).encode()).hexdigest(),
            "expires_at": now + _SECONDS,
        }
    )
    return {
        "Put": {
            "TableName": table_name,
            "Item": item | {"made_id": made["id"], "created_at": made["created_at"]},
            "ConditionExpression": _IS_NEW_OR_EXPIRED,
            "ExpressionAttributeValues": {":now": rows.value(now)},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
    }


def first_made(earlier: "Attributes", write: "TransactWriteItemTypeDef") -> "Attributes":
    """Id and time of what the key was used for at first, by the record met *earlier* by the same *write*.

    Raises `errors.IdempotencyKeyReused` if the attributes were others then.
    """
    if earlier["digest"] != write["Put"]["Item"]["digest"]:
        raise errors.IdempotencyKeyReused
    return {"id": earlier["made_id"], "created_at": earlier["created_at"]}
