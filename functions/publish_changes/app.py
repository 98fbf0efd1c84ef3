"""DynamoDB streams of both tables: publishes the changes of conversations and messages."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from coherent import deadline, metrics
from coherent.publishing.publisher import Publisher
from coherent.storage import dynamodb

tables = dynamodb.connect()
publisher = Publisher(tables)
meter = metrics.Meter("publish_changes")


def handler(event: dict[str, Any], context: LambdaContext) -> None:
    # A record may be delivered twice or late: every change has a version, and its event an id that depends on it.
    with meter.measure(), deadline.within(context):
        publisher.publish(event["Records"])
