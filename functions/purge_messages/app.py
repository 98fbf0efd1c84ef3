"""DynamoDB stream of the conversations: purges the messages of deleted conversations."""

import time
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord, DynamoDBRecordEventName
from aws_lambda_powertools.utilities.typing import LambdaContext
from coherent import deadline, metrics
from coherent.messages.purge import LAST_REQUESTS_SECONDS, Purge
from coherent.storage import dynamodb

purge = Purge(dynamodb.connect())
processor = BatchProcessor(EventType.DynamoDBStreams)
logger = Logger()
meter = metrics.Meter("purge_messages")


def purge_one(record: DynamoDBRecord, lambda_context: LambdaContext) -> None:
    assert record.dynamodb  # noqa: S101 - for mypy; every stream record has it
    if record.event_name != DynamoDBRecordEventName.REMOVE:
        return
    keys = record.dynamodb.keys
    until = time.monotonic() + lambda_context.get_remaining_time_in_millis() / 1000 - LAST_REQUESTS_SECONDS
    try:
        # If time runs out, the sweep finishes the purge. Stream retries are limited.
        purge.delete_messages(keys["user_id"], keys["id"], until)
    except Exception:
        # BatchProcessor continues with the other records and reports only which ones failed.
        logger.exception("A purge failed", extra={"conversation": keys["id"]})
        raise


def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    with meter.measure(), deadline.of(context):
        return process_partial_response(event, purge_one, processor, context)
