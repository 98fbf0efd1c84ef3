"""Where conversations are kept: one DynamoDB table, in which the id is sort key, cursor and order."""

import itertools
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from coherent import errors, idempotency, ids, rows
from coherent.dynamodb import availability, written
from coherent.rows import Creation, Page, Version

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from coherent.conversations.models import CreateConversation, ListConversations, UpdateConversation
    from coherent.rows import Attributes

# With the processor of 512 MB more of them hardly answer sooner, and each has a connection of its own to make at first.
_THREADS = 4
_ATTEMPTS = 5


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


class ConversationRepository:
    """The conversations of every user, each of whom sees only their own; a user is the `sub` of their token.

    Every method raises `errors.Unavailable` when DynamoDB throttles or does not answer.
    """

    def __init__(self, client: "DynamoDBClient", table_name: str, messages_table_name: str) -> None:
        self._client = client
        self._table_name = table_name
        self._messages_table_name = messages_table_name
        self._threads = ThreadPoolExecutor(_THREADS)

    def list(self, user_id: str, query: "ListConversations") -> Page[Conversation]:
        """The page that *query* asks for, exact whatever was created or deleted since the page before it.

        Makes one Query, or one per flag partition in parallel; each reads at most `limit + 1` items, of which the last
        only tells whether there are more. 101 rows of 2 KB stay far below the 1 MB at which DynamoDB cuts an answer.
        """
        requests = [
            rows.page_query(self._table_name, partition.key, query, partition.index_name)
            for partition in _partitions(user_id, query)
        ]
        with availability():
            if len(requests) == 1:
                answers = [self._client.query(**requests[0])]
            else:
                running = [self._threads.submit(self._client.query, **request) for request in requests]
                try:
                    # All of them, even where one has failed: none may go on in the background of the next invocation.
                    wait(running)
                except BaseException:
                    # Time is up. Those that still wait must not keep the next invocation waiting for a thread.
                    self._threads.shutdown(wait=False, cancel_futures=True)
                    self._threads = ThreadPoolExecutor(_THREADS)
                    raise
                answers = [future.result() for future in running]
        # By id, since a row whose flags change between two of the queries is found by both.
        found = {row["id"]["S"]: row for answer in answers for row in answer["Items"]}
        nearest = sorted(found, reverse=not query.is_backwards)[: query.limit]
        newest_first = sorted(nearest, reverse=True)
        return Page([_conversation(found[id]) for id in newest_first], has_more=len(found) > query.limit)

    def create(self, user_id: str, new: "CreateConversation", idempotency_key: str | None) -> Creation[Conversation]:
        """The conversation just created. Unfiltered lists have it from now on, filtered ones a moment later.

        With an *idempotency_key* that the user gave in the last 24 hours, nothing is created and the answer is that of
        the first time. Raises `errors.IdempotencyKeyReused` if the attributes were others then.
        """
        now_ns = time.time_ns()
        given = new.model_dump(exclude_none=True)
        row = _key(user_id, ids.new(now_ns)) | rows.values(
            {
                **given,
                "is_archived": False,
                "is_pinned": False,
                "is_muted": False,
                "created_at": now_ns // 1_000_000_000,
                "version": 1,
            }
        )
        if new.group_id is not None:
            row["owner_group"] = rows.value(_owner_group(user_id, new.group_id))
        if idempotency_key is None:
            # botocore repeats a write whose answer was lost. What it then meets is this row: no id is made twice.
            written_before = self._client.exceptions.ConditionalCheckFailedException
            with suppress(written_before):
                written(self._client.put_item, TableName=self._table_name, Item=row, ConditionExpression=rows.IS_NEW)
            return Creation(_version(row), is_replay=False)
        record = idempotency.record(user_id, idempotency_key, given, row, self._table_name)
        put: TransactWriteItemTypeDef = {
            "Put": {"TableName": self._table_name, "Item": row, "ConditionExpression": rows.IS_NEW}
        }
        try:
            written(self._client.transact_write_items, TransactItems=[record, put])
        except self._client.exceptions.TransactionCanceledException as error:
            earlier, _ = rows.refusing(error)
            if earlier is None:
                raise
            first = idempotency.first_made(earlier, record)
            # It is this very row where botocore repeated the request because the answer was lost.
            return Creation(_version(row | first), is_replay=first["id"] != row["id"])
        return Creation(_version(row), is_replay=False)

    def retrieve(self, user_id: str, id: str) -> Version[Conversation]:
        """The conversation as it now is. Raises `errors.NotFound`."""
        return _version(self._row(user_id, id))

    def update(
        self, user_id: str, id: str, changes: "UpdateConversation", only_versions: Collection[int] | None
    ) -> Version[Conversation]:
        """The conversation with *changes* made to it and all else as it was.

        Raises `errors.NotFound`, `errors.Changed` if its version is none of *only_versions* (None is any), and
        `errors.InvalidRequest` if the message to pin is none of the conversation's.
        """
        attributes = changes.model_dump(exclude_unset=True)
        if "archived_at" in attributes:
            attributes["is_archived"] = attributes["archived_at"] is not None
        # Tells a repetition of this very write from a write by somebody else.
        attributes["written_by"] = ids.new(time.time_ns())
        if changes.pinned_message_id is not None:
            return self._pin(user_id, id, changes.pinned_message_id, attributes, only_versions)
        key = _key(user_id, id)
        update = rows.update(attributes, only_versions)
        return _version(rows.change(self._client, self._table_name, key, update, "conversation"))

    def delete(self, user_id: str, id: str, only_versions: Collection[int] | None) -> None:
        """Deletes the conversation for good, and orders its messages to be purged. Raises as `update` does."""
        now_ns = time.time_ns()
        order = rows.values(
            {
                "user_id": "purge",
                "id": rows.user_conversation(user_id, id),
                "created_at": now_ns // 1_000_000_000,
                "written_by": ids.new(now_ns),
            }
        )
        put: TransactWriteItemTypeDef = {
            "Put": {
                "TableName": self._table_name,
                "Item": order,
                "ConditionExpression": rows.IS_NEW,
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }
        delete = rows.delete(self._table_name, _key(user_id, id), only_versions)
        try:
            written(self._client.transact_write_items, TransactItems=[delete, put])
        except self._client.exceptions.TransactionCanceledException as error:
            row, ordered = rows.refusing(error)
            if not rows.is_by(ordered, order["written_by"]):
                raise rows.unmet(row, "conversation") from None

    def _pin(
        self,
        user_id: str,
        id: str,
        message_id: str,
        attributes: dict[str, Any],
        only_versions: Collection[int] | None,
    ) -> Version[Conversation]:
        """As `update`, in a transaction with a look at the message.

        A transaction does not tell what it made of a row. So the row is read before, and written only if it is still
        the same: what follows the write cannot fail.
        """
        message: TransactWriteItemTypeDef = {
            "ConditionCheck": {
                "TableName": self._messages_table_name,
                "Key": rows.values({"user_conversation": rows.user_conversation(user_id, id), "id": message_id}),
                "ConditionExpression": rows.EXISTS,
            }
        }
        for _ in range(_ATTEMPTS):
            row = self._row(user_id, id)
            version = int(row["version"]["N"])
            if only_versions is not None and version not in only_versions:
                raise errors.Changed("conversation")
            update = rows.update(attributes, {version})
            change: TransactWriteItemTypeDef = {
                "Update": {
                    "TableName": self._table_name,
                    "Key": _key(user_id, id),
                    "UpdateExpression": update["UpdateExpression"],
                    "ConditionExpression": update["ConditionExpression"],
                    "ExpressionAttributeValues": update["ExpressionAttributeValues"],
                    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                }
            }
            try:
                written(self._client.transact_write_items, TransactItems=[change, message])
            except self._client.exceptions.TransactionCanceledException as error:
                if error.response["CancellationReasons"][0]["Code"] == "None":
                    raise errors.InvalidRequest(
                        "pinned_message_id: must be the id of a message of this conversation, or null"
                    ) from None
                met, _ = rows.refusing(error)
                if met is not None and rows.is_by(met, rows.value(attributes["written_by"])):
                    return _version(met)
            else:
                return _version(rows.updated(row, attributes))
        raise errors.Unavailable

    def _row(self, user_id: str, id: str) -> "Attributes":
        with availability():
            answer = self._client.get_item(TableName=self._table_name, Key=_key(user_id, id), ConsistentRead=True)
        if "Item" not in answer:
            raise errors.NotFound("conversation")
        return answer["Item"]


class _Partition(NamedTuple):
    """A partition of the table (`index_name` None) or of one of its indexes."""

    index_name: str | None
    key: "Attributes"


def _partitions(user_id: str, query: "ListConversations") -> Iterator[_Partition]:
    """The partitions that together hold all that matches the filters of *query*, and nothing else."""
    flags = {"is_archived": query.archived, "is_pinned": query.pinned, "is_muted": query.muted}
    owner = {"user_id": user_id}
    index_name = "by_flags"
    if query.group_id is not None:
        owner = {"owner_group": _owner_group(user_id, query.group_id)}
        index_name = "by_group"
    elif all(wanted is None for wanted in flags.values()):
        yield _Partition(None, rows.values(owner))
        return
    for values in itertools.product(*([False, True] if wanted is None else [wanted] for wanted in flags.values())):
        yield _Partition(index_name, rows.values(owner | dict(zip(flags, values, strict=True))))


def _owner_group(user_id: str, group_id: str) -> str:
    # A Cognito `sub` has no "#", so no two users share a value whatever their groups are called.
    return f"{user_id}#{group_id}"


def _key(user_id: str, id: str) -> "Attributes":
    return rows.values({"user_id": user_id, "id": id})


def _version(row: "Attributes") -> Version[Conversation]:
    return Version(_conversation(row), int(row["version"]["N"]))


def _conversation(row: "Attributes") -> Conversation:
    return {
        "id": row["id"]["S"],
        "contact_id": rows.text(row, "contact_id"),
        "group_id": rows.text(row, "group_id"),
        "pinned_message_id": rows.text(row, "pinned_message_id"),
        "is_pinned": row["is_pinned"]["N"] == "1",
        "is_muted": row["is_muted"]["N"] == "1",
        "last_active_at": rows.number(row, "last_active_at"),
        "last_opened_at": rows.number(row, "last_opened_at"),
        "created_at": int(row["created_at"]["N"]),
        "archived_at": rows.number(row, "archived_at"),
    }
