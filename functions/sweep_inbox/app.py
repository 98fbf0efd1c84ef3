"""Schedule, every minute: lifts mutes that have run out, and prepares the rows of an earlier release for the inbox."""

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
    with meter.measure(), deadline.within(context):
        failed = mutes.lift(tables)
        preparation.advance()
        if failed:
            raise RuntimeError(f"{failed} mutes were not lifted and wait for the next sweep")
