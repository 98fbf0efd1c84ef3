"""The inbox in DynamoDB. The position is the sort key of two indexes, the cursor and the order."""

import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, cast

from coherent import errors, ids
from coherent.conversations.repository import Conversation, conversation_of
from coherent.inbox import mutes
from coherent.messages import unread
from coherent.messages.row import Contact
from coherent.preconditions import ANY, Preconditions
from coherent.storage import blocks, rows
from coherent.storage.client import is_ambiguous
from coherent.storage.dynamodb import back_off, batch_read, query_all, retry_conflicts, transact, translate_errors
from coherent.storage.progress import Progress
from coherent.storage.rows import Clauses, Page, Version

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import KeysAndAttributesTypeDef, QueryInputTypeDef, TransactWriteItemTypeDef

    from coherent.inbox.models import ListInbox, UpdateInboxEntry
    from coherent.storage.dynamodb import Tables
    from coherent.storage.rows import Attributes

# With 8 threads and 1,024 MB, a warm page of 16 Queries takes 30 ms: with 4 threads 1.3 times as long, with 16 threads
# or with 512 MB twice. One of 8 Queries takes 19 ms: with 4 threads or 512 MB 1.2 to 1.3 times as long. A page that has
# to connect takes 69 to 109 ms, 1.2 to 1.7 times as long as with 4 threads (`make bench PARTS=threads`).
_THREADS = 8
_ATTEMPTS = 6
_MAX_LIST_SECONDS = 10
_KEY = ("user_id", "id")
# The limit of BatchGetItem.
_MAX_KEYS = 100
# Added to the version of an entry while its contact is blocked: blocking in one conversation changes the entries of all
# conversations with that contact, without writing them. No row has so many versions.
_BLOCKED_VERSIONS = 10**15


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
    is_blocked: bool


class UnreadCount(TypedDict):
    """The badge. `has_more` if there are more unread conversations than were counted."""

    conversations: int
    messages: int
    has_more: bool


class _Marked(NamedTuple):
    """The attributes of a row that a PUT changes, and the clauses that change its unread count.

    *counts* are the values that the clauses assign if the row has not changed since it was read.
    """

    attributes: dict[str, Any]
    clauses: Clauses
    counts: dict[str, Any]


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
            existing, block_row = self._rows(user_id, nearest)
            current = [row for row in existing if _is_on_page(row, query, end)]
            if current or end is None:
                latest_first = sorted(current, key=lambda row: row["activity"]["S"], reverse=True)
                return Page([_entry(row, is_blocked=_is_blocked(row, block_row)) for row in latest_first], has_more)
            query = query.model_copy(update={"ending_before" if query.is_backwards else "starting_after": end})
        raise errors.Unavailable

    def retrieve(self, user_id: str, conversation_id: str) -> Version[Entry]:
        """Returns the entry of the conversation. Raises `errors.NotFound`."""
        self._progress.require_finished()
        row, block_row = self._row(user_id, conversation_id)
        return _version(row, is_blocked=_is_blocked(row, block_row))

    def update(
        self, user_id: str, conversation_id: str, changes: "UpdateInboxEntry", preconditions: Preconditions
    ) -> Version[Entry]:
        """Applies *changes* and returns the entry.

        An id as `read_up_to` also clears the flag and moves `last_opened_at` to now. `is_unread: false` without an id
        marks everything as read. `is_blocked` applies to the contact in all conversations. Raises `errors.NotFound`,
        `errors.PreconditionFailed`, and `errors.InvalidRequest` if the message to mark does not belong to the
        conversation, or if there is no contact to block or there are too many.
        """
        self._progress.require_finished()
        given = changes.model_dump(exclude_unset=True)
        for attempt in range(1, _ATTEMPTS + 1):
            row, block_row = self._row(user_id, conversation_id)
            was_blocked, row_version = _is_blocked(row, block_row), rows.version(row)
            version = row_version + _BLOCKED_VERSIONS * was_blocked
            if not preconditions.hold_for(version):
                raise preconditions.failure("conversation", version)
            contact_id = rows.text(row, "contact_id")
            if contact_id is None and "is_blocked" in given:
                raise errors.InvalidRequest("is_blocked: the conversation has no contact to block")
            is_blocked = given.get("is_blocked", was_blocked)
            block = None
            if contact_id is not None and ("is_blocked" in given or preconditions != ANY):
                block = blocks.write(self._table_name, user_id, contact_id, block_row, is_blocked=is_blocked)
            marked = self._marked(row, given)
            if changes.muted_until is not None:
                # First, so that no mute is forgotten. The sweep ignores it if the mute itself fails.
                mutes.schedule(self._tables, user_id, conversation_id, changes.muted_until)
            written_by = ids.new(time.time_ns(), after=rows.text(row, "written_by"))
            marked.attributes["written_by"] = written_by
            if block is None:
                written = self._write(row, marked, preconditions)
            else:
                written = self._transact(row, row_version, marked, block)
            if written is not None:
                return _version(written, is_blocked=is_blocked)
            back_off(attempt)
        raise errors.Unavailable

    def _write(self, row: "Attributes", marked: _Marked, preconditions: Preconditions) -> "Attributes | None":
        """Writes the change and returns the new row, or None if another client has changed it meanwhile."""
        try:
            response = retry_conflicts(
                self._client.update_item,
                TableName=self._table_name,
                Key={name: row[name] for name in _KEY},
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **rows.update(marked.attributes, preconditions, marked.clauses),
            )
        except self._client.exceptions.ConditionalCheckFailedException as error:
            (current,) = rows.conflicting_rows(error)
            if rows.is_written_by(current, rows.value(marked.attributes["written_by"])):
                return current
            if is_ambiguous(error):
                # An earlier attempt may have been applied before another client changed the row.
                raise errors.Unavailable from None
            return None
        return response["Attributes"]

    def _transact(
        self, row: "Attributes", version: int, marked: _Marked, block: "TransactWriteItemTypeDef"
    ) -> "Attributes | None":
        """Writes the change together with *block*. Returns as `_write` does.

        Requires that the row has not changed since it was read, because transactions return no rows, and that its
        version is still *version*, because a mute may have run out.
        """
        changes = marked.attributes | marked.counts
        unchanged = Clauses(conditions=["version = :version"], values={":version": rows.number(row, "version")})
        change = rows.change(self._table_name, {name: row[name] for name in _KEY}, changes, version, unchanged)
        try:
            transact(self._client, [change, block])
        except self._client.exceptions.TransactionCanceledException as error:
            current, _ = rows.conflicting_rows(error)
            return current if rows.is_written_by(current, rows.value(changes["written_by"])) else None
        return rows.apply(row, changes)

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

    def _rows(self, user_id: str, ids: Sequence[str]) -> "tuple[Sequence[Attributes], Attributes | None]":
        """Returns the rows of the conversations that exist, and the user's block row or None."""
        if not ids:
            return [], None
        keys = [*(_key(user_id, id) for id in ids), blocks.key(user_id)]
        requests: Sequence[KeysAndAttributesTypeDef] = [
            {"Keys": keys[start : start + _MAX_KEYS], "ConsistentRead": True}
            for start in range(0, len(keys), _MAX_KEYS)
        ]
        responses = [batch_read(self._client, {self._table_name: request}) for request in requests]
        found = [row for response in responses for row in response[self._table_name]]
        block_row = next((row for row in found if row["user_id"]["S"] != user_id), None)
        return [row for row in found if row is not block_row], block_row

    def _row(self, user_id: str, id: str) -> "tuple[Attributes, Attributes | None]":
        """Returns the row of the conversation, and the user's block row or None. Raises `errors.NotFound`."""
        found, block_row = self._rows(user_id, [id])
        if not found:
            raise errors.NotFound("conversation", "conversation_id")
        if "unread_revision" not in found[0]:
            # An earlier release that was deployed again has created it.
            raise errors.NotPrepared
        return found[0], block_row

    def _get(self, table_name: str, key: "Attributes") -> "Attributes | None":
        with translate_errors():
            response = self._client.get_item(TableName=table_name, Key=key, ConsistentRead=True)
        return response.get("Item")

    def _marked(self, row: "Attributes", given: dict[str, Any]) -> _Marked:
        """Returns how the mute and the marks in *given* change *row*."""
        attributes: dict[str, Any] = {}
        conditions = []
        if "muted_until" in given and (given["muted_until"] is not None or "muted_until" in row):
            attributes = {"is_muted": given["muted_until"] is not None, "muted_until": given["muted_until"]}
            if given["muted_until"] is None:
                # Another client may mute it for good meanwhile, which null does not end.
                conditions.append("attribute_exists(muted_until)")
        if not given.keys() & {"read_up_to", "is_unread"}:
            return _Marked(attributes, Clauses(conditions=conditions), {})
        counts: dict[str, Any] = {"unread_revision": int(row["unread_revision"]["N"]) + 1}
        if "read_up_to" not in given and given["is_unread"]:
            # With a new revision, so that a recount that does not know the flag fails.
            raised = Clauses(["unread_revision = unread_revision + :one"], (), conditions, {":one": 1})
            return _Marked(attributes | {"is_unread": True, "is_flagged": True}, raised, counts)
        last = rows.text(row, "last_message_id")
        mark = given.get("read_up_to", last)
        is_flagged = given.get("is_unread", mark is None and rows.number(row, "is_flagged") == 1)
        attributes |= {"read_up_to": mark, "is_flagged": is_flagged}
        if mark is not None:
            self._require_message(row, mark)
            attributes["last_opened_at"] = max(int(time.time()), rows.number(row, "last_opened_at") or 0)
        counted = unread.count(self._tables, row, mark)
        recount = unread.recount(row, counted, is_flagged=is_flagged)
        counts |= {"unread_count": counted, "is_unread": counted > 0 or is_flagged}
        return _Marked(attributes, recount._replace(conditions=[*recount.conditions, *conditions]), counts)

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


def _is_blocked(row: "Attributes", block_row: "Attributes | None") -> bool:
    return blocks.contains(block_row, rows.text(row, "contact_id"))


def _version(row: "Attributes", *, is_blocked: bool) -> Version[Entry]:
    return Version(_entry(row, is_blocked=is_blocked), rows.version(row) + _BLOCKED_VERSIONS * is_blocked)


def _unread_count(row: "Attributes") -> int:
    return min(int(row["unread_count"]["N"]), unread.MAX)


def _entry(row: "Attributes", *, is_blocked: bool) -> Entry:
    return {
        "position": row["activity"]["S"],
        "conversation": conversation_of(row),
        "last_message": _last_message(row) if "last_message" in row else None,
        "unread_count": _unread_count(row),
        "is_unread": row["is_unread"]["N"] == "1",
        "read_up_to": rows.text(row, "read_up_to"),
        "muted_until": None if rows.is_mute_over(row) else rows.number(row, "muted_until"),
        "is_blocked": is_blocked,
    }


def _last_message(row: "Attributes") -> LastMessage:
    preview = cast("Attributes", row["last_message"]["M"])
    return {
        "id": preview["id"]["S"],
        "contact": {"id": preview["contact_id"]["S"]} if "contact_id" in preview else None,
        "message": preview["message"]["S"],
        "created_at": int(preview["created_at"]["N"]),
    }
