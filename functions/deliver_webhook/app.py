"""Webhook queue (SQS): sends an event to a webhook, or queues the events of a redelivery."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from coherent import deadline, metrics
from coherent.storage import dynamodb
from coherent.webhooks.queue import WebhookQueue
from coherent.webhooks.sender import Sender

tables = dynamodb.connect()
sender, queue = Sender(tables), WebhookQueue()
meter = metrics.Meter("deliver_webhook")


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    failures = []
    with meter.measure() as invocation, deadline.within(context):
        # One record: a batch would wait for the slowest endpoint.
        for record in event["Records"]:
            try:
                outcome = sender.deliver(record)
            except Exception:
                # The message returns. An alarm watches this metric, and no other one for errors of AWS.
                invocation.webhook_failures += 1
                raise
            invocation.fields = outcome.details
            invocation.webhook_failures += outcome.is_late
            if outcome.wait is not None:
                queue.postpone(record, outcome.wait)
                failures.append({"itemIdentifier": record["messageId"]})
        return {"batchItemFailures": failures}
