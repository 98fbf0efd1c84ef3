"""Schedule, every five minutes: finishes the purges that the stream has not finished."""

import contextvars
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from coherent import deadline, metrics
from coherent.messages.purge import Purge
from coherent.storage import dynamodb
from coherent.storage.tombstones import PARTITIONS

# Four schedules invoke the function simultaneously, each for a quarter of the partitions.
QUARTERS = 4

purge = Purge(dynamodb.connect())
meter = metrics.Meter("sweep_purges")


def handler(event: dict[str, Any], context: LambdaContext) -> None:
    partitions = PARTITIONS[event["quarter"] :: QUARTERS] if "quarter" in event else PARTITIONS
    with meter.measure() as invocation, deadline.within(context), ThreadPoolExecutor(len(partitions)) as threads:
        running = [threads.submit(contextvars.copy_context().run, purge.sweep, partition) for partition in partitions]
        failed = sum(sweep.result() for sweep in running)
        # Covers all partitions, so that a quarter whose schedule is disabled raises the alarm as well.
        oldest = purge.oldest()
        if oldest is not None:
            invocation.purge_age = time.time() - oldest
        if failed:
            raise RuntimeError(f"{failed} purges failed and wait for the next sweep")
        invocation.is_idle = oldest is None and invocation.is_read_only
