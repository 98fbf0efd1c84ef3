"""The inbox in DynamoDB. The position is the sort key of two indexes, the cursor and the order."""

import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypedDict, cast

from coherent import errors, ids
from coherent.conversations.repository import Conversation, conversation_of
from coherent.inbox import mutes
from coherent.messages import unread
from coherent.messages.repository import Contact
from coherent.preconditions import Preconditions
from coherent.storage import rows
from coherent.storage.client import is_ambiguous
from coherent.storage.dynamodb import back_off, batch_read, query_all, retry_conflicts, translate_errors
from coherent.storage.progress import Progress
from coherent.storage.rows import Clauses, Page, Version

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import KeysAndAttributesTypeDef, QueryInputTypeDef

    from coherent.inbox.models import ListInbox, UpdateInboxEntry
    from coherent.storage.dynamodb import Tables
    from coherent.storage.rows import Attributes

# With 8 threads and 1,024 MB, a warm page of 16 Queries takes 30 ms: with 4 threads 1.3 times as long, with 16 threads
# or with 512 MB twice. One of 8 Queries takes 19 ms: with 4 threads or 512 MB 1.2 to 1.3 times as long. A page that has
# to connect takes 69 to 109 ms, 1.2 to 1.7 times as long as with 4 threads (`make bench PARTS=threads`).
_THREADS = 8
_ATTEMPTS = 6
_MAX_LIST_SECONDS = 10


class LastMessage(TypedDict):
    """The preview of the last message: the first 100 characters of its text."""

    id: str
    contact: Contact | None
    message: str
    created_at: int


class Entry(TypedDict):
    """An inbox entry as the API shows it. `unread_count` is exact below 1,000, which means that or more."""

    position: str
    conversation: Conversation
    last_message: LastMessage | None
    unread_count: int
    is_unread: bool
    read_up_to: str | None
    muted_until: int | None


class UnreadCount(TypedDict):
    """The badge. `has_more` if there are more unread conversations than were counted."""

    conversations: int
    messages: int
    has_more: bool


class InboxRepository:
    """The inboxes of all users. Each method reads and changes that of one user, the `sub` of their token.

    Every method raises `errors.NotPrepared` until the rows of an earlier release are prepared, and
    `errors.Unavailable` if DynamoDB throttles or does not respond.
    """

    def __init__(self, tables: "Tables") -> None:
        self._tables = tables
        self._client = tables.client
        self._table_name = tables.conversations
        self._progress = Progress(tables)
        self._threads = ThreadPoolExecutor(_THREADS)

    def list(self, user_id: str, query: "ListInbox") -> Page[Entry]:
        """Returns the page that *query* selects, latest activity first.

        Queries one index partition for each combination of open filters, then reads the rows of the page: the indexes
        lag, and an entry must not show what was deleted.
        """
        self._progress.require_finished()
        # Repeats only if no row of a page is there any more.
        until = time.monotonic() + _MAX_LIST_SECONDS
        while time.monotonic() < until:
            found: dict[str, str] = {}
            for row in self._indexed(user_id, query):
                # A conversation that changes between two queries can be in both.
                found[row["id"]["S"]] = max(row["activity"]["S"], found.get(row["id"]["S"], ""))
            nearest = sorted(found, key=found.__getitem__, reverse=not query.is_backwards)[: query.limit]
            has_more = len(found) > len(nearest)
            end = found[nearest[-1]] if has_more else None
            current = [row for row in self._rows(user_id, nearest) if _is_on_page(row, query, end)]
            if current or end is None:
                latest_first = sorted(current, key=lambda row: row["activity"]["S"], reverse=True)
                return Page([_entry(row) for row in latest_first], has_more)
            query = query.model_copy(update={"ending_before" if query.is_backwards else "starting_after": end})
        raise errors.Unavailable

    def retrieve(self, user_id: str, conversation_id: str) -> Version[Entry]:
        """Returns the entry of the conversation. Raises `errors.NotFound`."""
        self._progress.require_finished()
        return _version(self._row(user_id, conversation_id))

    def update(
        self, user_id: str, conversation_id: str, changes: "UpdateInboxEntry", preconditions: Preconditions
    ) -> Version[Entry]:
        """Applies *changes* and returns the entry.

        An id as `read_up_to` also clears the flag and moves `last_opened_at` to now. `is_unread: false` without an id
        marks everything as read. Raises `errors.NotFound`, `errors.PreconditionFailed`, and `errors.InvalidRequest` if
        the message to mark does not belong to the conversation.
        """
        self._progress.require_finished()
        given = changes.model_dump(exclude_unset=True)
        for attempt in range(1, _ATTEMPTS + 1):
            row = self._row(user_id, conversation_id)
            version = rows.version(row)
            if not preconditions.hold_for(version):
                raise preconditions.failure("conversation", version)
            attributes, clauses = self._changes(row, given)
            if changes.muted_until is not None:
                # First, so that no mute is forgotten. The sweep ignores it if the mute itself fails.
                mutes.schedule(self._tables, user_id, conversation_id, changes.muted_until)
            written_by = ids.new(time.time_ns(), after=rows.text(row, "written_by"))
            write = rows.update(attributes | {"written_by": written_by}, preconditions, clauses)
            try:
                response = retry_conflicts(
                    self._client.update_item,
                    TableName=self._table_name,
                    Key=_key(user_id, conversation_id),
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                    **write,
                )
            except self._client.exceptions.ConditionalCheckFailedException as error:
                (current,) = rows.conflicting_rows(error)
                if current is not None and rows.is_written_by(current, rows.value(written_by)):
                    return _version(current)
                if is_ambiguous(error):
                    # An earlier attempt may have been applied before another client changed the row.
                    raise errors.Unavailable from None
            else:
                return _version(response["Attributes"])
            back_off(attempt)
        raise errors.Unavailable

    def count_unread(self, user_id: str, query: "ListInbox") -> UnreadCount:
        """Returns the badge over the first `limit` entries of *query*. Costs two queries, whatever the user owns."""
        self._progress.require_finished()
        found = {row["id"]["S"]: row for row in self._indexed(user_id, query)}
        latest_first = sorted(found.values(), key=lambda row: row["activity"]["S"], reverse=True)
        counted = latest_first[: query.limit]
        return {
            "conversations": len(counted),
            "messages": sum(_unread_count(row) for row in counted),
            "has_more": len(found) > len(counted),
        }

    def _indexed(self, user_id: str, query: "ListInbox") -> "Sequence[Attributes]":
        """Returns the index rows of the page: at most `limit + 1` of each partition that *query* selects."""
        owner, index_name = {"user_id": user_id}, "by_activity"
        if query.group_id is not None:
            owner, index_name = {"owner_group": rows.owner_group(user_id, query.group_id)}, "by_group_activity"
        flags = _flags(query)
        # Unread ones first: then one of them usually finds a conversation that is marked as read meanwhile.
        combinations = itertools.product(*([True, False] if wanted is None else [wanted] for wanted in flags.values()))
        requests: list[QueryInputTypeDef] = [
            rows.page_query(
                self._table_name,
                rows.values(owner | dict(zip(flags, combination, strict=True))),
                query,
                index_name,
                sort_key="activity",
            )
            for combination in combinations
        ]
        responses = query_all(self._client, self._threads, requests)
        return [row for response in responses for row in response["Items"]]

    def _rows(self, user_id: str, ids: Sequence[str]) -> "Sequence[Attributes]":
        if not ids:
            return []
        request: KeysAndAttributesTypeDef = {"Keys": [_key(user_id, id) for id in ids], "ConsistentRead": True}
        return batch_read(self._client, {self._table_name: request})[self._table_name]

    def _row(self, user_id: str, id: str) -> "Attributes":
        found = self._get(self._table_name, _key(user_id, id))
        if found is None:
            raise errors.NotFound("conversation", "conversation_id")
        if "unread_revision" not in found:
            # An earlier release that was deployed again has created it.
            raise errors.NotPrepared
        return found

    def _get(self, table_name: str, key: "Attributes") -> "Attributes | None":
        with translate_errors():
            response = self._client.get_item(TableName=table_name, Key=key, ConsistentRead=True)
        return response.get("Item")

    def _changes(self, row: "Attributes", given: dict[str, Any]) -> tuple[dict[str, Any], Clauses]:
        """Returns the attributes of *row* that the mute and the marks in *given* change, and the clauses of these."""
        attributes: dict[str, Any] = {}
        conditions = []
        if "muted_until" in given and (given["muted_until"] is not None or "muted_until" in row):
            attributes = {"is_muted": given["muted_until"] is not None, "muted_until": given["muted_until"]}
            if given["muted_until"] is None:
                # Another client may mute it for good meanwhile, which null does not end.
                conditions.append("attribute_exists(muted_until)")
        if "read_up_to" not in given and given.get("is_unread") is not False:
            if "is_unread" not in given:
                return attributes, Clauses(conditions=conditions)
            # With a new revision, so that a recount that does not know the flag fails.
            raised = Clauses(["unread_revision = unread_revision + :one"], (), conditions, {":one": 1})
            return attributes | {"is_unread": True, "is_flagged": True}, raised
        last = rows.text(row, "last_message_id")
        mark = given.get("read_up_to", last)
        is_flagged = given.get("is_unread", mark is None and rows.number(row, "is_flagged") == 1)
        attributes |= {"read_up_to": mark, "is_flagged": is_flagged}
        if mark is not None:
            self._require_message(row, mark)
            attributes["last_opened_at"] = max(int(time.time()), rows.number(row, "last_opened_at") or 0)
        counted = unread.count(self._tables, row, mark)
        recount = unread.recount(row, counted, is_flagged=is_flagged)
        return attributes, recount._replace(conditions=[*recount.conditions, *conditions])

    def _require_message(self, row: "Attributes", id: str) -> None:
        """Raises `errors.InvalidRequest` unless *id* is, or until recently was, a message of the conversation."""
        user_id, conversation_id, last = row["user_id"]["S"], row["id"]["S"], rows.text(row, "last_message_id")
        if last is not None and id <= last:
            message = {"user_conversation": rows.user_conversation(user_id, conversation_id), "id": id}
            deletion = {"user_id": rows.deleted_messages(user_id, conversation_id), "id": id}
            # In this order: a message that is deleted in between has left its deletion.
            if id == last or self._get(self._tables.messages, rows.values(message)):
                return
            if self._get(self._table_name, rows.values(deletion)):
                return
        raise errors.InvalidRequest(
            "read_up_to: must be the id of a message of this conversation, or null if nothing is read"
        )


def _flags(query: "ListInbox") -> dict[str, bool | None]:
    return {
        "is_unread": query.unread,
        "is_archived": query.archived,
        "is_pinned": query.pinned,
        "is_muted": query.muted,
    }


def _is_on_page(row: "Attributes", query: "ListInbox", end: str | None) -> bool:
    """Returns whether the conversation still belongs on the page, which ends at the position *end* if more follow."""
    position = row["activity"]["S"]
    # It may have become active since the index was written. A walk down has then passed it, and one up will meet it.
    if query.starting_after is not None and position >= query.starting_after:
        return False
    if query.is_backwards and end is not None and position > end:
        return False
    return all(wanted is None or int(row[name]["N"]) == wanted for name, wanted in _flags(query).items())


def _key(user_id: str, id: str) -> "Attributes":
    return rows.values({"user_id": user_id, "id": id})


def _version(row: "Attributes") -> Version[Entry]:
    return Version(_entry(row), rows.version(row))


def _unread_count(row: "Attributes") -> int:
    return min(int(row["unread_count"]["N"]), unread.MAX)


def _entry(row: "Attributes") -> Entry:
    return {
        "position": row["activity"]["S"],
        "conversation": conversation_of(row),
        "last_message": _last_message(row) if "last_message" in row else None,
        "unread_count": _unread_count(row),
        "is_unread": row["is_unread"]["N"] == "1",
        "read_up_to": rows.text(row, "read_up_to"),
        "muted_until": None if rows.is_mute_over(row) else rows.number(row, "muted_until"),
    }


def _last_message(row: "Attributes") -> LastMessage:
    preview = cast("Attributes", row["last_message"]["M"])
    return {
        "id": preview["id"]["S"],
        "contact": {"id": preview["contact_id"]["S"]} if "contact_id" in preview else None,
        "message": preview["message"]["S"],
        "created_at": int(preview["created_at"]["N"]),
    }
