"""The conversations in DynamoDB. The id is the sort key, the cursor and the order."""

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from coherent import errors, ids
from coherent.conversations.row import new_row
from coherent.preconditions import Preconditions
from coherent.storage import idempotency, pairs, rows, tombstones
from coherent.storage.dynamodb import back_off, query_all, transact, translate_errors
from coherent.storage.progress import Progress
from coherent.storage.rows import Creation, Page, Version

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from coherent.conversations.models import CreateConversation, ListConversations, UpdateConversation
    from coherent.storage.dynamodb import Tables
    from coherent.storage.rows import Attributes

# 8 threads instead of 4, at 512 MB: a warm list of 8 queries takes 12 ms instead of 16 ms, but one that has to connect
# takes 107 ms instead of 81 ms (`make bench PARTS=threads`).
_THREADS = 4
_ATTEMPTS = 5


class Conversation(TypedDict):
    """A conversation as the API shows it. Times are Unix seconds."""

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
    """The conversations of all users. Each method reads and changes those of one user, the `sub` of their token.

    Every method raises `errors.Unavailable` if DynamoDB throttles or does not respond.
    """

    def __init__(self, tables: "Tables") -> None:
        self._tables = tables
        self._client = tables.client
        self._table_name = tables.conversations
        self._messages_table_name = tables.messages
        self._progress = Progress(tables)
        self._threads = ThreadPoolExecutor(_THREADS)

    def list(self, user_id: str, query: "ListConversations") -> Page[Conversation]:
        """Returns the page that *query* selects. Cursor pagination is stable under concurrent inserts and deletes.

        Makes one Query, or one for each flag partition in parallel, of at most `limit + 1` rows each. 101 rows of 2 KB
        stay far below the 1 MB at which DynamoDB ends a response.
        """
        requests = [
            rows.page_query(self._table_name, partition.key, query, partition.index_name)
            for partition in _partitions(user_id, query)
        ]
        responses = query_all(self._client, self._threads, requests)
        # Deduplicate by id, because two queries can return the same row if its flags change between them.
        found = {row["id"]["S"]: row for response in responses for row in response["Items"]}
        nearest = sorted(found, reverse=not query.is_backwards)[: query.limit]
        newest_first = sorted(nearest, reverse=True)
        return Page([conversation_of(found[id]) for id in newest_first], has_more=len(found) > query.limit)

    def create(self, user_id: str, new: "CreateConversation", idempotency_key: str | None) -> Creation[Conversation]:
        """Creates a conversation. Unfiltered lists show it immediately, filtered lists within moments.

        With `distinct` the newest conversation with the same contact and group is returned instead, unless it was
        deleted. If the user sent *idempotency_key* in the last 24 hours, nothing is created and the first response is
        returned. Raises `errors.IdempotencyKeyReused` if the attributes differ, and `errors.NotPrepared` for `distinct`
        until the rows of an earlier release are prepared.
        """
        if new.distinct:
            # Conversations of an earlier release get their pair rows later.
            self._progress.require_finished()
        pair = pairs.key(user_id, new.contact_id, new.group_id)
        for attempt in range(1, _ATTEMPTS + 1):
            known, found = self._newest(user_id, pair) if new.distinct else (None, None)
            row = new_row(user_id, new.contact_id, new.group_id) if found is None else found
            record = []
            if idempotency_key is not None:
                given = new.model_dump(exclude_none=True, exclude_defaults=True)
                record = [
                    idempotency.put_record(
                        user_id, idempotency_key, given, row, self._table_name, is_found=found is not None
                    )
                ]
            elif found is not None:
                return Creation(_version(found), is_replay=False, is_found=True)
            if found is not None:
                writes = [rows.check_unchanged(self._table_name, ("user_id", "id"), found)]
            elif new.distinct:
                writes = [self._put(row), pairs.point_if_unchanged(self._table_name, pair, row["id"]["S"], known)]
            else:
                writes = [self._put(row), pairs.point(self._table_name, pair, row["id"]["S"])]
            try:
                transact(self._client, [*writes, *record])
            except self._client.exceptions.TransactionCanceledException as error:
                existing, *others = rows.conflicting_rows(error)
            else:
                return Creation(_version(row), is_replay=False, is_found=found is not None)
            earlier = others[-1] if record else None
            if earlier is not None:
                original = idempotency.original(earlier, record[0])
                # The record names this row if an attempt was applied and its response lost.
                is_replay = found is not None or original["id"] != row["id"]
                return Creation(
                    _version(new_row(user_id, new.contact_id, new.group_id) | original),
                    is_replay,
                    is_found="found" in earlier,
                )
            if existing is not None:
                # A row with this id is our own, written by an attempt whose response was lost.
                return Creation(_version(row), is_replay=False)
            # The pair or the conversation that was found has changed meanwhile.
            back_off(attempt)
        raise errors.Unavailable

    def retrieve(self, user_id: str, id: str) -> Version[Conversation]:
        """Returns the conversation. Raises `errors.NotFound`."""
        return _version(self._row(user_id, id))

    def update(
        self, user_id: str, id: str, changes: "UpdateConversation", preconditions: Preconditions
    ) -> Version[Conversation]:
        """Applies *changes* and returns the conversation.

        Raises `errors.NotFound`, `errors.PreconditionFailed`, and `errors.InvalidRequest` if the message to pin does
        not belong to the conversation.
        """
        attributes = changes.model_dump(exclude_unset=True)
        if "archived_at" in attributes:
            attributes["is_archived"] = attributes["archived_at"] is not None
        if "is_muted" in attributes:
            attributes["muted_until"] = None
        if changes.pinned_message_id is not None:
            return self._pin(user_id, id, changes.pinned_message_id, attributes, preconditions)
        key = _key(user_id, id)
        return _version(rows.update_row(self._client, self._table_name, key, attributes, preconditions, "conversation"))

    def delete(self, user_id: str, id: str, preconditions: Preconditions) -> None:
        """Deletes the conversation and leaves a tombstone for the purge of its messages. Raises as `update` does."""
        now_ns = time.time_ns()
        tombstone = rows.values(tombstones.new(user_id, id, now_ns // 1_000_000_000)) | {
            "written_by": rows.value(ids.new(now_ns))
        }
        put: TransactWriteItemTypeDef = {
            "Put": {
                "TableName": self._table_name,
                "Item": tombstone,
                "ConditionExpression": rows.IS_NEW,
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }
        delete = rows.delete(self._table_name, _key(user_id, id), preconditions)
        try:
            transact(self._client, [delete, put])
        except self._client.exceptions.TransactionCanceledException as error:
            row, existing_tombstone = rows.conflicting_rows(error)
            if not rows.is_written_by(existing_tombstone, tombstone["written_by"]):
                raise rows.condition_error(row, "conversation", preconditions) from None

    def _pin(
        self,
        user_id: str,
        id: str,
        message_id: str,
        attributes: dict[str, Any],
        preconditions: Preconditions,
    ) -> Version[Conversation]:
        """Updates as `update` does, in a transaction that checks that the message exists.

        Reads the row first and writes it conditionally, because transactions return no item.
        """
        message: TransactWriteItemTypeDef = {
            "ConditionCheck": {
                "TableName": self._messages_table_name,
                "Key": rows.values({"user_conversation": rows.user_conversation(user_id, id), "id": message_id}),
                "ConditionExpression": rows.EXISTS,
            }
        }
        for attempt in range(1, _ATTEMPTS + 1):
            row = self._row(user_id, id)
            version = rows.version(row)
            if not preconditions.hold_for(version):
                raise preconditions.failure("conversation", version)
            written_by = ids.new(time.time_ns(), after=rows.text(row, "written_by"))
            changes = attributes | {"written_by": written_by}
            change = rows.change(self._table_name, _key(user_id, id), changes, version)
            try:
                transact(self._client, [change, message])
            except self._client.exceptions.TransactionCanceledException as error:
                if error.response["CancellationReasons"][0]["Code"] == "None":
                    raise errors.InvalidRequest(
                        "pinned_message_id: must be the id of a message of this conversation, or null"
                    ) from None
                current, _ = rows.conflicting_rows(error)
                if current is not None and rows.is_written_by(current, rows.value(written_by)):
                    return _version(current)
                back_off(attempt)
            else:
                return _version(rows.apply(row, changes))
        raise errors.Unavailable

    def _newest(self, user_id: str, pair: "Attributes") -> "tuple[str | None, Attributes | None]":
        """Returns the id of the pair's newest conversation, or None without one, and its row unless it was deleted."""
        id = pairs.newest(self._tables, pair)
        if id is None:
            return None, None
        try:
            return id, self._row(user_id, id)
        except errors.NotFound:
            return id, None

    def _put(self, row: "Attributes") -> "TransactWriteItemTypeDef":
        return {
            "Put": {
                "TableName": self._table_name,
                "Item": row,
                "ConditionExpression": rows.IS_NEW,
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }

    def _row(self, user_id: str, id: str) -> "Attributes":
        with translate_errors():
            response = self._client.get_item(TableName=self._table_name, Key=_key(user_id, id), ConsistentRead=True)
        if "Item" not in response:
            raise errors.NotFound("conversation")
        return response["Item"]


class _Partition(NamedTuple):
    """A partition of the table, or of one of its indexes."""

    index_name: str | None
    key: "Attributes"


def _partitions(user_id: str, query: "ListConversations") -> Iterator[_Partition]:
    """Yields the partitions that contain the conversations that match *query*, and no others."""
    flags = {"is_archived": query.archived, "is_pinned": query.pinned, "is_muted": query.muted}
    owner = {"user_id": user_id}
    index_name = "by_flags"
    if query.group_id is not None:
        owner = {"owner_group": rows.owner_group(user_id, query.group_id)}
        index_name = "by_group"
    elif all(wanted is None for wanted in flags.values()):
        yield _Partition(None, rows.values(owner))
        return
    for values in itertools.product(*([False, True] if wanted is None else [wanted] for wanted in flags.values())):
        yield _Partition(index_name, rows.values(owner | dict(zip(flags, values, strict=True))))


def _key(user_id: str, id: str) -> "Attributes":
    return rows.values({"user_id": user_id, "id": id})


def _version(row: "Attributes") -> Version[Conversation]:
    return Version(conversation_of(row), rows.version(row))


def conversation_of(row: "Attributes") -> Conversation:
    """Returns the conversation that *row* stores. A timed mute ends on the second, although it is lifted later."""
    return {
        "id": row["id"]["S"],
        "contact_id": rows.text(row, "contact_id"),
        "group_id": rows.text(row, "group_id"),
        "pinned_message_id": rows.text(row, "pinned_message_id"),
        "is_pinned": row["is_pinned"]["N"] == "1",
        "is_muted": row["is_muted"]["N"] == "1" and not rows.is_mute_over(row),
        "last_active_at": rows.number(row, "last_active_at"),
        "last_opened_at": rows.number(row, "last_opened_at"),
        "created_at": int(row["created_at"]["N"]),
        "archived_at": rows.number(row, "archived_at"),
    }
