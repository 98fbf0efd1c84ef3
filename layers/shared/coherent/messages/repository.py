"""The messages in DynamoDB. Each conversation of each user is a partition."""

import itertools
import json
import math
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, cast

from coherent import errors, ids
from coherent.messages import EMPTY_MESSAGE_FAULT
from coherent.preconditions import Preconditions
from coherent.storage import idempotency, rows
from coherent.storage.dynamodb import batch_read, transact, translate_errors
from coherent.storage.rows import Creation, Page, Version

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from coherent.messages.models import CreateMessage, ListMessages, UpdateMessage
    from coherent.storage.dynamodb import Tables
    from coherent.storage.rows import Attributes

# The limit of BatchGetItem.
_MAX_KEYS = 100
_ATTEMPTS = 5
_MAX_LIST_SECONDS = 10
# The waits, in seconds, before the index is queried again for a message that is younger than _YOUNG_SECONDS.
_INDEX_WAITS = (0.05, 0.1, 0.2)
_YOUNG_SECONDS = 2

# Lambda's limit for a response is 6 MB, and encoding a message twice as JSON makes it up to four times as long.
_MAX_PAGE_BYTES = 1_000_000

_IS_LAST = "(attribute_not_exists(last_message_id) OR last_message_id < :id)"
_NOT_LATER = "(attribute_not_exists(last_active_at) OR last_active_at <= :active_at)"
_IS_PINNED = "pinned_message_id = :id"
_IS_NOT_PINNED = "attribute_not_exists(pinned_message_id) OR pinned_message_id <> :id"


class Contact(TypedDict):
    """The sender of a message, if it is not the user."""

    id: str


class Reaction(TypedDict):
    """A reaction. `contact_id` is null for the user's own."""

    reaction: str
    contact_id: str | None


class Message(TypedDict):
    """A message as the API shows it. `contact` is null for the user's own; times are Unix seconds."""

    id: str
    conversation_id: str
    contact: Contact | None
    message: str
    reactions: list[Reaction]
    attachments: list[str]
    read_at: int | None
    created_at: int
    updated_at: int | None


class MessageRepository:
    """The messages of all users. Each method reads and changes those of one user, the `sub` of their token.

    Messages of deleted conversations are hidden immediately and purged later. Every method raises `errors.Unavailable`
    if DynamoDB throttles or does not respond.
    """

    def __init__(self, tables: "Tables") -> None:
        self._client = tables.client
        self._table_name = tables.messages
        self._conversations_table_name = tables.conversations

    def list(self, user_id: str, query: "ListMessages") -> Page[Message]:
        """Returns the page that *query* selects. Raises `errors.NotFound` if the conversation does not exist.

        A page of long messages ends at 1 MB, with fewer than `limit`. The messages of one conversation are
        strongly consistent. Listing all messages reads a GSI: eventually consistent.
        """
        if query.conversation_id is None:
            request = rows.page_query(self._table_name, rows.values({"user_id": user_id}), query, "by_user")
        else:
            partition = rows.user_conversation(user_id, query.conversation_id)
            request = rows.page_query(self._table_name, rows.values({"user_conversation": partition}), query)
        found: list[Attributes] = []
        # Repeats only if the rows belong to conversations that were just deleted.
        deadline = time.monotonic() + _MAX_LIST_SECONDS
        while time.monotonic() < deadline:
            with translate_errors():
                response = self._client.query(**request)
            wanted = {row["conversation_id"]["S"] for row in response["Items"]}
            if query.conversation_id is not None:
                wanted.add(query.conversation_id)
            existing = self._conversations(user_id, wanted)
            if query.conversation_id is not None and query.conversation_id not in existing:
                raise errors.NotFound("conversation", "conversation_id")
            is_first = not found
            found += [row for row in response["Items"] if row["conversation_id"]["S"] in existing]
            if not is_first:
                # The rows of one response are at most 1 MB, those of several may be more.
                kept = _count_within_bytes(found)
                if kept < len(found):
                    return _page(found[:kept], query, has_more=True)
            if "LastEvaluatedKey" not in response:
                return _page(found, query, has_more=len(found) > query.limit)
            is_cut_at_1_mb = len(response["Items"]) < request.get("Limit", math.inf)
            if len(found) > query.limit or (is_cut_at_1_mb and len(found) > 1):
                # The last row only shows that another page follows.
                return _page(found[:-1], query, has_more=True)
            request["ExclusiveStartKey"] = response["LastEvaluatedKey"]
            # A deleted conversation may have millions of messages, so read as much as one response can contain.
            request.pop("Limit", None)
        raise errors.Unavailable

    def create(
        self, user_id: str, new: "CreateMessage", contact_id: str | None, idempotency_key: str | None
    ) -> Creation[Message]:
        """Stores a message from *contact_id*, or from the user if that is None.

        The same transaction sets the conversation's `last_active_at`. If the user sent *idempotency_key* in the last
        24 hours, nothing is created and the first message is returned. Raises `errors.NotFound` if the conversation
        does not exist, and `errors.IdempotencyKeyReused` if the attributes differ.
        """
        given: dict[str, Any] = {
            "conversation_id": new.conversation_id,
            "message": new.message,
            "attachments": new.attachments,
        }
        if contact_id is not None:
            given["contact_id"] = contact_id
        conversation: Attributes = {}
        for _ in range(_ATTEMPTS):
            # A new id for each attempt, greater than all before it: the last message has the greatest id of its
            # conversation, even if clocks differ.
            id = ids.new(time.time_ns(), after=rows.text(conversation, "last_message_id"))
            created_at = int(ids.created_at(id))
            row = _key(user_id, new.conversation_id, id) | rows.values(
                {**given, "user_id": user_id, "reactions": [], "created_at": created_at, "version": 1}
            )
            put: TransactWriteItemTypeDef = {
                "Put": {"TableName": self._table_name, "Item": row, "ConditionExpression": rows.IS_NEW}
            }
            record = []
            if idempotency_key is not None:
                record = [idempotency.put_record(user_id, idempotency_key, given, row, self._conversations_table_name)]
            # Another clock may be ahead: `last_active_at` must not decrease.
            active_at = max(created_at, rows.number(conversation, "last_active_at") or 0)
            activate = self._activate(user_id, new.conversation_id, id, active_at)
            try:
                transact(self._client, [put, activate, *record])
            except self._client.exceptions.TransactionCanceledException as error:
                _, current, *earlier = rows.conflicting_rows(error)
            else:
                return Creation(_version(row), is_replay=False)
            if earlier and earlier[0] is not None:
                original = idempotency.original(earlier[0], record[0])
                # The record names this row if an attempt was applied and its response lost.
                return Creation(_version(row | original), is_replay=original["id"] != row["id"])
            if current is None:
                raise errors.NotFound("conversation", "conversation_id")
            if rows.text(current, "last_message_id") == id:
                return Creation(_version(row), is_replay=False)
            conversation = current
        raise errors.Unavailable

    def retrieve(self, user_id: str, id: str) -> Version[Message]:
        """Returns the message. Raises `errors.NotFound`."""
        row, _ = self._find(user_id, id)
        return _version(row)

    def update(self, user_id: str, id: str, changes: "UpdateMessage", preconditions: Preconditions) -> Version[Message]:
        """Applies *changes* and returns the message.

        Raises `errors.NotFound`, `errors.PreconditionFailed`, `errors.Forbidden` if the text or the attachments of a
        contact's message would change, and `errors.InvalidRequest` if neither a text nor an attachment would remain.
        """
        attributes = changes.model_dump(exclude_unset=True)
        edits = attributes.keys() & {"message", "attachments"}
        if edits:
            attributes["updated_at"] = time.time_ns() // 1_000_000_000
        for _ in range(_ATTEMPTS):
            found, _ = self._find(user_id, id)
            if edits and "contact_id" in found:
                raise errors.Forbidden(f"{', '.join(sorted(edits))}: only the sender of a message can change this")
            expected = preconditions
            if len(edits) == 1 and not attributes[min(edits)]:
                # What remains of the message depends on the row, so it must still be the one that was read.
                expected = _check_rest(found, attributes, preconditions)
            key = _key(user_id, found["conversation_id"]["S"], id)
            try:
                return _version(rows.update_row(self._client, self._table_name, key, attributes, expected, "message"))
            except errors.PreconditionFailed:
                if expected == preconditions:
                    raise
        raise errors.Unavailable

    def delete(self, user_id: str, id: str, preconditions: Preconditions) -> None:
        """Deletes the message and unpins it in the same transaction. Raises as `update` does."""
        found, conversation = self._find(user_id, id)
        conversation_id = found["conversation_id"]["S"]
        delete = rows.delete(self._table_name, _key(user_id, conversation_id, id), preconditions)
        for _ in range(_ATTEMPTS):
            unpin = self._unpin(user_id, conversation_id, id, is_pinned=_is_pinned(conversation, id))
            try:
                transact(self._client, [delete, unpin])
            except self._client.exceptions.TransactionCanceledException as error:
                is_deleted = error.response["CancellationReasons"][0]["Code"] == "ConditionalCheckFailed"
                row, current = rows.conflicting_rows(error)
            else:
                return
            if row is not None:
                raise rows.condition_error(row, "message", preconditions)
            if is_deleted and preconditions.allowed is not None:
                # Another client deleted it, perhaps after a change.
                raise preconditions.failure("message", 0)
            # Already deleted by a concurrent delete: report success.
            if current is None:
                return
            conversation = current
        raise errors.Unavailable

    def _find(self, user_id: str, id: str) -> "tuple[Attributes, Attributes]":
        """Returns the message and its conversation. Raises `errors.NotFound`."""
        conversation_id = self._conversation_of(user_id, id)
        found = batch_read(
            self._client,
            {
                self._table_name: {"Keys": [_key(user_id, conversation_id, id)], "ConsistentRead": True},
                self._conversations_table_name: {
                    "Keys": [rows.values({"user_id": user_id, "id": conversation_id})],
                    "ProjectionExpression": "id, pinned_message_id",
                    "ConsistentRead": True,
                },
            },
        )
        messages, conversations = found[self._table_name], found[self._conversations_table_name]
        if not messages or not conversations:
            raise errors.NotFound("message")
        return messages[0], conversations[0]

    def _conversation_of(self, user_id: str, id: str) -> str:
        for wait in (0, *_INDEX_WAITS):
            time.sleep(wait)
            with translate_errors():
                response = self._client.query(
                    TableName=self._table_name,
                    IndexName="by_user",
                    KeyConditionExpression="user_id = :user_id AND id = :id",
                    ExpressionAttributeValues=rows.values({":user_id": user_id, ":id": id}),
                )
            if response["Items"]:
                return response["Items"][0]["conversation_id"]["S"]
            # The index is eventually consistent, and a client may request what it has just created.
            if abs(time.time() - ids.created_at(id)) > _YOUNG_SECONDS:
                break
        raise errors.NotFound("message")

    def _conversations(self, user_id: str, wanted: Iterable[str]) -> set[str]:
        """Returns the ids of the *wanted* conversations that exist."""
        keys = [rows.values({"user_id": user_id, "id": id}) for id in sorted(wanted)]
        existing: set[str] = set()
        for start in range(0, len(keys), _MAX_KEYS):
            found = batch_read(
                self._client,
                {
                    self._conversations_table_name: {
                        "Keys": keys[start : start + _MAX_KEYS],
                        "ProjectionExpression": "id",
                        "ConsistentRead": True,
                    }
                },
            )
            existing |= {row["id"]["S"] for row in found[self._conversations_table_name]}
        return existing

    def _activate(self, user_id: str, conversation_id: str, id: str, active_at: int) -> "TransactWriteItemTypeDef":
        return {
            "Update": {
                "TableName": self._conversations_table_name,
                "Key": rows.values({"user_id": user_id, "id": conversation_id}),
                "UpdateExpression": "SET last_active_at = :active_at, last_message_id = :id, version = version + :one",
                "ConditionExpression": f"{rows.EXISTS} AND {_NOT_LATER} AND {_IS_LAST}",
                "ExpressionAttributeValues": rows.values({":active_at": active_at, ":id": id, ":one": 1}),
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }

    def _unpin(self, user_id: str, conversation_id: str, id: str, *, is_pinned: bool) -> "TransactWriteItemTypeDef":
        """Returns the write that unpins the message, or the check that it is not pinned."""
        key = rows.values({"user_id": user_id, "id": conversation_id})
        if is_pinned:
            return {
                "Update": {
                    "TableName": self._conversations_table_name,
                    "Key": key,
                    "UpdateExpression": "SET version = version + :one REMOVE pinned_message_id",
                    "ConditionExpression": _IS_PINNED,
                    "ExpressionAttributeValues": rows.values({":id": id, ":one": 1}),
                    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                }
            }
        return {
            "ConditionCheck": {
                "TableName": self._conversations_table_name,
                "Key": key,
                "ConditionExpression": _IS_NOT_PINNED,
                "ExpressionAttributeValues": rows.values({":id": id}),
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }


def _check_rest(found: "Attributes", edit: dict[str, Any], preconditions: Preconditions) -> Preconditions:
    """Returns preconditions for the version of *found*, if *edit* leaves it a text or an attachment.

    Raises `errors.InvalidRequest` if it leaves neither.
    """
    version = int(found["version"]["N"])
    if not preconditions.hold_for(version):
        raise preconditions.failure("message", version)
    message = _message(found)
    if not edit.get("message", message["message"]) and not edit.get("attachments", message["attachments"]):
        raise errors.InvalidRequest(EMPTY_MESSAGE_FAULT)
    return Preconditions(allowed=frozenset([version]))


def _count_within_bytes(found: "Sequence[Attributes]") -> int:
    """Returns how many rows fit in a page of `_MAX_PAGE_BYTES`: at least one."""
    sizes = (len(json.dumps(row, ensure_ascii=False).encode()) for row in found)
    return max(1, sum(total <= _MAX_PAGE_BYTES for total in itertools.accumulate(sizes)))


def _key(user_id: str, conversation_id: str, id: str) -> "Attributes":
    return rows.values({"user_conversation": rows.user_conversation(user_id, conversation_id), "id": id})


def _is_pinned(conversation: "Attributes", id: str) -> bool:
    return conversation.get("pinned_message_id") == rows.value(id)


def _page(found: "list[Attributes]", query: "ListMessages", *, has_more: bool) -> Page[Message]:
    nearest = [_message(row) for row in found[: query.limit]]
    return Page(nearest[::-1] if query.is_backwards else nearest, has_more)


def _version(row: "Attributes") -> Version[Message]:
    return Version(_message(row), int(row["version"]["N"]))


def _message(row: "Attributes") -> Message:
    return {
        "id": row["id"]["S"],
        "conversation_id": row["conversation_id"]["S"],
        "contact": {"id": row["contact_id"]["S"]} if "contact_id" in row else None,
        "message": row["message"]["S"],
        "reactions": cast("list[Reaction]", rows.plain(row["reactions"])),
        "attachments": cast("list[str]", rows.plain(row["attachments"])),
        "read_at": rows.number(row, "read_at"),
        "created_at": int(row["created_at"]["N"]),
        "updated_at": rows.number(row, "updated_at"),
    }
