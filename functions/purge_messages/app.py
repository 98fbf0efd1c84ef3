"""DynamoDB stream of the conversations: purges the messages of deleted conversations."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from coherent import deadline, metrics
from coherent.messages.purge import Purge
from coherent.storage import dynamodb

purge = Purge(dynamodb.connect())
processor = BatchProcessor(EventType.DynamoDBStreams)
logger = Logger()
meter = metrics.Meter("purge_messages")


def purge_one(record: DynamoDBRecord) -> None:
    keys = record.dynamodb.keys if record.dynamodb and record["eventName"] == "REMOVE" else None
    if not keys:
        return
    try:
        # If time runs out, the sweep finishes the purge. Stream retries are limited.
        purge.delete_messages(keys["user_id"], keys["id"])
    except Exception:
        # BatchProcessor continues with the other records and reports only which ones failed.
        logger.exception("A purge failed", extra={"conversation": keys["id"]})
        raise


def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    with meter.measure(), deadline.within(context):
        return process_partial_response(event, purge_one, processor)
