"""Applies delivery orders to the mailboxes of their recipients: exactly once, and in the order of `messages.orders`.

Any number of workers may apply the orders of a pair at the same time. A worker applies an order only after those before
it have been applied, and the transaction that applies an order fails if another worker has applied it.
"""

import time
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from coherent import deadline, errors
from coherent.delivery.recipients import Recipients
from coherent.messages import orders
from coherent.messages.dead_letters import DeadLetters
from coherent.messages.models import MAX_REACTIONS, ReceiveMessage
from coherent.messages.repository import MessageRepository
from coherent.storage import blocks, rows
from coherent.storage.client import LAST_REQUESTS_SECONDS
from coherent.storage.dynamodb import back_off

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from coherent.messages.orders import Pair
    from coherent.storage.dynamodb import Tables
    from coherent.storage.rows import Attributes, Reason

_ATTEMPTS = 6
# Enough for the requests that apply one order.
_LAST_ORDER_SECONDS = 20
# An older order that fails becomes a dead letter, because it delays those behind it. The exception is an order that
# fails because DynamoDB or Cognito throttles or does not respond.
_GIVE_UP_SECONDS = 60 * 60

logger = Logger()


class Sweep(NamedTuple):
    """The number of pairs that failed in a sweep of a partition, and when its oldest order was put.

    Without orders, *oldest* is the time of the sweep.
    """

    failed: int
    oldest: float


class Mailbox:
    """The mailboxes of all users of the stack."""

    def __init__(self, tables: "Tables") -> None:
        self._tables = tables
        self._messages = MessageRepository(tables)
        self._recipients = Recipients(tables)
        self._dead_letters = DeadLetters()

    def sweep(self, partition: str) -> "Sweep":
        """Applies the orders of *partition* until time is up. The pairs take turns, so a busy one delays no other.

        A pair that fails waits for the next sweep. Logs failures.
        """
        oldest = time.time()
        failed: set[Pair] = set()
        has_more = True
        while has_more:
            has_more = False
            for pair in orders.pairs(self._tables, partition):
                if deadline.seconds_left() < LAST_REQUESTS_SECONDS:
                    return Sweep(len(failed), oldest)
                if pair in failed:
                    continue
                try:
                    waiting, is_cut = orders.waiting(self._tables, pair)
                    # An edit of an old message comes before a new message that has waited longer.
                    oldest = min([oldest, *(int(order["ordered_at"]["N"]) for order in waiting)])
                    self._apply_all(waiting)
                    has_more |= is_cut
                except Exception:
                    logger.exception("A delivery failed", extra={"pair": pair.digest})
                    failed.add(pair)
        return Sweep(len(failed), oldest)

    def deliver(self, pair: "Pair") -> bool:
        """Applies the first waiting orders of *pair*. Returns whether more wait.

        Raises `errors.Unavailable` if DynamoDB or Cognito throttles or does not respond, or if time is up.
        """
        waiting, has_more = orders.waiting(self._tables, pair)
        self._apply_all(waiting)
        return has_more

    def _apply_all(self, waiting: "Sequence[Attributes]") -> None:
        for order in waiting:
            if deadline.seconds_left() < _LAST_ORDER_SECONDS:
                raise errors.Unavailable
            try:
                self._apply(order)
            except Exception as error:
                is_young = time.time() - int(order["ordered_at"]["N"]) < _GIVE_UP_SECONDS
                if is_young or not _is_undeliverable(error):
                    raise
                logger.exception("An order became a dead letter", extra={"message_id": order["message_id"]["S"]})
                event = {"id": order["id"]["S"], "detail": {name: rows.plain(order[name]) for name in order}}
                self._dead_letters.bury("It could not be delivered; the log has the exception", event)
                orders.drop(self._tables, order)

    def _apply(self, order: "Attributes") -> None:
        kind, sender, recipient = (order[name]["S"] for name in ("kind", "sender", "recipient"))
        # Senders may delete their messages even if the recipient blocks them.
        is_blocked = kind != "deleted" and blocks.is_blocked(self._tables, recipient, sender)
        if is_blocked or not self._recipients.is_user(recipient):
            orders.drop(self._tables, order)
        elif kind == "created":
            self._messages.receive_once(_received(order), _Delivery(self._tables.messages, order), _origin(order))
        else:
            self._follow(order)

    def _follow(self, order: "Attributes") -> None:
        """Changes or deletes the copy of a message, if there is one."""
        completion = [orders.completion(self._tables.messages, order)]
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                message, conversation = self._copy(order)
            except errors.NotFound:
                # The recipient has deleted it, or blocked the sender when it was sent.
                orders.drop(self._tables, order)
                return
            if order["kind"]["S"] == "deleted":
                is_applied = self._messages.remove(message, conversation, more=completion) is None
            elif changes := _changes(order, message):
                is_applied = self._messages.change(message, conversation, changes, more=completion) is not None
            else:
                orders.drop(self._tables, order)
                return
            if is_applied or not orders.is_waiting(self._tables, order):
                return
            back_off(attempt)
        raise errors.Unavailable

    def _copy(self, order: "Attributes") -> "tuple[Attributes, Attributes]":
        """Returns the rows of the recipient's copy and its conversation. Raises `errors.NotFound`."""
        recipient = order["recipient"]["S"]
        if "origin_id" in order:
            location = {"conversation_id": order["origin_conversation_id"], "copy_id": order["origin_id"]}
        else:
            location = orders.copy_location(self._tables, order)
        return self._messages.find_in(recipient, location["conversation_id"]["S"], location["copy_id"]["S"])


def _is_undeliverable(error: Exception) -> bool:
    """Returns whether *error* lies in the order, and not in AWS, such as a throttle, a permission or a disabled key."""
    if isinstance(error, ClientError):
        return error.response["Error"]["Code"] == "ValidationException"
    return not isinstance(error, BotoCoreError | errors.Unavailable)


class _Delivery:
    """The delivery of a new message. Its copy is stored once, because the same transaction deletes the order."""

    def __init__(self, table_name: str, order: "Attributes") -> None:
        self._table_name, self._order = table_name, order

    def writes(self, row: "Attributes") -> "list[TransactWriteItemTypeDef]":
        """Returns the writes that put the origin row and delete the order."""
        location = orders.origin_key(row["user_id"]["S"], row["origin_id"]["S"]) | {
            "conversation_id": row["conversation_id"],
            "copy_id": row["id"],
        }
        remember: TransactWriteItemTypeDef = {"Put": {"TableName": self._table_name, "Item": location}}
        return [remember, orders.completion(self._table_name, self._order)]

    def earlier(self, row: "Attributes", reasons: "Sequence[Reason]") -> "Attributes | None":
        """Returns *row* if another worker has completed the order."""
        return row if reasons[-1]["Code"] == "ConditionalCheckFailed" else None


def _received(order: "Attributes") -> ReceiveMessage:
    return ReceiveMessage.model_construct(
        user_id=order["recipient"]["S"],
        contact_id=order["sender"]["S"],
        group_id=rows.text(order, "group_id"),
        message=order["message"]["S"],
        attachments=cast("list[str]", rows.plain(order["attachments"])),
        sent_at=int(order["created_at"]["N"]),
    )


def _origin(order: "Attributes") -> "Mapping[str, str]":
    return {"origin_id": order["message_id"]["S"], "origin_conversation_id": order["conversation_id"]["S"]}


def _changes(order: "Attributes", message: "Attributes") -> dict[str, object]:
    """Returns the attributes of *message*, the recipient's row, that *order* changes."""
    edits = ("message", "attachments", "updated_at")
    now: dict[str, object] = {name: rows.plain(order[name]) for name in edits if name in order}
    if "reactions" in order:
        sender = order["sender"]["S"]
        kept = [each for each in cast("list[Any]", rows.plain(message["reactions"])) if each["contact_id"] != sender]
        added = cast("list[str]", rows.plain(order["reactions"]))
        now["reactions"] = (kept + [{"reaction": text, "contact_id": sender} for text in added])[:MAX_REACTIONS]
    return {name: given for name, given in now.items() if name not in message or given != rows.plain(message[name])}
