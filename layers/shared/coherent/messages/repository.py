"""Where messages are kept: one DynamoDB table, in which each conversation of each user is a partition."""

import math
import time
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, TypedDict, cast

from coherent import errors, idempotency, ids, rows
from coherent.dynamodb import availability, batch_read, written
from coherent.rows import Creation, Page, Version

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from coherent.messages.models import CreateMessage, ListMessages, UpdateMessage
    from coherent.rows import Attributes

_MOST_KEYS = 100
_ATTEMPTS = 5
_LONGEST_SECONDS = 10
# After how many seconds a message is looked for again that the index may not know yet.
_WAITS = (0.05, 0.1, 0.2)
_YOUNG_SECONDS = 2

_NOT_LATER = "(attribute_not_exists(last_active_at) OR last_active_at <= :active_at)"
_IS_PINNED = "pinned_message_id = :id"
_IS_NOT_PINNED = "attribute_not_exists(pinned_message_id) OR pinned_message_id <> :id"


class Contact(TypedDict):
    """Somebody else than the user."""

    id: str


class Reaction(TypedDict):
    """Who reacted how; null is the user."""

    reaction: str
    contact_id: str | None


class Message(TypedDict):
    """A message as every answer shows it, from *contact* or, if that is null, the user; times are Unix seconds."""

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
    """The messages of every user, each of whom sees only their own; a user is the `sub` of their token.

    What belongs to a conversation that was deleted is gone, even before it is purged. Every method raises
    `errors.Unavailable` when DynamoDB throttles or does not answer.
    """

    def __init__(self, client: "DynamoDBClient", table_name: str, conversations_table_name: str) -> None:
        self._client = client
        self._table_name = table_name
        self._conversations_table_name = conversations_table_name

    def list(self, user_id: str, query: "ListMessages") -> Page[Message]:
        """The page that *query* asks for. Raises `errors.NotFound` where that names no conversation of the user.

        DynamoDB ends an answer at 1 MB, so a page of very long messages has fewer than `limit`. Those of one
        conversation are read as they now are; those of all from an index, which follows a moment later.
        """
        if query.conversation_id is None:
            request = rows.page_query(self._table_name, rows.values({"user_id": user_id}), query, "by_user")
        else:
            partition = rows.user_conversation(user_id, query.conversation_id)
            request = rows.page_query(self._table_name, rows.values({"user_conversation": partition}), query)
        found: list[Attributes] = []
        # More than once only where what was read belongs to conversations that were deleted just now.
        deadline = time.monotonic() + _LONGEST_SECONDS
        while time.monotonic() < deadline:
            with availability():
                answer = self._client.query(**request)
            wanted = {row["conversation_id"]["S"] for row in answer["Items"]}
            if query.conversation_id is not None:
                wanted.add(query.conversation_id)
            existing = self._conversations(user_id, wanted)
            if query.conversation_id is not None and query.conversation_id not in existing:
                raise errors.NotFound("conversation", "conversation_id")
            found += [row for row in answer["Items"] if row["conversation_id"]["S"] in existing]
            if "LastEvaluatedKey" not in answer:
                return _page(found, query, has_more=len(found) > query.limit)
            ended_at_a_megabyte = len(answer["Items"]) < request.get("Limit", math.inf)
            if len(found) > query.limit or (ended_at_a_megabyte and len(found) > 1):
                # The last one only tells that there are more.
                return _page(found[:-1], query, has_more=True)
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
            # There may be very many of them, so now as much as DynamoDB gives at once.
            request.pop("Limit", None)
        raise errors.Unavailable

    def create(
        self, user_id: str, new: "CreateMessage", contact_id: str | None, idempotency_key: str | None
    ) -> Creation[Message]:
        """The message just stored, from *contact_id* or, if that is None, from the user.

        Its conversation becomes active in the same transaction. With an *idempotency_key* that the user gave in the
        last 24 hours, nothing is created and the answer is that of the first time. Raises `errors.NotFound` without
        the conversation, and `errors.IdempotencyKeyReused` if the attributes were others then.
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
            record = [idempotency.record(user_id, idempotency_key, given, row, self._conversations_table_name)]
        active_at = created_at
        for _ in range(_ATTEMPTS):
            activate = self._activate(user_id, new.conversation_id, active_at)
            try:
                written(self._client.transact_write_items, TransactItems=[put, activate, *record])
            except self._client.exceptions.TransactionCanceledException as error:
                written_before, conversation, *earlier = rows.refusing(error)
            else:
                return Creation(_version(row), is_replay=False)
            if earlier and earlier[0] is not None:
                first = idempotency.first_made(earlier[0], record[0])
                # It is this very row where botocore repeated the request because the answer was lost.
                return Creation(_version(row | first), is_replay=first["id"] != row["id"])
            if written_before is not None:
                return Creation(_version(row), is_replay=False)
            if conversation is None:
                raise errors.NotFound("conversation", "conversation_id")
            # Never backwards: the clock that wrote it was ahead of ours.
            active_at = int(conversation["last_active_at"]["N"])
        raise errors.Unavailable

    def retrieve(self, user_id: str, id: str) -> Version[Message]:
        """The message as it now is. Raises `errors.NotFound`."""
        row, _ = self._find(user_id, id)
        return _version(row)

    def update(
        self, user_id: str, id: str, changes: "UpdateMessage", only_versions: Collection[int] | None
    ) -> Version[Message]:
        """The message with *changes* made to it and all else as it was.

        Raises `errors.NotFound`, and `errors.Changed` if its version is none of *only_versions*; None is any.
        """
        found, _ = self._find(user_id, id)
        now_ns = time.time_ns()
        attributes = changes.model_dump(exclude_unset=True)
        attributes["updated_at"] = now_ns // 1_000_000_000
        # Tells a repetition of this very write from a write by somebody else.
        attributes["written_by"] = ids.new(now_ns)
        key = _key(user_id, found["conversation_id"]["S"], id)
        update = rows.update(attributes, only_versions)
        return _version(rows.change(self._client, self._table_name, key, update, "message"))

    def delete(self, user_id: str, id: str, only_versions: Collection[int] | None) -> None:
        """Deletes the message for good, and unpins it in the same transaction. Raises as `update` does."""
        found, conversation = self._find(user_id, id)
        conversation_id = found["conversation_id"]["S"]
        delete = rows.delete(self._table_name, _key(user_id, conversation_id, id), only_versions)
        for _ in range(_ATTEMPTS):
            unpin = self._unpin(user_id, conversation_id, id, is_pinned=_is_pinned(conversation, id))
            try:
                written(self._client.transact_write_items, TransactItems=[delete, unpin])
            except self._client.exceptions.TransactionCanceledException as error:
                row, met = rows.refusing(error)
            else:
                return
            if row is not None:
                raise errors.Changed("message")
            # It was there a moment ago, so this is what was asked for: by botocore's repetition after an answer was
            # lost, or by somebody who deleted it, or all of the conversation, at the same time.
            if met is None:
                return
            conversation = met
        raise errors.Unavailable

    def _find(self, user_id: str, id: str) -> "tuple[Attributes, Attributes]":
        """The message and the conversation it belongs to, as they now are. Raises `errors.NotFound`."""
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
        for wait in (0, *_WAITS):
            time.sleep(wait)
            with availability():
                answer = self._client.query(
                    TableName=self._table_name,
                    IndexName="by_user",
                    KeyConditionExpression="user_id = :user_id AND id = :id",
                    ExpressionAttributeValues=rows.values({":user_id": user_id, ":id": id}),
                )
            if answer["Items"]:
                return answer["Items"][0]["conversation_id"]["S"]
            # The index follows the table a moment later, and a client may ask at once for what it just created.
            if abs(time.time() - ids.made_at(id)) > _YOUNG_SECONDS:
                break
        raise errors.NotFound("message")

    def _conversations(self, user_id: str, wanted: Iterable[str]) -> set[str]:
        """Those of the *wanted* conversations that exist."""
        keys = [rows.values({"user_id": user_id, "id": id}) for id in sorted(wanted)]
        existing: set[str] = set()
        for start in range(0, len(keys), _MOST_KEYS):
            found = batch_read(
                self._client,
                {
                    self._conversations_table_name: {
                        "Keys": keys[start : start + _MOST_KEYS],
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
        """A write that ends with a conversation in which the message is not pinned, if *is_pinned* is right."""
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
