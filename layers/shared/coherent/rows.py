"""What the rows of both tables have in common: their values, their versions, and the pages they are read in."""

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Generic, NamedTuple, TypedDict, TypeVar, cast

from botocore.exceptions import ClientError

from coherent import errors
from coherent.client import is_in_doubt
from coherent.dynamodb import written

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, QueryInputTypeDef, TransactWriteItemTypeDef

    from coherent.parameters import PageParameters

    Attributes = dict[str, AttributeValueTypeDef]

R = TypeVar("R")

# An update or delete of a row that is not there must fail: an update would create it, a delete would look like success.
EXISTS = "attribute_exists(id)"
IS_NEW = "attribute_not_exists(id)"


class Page(NamedTuple, Generic[R]):
    """What was listed, newest first, and whether there is more in the direction travelled."""

    data: list[R]
    has_more: bool


class Version(NamedTuple, Generic[R]):
    """A resource at one time of its life. Each change adds one to *number*, which starts at 1."""

    resource: R
    number: int


class Creation(NamedTuple, Generic[R]):
    """A resource at its creation, and whether that was an earlier one with the same idempotency key."""

    version: Version[R]
    is_replay: bool


class Update(TypedDict):
    """The part of an UpdateItem that says what to change, and when."""

    UpdateExpression: str
    ConditionExpression: str
    ExpressionAttributeValues: "Attributes"


def value(plain: object) -> "AttributeValueTypeDef":
    """*plain*, JSON with whole numbers, as DynamoDB writes it. Booleans are 0 and 1: a BOOL cannot be part of a key."""
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
    """Each of *plain* as `value` writes it."""
    return {name: value(element) for name, element in plain.items()}


def text(row: "Attributes", name: str) -> str | None:
    """The string called *name* of *row*, or None where it has none."""
    return row[name]["S"] if name in row else None


def number(row: "Attributes", name: str) -> int | None:
    """The whole number called *name* of *row*, or None where it has none."""
    return int(row[name]["N"]) if name in row else None


def plain(attribute: "AttributeValueTypeDef") -> object:
    """*attribute* read back; the inverse of `value`, but for booleans."""
    ((kind, content),) = attribute.items()
    if kind == "N":
        return int(cast("str", content))
    if kind == "L":
        return [plain(element) for element in cast("Iterable[AttributeValueTypeDef]", content)]
    if kind == "M":
        return {name: plain(element) for name, element in cast("Attributes", content).items()}
    return None if kind == "NULL" else content


def user_conversation(user_id: str, conversation_id: str) -> str:
    """The partition of a conversation's messages, which nobody reaches without being its user."""
    return f"{user_id}#{conversation_id}"


def condition(only_versions: Collection[int] | None) -> "tuple[str, Attributes]":
    """A condition on a row: it exists, in one of *only_versions* (None is any); and the values that this mentions."""
    if only_versions is None:
        return EXISTS, {}
    versions = {f":version{number}": value(number) for number in only_versions}
    return f"{EXISTS} AND version IN ({', '.join(versions)})", versions


def update(changes: Mapping[str, object], only_versions: Collection[int] | None) -> Update:
    """Sets *changes* in a row that meets `condition`, removes those that are None, and adds one to its version."""
    assigned = {name: given for name, given in changes.items() if given is not None}
    removed = changes.keys() - assigned.keys()
    expression = "SET " + ", ".join(["version = version + :one", *(f"{name} = :{name}" for name in assigned)])
    if removed:
        expression += " REMOVE " + ", ".join(removed)
    condition_expression, versions = condition(only_versions)
    return {
        "UpdateExpression": expression,
        "ConditionExpression": condition_expression,
        "ExpressionAttributeValues": values({":one": 1} | {f":{name}": given for name, given in assigned.items()})
        | versions,
    }


def change(client: "DynamoDBClient", table_name: str, key: "Attributes", update: Update, noun: str) -> "Attributes":
    """The row of a *noun* after *update*, of which `written_by` is an id of its own.

    Raises as `unmet` where the row does not meet the condition, and `errors.Unavailable`.
    """
    try:
        answer = written(
            client.update_item,
            TableName=table_name,
            Key=key,
            ReturnValues="ALL_NEW",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
            **update,
        )
    except client.exceptions.ConditionalCheckFailedException as error:
        (row,) = refusing(error)
        if row is not None and is_by(row, update["ExpressionAttributeValues"][":written_by"]):
            return row
        if is_in_doubt():
            # An earlier attempt may have done it, before somebody else came: to say that it was refused could be wrong.
            raise errors.Unavailable from None
        raise unmet(row, noun) from None
    return answer["Attributes"]


def updated(row: "Attributes", changes: Mapping[str, object]) -> "Attributes":
    """*row* as `update` leaves it."""
    kept = {name: attribute for name, attribute in row.items() if name not in changes}
    assigned = values({name: given for name, given in changes.items() if given is not None})
    return kept | assigned | {"version": value(int(row["version"]["N"]) + 1)}


def delete(table_name: str, key: "Attributes", only_versions: Collection[int] | None) -> "TransactWriteItemTypeDef":
    """Deletes a row that meets `condition`, as part of a transaction."""
    condition_expression, versions = condition(only_versions)
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


def refusing(error: ClientError) -> "list[Attributes | None]":
    """The rows on which the conditions of one write, or of each write of a transaction, failed; None where none is."""
    reasons = error.response.get("CancellationReasons", [error.response])
    return [cast("Attributes | None", reason.get("Item")) for reason in reasons]


def unmet(row: "Attributes | None", noun: str) -> errors.CoherentError:
    """Why a condition failed on *row*: there is no such *noun*, or it has changed."""
    return errors.NotFound(noun) if row is None else errors.Changed(noun)


def is_by(row: "Attributes | None", write_id: "AttributeValueTypeDef") -> bool:
    """Whether *row* was last written by the very write of that id.

    botocore repeats a write whose answer was lost, and the condition then fails on what the write itself did.
    """
    return row is not None and row.get("written_by") == write_id


def page_query(
    table_name: str, key: "Attributes", page: "PageParameters", index_name: str | None = None
) -> "QueryInputTypeDef":
    """A Query of one partition for `limit + 1` rows on one side of a position: the last tells if there are more."""
    conditions = [f"{name} = :{name}" for name in key]
    mentioned = {f":{name}": attribute for name, attribute in key.items()}
    cursor = page.ending_before or page.starting_after
    if cursor is not None:
        conditions.append("id > :cursor" if page.is_backwards else "id < :cursor")
        mentioned[":cursor"] = value(cursor)
    query: QueryInputTypeDef = {
        "TableName": table_name,
        "KeyConditionExpression": " AND ".join(conditions),
        "ExpressionAttributeValues": mentioned,
        "ScanIndexForward": page.is_backwards,
        "Limit": page.limit + 1,
    }
    if index_name is None:
        query["ConsistentRead"] = True
    else:
        query["IndexName"] = index_name
    return query
