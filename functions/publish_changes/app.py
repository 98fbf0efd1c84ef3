"""DynamoDB streams of both tables: publishes the changes of conversations and messages."""

from functools import partial
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from coherent import deadline, metrics
from coherent.changes.publisher import Publisher
from coherent.storage import dynamodb
from coherent.webhooks.publisher import WebhookPublisher

tables = dynamodb.connect()
publisher, webhook_publisher = Publisher(tables), WebhookPublisher(tables)
meter = metrics.Meter("publish_changes")


def handler(event: dict[str, Any], context: LambdaContext) -> None:
    # A record may be delivered twice or late: every change has a version, and its event an id that depends on it.
    with meter.measure(), deadline.within(context):
        if changes := publisher.changes(event["Records"]):
            webhooks = webhook_publisher.webhooks()
            send = [partial(webhook_publisher.publish, changes, webhooks)] if webhooks else []
            # Redeliveries to webhooks read the index.
            publisher.publish(changes, *send, is_indexed=bool(webhooks))
