"""Where conversations are kept: one DynamoDB table, in which the id is sort key, cursor and order."""

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from coherent import errors, ids
from coherent.dynamodb import availability

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, QueryInputTypeDef, UpdateItemInputTypeDef

    from coherent.conversations.models import CreateConversation, ListConversations, UpdateConversation

    Attributes = dict[str, AttributeValueTypeDef]

_FLAG_PARTITIONS = 8

# An update or delete of a row that is not there must fail: an update would create it, a delete would look like success.
_EXISTS = "attribute_exists(id)"
_IS_NEW = "attribute_not_exists(id)"


class Conversation(TypedDict):
    """A conversation as every answer shows it; times are Unix seconds."""

    id: str
    contact_id: str | None
    group_id: str | None
    pinned_message_id: str | None
    is_pinned: bool
    is_muted: bool
    last_active_at: int | None
    last_opened_at: int | None
    created_at: int
    archived_at: int | None


class Page(NamedTuple):
    """Conversations, newest first, and whether there are more in the direction travelled."""

    data: list[Conversation]
    has_more: bool


class ConversationRepository:
    """The conversations of every user, each of whom sees only their own; a user is the `sub` of their token.

    Every method raises `errors.Unavailable` when DynamoDB throttles or does not answer.
    """

    def __init__(self, client: "DynamoDBClient", table_name: str) -> None:
        self._client = client
        self._table_name = table_name
        self._threads = ThreadPoolExecutor(_FLAG_PARTITIONS)

    def list(self, user_id: str, query: "ListConversations") -> Page:
        """The page that *query* asks for, exact whatever was created or deleted since the page before it.

        Makes one Query, or one per flag partition in parallel; each reads at most `limit + 1` items, of which the last
        only tells whether there are more.
        """
        requests = [self._query(partition, query) for partition in _partitions(user_id, query)]
        run = map if len(requests) == 1 else self._threads.map
        with availability():
            answers = list(run(lambda request: self._client.query(**request), requests))
        # By id, since a row whose flags change between two of the queries is found by both.
        rows = {row["id"]["S"]: row for answer in answers for row in answer["Items"]}
        nearest = sorted(rows, reverse=query.ending_before is None)[: query.limit]
        newest_first = sorted(nearest, reverse=True)
        return Page([_conversation(rows[id]) for id in newest_first], has_more=len(rows) > query.limit)

    def create(self, user_id: str, new: "CreateConversation") -> Conversation:
        """The conversation just created. Unfiltered lists have it from now on, filtered ones a moment later."""
        now_ns = time.time_ns()
        row: Attributes = {
            "user_id": {"S": user_id},
            "id": {"S": ids.new(now_ns)},
            "is_archived": {"N": "0"},
            "is_pinned": {"N": "0"},
            "is_muted": {"N": "0"},
            "created_at": {"N": str(now_ns // 1_000_000_000)},
        }
        if new.contact_id is not None:
            row["contact_id"] = {"S": new.contact_id}
        if new.group_id is not None:
            row["group_id"] = {"S": new.group_id}
            row["owner_group"] = {"S": _owner_group(user_id, new.group_id)}
        # botocore repeats a write whose answer was lost. The row it then meets is this one, since no id is made twice.
        written_before = self._client.exceptions.ConditionalCheckFailedException
        with availability(), suppress(written_before):
            self._client.put_item(TableName=self._table_name, Item=row, ConditionExpression=_IS_NEW)
        return _conversation(row)

    def retrieve(self, user_id: str, id: str) -> Conversation:
        """The conversation as it now is. Raises `errors.ConversationNotFound`."""
        with availability():
            answer = self._client.get_item(TableName=self._table_name, Key=_key(user_id, id), ConsistentRead=True)
        if "Item" not in answer:
            raise errors.ConversationNotFound
        return _conversation(answer["Item"])

    def update(self, user_id: str, id: str, changes: "UpdateConversation") -> Conversation:
        """The conversation with *changes* made to it and all else as it was. Raises `errors.ConversationNotFound`."""
        attributes = changes.model_dump(exclude_unset=True)
        if "archived_at" in attributes:
            attributes["is_archived"] = attributes["archived_at"] is not None
        assigned = {name: value for name, value in attributes.items() if value is not None}
        removed = attributes.keys() - assigned.keys()
        clauses = []
        if assigned:
            clauses.append("SET " + ", ".join(f"{name} = :{name}" for name in assigned))
        if removed:
            clauses.append("REMOVE " + ", ".join(removed))
        request: UpdateItemInputTypeDef = {
            "TableName": self._table_name,
            "Key": _key(user_id, id),
            "UpdateExpression": " ".join(clauses),
            "ConditionExpression": _EXISTS,
            "ReturnValues": "ALL_NEW",
        }
        if assigned:
            request["ExpressionAttributeValues"] = {f":{name}": _value(value) for name, value in assigned.items()}
        with availability():
            try:
                answer = self._client.update_item(**request)
            except self._client.exceptions.ConditionalCheckFailedException:
                raise errors.ConversationNotFound from None
        return _conversation(answer["Attributes"])

    def delete(self, user_id: str, id: str) -> None:
        """Deletes the conversation for good. Raises `errors.ConversationNotFound`."""
        with availability():
            try:
                self._client.delete_item(TableName=self._table_name, Key=_key(user_id, id), ConditionExpression=_EXISTS)
            except self._client.exceptions.ConditionalCheckFailedException:
                raise errors.ConversationNotFound from None

    def _query(self, partition: "_Partition", query: "ListConversations") -> "QueryInputTypeDef":
        conditions = [f"{name} = :{name}" for name in partition.key]
        values = {f":{name}": value for name, value in partition.key.items()}
        backwards = query.ending_before is not None
        cursor = query.ending_before or query.starting_after
        if cursor is not None:
            conditions.append("id > :cursor" if backwards else "id < :cursor")
            values[":cursor"] = {"S": cursor}
        request: QueryInputTypeDef = {
            "TableName": self._table_name,
            "KeyConditionExpression": " AND ".join(conditions),
            "ExpressionAttributeValues": values,
            "ScanIndexForward": backwards,
            # 101 rows of 2 KB stay far below the 1 MB at which DynamoDB would cut an answer short.
            "Limit": query.limit + 1,
        }
        if partition.index_name is None:
            request["ConsistentRead"] = True
        else:
            request["IndexName"] = partition.index_name
        return request


class _Partition(NamedTuple):
    """A partition of the table (`index_name` None) or of one of its indexes."""

    index_name: str | None
    key: "Attributes"


def _partitions(user_id: str, query: "ListConversations") -> Iterator[_Partition]:
    """The partitions that together hold all that matches the filters of *query*, and nothing else."""
    flags = {"is_archived": query.archived, "is_pinned": query.pinned, "is_muted": query.muted}
    owner: Attributes = {"user_id": {"S": user_id}}
    index_name = "by_flags"
    if query.group_id is not None:
        owner = {"owner_group": {"S": _owner_group(user_id, query.group_id)}}
        index_name = "by_group"
    elif all(wanted is None for wanted in flags.values()):
        yield _Partition(None, owner)
        return
    for values in itertools.product(*([False, True] if wanted is None else [wanted] for wanted in flags.values())):
        yield _Partition(index_name, owner | {name: _value(flag) for name, flag in zip(flags, values, strict=True)})


def _owner_group(user_id: str, group_id: str) -> str:
    # A Cognito `sub` has no "#", so no two users share a value whatever their groups are called.
    return f"{user_id}#{group_id}"


def _key(user_id: str, id: str) -> "Attributes":
    return {"user_id": {"S": user_id}, "id": {"S": id}}


def _value(value: str | int | bool) -> "AttributeValueTypeDef":
    # Flags are 0 and 1, because a BOOL cannot be part of a key.
    return {"S": value} if isinstance(value, str) else {"N": str(int(value))}


def _conversation(row: "Attributes") -> Conversation:
    return {
        "id": row["id"]["S"],
        "contact_id": _text(row, "contact_id"),
        "group_id": _text(row, "group_id"),
        "pinned_message_id": _text(row, "pinned_message_id"),
        "is_pinned": row["is_pinned"]["N"] == "1",
        "is_muted": row["is_muted"]["N"] == "1",
        "last_active_at": _seconds(row, "last_active_at"),
        "last_opened_at": _seconds(row, "last_opened_at"),
        "created_at": int(row["created_at"]["N"]),
        "archived_at": _seconds(row, "archived_at"),
    }


def _text(row: "Attributes", name: str) -> str | None:
    return row[name]["S"] if name in row else None


def _seconds(row: "Attributes", name: str) -> int | None:
    return int(row[name]["N"]) if name in row else None
