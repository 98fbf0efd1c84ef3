"""Schedule, every minute: applies the delivery orders that the stream has not applied."""

import contextvars
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from coherent import deadline, metrics
from coherent.delivery.mailbox import Mailbox
from coherent.messages.orders import PARTITIONS
from coherent.storage import dynamodb

tables = dynamodb.connect()
mailbox = Mailbox(tables)
meter = metrics.Meter("sweep_deliveries")


def handler(event: dict[str, Any], context: LambdaContext) -> None:  # noqa: ARG001 - Lambda passes the event
    started = time.time()
    with meter.measure() as invocation, deadline.within(context), ThreadPoolExecutor(len(PARTITIONS)) as threads:
        running = [threads.submit(contextvars.copy_context().run, mailbox.sweep, partition) for partition in PARTITIONS]
        sweeps = [sweep.result() for sweep in running]
        oldest = min(sweep.oldest for sweep in sweeps)
        if oldest < started:
            invocation.delivery_age = started - oldest
        if failed := sum(sweep.failed for sweep in sweeps):
            raise RuntimeError(f"The deliveries of {failed} pairs of users failed and wait for the next sweep")
        invocation.is_idle = invocation.delivery_age is None and invocation.is_read_only
