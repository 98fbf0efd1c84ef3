"""Every five minutes: finishes the purges that the stream did not."""

import os
import time

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from coherent import deadline, dynamodb, metrics
from coherent.messages.purge import Purge

purge = Purge(dynamodb.connect(), os.environ["MESSAGES_TABLE_NAME"], os.environ["CONVERSATIONS_TABLE_NAME"])
logger = Logger()
meter = metrics.Meter("sweep_purges")


def handler(_event: object, context: LambdaContext) -> None:
    with meter.call() as call, deadline.of(context):
        orders, failed = list(purge.orders()), 0
        # Told only by a sweep that could read them.
        call.purge_age = max((time.time() - order.created_at for order in orders), default=0)
        for order in orders:
            try:
                if not purge.finish(order, context.get_remaining_time_in_millis() / 1000):
                    break
            except Exception:
                # It stays ordered, and must not keep the others from being carried out.
                logger.exception("A purge failed", extra={"conversation": order.conversation_id})
                failed += 1
        if failed:
            raise RuntimeError(f"{failed} purges failed and wait for the next sweep")
