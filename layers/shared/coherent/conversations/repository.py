"""Where conversations are kept: one DynamoDB table, in which the id is sort key, cursor and order."""

import itertools
import secrets
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, TypedDict, cast

from botocore.exceptions import ClientError

from coherent import errors, ids
from coherent.dynamodb import availability

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import (
        AttributeValueTypeDef,
        DeleteItemInputTypeDef,
        QueryInputTypeDef,
        TransactWriteItemTypeDef,
    )

    from coherent.conversations.models import CreateConversation, ListConversations, UpdateConversation

    Attributes = dict[str, AttributeValueTypeDef]

_FLAG_PARTITIONS = 8
_GIVEN = ("contact_id", "group_id")
_TWIN_ATTEMPTS = 6
_TWIN_WAIT_SECONDS = 0.2
_IDEMPOTENCY_SECONDS = 24 * 60 * 60

# An update or delete of a row that is not there must fail: an update would create it, a delete would look like success.
_EXISTS = "attribute_exists(id)"
_IS_NEW = "attribute_not_exists(id)"
# DynamoDB removes what has expired within days, so until then it has to be looked past.
_IS_NEW_OR_EXPIRED = "attribute_not_exists(id) OR expires_at <= :now"


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


class Version(NamedTuple):
    """A conversation at one time of its life. Each update adds one to *number*, which starts at 1."""

    conversation: Conversation
    number: int


class Creation(NamedTuple):
    """A conversation at its creation, and whether that was an earlier one with the same idempotency key."""

    version: Version
    is_replay: bool


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
        with availability():
            if len(requests) == 1:
                answers = [self._client.query(**requests[0])]
            else:
                running = [self._threads.submit(self._client.query, **request) for request in requests]
                # All of them, even where one has failed: none may go on in the background of the next invocation.
                wait(running)
                answers = [future.result() for future in running]
        # By id, since a row whose flags change between two of the queries is found by both.
        rows = {row["id"]["S"]: row for answer in answers for row in answer["Items"]}
        nearest = sorted(rows, reverse=query.ending_before is None)[: query.limit]
        newest_first = sorted(nearest, reverse=True)
        return Page([_conversation(rows[id]) for id in newest_first], has_more=len(rows) > query.limit)

    def create(self, user_id: str, new: "CreateConversation", idempotency_key: str | None) -> Creation:
        """The conversation just created. Unfiltered lists have it from now on, filtered ones a moment later.

        With an *idempotency_key* that the user gave in the last 24 hours, nothing is created and the answer is that of
        the first time. Raises `errors.IdempotencyKeyReused` if the attributes were others then, and
        `errors.TwinInProgress` if the first time is now.
        """
        now_ns = time.time_ns()
        created_at = now_ns // 1_000_000_000
        row: Attributes = _key(user_id, ids.new(now_ns)) | {
            "is_archived": _value(False),
            "is_pinned": _value(False),
            "is_muted": _value(False),
            "created_at": _value(created_at),
            "version": _value(1),
        }
        if new.contact_id is not None:
            row["contact_id"] = _value(new.contact_id)
        if new.group_id is not None:
            row["group_id"] = _value(new.group_id)
            row["owner_group"] = _value(_owner_group(user_id, new.group_id))
        if idempotency_key is not None:
            return self._create_once(row, user_id, idempotency_key, created_at)
        # botocore repeats a write whose answer was lost. The row it then meets is this one, since no id is made twice.
        written_before = self._client.exceptions.ConditionalCheckFailedException
        with availability(), suppress(written_before):
            self._client.put_item(TableName=self._table_name, Item=row, ConditionExpression=_IS_NEW)
        return Creation(_version(row), is_replay=False)

    def retrieve(self, user_id: str, id: str) -> Version:
        """The conversation as it now is. Raises `errors.ConversationNotFound`."""
        with availability():
            answer = self._client.get_item(TableName=self._table_name, Key=_key(user_id, id), ConsistentRead=True)
        if "Item" not in answer:
            raise errors.ConversationNotFound
        return _version(answer["Item"])

    def update(
        self, user_id: str, id: str, changes: "UpdateConversation", only_versions: Collection[int] | None
    ) -> Version:
        """The conversation with *changes* made to it and all else as it was.

        Raises `errors.ConversationNotFound`, and `errors.ConversationChanged` if its version is none of
        *only_versions*; None is any.
        """
        attributes = changes.model_dump(exclude_unset=True)
        if "archived_at" in attributes:
            attributes["is_archived"] = attributes["archived_at"] is not None
        # Tells a repetition of this very write from a write by somebody else.
        attributes["written_by"] = write_id = ids.new(time.time_ns())
        assigned = {name: value for name, value in attributes.items() if value is not None}
        removed = attributes.keys() - assigned.keys()
        expression = "SET version = version + :one, " + ", ".join(f"{name} = :{name}" for name in assigned)
        if removed:
            expression += " REMOVE " + ", ".join(removed)
        condition, versions = _condition(only_versions)
        with availability():
            try:
                answer = self._client.update_item(
                    TableName=self._table_name,
                    Key=_key(user_id, id),
                    UpdateExpression=expression,
                    ConditionExpression=condition,
                    ExpressionAttributeValues={
                        ":one": _value(1),
                        **{f":{name}": _value(value) for name, value in assigned.items()},
                        **versions,
                    },
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except self._client.exceptions.ConditionalCheckFailedException as error:
                row = _row_met(error)
                # botocore repeats a write whose answer was lost; the condition then fails on what the write itself did.
                if row is not None and row.get("written_by") == _value(write_id):
                    return _version(row)
                raise _unmet(row) from None
        return _version(answer["Attributes"])

    def delete(self, user_id: str, id: str, only_versions: Collection[int] | None) -> None:
        """Deletes the conversation for good. Raises as `update` does."""
        condition, versions = _condition(only_versions)
        request: DeleteItemInputTypeDef = {
            "TableName": self._table_name,
            "Key": _key(user_id, id),
            "ConditionExpression": condition,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if versions:
            request["ExpressionAttributeValues"] = versions
        with availability():
            try:
                self._client.delete_item(**request)
            except self._client.exceptions.ConditionalCheckFailedException as error:
                row = _row_met(error)
                # After a repetition, nothing there may mean that the first attempt did it and its answer was lost.
                if row is not None or not error.response["ResponseMetadata"]["RetryAttempts"]:
                    raise _unmet(row) from None

    def _create_once(self, row: "Attributes", user_id: str, idempotency_key: str, now: int) -> Creation:
        record: Attributes = {
            # In a partition of its own: a record is no conversation and must never be listed.
            "user_id": _value(f"idempotency#{user_id}"),
            "id": _value(idempotency_key),
            "conversation_id": row["id"],
            "created_at": row["created_at"],
            "expires_at": _value(now + _IDEMPOTENCY_SECONDS),
            **{name: row[name] for name in _GIVEN if name in row},
        }
        puts: list[TransactWriteItemTypeDef] = [
            {
                "Put": {
                    "TableName": self._table_name,
                    "Item": record,
                    "ConditionExpression": _IS_NEW_OR_EXPIRED,
                    "ExpressionAttributeValues": {":now": _value(now)},
                    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                }
            },
            {"Put": {"TableName": self._table_name, "Item": row, "ConditionExpression": _IS_NEW}},
        ]
        for _ in range(_TWIN_ATTEMPTS):
            with availability():
                try:
                    self._client.transact_write_items(TransactItems=puts)
                except self._client.exceptions.TransactionCanceledException as error:
                    reasons = error.response["CancellationReasons"]
                else:
                    return Creation(_version(row), is_replay=False)
            if "Item" in reasons[0]:
                return _replay(cast("Attributes", reasons[0]["Item"]), row)
            if not any(reason["Code"] == "TransactionConflict" for reason in reasons):
                # What remains is throttling of one of the two rows.
                raise errors.Unavailable
            # Twins that met once must not meet again: at random, and not by a generator that a snapshot has copied.
            time.sleep(secrets.SystemRandom().uniform(0, _TWIN_WAIT_SECONDS))
        raise errors.TwinInProgress

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


def _condition(only_versions: Collection[int] | None) -> "tuple[str, Attributes]":
    """A condition on a row that has to exist and be one of *only_versions*, and the values it mentions."""
    if only_versions is None:
        return _EXISTS, {}
    values = {f":version{number}": _value(number) for number in only_versions}
    return f"{_EXISTS} AND version IN ({', '.join(values)})", values


def _row_met(error: ClientError) -> "Attributes | None":
    """The row on which a condition failed; None where there is none."""
    return cast("Attributes | None", error.response.get("Item"))


def _unmet(row: "Attributes | None") -> errors.CoherentError:
    """Why a condition failed, given the row as it is."""
    return errors.ConversationNotFound() if row is None else errors.ConversationChanged()


def _replay(record: "Attributes", row: "Attributes") -> Creation:
    """The first answer to the request that *record* remembers; *row* is what the repetition would have created."""
    if any(record.get(name) != row.get(name) for name in _GIVEN):
        raise errors.IdempotencyKeyReused
    first = row | {"id": record["conversation_id"], "created_at": record["created_at"]}
    # It remembers this very request where botocore repeated it because the answer was lost.
    return Creation(_version(first), is_replay=record["conversation_id"] != row["id"])


def _version(row: "Attributes") -> Version:
    return Version(_conversation(row), int(row["version"]["N"]))


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
