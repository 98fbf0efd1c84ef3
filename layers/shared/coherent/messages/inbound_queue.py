"""The inbound queue: a FIFO queue of messages from contacts."""

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import SqsFifoPartialProcessor, process_partial_response

from coherent import errors
from coherent.storage import client

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

    from coherent.messages.dead_letters import DeadLetters

# A message that fails this often for another reason than DynamoDB becomes a dead letter, because it delays its group.
_MAX_ATTEMPTS = 5
_MAX_WAIT_SECONDS = 300

logger = Logger()


class InboundQueue:
    """The queue that the environment names."""

    def __init__(self, dead_letters: "DeadLetters") -> None:
        self._dead_letters = dead_letters
        self._sqs: Any = client.connect("sqs")
        # A failure stops only the messages of its group.
        self._processor = SqsFifoPartialProcessor(skip_group_on_error=True)
        self._processor.raise_on_entire_batch_failure = False

    def process(
        self, batch: dict[str, Any], receive: Callable[[dict[str, Any], str], None]
    ) -> "PartialItemFailureResponse":
        """Calls *receive* with each message of *batch* in order: an event `{"id", "detail"}`, and its idempotency key.

        Returns the failed ones, and the later ones of their groups, to the queue: for 1 s, and twice as long each time.
        """

        def receive_one(record: "SQSRecord") -> None:
            # The sender's id of the message, which is one of its group (DeduplicationScope). The queue forgets it after
            # five minutes, our record after 24 hours.
            event = {"id": record.attributes.message_deduplication_id, "detail": _parse(record.body)}
            # No Idempotency-Key of a client contains a line end.
            key = f"{record.attributes.message_group_id}\n{event['id']}"
            try:
                receive(event, key)
            except errors.Unavailable:
                raise
            except Exception:
                logger.exception("A message failed", extra={"message_id": record.message_id})
                if int(record.attributes.approximate_receive_count) < _MAX_ATTEMPTS:
                    raise
                self._dead_letters.bury("It failed repeatedly; the log has the exception", event)

        response = process_partial_response(batch, receive_one, self._processor)
        failed = {failure["itemIdentifier"] for failure in response["batchItemFailures"]}
        for message in batch["Records"]:
            if message["messageId"] in failed:
                self._shorten_wait(message)
        return response

    def _shorten_wait(self, message: dict[str, Any]) -> None:
        """Makes the queue deliver *message* earlier than after its visibility timeout. Logs failures."""
        attempts = int(message["attributes"]["ApproximateReceiveCount"])
        try:
            self._sqs.change_message_visibility(
                QueueUrl=os.environ["INBOUND_QUEUE_URL"],
                ReceiptHandle=message["receiptHandle"],
                VisibilityTimeout=min(2 ** (attempts - 1), _MAX_WAIT_SECONDS),
            )
        except Exception:
            # An error would make Lambda return the whole batch, also what was stored.
            logger.warning("A message waits longer", exc_info=True, extra={"message_id": message["messageId"]})


def _parse(body: str) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body
