"""The unread count of a conversation: what others wrote after `read_up_to`.

Each message of a contact adds one. Marks and deletions recount, and raise `unread_revision`, so that two of them
never build on the same count; so does a flag, which they would remove. They add a difference, so messages that arrive
meanwhile are not lost.
"""

from typing import TYPE_CHECKING

from coherent.storage import rows
from coherent.storage.dynamodb import translate_errors
from coherent.storage.rows import Clauses

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import QueryInputTypeDef

    from coherent.storage.dynamodb import Tables
    from coherent.storage.rows import Attributes

# Counts are exact below this one, which means "that or more".
MAX = 1000


def count(tables: "Tables", conversation: "Attributes", after: str | None, *, without: str | None = None) -> int:
    """Returns how many messages of others have ids after *after*, at most `MAX`. Does not count the id *without*.

    Counts up to the last message that *conversation*, a row, knows. Raises `errors.Unavailable`.
    """
    last = rows.text(conversation, "last_message_id")
    if last is None or (after is not None and after >= last):
        return 0
    user_id, id = conversation["user_id"]["S"], conversation["id"]["S"]
    request: QueryInputTypeDef = {
        "TableName": tables.messages,
        # The least text after *after*, since BETWEEN includes its bounds.
        "KeyConditionExpression": "user_conversation = :partition AND id BETWEEN :first AND :last",
        "FilterExpression": "attribute_exists(contact_id)" + (" AND id <> :without" if without else ""),
        "ExpressionAttributeValues": rows.values(
            {
                ":partition": rows.user_conversation(user_id, id),
                ":first": "0" if after is None else f"{after}0",
                ":last": last,
            }
            | ({":without": without} if without else {})
        ),
        "ConsistentRead": True,
        "Select": "COUNT",
        "Limit": MAX,
    }
    found = 0
    while found < MAX:
        with translate_errors():
            response = tables.client.query(**request)
        found += response["Count"]
        if "LastEvaluatedKey" not in response:
            break
        request["ExclusiveStartKey"] = response["LastEvaluatedKey"]
    return min(found, MAX)


def recount(conversation: "Attributes", counted: int, *, is_flagged: bool) -> Clauses:
    """Returns the clauses that change the unread count of *conversation*, a row, to *counted*.

    They fail if the count has been changed meanwhile by anything but new messages, which they keep.
    """
    known, revision = int(conversation["unread_count"]["N"]), int(conversation["unread_revision"]["N"])
    assignments = ["unread_revision = unread_revision + :one", "is_unread = :is_unread"]
    conditions = ["unread_revision = :revision"]
    values: dict[str, object] = {":one": 1, ":revision": revision, ":is_unread": counted > 0 or is_flagged}
    if counted == MAX:
        assignments.append("unread_count = :counted")
        values |= {":counted": counted}
    else:
        assignments.append("unread_count = unread_count + :difference")
        values |= {":difference": counted - known}
    if counted <= 0 and not is_flagged:
        # A new message would make the conversation unread. Below 0 one has: BatchGetItem, which transactions do not
        # isolate, returned the deleted message, and the conversation as it was before.
        conditions.append("unread_count = :known")
        values |= {":known": known}
    return Clauses(assignments, (), conditions, values)
