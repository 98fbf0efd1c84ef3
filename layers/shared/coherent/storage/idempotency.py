"""Idempotency records: what a user's key created, kept for 24 hours beside the conversations."""

import hashlib
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from coherent import errors
from coherent.storage import rows

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from coherent.storage.rows import Attributes

_SECONDS = 24 * 60 * 60

# TTL deletion may be days late, so expired records count as absent.
_IS_NEW_OR_EXPIRED = f"{rows.IS_NEW} OR expires_at <= :now"


def put_record(  # noqa: PLR0913 - the parts of a record
    user_id: str,
    key: str,
    attributes: Mapping[str, object],
    row: "Attributes",
    table_name: str,
    *,
    is_found: bool = False,
) -> "TransactWriteItemTypeDef":
    """Returns the write that records *key* together with the *row* that was created from *attributes*.

    With *is_found* the row existed before, and the record keeps it as it is now. The write's condition fails if the key
    is in use.
    """
    # Not the creation time, which is ahead if another clock was.
    now = int(time.time())
    item = rows.values(
        {
            # A partition of its own: lists of conversations never read it.
            "user_id": f"idempotency#{user_id}",
            "id": key,
            "digest": hashlib.sha256(json.dumps(attributes, sort_keys=True).encode()).hexdigest(),
            "expires_at": now + _SECONDS,
        }
    )
    return {
        "Put": {
            "TableName": table_name,
            "Item": item
            | {"made_id": row["id"], "created_at": row["created_at"]}
            | ({"found": {"M": row}} if is_found else {}),
            "ConditionExpression": _IS_NEW_OR_EXPIRED,
            "ExpressionAttributeValues": {":now": rows.value(now)},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
    }


def original(record: "Attributes", write: "TransactWriteItemTypeDef") -> "Attributes":
    """Returns the id and creation time of the resource that the key created, or the whole row that it found.

    *record* is the existing record, and *write* is the one that failed because of it. Raises
    `errors.IdempotencyKeyReused` if their attributes differ.
    """
    if record["digest"] != write["Put"]["Item"]["digest"]:
        raise errors.IdempotencyKeyReused
    if "found" in record:
        return cast("Attributes", record["found"]["M"])
    return {"id": record["made_id"], "created_at": record["created_at"]}
