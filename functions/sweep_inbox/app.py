"""Schedule, every minute: lifts mutes that have run out, and prepares the rows of an earlier release for the inbox."""

import contextvars
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from coherent import deadline, metrics
from coherent.inbox import mutes
from coherent.inbox.preparation import Preparation
from coherent.storage import dynamodb

tables = dynamodb.connect()
preparation = Preparation(tables)
meter = metrics.Meter("sweep_inbox")


def handler(event: dict[str, Any], context: LambdaContext) -> None:  # noqa: ARG001 - Lambda passes the event
    partitions = mutes.PARTITIONS
    with meter.measure() as invocation, deadline.within(context), ThreadPoolExecutor(len(partitions)) as threads:
        running = [
            threads.submit(contextvars.copy_context().run, partial(mutes.lift, tables, partition))
            for partition in partitions
        ]
        preparation.advance()
        failed = sum(sweep.result() for sweep in running)
        if failed:
            raise RuntimeError(f"{failed} mutes were not lifted and wait for the next sweep")
        invocation.is_idle = invocation.is_read_only
