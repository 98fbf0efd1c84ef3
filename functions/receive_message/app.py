"""Stores messages from contacts: EventBridge events `message.received`, and the same details from the inbound queue."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.typing import LambdaContext
from coherent import deadline, errors, metrics
from coherent.messages.dead_letters import DeadLetters
from coherent.messages.inbound_queue import InboundQueue
from coherent.messages.models import ReceiveMessage
from coherent.messages.repository import MessageRepository
from coherent.storage import blocks, dynamodb

tables = dynamodb.connect()
messages = MessageRepository(tables)
dead_letters = DeadLetters()
queue = InboundQueue(dead_letters)
logger = Logger()
meter = metrics.Meter("receive_message")


def receive(event: dict[str, Any], key: str) -> None:
    """Stores the message in the detail of *event* once for each *key*, or sends it to the dead-letter queue."""
    with meter.measure() as invocation:
        invocation.request_id = event["id"]
        try:
            if not isinstance(event["detail"], dict):
                raise errors.InvalidRequest("detail: must be a JSON object")
            received = ReceiveMessage.parse(event["detail"], text=False)
            invocation.user_id = received.user_id
            if received.sent_at is None and event["detail"].get("sent_at") is not None:
                logger.warning("sent_at is no time in the past: the present time is stored", extra=invocation.details)
            if blocks.is_blocked(tables, received.user_id, received.contact_id):
                logger.info("The user blocks the contact: nothing is stored", extra=invocation.details)
                return
            messages.receive(received, key)
        except errors.Unavailable:
            # Lambda or the queue delivers the event again, and finally to a dead-letter queue.
            raise
        except errors.CoherentError as error:
            invocation.error = type(error).__name__
            dead_letters.bury(str(error), event)


def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse | None:
    with deadline.within(context):
        if "Records" in event:
            return queue.process(event, receive)
        receive(event, event["id"])
        return None
