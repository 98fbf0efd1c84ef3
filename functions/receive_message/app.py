"""EventBridge `message.received`: stores a message from a contact."""

import os
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from coherent import deadline, errors, metrics
from coherent.messages import dead_letters
from coherent.messages.models import ReceiveMessage
from coherent.messages.repository import MessageRepository
from coherent.storage import client, dynamodb

messages = MessageRepository(dynamodb.connect())
sqs: Any = client.connect("sqs")
logger = Logger()
meter = metrics.Meter("receive_message")


def handler(event: dict[str, Any], context: LambdaContext) -> None:
    with meter.measure() as invocation, deadline.within(context):
        invocation.request_id = event["id"]
        try:
            received = ReceiveMessage.parse(event["detail"], text=False)
            invocation.user_id = received.user_id
            if received.sent_at is None and event["detail"].get("sent_at") is not None:
                logger.warning("sent_at is no time in the past: the present time is stored", extra=invocation.details)
            messages.receive(received, event["id"])
        except errors.Unavailable:
            # Lambda retries the event and finally sends it to the same queue.
            raise
        except errors.CoherentError as error:
            invocation.error = type(error).__name__
            sqs.send_message(
                QueueUrl=os.environ["DEAD_LETTERS_URL"], MessageBody=dead_letters.encode(str(error), event)
            )
