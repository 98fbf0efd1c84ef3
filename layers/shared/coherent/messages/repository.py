"""The messages in DynamoDB. Each conversation of each user is a partition."""

import itertools
import json
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from coherent import errors, ids
from coherent.conversations.row import new_row as new_conversation
from coherent.messages import EMPTY_MESSAGE_FAULT, conversation, orders
from coherent.messages.limits import SendLimits
from coherent.messages.once import IdempotencyKey, Once
from coherent.messages.row import Message, message_of, new_row, row_key, version_of
from coherent.preconditions import ANY, Preconditions
from coherent.storage import pairs, rows
from coherent.storage.dynamodb import back_off, batch_read, transact, translate_errors
from coherent.storage.rows import Creation, Page, Version

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from coherent.messages.models import CreateMessage, ListMessages, ReceiveMessage, UpdateMessage
    from coherent.storage.dynamodb import Tables
    from coherent.storage.rows import Attributes, Reason

_KEY = ("user_conversation", "id")
# The limit of BatchGetItem.
_MAX_KEYS = 100
_ATTEMPTS = 5
_MAX_LIST_SECONDS = 10
# The waits, in seconds, before the index is queried again for a message that is younger than _YOUNG_SECONDS.
_INDEX_WAITS = (0.05, 0.1, 0.2)
_YOUNG_SECONDS = 2
# Another clock, which made the id, may be ahead.
_MAX_CLOCK_DIFFERENCE_SECONDS = 60

# Lambda's limit for a response is 6 MB, and encoding a message twice as JSON makes it up to four times as long.
_MAX_PAGE_BYTES = 1_000_000

# How long the deletion of a message is remembered, so that it can still be named as the last one read.
_DELETED_SECONDS = 30 * 24 * 60 * 60


class MessageRepository:
    """The messages of all users. Each method reads and changes those of one user, the `sub` of their token.

    Messages of deleted conversations are hidden immediately and purged later. Every method raises `errors.Unavailable`
    if DynamoDB throttles or does not respond.
    """

    def __init__(self, tables: "Tables") -> None:
        self._tables = tables
        self._client = tables.client
        self._table_name = tables.messages
        self._conversations_table_name = tables.conversations
        # Which incoming messages restore archived conversations; only the functions that store messages have it.
        self._unarchive = os.environ.get("UNARCHIVE", "unmuted")
        self._limits = SendLimits(tables)
        # Whether messages to contacts who are users of the stack are delivered to them.
        self._delivers = os.environ.get("DELIVERY") == "internal"

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

    def create(self, user_id: str, new: "CreateMessage", idempotency_key: str | None) -> Creation[Message]:
        """Stores a message of the user, and orders a copy for the contact.

        If the user sent *idempotency_key* in the last 24 hours, nothing is created and the first message is returned.
        Raises `errors.NotFound` if the conversation does not exist, `errors.TooManyRequests`, and
        `errors.IdempotencyKeyReused` if the attributes differ.
        """
        given = new.model_dump()
        known = _conversation_key(user_id, new.conversation_id)
        if self._delivers:
            # The order needs the contact, which never changes. Without a conversation, a key may still have an answer.
            with suppress(errors.NotFound):
                known = self._conversation(known)
            contact_id = rows.text(known, "contact_id")
            if contact_id is not None and contact_id != user_id:
                self._limits.count(user_id, contact_id)
        once = IdempotencyKey(self._conversations_table_name, user_id, idempotency_key, given)
        return self._add(known, given, once)

    def receive(self, received: "ReceiveMessage", idempotency_key: str) -> Creation[Message]:
        """Stores a message of a contact as `receive_once` does, once for each *idempotency_key* in 24 hours.

        Raises `errors.IdempotencyKeyReused` if the attributes differ.
        """
        # Without `sent_at`, which is dropped while it is in the future.
        given = received.model_dump(exclude_none=True, exclude={"user_id", "sent_at"})
        table_name, user_id = self._conversations_table_name, received.user_id
        return self.receive_once(received, IdempotencyKey(table_name, user_id, idempotency_key, given))

    def receive_once(
        self, received: "ReceiveMessage", once: Once, origin: Mapping[str, str] = MappingProxyType({})
    ) -> Creation[Message]:
        """Stores a message of a contact: in its conversation, or in the newest one with the contact and the group.

        If that one does not exist either, the same transaction creates one. A deleted conversation is never revived.
        *origin* are more attributes of the row.
        """
        content = received.model_dump(include={"message", "attachments", "contact_id"}) | dict(origin)
        if received.sent_at is not None:
            content["created_at"] = received.sent_at
        if received.conversation_id is not None:
            with suppress(errors.NotFound):
                return self._add(_conversation_key(received.user_id, received.conversation_id), content, once)
        pair = pairs.key(received.user_id, received.contact_id, received.group_id)
        for attempt in range(1, _ATTEMPTS + 1):
            newest = pairs.newest(self._tables, pair)
            if newest is not None:
                with suppress(errors.NotFound):
                    return self._add(_conversation_key(received.user_id, newest), content, once)
            begin = new_conversation(received.user_id, received.contact_id, received.group_id)
            row = new_row(begin, ids.new(time.time_ns()), content)
            put: TransactWriteItemTypeDef = {
                "Put": {
                    "TableName": self._conversations_table_name,
                    "Item": begin | conversation.first_arrival(row),
                    "ConditionExpression": rows.IS_NEW,
                }
            }
            point = pairs.point_if_unchanged(self._conversations_table_name, pair, begin["id"]["S"], newest)
            stored, _ = self._store(row, [put, point], once)
            if stored is not None:
                return stored
            # Another conversation of the pair has been created meanwhile.
            back_off(attempt)
        raise errors.Unavailable

    def _add(self, known: "Attributes", content: Mapping[str, object], once: Once) -> Creation[Message]:
        """Stores a message in a conversation, whose row the same transaction updates (`conversation.arrival`).

        *known* is that row, or its key.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            # A new id for each attempt, greater than all before it: the last message has the greatest id of its
            # conversation, even if clocks differ.
            row = new_row(known, ids.new(time.time_ns(), after=rows.text(known, "last_message_id")), content)
            writes = [conversation.arrival(self._conversations_table_name, row, known, self._unarchive)]
            recipient = self._recipient(row, known)
            if recipient is not None and "contact_id" not in row:
                writes.append(orders.creation(self._table_name, row, known, recipient))
            stored, current = self._store(row, writes, once)
            if stored is not None:
                return stored
            if current is None:
                raise errors.NotFound("conversation", "conversation_id")
            if rows.text(current, "last_message_id") == row["id"]["S"]:
                # Our own write, whose response was lost.
                return Creation(version_of(row), is_replay=False)
            known = current
            back_off(attempt)
        raise errors.Unavailable

    def _recipient(self, message: "Attributes", its_conversation: "Attributes") -> str | None:
        return orders.recipient(message, its_conversation) if self._delivers else None

    def _store(
        self, row: "Attributes", writes: "Sequence[TransactWriteItemTypeDef]", once: Once
    ) -> "tuple[Creation[Message] | None, Attributes | None]":
        """Puts the message together with *writes* and those of *once*.

        Returns it, or the message that was stored before. If the condition of another write fails returns None, and the
        row on which the first one of *writes* failed.
        """
        put: TransactWriteItemTypeDef = {
            "Put": {"TableName": self._table_name, "Item": row, "ConditionExpression": rows.IS_NEW}
        }
        try:
            transact(self._client, [put, *writes, *once.writes(row)])
        except self._client.exceptions.TransactionCanceledException as error:
            reasons = rows.cancellation_reasons(error)
            earlier = once.earlier(row, reasons[1 + len(writes) :])
            if earlier is None:
                return None, reasons[1].get("Item")
            return Creation(version_of(earlier), is_replay=earlier["id"] != row["id"]), None
        return Creation(version_of(row), is_replay=False), None

    def retrieve(self, user_id: str, id: str) -> Version[Message]:
        """Returns the message. Raises `errors.NotFound`."""
        row, _ = self._find(user_id, id)
        return version_of(row)

    def update(self, user_id: str, id: str, changes: "UpdateMessage", preconditions: Preconditions) -> Version[Message]:
        """Applies *changes* and returns the message.

        A new text is also written to the preview of the conversation, in the same transaction; so is an order for the
        copy of the message. Raises `errors.NotFound`, `errors.PreconditionFailed`, `errors.Forbidden` if the text or
        the attachments of a contact's message would change, `errors.InvalidRequest` if neither a text nor an attachment
        would remain, and `errors.TooManyRequests`.
        """
        attributes = changes.model_dump(exclude_unset=True)
        edits = attributes.keys() & {"message", "attachments"}
        if edits:
            attributes["updated_at"] = time.time_ns() // 1_000_000_000
        for attempt in range(1, _ATTEMPTS + 1):
            found, its_conversation = self._find(user_id, id)
            if edits and "contact_id" in found:
                raise errors.Forbidden(f"{', '.join(sorted(edits))}: only the sender of a message can change this")
            expected = preconditions
            if len(edits) == 1 and not attributes[min(edits)]:
                # What remains of the message depends on the row, so it must still be the one that was read.
                expected = _check_rest(found, attributes, preconditions)
            # Also if the reactions are as they were: another client may be changing them.
            recipient = self._recipient(found, its_conversation) if edits or "reactions" in attributes else None
            if recipient is not None and attempt == 1:
                self._limits.count(user_id, recipient)
            if "message" in edits or recipient is not None:
                if not preconditions.hold_for(rows.version(found)):
                    raise preconditions.failure("message", rows.version(found))
                row = self.change(found, its_conversation, attributes, recipient=recipient)
                if row is not None:
                    return version_of(row)
                back_off(attempt)
                continue
            key = row_key(user_id, found["conversation_id"]["S"], id)
            try:
                return version_of(rows.update_row(self._client, self._table_name, key, attributes, expected, "message"))
            except errors.PreconditionFailed:
                if expected == preconditions:
                    raise
        raise errors.Unavailable

    def change(
        self,
        found: "Attributes",
        its_conversation: "Attributes",
        attributes: Mapping[str, object],
        *,
        recipient: str | None = None,
        more: "Sequence[TransactWriteItemTypeDef]" = (),
    ) -> "Attributes | None":
        """Changes *found*, a message, with its preview, and executes the writes *more* in the same transaction.

        Orders a copy for *recipient*. Returns the new row, or None if a condition failed, because a row has changed.
        """
        changes = {**attributes, "written_by": ids.new(time.time_ns(), after=rows.text(found, "written_by"))}
        key = {name: found[name] for name in _KEY}
        writes = [rows.change(self._table_name, key, changes, rows.version(found))]
        if "message" in attributes:
            text = str(attributes["message"])
            writes.append(conversation.edit(self._conversations_table_name, found, its_conversation, text))
        changed = rows.apply(found, changes)
        if recipient is not None:
            writes.append(orders.change(self._table_name, found, changed, recipient))
        try:
            transact(self._client, [*writes, *more])
        except self._client.exceptions.TransactionCanceledException:
            return None
        return changed

    def delete(self, user_id: str, id: str, preconditions: Preconditions, *, is_for_everyone: bool = False) -> None:
        """Deletes the message, and updates its conversation's row in the same transaction (`conversation.deletion`).

        *is_for_everyone* also orders the deletion of its copy, and raises `errors.NotFound` for a contact's message.
        Raises as `update` does.
        """
        found, its_conversation = self._find(user_id, id)
        more = []
        if is_for_everyone:
            if "contact_id" in found:
                raise errors.NotFound("message")
            # Also if nothing is delivered now: there may be a copy from before.
            recipient = orders.recipient(found, its_conversation)
            if recipient is not None:
                more = [orders.deletion(self._table_name, found, recipient)]
        for attempt in range(1, _ATTEMPTS + 1):
            reason = self.remove(found, its_conversation, preconditions, more)
            if reason is None:
                return
            is_deleted, row = reason["Code"] == "ConditionalCheckFailed", reason.get("Item")
            if row is not None:
                raise rows.condition_error(row, "message", preconditions)
            if is_deleted and preconditions.allowed is not None:
                # Another client deleted it, perhaps after a change.
                raise preconditions.failure("message", 0)
            if is_deleted and not is_for_everyone:
                # Already deleted by a concurrent delete: report success.
                return
            if is_deleted:
                # That delete may have left the copy.
                raise errors.NotFound("message")
            back_off(attempt)
            try:
                its_conversation = self._find(user_id, id)[1]
            except errors.NotFound:
                # The message or its conversation was deleted meanwhile.
                if preconditions.allowed is not None or is_for_everyone:
                    raise
                return
        raise errors.Unavailable

    def remove(
        self,
        found: "Attributes",
        its_conversation: "Attributes",
        preconditions: Preconditions = ANY,
        more: "Sequence[TransactWriteItemTypeDef]" = (),
    ) -> "Reason | None":
        """Deletes *found*, a message, with what refers to it, and executes the writes *more* in the same transaction.

        Returns None, or why the message was not deleted.
        """
        user_id, conversation_id, id = (found[name]["S"] for name in ("user_id", "conversation_id", "id"))
        writes = [rows.delete(self._table_name, row_key(user_id, conversation_id, id), preconditions)]
        previous = self._previous(found) if conversation.is_previewed(its_conversation, found) else None
        writes.append(conversation.deletion(self._tables, found, its_conversation, previous))
        writes.append(self._remember_deletion(found))
        if previous is not None:
            writes.append(rows.check_unchanged(self._table_name, _KEY, previous))
        if "origin_id" in found:
            key = orders.origin_key(user_id, found["origin_id"]["S"])
            writes.append({"Delete": {"TableName": self._table_name, "Key": key}})
        try:
            transact(self._client, [*writes, *more])
        except self._client.exceptions.TransactionCanceledException as error:
            return rows.cancellation_reasons(error)[0]
        return None

    def _previous(self, message: "Attributes") -> "Attributes | None":
        """Returns the message before *message* in its conversation, or None without one."""
        with translate_errors():
            response = self._client.query(
                TableName=self._table_name,
                KeyConditionExpression="user_conversation = :partition AND id < :id",
                ExpressionAttributeValues={":partition": message["user_conversation"], ":id": message["id"]},
                ConsistentRead=True,
                ScanIndexForward=False,
                Limit=1,
            )
        return response["Items"][0] if response["Items"] else None

    def _remember_deletion(self, message: "Attributes") -> "TransactWriteItemTypeDef":
        partition = rows.deleted_messages(message["user_id"]["S"], message["conversation_id"]["S"])
        expires_at = int(time.time()) + _DELETED_SECONDS
        row = rows.values({"user_id": partition, "id": message["id"]["S"], "expires_at": expires_at})
        return {"Put": {"TableName": self._conversations_table_name, "Item": row}}

    def _find(self, user_id: str, id: str) -> "tuple[Attributes, Attributes]":
        """Returns the message and its conversation. Raises `errors.NotFound`."""
        return self.find_in(user_id, self._conversation_of(user_id, id), id)

    def find_in(self, user_id: str, conversation_id: str, id: str) -> "tuple[Attributes, Attributes]":
        """Returns the rows of the message and of its conversation. Raises `errors.NotFound`."""
        found = batch_read(
            self._client,
            {
                self._table_name: {"Keys": [row_key(user_id, conversation_id, id)], "ConsistentRead": True},
                self._conversations_table_name: {
                    "Keys": [_conversation_key(user_id, conversation_id)],
                    "ConsistentRead": True,
                },
            },
        )
        messages, conversations = found[self._table_name], found[self._conversations_table_name]
        if not messages or not conversations:
            raise errors.NotFound("message")
        return messages[0], conversations[0]

    def _conversation(self, key: "Attributes") -> "Attributes":
        with translate_errors():
            response = self._client.get_item(TableName=self._conversations_table_name, Key=key, ConsistentRead=True)
        if "Item" not in response:
            raise errors.NotFound("conversation", "conversation_id")
        return response["Item"]

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
            if not -_MAX_CLOCK_DIFFERENCE_SECONDS < time.time() - ids.created_at(id) < _YOUNG_SECONDS:
                break
        raise errors.NotFound("message")

    def _conversations(self, user_id: str, wanted: Iterable[str]) -> set[str]:
        """Returns the ids of the *wanted* conversations that exist."""
        keys = [_conversation_key(user_id, id) for id in sorted(wanted)]
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


def _check_rest(found: "Attributes", edit: dict[str, Any], preconditions: Preconditions) -> Preconditions:
    """Returns preconditions for the version of *found*, if *edit* leaves it a text or an attachment.

    Raises `errors.InvalidRequest` if it leaves neither.
    """
    version = rows.version(found)
    if not preconditions.hold_for(version):
        raise preconditions.failure("message", version)
    message = message_of(found)
    if not edit.get("message", message["message"]) and not edit.get("attachments", message["attachments"]):
        raise errors.InvalidRequest(EMPTY_MESSAGE_FAULT)
    return Preconditions(allowed=frozenset([version]))


def _count_within_bytes(found: "Sequence[Attributes]") -> int:
    """Returns how many rows fit in a page of `_MAX_PAGE_BYTES`: at least one."""
    sizes = (len(json.dumps(row, ensure_ascii=False).encode()) for row in found)
    return max(1, sum(total <= _MAX_PAGE_BYTES for total in itertools.accumulate(sizes)))


def _conversation_key(user_id: str, id: str) -> "Attributes":
    return rows.values({"user_id": user_id, "id": id})


def _page(found: "list[Attributes]", query: "ListMessages", *, has_more: bool) -> Page[Message]:
    nearest = [message_of(row) for row in found[: query.limit]]
    return Page(nearest[::-1] if query.is_backwards else nearest, has_more)
