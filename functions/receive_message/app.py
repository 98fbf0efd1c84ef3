"""EventBridge `message.received`: somebody says something to a user."""

import json
import os
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext
from coherent import client, deadline, dynamodb, errors, metrics
from coherent.messages.models import ReceiveMessage
from coherent.messages.repository import MessageRepository

messages = MessageRepository(
    dynamodb.connect(), os.environ["MESSAGES_TABLE_NAME"], os.environ["CONVERSATIONS_TABLE_NAME"]
)
sqs: Any = client.connect("sqs")
meter = metrics.Meter("receive_message")


def handler(event: dict[str, Any], context: LambdaContext) -> None:
    with meter.call() as call, deadline.of(context):
        call.request_id = event["id"]
        try:
            received = ReceiveMessage.parse(event["detail"], text=False)
            call.user_id = received.user_id
            messages.create(received.user_id, received, received.contact_id, idempotency_key=event["id"])
        except errors.Unavailable:
            # Lambda repeats the event, and gives it to the same queue in the end.
            raise
        except errors.CoherentError as error:
            call.error = type(error).__name__
            letter = json.dumps({"reason": str(error), "event": event})
            sqs.send_message(QueueUrl=os.environ["DEAD_LETTERS_URL"], MessageBody=letter)
