"""DynamoDB streams of both tables: publishes changes of conversations and messages."""

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from coherent import deadline, metrics
from coherent.changes.bus import EventBus
from coherent.changes.change import Change
from coherent.changes.feed import Feed
from coherent.changes.source import change_of
from coherent.messages.dead_letters import DeadLetters
from coherent.storage import dynamodb
from coherent.webhooks.publisher import WebhookPublisher

tables = dynamodb.connect()
feed = Feed(tables.client)
webhook_publisher = WebhookPublisher(tables)
bus = EventBus()
dead_letters = DeadLetters()
logger = Logger()
meter = metrics.Meter("publish_changes")


def parse(record: dict[str, Any]) -> Change | None:
    """Returns the change, or None without one. A malformed record becomes a dead letter."""
    try:
        return change_of(record)
    except (KeyError, TypeError, ValueError) as error:
        logger.exception("A record of a stream became a dead letter")
        event = {"id": str(record.get("eventID")), "detail": record}
        dead_letters.bury(f"The record of the stream is malformed: {error!r}", event)
        return None


def has_failed(publish: Callable[[], None]) -> bool:
    try:
        publish()
    except Exception:
        logger.exception("Changes were not published")
        return True
    return False


def handler(event: dict[str, Any], context: LambdaContext) -> None:
    with meter.measure(), deadline.within(context):
        changes = [change for record in event["Records"] if (change := parse(record)) is not None]
        of_user = defaultdict(list)
        for change in changes:
            of_user[change.user_id].append(change)
        webhooks = webhook_publisher.webhooks() if changes else []
        publications = [
            partial(webhook_publisher.publish, changes, webhooks),
            partial(bus.put, changes),
            # Redeliveries to webhooks read the index.
            *(partial(feed.append, *each, is_indexed=bool(webhooks)) for each in of_user.items()),
        ]
        if failed := sum(map(has_failed, publications)):
            # Lambda repeats the batch.
            raise RuntimeError(f"{failed} of {len(publications)} publications failed")
