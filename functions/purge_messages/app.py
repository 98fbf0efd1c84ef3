"""DynamoDB stream of the conversations: purges the messages of those that were deleted."""

import os
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from coherent import deadline, dynamodb, metrics
from coherent.messages.purge import Purge

purge = Purge(dynamodb.connect(), os.environ["MESSAGES_TABLE_NAME"], os.environ["CONVERSATIONS_TABLE_NAME"])
processor = BatchProcessor(EventType.DynamoDBStreams)
logger = Logger()
meter = metrics.Meter("purge_messages")


def purge_one(record: DynamoDBRecord, lambda_context: LambdaContext) -> None:
    assert record.dynamodb  # noqa: S101 - for mypy; every record of a stream has it
    keys = record.dynamodb.keys
    try:
        # What time does not allow is left to the sweep, not to retries, of which there may be too few.
        purge.delete_messages(keys["user_id"], keys["id"], lambda_context.get_remaining_time_in_millis() / 1000)
    except Exception:
        # The batch goes on with the others, and says no more than which ones failed.
        logger.exception("A purge failed", extra={"conversation": keys["id"]})
        raise


def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    with meter.call(), deadline.of(context):
        return process_partial_response(event, purge_one, processor, context)
