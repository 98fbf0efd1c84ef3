"""Handles the messages of the webhook queue: sends an event to its webhook, or queues the events of a redelivery."""

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from aws_lambda_powertools import Logger

from coherent import deadline, errors
from coherent.changes.by_time import ChangesByTime, Period
from coherent.messages.dead_letters import DeadLetters
from coherent.webhooks import addresses, schedule, signatures
from coherent.webhooks.budget import ATTEMPT_SECONDS, Budget
from coherent.webhooks.queue import WebhookQueue
from coherent.webhooks.repository import WebhookRepository, webhook_of
from coherent.webhooks.request import FAILURES, Client
from coherent.webhooks.secrets import MasterKeyReplaced, Secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coherent.storage.dynamodb import Tables
    from coherent.storage.rows import Attributes

# A receiver that restarts or is deployed accepts events again sooner.
_LATE_SECONDS = 30 * 60
# The events that a redelivery queues in a minute. More could fill the queue and delay the events of other webhooks.
_REDELIVERED_EVENTS, _REDELIVERY_WAIT = 3000, 60
_REDELIVERY_PAUSE = 10 * 60
# A page takes less than 10 s, and AWS clients start no request in the last 10 s.
_LAST_PAGE_SECONDS = 20

logger = Logger()


class Outcome(NamedTuple):
    """The result of a message.

    *details* are log fields. *wait* is the time in seconds until the next attempt; None if the message is done.
    *is_late* says that the webhook did not accept the event, which is old or became a dead letter.
    """

    details: "Mapping[str, object]"
    wait: int | None = None
    is_late: bool = False


class Sender:
    """The sender of all webhooks' events."""

    def __init__(self, tables: "Tables") -> None:
        self._webhooks = WebhookRepository(tables)
        self._changes = ChangesByTime(tables.client)
        self._budget = Budget(tables)
        self._secrets = Secrets()
        self._http = Client()
        self._queue = WebhookQueue()
        self._dead_letters = DeadLetters()

    def deliver(self, record: "Mapping[str, Any]") -> Outcome:
        """Delivers the message of an SQS *record*. Raises `errors.Unavailable` and other errors of AWS."""
        age = time.time() - int(record["attributes"]["SentTimestamp"]) / 1000
        message = json.loads(record["body"])
        details = {
            "webhook": message["webhook_id"],
            "event": message.get("event", {}).get("id"),
            "attempt": int(record["attributes"]["ApproximateReceiveCount"]),
        }
        try:
            row = self._webhooks.row(message["webhook_id"])
        except errors.NotFound:
            return Outcome(details | {"dropped": "deleted"})
        if not webhook_of(row)["is_enabled"]:
            return Outcome(details | {"dropped": "disabled"})
        reservation = self._budget.reserve(message["webhook_id"])
        if reservation is None:
            return self._wait(message, age, schedule.after_exhaustion(age), details | {"result": "budget exhausted"})
        started = time.monotonic()
        try:
            if "event" not in message:
                return Outcome(details | {"redelivered": self._redeliver(row, message["redelivery"])})
            result = self._attempt(row, message["event"])
        finally:
            seconds = time.monotonic() - started
            self._budget.settle(reservation, seconds if "event" in message else 0)
        details |= {"result": result, "milliseconds": round(seconds * 1000)}
        if isinstance(result, int) and 200 <= result < 300:
            if "missed_since" in row:
                self._redeliver_missed(row)
            return Outcome(details)
        if result == 410:
            # The message returns: it is dropped if the webhook is still disabled then, and sent if it has changed.
            self._webhooks.disable(row)
            logger.warning("The endpoint of a webhook is gone, so the webhook is disabled", extra=details)
        return self._wait(message, age, schedule.after_failure(age), details, has_failed=True)

    def _attempt(self, row: "Attributes", event: "Mapping[str, object]") -> int | str:
        """Returns the status of the endpoint's response, or without one the name of the error."""
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        try:
            secrets = self._secrets.valid(row)
            ends_at = time.monotonic() + ATTEMPT_SECONDS
            target = addresses.resolve(webhook_of(row)["url"])
            headers = signatures.headers(str(event["id"]), body, secrets, time.time())
            return self._http.post(target, body, headers, ends_at - time.monotonic())
        except (MasterKeyReplaced, errors.InvalidRequest, *FAILURES) as error:
            # The error's text may quote the response.
            return type(error).__name__

    def _wait(
        self,
        message: "Mapping[str, Any]",
        age: float,
        wait: int | None,
        details: "Mapping[str, object]",
        *,
        has_failed: bool = False,
    ) -> Outcome:
        """Returns the outcome of a message that must *wait*. Without a time it becomes a dead letter.

        While the queue is full, the message leaves it: its event is redelivered when the webhook accepts another one.
        """
        is_late = wait is None or (has_failed and age > _LATE_SECONDS)
        reason = "did not accept the event in three days"
        if wait is not None and "event" in message and self._queue.is_full():
            if self._changes.are_kept:
                self._webhooks.remember_missed(message["webhook_id"], message["created_at"])
                return Outcome({**details, "dropped": "queue full"}, is_late=is_late)
            wait, is_late, reason = None, True, "did not accept the event, and too many events wait"
        if wait is None:
            event = message.get("event", {})
            self._bury(message["webhook_id"], f"{reason}; last result: {details['result']}", event or message)
        return Outcome(details, wait, is_late)

    def _redeliver_missed(self, row: "Attributes") -> None:
        """Starts the redelivery of the events that left the queue because it was full.

        The next one waits until the oldest of them is twice as old: the endpoint may reject these events again, and
        each success would otherwise multiply them.
        """
        id, now, since = row["id"]["S"], int(time.time()), int(row["missed_since"]["N"])
        # In the queue, older events would have been given up too.
        start = max(since, now - schedule.GIVE_UP_SECONDS)
        if not self._webhooks.claim_missed(id, since, min(now - _REDELIVERY_PAUSE, (start + now) // 2)):
            return
        if since < start:
            missed = {"webhook_id": id, "from": since, "to": start - 1}
            self._bury(id, "did not accept some events in three days", missed)
        # The index shows the latest events a moment later. More events may leave the queue during the wait.
        self._queue.send_redelivery(id, {"from": start, "to": now + _REDELIVERY_WAIT}, _REDELIVERY_WAIT)
        self._webhooks.forget_missed(id, since)

    def _bury(self, webhook_id: str, reason: str, detail: "Mapping[str, Any]") -> None:
        envelope = {"id": detail.get("id"), "detail-type": detail.get("type"), "detail": detail}
        self._dead_letters.bury(f"Webhook {webhook_id} {reason}", envelope)

    def _redeliver(self, row: "Attributes", redelivery: "Mapping[str, Any]") -> int:
        """Sends the next events of a redelivery to the queue, and the rest of the redelivery. Returns their number."""
        webhook = webhook_of(row)
        if not self._changes.are_kept:
            self._bury(webhook["id"], "gets no old events: the stack keeps no changes", redelivery)
            return 0
        sent = 0
        period = Period(redelivery["from"], redelivery["to"], redelivery.get("slot"), redelivery.get("cursor"))
        for page in self._changes.pages(period):
            wanted = [change for change in page.changes if change.type in webhook["events"]]
            self._queue.send_events((webhook["id"], change) for change in wanted)
            sent += len(wanted)
            if page.rest and (sent >= _REDELIVERED_EVENTS or deadline.seconds_left() < _LAST_PAGE_SECONDS):
                rest = {"from": period.start, "to": period.end, "slot": page.rest.slot, "cursor": page.rest.key}
                self._queue.send_redelivery(webhook["id"], rest, _REDELIVERY_WAIT)
                break
        return sent
