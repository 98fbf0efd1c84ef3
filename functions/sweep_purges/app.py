"""Schedule, every five minutes: finishes the purges that the stream did not."""

import time
from collections import deque

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from coherent import deadline, metrics
from coherent.messages.purge import Purge
from coherent.storage import dynamodb

# The conversations take turns of this length, so a huge one does not hold up the others.
TURN_SECONDS = 2

purge = Purge(dynamodb.connect())
logger = Logger()
meter = metrics.Meter("sweep_purges")


def handler(_event: object, context: LambdaContext) -> None:
    with meter.measure() as invocation, deadline.of(context):
        tombstones, failed = deque(purge.pending()), 0
        # Set only after the query succeeded; otherwise the alarm sees missing data.
        invocation.purge_age = time.time() - tombstones[0].created_at if tombstones else 0
        while tombstones and purge.has_time():
            tombstone = tombstones.popleft()
            try:
                if not purge.finish(tombstone, TURN_SECONDS):
                    tombstones.append(tombstone)
            except Exception:
                # The tombstone stays. Its failure must not stop the others.
                logger.exception("A purge failed", extra={"conversation": tombstone.conversation_id})
                failed += 1
        if failed:
            raise RuntimeError(f"{failed} purges failed and wait for the next sweep")
