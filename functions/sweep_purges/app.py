"""Schedule, every five minutes: finishes the purges that the stream did not."""

import time

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from coherent import deadline, metrics
from coherent.messages.purge import Purge
from coherent.storage import dynamodb

purge = Purge(dynamodb.connect())
logger = Logger()
meter = metrics.Meter("sweep_purges")


def handler(_event: object, context: LambdaContext) -> None:
    with meter.measure() as invocation, deadline.of(context):
        tombstones, failed = list(purge.pending()), 0
        # Set only after the query succeeded; otherwise the alarm sees missing data.
        invocation.purge_age = max((time.time() - tombstone.created_at for tombstone in tombstones), default=0)
        for tombstone in tombstones:
            try:
                if not purge.finish(tombstone, context.get_remaining_time_in_millis() / 1000):
                    break
            except Exception:
                # The tombstone stays, and its failure must not stop the others.
                logger.exception("A purge failed", extra={"conversation": tombstone.conversation_id})
                failed += 1
        if failed:
            raise RuntimeError(f"{failed} purges failed and wait for the next sweep")
