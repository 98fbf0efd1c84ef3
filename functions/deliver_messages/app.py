"""DynamoDB stream of the messages: applies the delivery orders that messages to other users have left."""

from collections import deque
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from coherent import deadline, metrics
from coherent.delivery.mailbox import Mailbox
from coherent.messages import orders
from coherent.storage import dynamodb

tables = dynamodb.connect()
mailbox = Mailbox(tables)
logger = Logger()
meter = metrics.Meter("deliver_messages")


def handler(event: dict[str, Any], context: LambdaContext) -> None:
    # A record only says that a pair has orders, so it may be delivered twice or late.
    pairs = deque(dict.fromkeys(orders.pair_of(record["dynamodb"]["Keys"]) for record in event["Records"]))
    failed = 0
    with meter.measure(), deadline.within(context):
        while pairs:
            pair = pairs.popleft()
            try:
                # Pairs take turns, so a busy one delays no other.
                if mailbox.deliver(pair):
                    pairs.append(pair)
            except Exception:
                logger.exception("A delivery failed", extra={"pair": pair.digest})
                failed += 1
        if failed:
            # Lambda repeats the batch, and the sweep applies what is left.
            raise RuntimeError(f"The deliveries of {failed} pairs of users failed")
