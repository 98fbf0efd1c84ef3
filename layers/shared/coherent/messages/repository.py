"""The messages in DynamoDB. Each conversation of each user is a partition."""

import math
import time
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, TypedDict, cast

from coherent import errors, ids
from coherent.storage import idempotency, rows
from coherent.storage.dynamodb import batch_read, retry_conflicts, translate_errors
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

    Messages of deleted conversations are hidden at once and purged later. Every method raises `errors.Unavailable` if
    DynamoDB throttles or does not respond.
    """

    def __init__(self, tables: "Tables") -> None:
        self._client = tables.client
        self._table_name = tables.messages
        self._conversations_table_name = tables.conversations

    def list(self, user_id: str, query: "ListMessages") -> Page[Message]:
        """Returns the page that *query* selects. Raises `errors.NotFound` if the conversation does not exist.

        DynamoDB ends a response at 1 MB, so a page of very long messages has fewer than `limit`. The messages of one
        conversation are strongly consistent. Listing all messages reads a GSI: eventually consistent.
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
            found += [row for row in response["Items"] if row["conversation_id"]["S"] in existing]
            if "LastEvaluatedKey" not in response:
                return _page(found, query, has_more=len(found) > query.limit)
            is_cut_at_1_mb = len(response["Items"]) < request.get("Limit", math.inf)
            if len(found) > query.limit or (is_cut_at_1_mb and len(found) > 1):
                # The last row only tells that another page follows.
                return _page(found[:-1], query, has_more=True)
            request["ExclusiveStartKey"] = response["LastEvaluatedKey"]
            # A deleted conversation may have very many messages, so read as much as one response holds.
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
        now_ns = time.time_ns()
        created_at = now_ns // 1_000_000_000
        given: dict[str, Any] = {
            "conversation_id": new.conversation_id,
            "message": new.message,
            "attachments": new.attachments,
        }
        if contact_id is not None:
            given["contact_id"] = contact_id
        row = _key(user_id, new.conversation_id, ids.new(now_ns)) | rows.values(
            {**given, "user_id": user_id, "reactions": [], "created_at": created_at, "version": 1}
        )
        put: TransactWriteItemTypeDef = {
            "Put": {
                "TableName": self._table_name,
                "Item": row,
                "ConditionExpression": rows.IS_NEW,
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }
        record = []
        if idempotency_key is not None:
            record = [idempotency.put_record(user_id, idempotency_key, given, row, self._conversations_table_name)]
        active_at = created_at
        for _ in range(_ATTEMPTS):
            activate = self._activate(user_id, new.conversation_id, active_at)
            try:
                retry_conflicts(self._client.transact_write_items, TransactItems=[put, activate, *record])
            except self._client.exceptions.TransactionCanceledException as error:
                existing, conversation, *earlier = rows.conflicting_rows(error)
            else:
                return Creation(_version(row), is_replay=False)
            if earlier and earlier[0] is not None:
                first = idempotency.first_created(earlier[0], record[0])
                # The record names this row if botocore retried the request because the response was lost.
                return Creation(_version(row | first), is_replay=first["id"] != row["id"])
            if existing is not None:
                return Creation(_version(row), is_replay=False)
            if conversation is None:
                raise errors.NotFound("conversation", "conversation_id")
            # Clock skew: keep the later timestamp.
            active_at = int(conversation["last_active_at"]["N"])
        raise errors.Unavailable

    def retrieve(self, user_id: str, id: str) -> Version[Message]:
        """Returns the message. Raises `errors.NotFound`."""
        row, _ = self._find(user_id, id)
        return _version(row)

    def update(
        self, user_id: str, id: str, changes: "UpdateMessage", expected_versions: Collection[int] | None
    ) -> Version[Message]:
        """Applies *changes* and returns the message.

        Raises `errors.NotFound`, and `errors.Changed` if its version is not one of *expected_versions* (None allows
        any).
        """
        found, _ = self._find(user_id, id)
        now_ns = time.time_ns()
        attributes = changes.model_dump(exclude_unset=True)
        attributes["updated_at"] = now_ns // 1_000_000_000
        # Tells a retry of this write from a write of another request.
        attributes["written_by"] = ids.new(now_ns)
        key = _key(user_id, found["conversation_id"]["S"], id)
        update = rows.update(attributes, expected_versions)
        return _version(rows.update_row(self._client, self._table_name, key, update, "message"))

    def delete(self, user_id: str, id: str, expected_versions: Collection[int] | None) -> None:
        """Deletes the message and unpins it in the same transaction. Raises as `update` does."""
        found, conversation = self._find(user_id, id)
        conversation_id = found["conversation_id"]["S"]
        delete = rows.delete(self._table_name, _key(user_id, conversation_id, id), expected_versions)
        for _ in range(_ATTEMPTS):
            unpin = self._unpin(user_id, conversation_id, id, is_pinned=_is_pinned(conversation, id))
            try:
                retry_conflicts(self._client.transact_write_items, TransactItems=[delete, unpin])
            except self._client.exceptions.TransactionCanceledException as error:
                row, current = rows.conflicting_rows(error)
            else:
                return
            if row is not None:
                raise errors.Changed("message")
            # Already deleted, by our own retry or by a concurrent delete: report success.
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
            # The index is eventually consistent, and a client may request at once what it just created.
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

    def _activate(self, user_id: str, conversation_id: str, active_at: int) -> "TransactWriteItemTypeDef":
        return {
            "Update": {
                "TableName": self._conversations_table_name,
                "Key": rows.values({"user_id": user_id, "id": conversation_id}),
                "UpdateExpression": "SET last_active_at = :active_at, version = version + :one",
                "ConditionExpression": f"{rows.EXISTS} AND {_NOT_LATER}",
                "ExpressionAttributeValues": rows.values({":active_at": active_at, ":one": 1}),
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
