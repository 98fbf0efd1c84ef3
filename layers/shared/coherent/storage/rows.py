"""What the rows of both tables share: attribute values, versions, conditions and pages."""

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, TypedDict, TypeVar, cast

from botocore.exceptions import ClientError

from coherent import errors, ids
from coherent.preconditions import Preconditions
from coherent.storage.client import is_ambiguous
from coherent.storage.dynamodb import retry_conflicts

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, QueryInputTypeDef, TransactWriteItemTypeDef

    from coherent.parameters import PageParameters

    Attributes = dict[str, AttributeValueTypeDef]

    class Reason(TypedDict, total=False):
        """Why a write failed, and the row on which its condition failed. The code is `None` if it did not fail."""

        Code: str
        Item: Attributes


R = TypeVar("R")

# Without this condition an update would create a missing row, and a delete of one would look like success.
EXISTS = "attribute_exists(id)"
IS_NEW = "attribute_not_exists(id)"
# A timed mute has run out although no write has lifted it yet. Only conversations have `muted_until`.
IS_MUTE_OVER = "muted_until <= :now"
IS_MUTE_NOT_OVER = "(attribute_not_exists(muted_until) OR muted_until > :now)"
_IS_LATEST_WRITE = "(attribute_not_exists(written_by) OR written_by < :written_by)"
_ATTEMPTS = 5


class Page(NamedTuple, Generic[R]):
    """The resources of a page, newest first, and whether another page follows in the same direction."""

    data: list[R]
    has_more: bool


class Version(NamedTuple, Generic[R]):
    """A resource and its version number: 1, and one more after each change."""

    resource: R
    number: int


class Creation(NamedTuple, Generic[R]):
    """A created resource.

    *is_replay* if an earlier request with the same idempotency key returned it, *is_found* if it existed before.
    """

    version: Version[R]
    is_replay: bool
    is_found: bool = False


class Update(TypedDict):
    """The expressions and values of an UpdateItem."""

    UpdateExpression: str
    ConditionExpression: str
    ExpressionAttributeValues: "Attributes"


class Clauses(NamedTuple):
    """Parts of an update: assignments such as `a = :a`, names to remove, conditions, and the values of both."""

    assignments: Sequence[str] = ()
    removed: Sequence[str] = ()
    conditions: Sequence[str] = ()
    values: Mapping[str, object] = {}


_NO_CLAUSES = Clauses()


def value(plain: object) -> "AttributeValueTypeDef":
    """Returns *plain*, JSON with whole numbers, as an attribute value.

    Booleans become the numbers 0 and 1, since a key attribute cannot be a BOOL.
    """
    if plain is None:
        return {"NULL": True}
    if isinstance(plain, str):
        return {"S": plain}
    if isinstance(plain, list):
        return {"L": [value(element) for element in plain]}
    if isinstance(plain, dict):
        return {"M": values(plain)}
    return {"N": str(int(cast("int", plain)))}


def values(plain: Mapping[str, object]) -> "Attributes":
    """Returns each value of *plain* as `value` does."""
    return {name: value(element) for name, element in plain.items()}


def text(row: "Attributes", name: str) -> str | None:
    """Returns the string attribute *name* of *row*, or None if it is absent."""
    return row[name]["S"] if name in row else None


def number(row: "Attributes", name: str) -> int | None:
    """Returns the integer attribute *name* of *row*, or None if it is absent."""
    return int(row[name]["N"]) if name in row else None


def plain(attribute: "AttributeValueTypeDef") -> object:
    """Returns *attribute* as JSON: the inverse of `value`, except for booleans."""
    ((kind, content),) = attribute.items()
    if kind == "N":
        return int(cast("str", content))
    if kind == "L":
        return [plain(element) for element in cast("Iterable[AttributeValueTypeDef]", content)]
    if kind == "M":
        return {name: plain(element) for name, element in cast("Attributes", content).items()}
    return None if kind == "NULL" else content


def digest(name: str) -> str:
    """Returns 32 hexadecimal digits for a key that must not contain *name*, which may be long and has any separator."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def user_conversation(user_id: str, conversation_id: str) -> str:
    """Returns the partition key of a conversation's messages.

    It includes the user id, so users cannot read each other's rows.
    """
    return f"{user_id}#{conversation_id}"


def deleted_messages(user_id: str, conversation_id: str) -> str:
    """Returns the partition key of the ids of a conversation's deleted messages, beside the conversations."""
    return f"deleted#{user_id}#{conversation_id}"


def owner_group(user_id: str, group_id: str) -> str:
    """Returns the first partition key of the indexes of a user's groups."""
    # A Cognito `sub` has no "#", so the values of two users never collide.
    return f"{user_id}#{group_id}"


def is_mute_over(row: "Attributes") -> bool:
    """Returns whether a timed mute of the conversation has run out and waits to be lifted."""
    return "muted_until" in row and int(row["muted_until"]["N"]) <= time.time()


def version(row: "Attributes") -> int:
    """Returns the version of the resource that *row* shows.

    A timed mute that runs out changes the resource without a write, and so counts as a change.
    """
    return int(row["version"]["N"]) + is_mute_over(row)


def condition(preconditions: Preconditions) -> "tuple[str, Attributes]":
    """Returns a ConditionExpression and its values: the row exists, and *preconditions* allow its version."""
    expressions = [EXISTS]
    bound: dict[str, object] = {}
    named = {"allowed": preconditions.allowed, "forbidden": preconditions.forbidden or None}
    for name, versions in named.items():
        if versions is None:
            continue
        # Short names: 100 ETags in each header must fit in the 4 KB of an expression.
        shown = {f":{name[0]}{place}": number for place, number in enumerate(versions)}
        stored = {f":{name[0]}{place}_": number - 1 for place, number in enumerate(versions)}
        expression = (
            f"({IS_MUTE_NOT_OVER} AND version IN ({', '.join(shown)}) "
            f"OR {IS_MUTE_OVER} AND version IN ({', '.join(stored)}))"
        )
        expressions.append(f"NOT {expression}" if name == "forbidden" else expression)
        bound |= shown | stored | {":now": int(time.time())}
    if preconditions.forbids_any:
        expressions.append(IS_NEW)
    return " AND ".join(expressions), values(bound)


def update(changes: Mapping[str, object], preconditions: Preconditions, clauses: Clauses = _NO_CLAUSES) -> Update:
    """Returns an update that sets *changes*, removes those that are None, and increments the version.

    Uses `condition`, requires that no write later than `changes["written_by"]` has changed the row, and adds *clauses*.
    """
    assigned = {name: given for name, given in changes.items() if given is not None}
    removed = [*(changes.keys() - assigned.keys()), *clauses.removed]
    assignments = ["version = version + :step", *(f"{name} = :{name}" for name in assigned), *clauses.assignments]
    condition_expression, versions = condition(preconditions)
    given = {":step": _step(changes)} | {f":{name}": given for name, given in assigned.items()} | dict(clauses.values)
    return {
        "UpdateExpression": "SET " + ", ".join(assignments) + (f" REMOVE {', '.join(removed)}" if removed else ""),
        "ConditionExpression": " AND ".join([condition_expression, _IS_LATEST_WRITE, *clauses.conditions]),
        "ExpressionAttributeValues": values(given) | versions,
    }


def _step(changes: Mapping[str, object]) -> int:
    # The mute that the change replaces may be over, which has counted as a change already.
    return 2 if "muted_until" in changes else 1


def update_row(  # noqa: PLR0913, PLR0917 - the parts of an update
    client: "DynamoDBClient",
    table_name: str,
    key: "Attributes",
    changes: Mapping[str, object],
    preconditions: Preconditions,
    noun: str,
    clauses: Clauses = _NO_CLAUSES,
) -> "Attributes":
    """Applies *changes* and *clauses* as `update` does and returns the new row.

    A retry never overwrites a later change: each write has a greater id than the one before it, even if clocks differ.
    Raises as `condition_error` if the condition fails, and `errors.Unavailable`.
    """
    latest = None
    for _ in range(_ATTEMPTS):
        write_id = ids.new(time.time_ns(), after=latest)
        write = update({**changes, "written_by": write_id}, preconditions, clauses)
        try:
            response = retry_conflicts(
                client.update_item,
                TableName=table_name,
                Key=key,
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **write,
            )
        except client.exceptions.ConditionalCheckFailedException as error:
            (row,) = conflicting_rows(error)
            if row is not None and is_written_by(row, value(write_id)):
                return row
            if is_ambiguous(error):
                # An earlier attempt may have been applied before another client changed the row: 412 could be wrong.
                raise errors.Unavailable from None
            if row is None or not preconditions.hold_for(version(row)):
                raise condition_error(row, noun, preconditions) from None
            latest = text(row, "written_by")
        else:
            return response["Attributes"]
    raise errors.Unavailable


def apply(row: "Attributes", changes: Mapping[str, object]) -> "Attributes":
    """Returns *row* after `update` applied *changes*."""
    kept = {name: attribute for name, attribute in row.items() if name not in changes}
    assigned = values({name: given for name, given in changes.items() if given is not None})
    return kept | assigned | {"version": value(int(row["version"]["N"]) + _step(changes))}


def change(
    table_name: str, key: "Attributes", changes: Mapping[str, object], version: int, clauses: Clauses = _NO_CLAUSES
) -> "TransactWriteItemTypeDef":
    """Returns the write of a transaction that applies *changes* as `update` does, if the row shows *version*."""
    write = update(changes, Preconditions(allowed=frozenset([version])), clauses)
    return {
        "Update": {
            "TableName": table_name,
            "Key": key,
            "UpdateExpression": write["UpdateExpression"],
            "ConditionExpression": write["ConditionExpression"],
            "ExpressionAttributeValues": write["ExpressionAttributeValues"],
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
    }


def delete(table_name: str, key: "Attributes", preconditions: Preconditions) -> "TransactWriteItemTypeDef":
    """Returns the write of a transaction that deletes a row under `condition`."""
    condition_expression, versions = condition(preconditions)
    write: TransactWriteItemTypeDef = {
        "Delete": {
            "TableName": table_name,
            "Key": key,
            "ConditionExpression": condition_expression,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
    }
    if versions:
        write["Delete"]["ExpressionAttributeValues"] = versions
    return write


def check_unchanged(table_name: str, key: Sequence[str], row: "Attributes") -> "TransactWriteItemTypeDef":
    """Returns the check of a transaction that *row*, whose key attributes are *key*, has not changed."""
    return {
        "ConditionCheck": {
            "TableName": table_name,
            "Key": {name: row[name] for name in key},
            "ConditionExpression": "version = :version",
            "ExpressionAttributeValues": {":version": row["version"]},
        }
    }


def cancellation_reasons(error: ClientError) -> "Sequence[Reason]":
    """Returns why each write of a transaction, or the only one, failed."""
    return cast("Sequence[Reason]", error.response.get("CancellationReasons", [error.response]))


def conflicting_rows(error: ClientError) -> "list[Attributes | None]":
    """Returns the row on which a condition failed: one entry per write, None if its condition held."""
    return [reason.get("Item") for reason in cancellation_reasons(error)]


def condition_error(row: "Attributes | None", noun: str, preconditions: Preconditions) -> errors.CoherentError:
    """Returns the error for a condition that failed on *row*: the *noun* does not exist, or a precondition failed."""
    return errors.NotFound(noun) if row is None else preconditions.failure(noun, version(row))


def is_written_by(row: "Attributes | None", write_id: "AttributeValueTypeDef") -> bool:
    """Returns whether the write with that id was the last one to change *row*.

    botocore retries a write whose response was lost. The condition then fails because of the write itself.
    """
    return row is not None and row.get("written_by") == write_id


def page_query(
    table_name: str,
    key: "Attributes",
    page: "PageParameters",
    index_name: str | None = None,
    sort_key: str = "id",
) -> "QueryInputTypeDef":
    """Returns a Query of one partition for `limit + 1` rows; the extra row shows whether another page follows."""
    conditions = [f"{name} = :{name}" for name in key]
    bound = {f":{name}": attribute for name, attribute in key.items()}
    cursor = page.ending_before or page.starting_after
    if cursor is not None:
        conditions.append(f"{sort_key} > :cursor" if page.is_backwards else f"{sort_key} < :cursor")
        bound[":cursor"] = value(cursor)
    query: QueryInputTypeDef = {
        "TableName": table_name,
        "KeyConditionExpression": " AND ".join(conditions),
        "ExpressionAttributeValues": bound,
        "ScanIndexForward": page.is_backwards,
        "Limit": page.limit + 1,
    }
    if index_name is None:
        query["ConsistentRead"] = True
    else:
        query["IndexName"] = index_name
    return query
