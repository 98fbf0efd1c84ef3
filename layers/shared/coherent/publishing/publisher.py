"""Publishes the changes in the streams of both tables."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger

from coherent.changes.bus import EventBus
from coherent.changes.change import Change
from coherent.changes.feed import Feed
from coherent.changes.source import change_of
from coherent.messages.dead_letters import DeadLetters
from coherent.webhooks.queue import WebhookQueue
from coherent.webhooks.repository import WebhookRepository

if TYPE_CHECKING:
    from coherent.storage.dynamodb import Tables

logger = Logger()


class Publisher:
    """Publishes changes to the event bus, to the feeds of their users, and to webhooks."""

    def __init__(self, tables: "Tables") -> None:
        self._webhooks = WebhookRepository(tables)
        self._webhook_queue = WebhookQueue()
        self._bus = EventBus()
        self._feed = Feed(tables.client)
        self._dead_letters = DeadLetters()

    def publish(self, records: Sequence[dict[str, Any]]) -> None:
        """Publishes the changes in *records*. A malformed record becomes a dead letter.

        Logs failures, and raises RuntimeError after bus and feeds have been tried: the batch must be repeated, although
        some of its changes are then published again. Webhooks get them only after all others: otherwise every
        repetition would reach the endpoints.
        """
        changes = [change for record in records if (change := self._parse(record)) is not None]
        of_user = defaultdict(list)
        for change in changes:
            of_user[change.user_id].append(change)
        webhooks = self._webhooks.list() if changes else []
        deliveries = [
            (webhook["id"], change)
            for change in changes
            for webhook in webhooks
            if webhook["is_enabled"] and change.type in webhook["events"]
        ]
        publications = [
            partial(self._bus.put, changes),
            # Redeliveries to webhooks read the index.
            *(partial(self._feed.append, *each, is_indexed=bool(webhooks)) for each in of_user.items()),
        ]
        if failed := sum(map(_has_failed, publications)):
            raise RuntimeError(f"{failed} of {len(publications)} publications failed")
        self._webhook_queue.send_events(deliveries)

    def _parse(self, record: dict[str, Any]) -> Change | None:
        try:
            return change_of(record)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            logger.exception("A record of a stream became a dead letter")
            event = {"id": record.get("eventID"), "detail": record}
            self._dead_letters.bury(f"The record of the stream is malformed: {error!r}", event)
            return None


def _has_failed(publish: Callable[[], None]) -> bool:
    try:
        publish()
    except Exception:
        logger.exception("Changes were not published")
        return True
    return False
