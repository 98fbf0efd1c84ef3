"""The webhook queue: one message for each event and webhook, and one for each redelivery."""

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger

from coherent.messages.dead_letters import to_json
from coherent.storage import client
from coherent.storage.batches import Batch, send_in_batches
from coherent.storage.dynamodb import translate_errors

if TYPE_CHECKING:
    from coherent.changes.change import Change

# SendMessageBatch takes 1 MiB for all messages.
_MAX_BYTES = 1_000_000
# SQS delivers no message, of any webhook, while 120,000 are in flight. Messages that wait for an attempt are in flight.
MAX_IN_FLIGHT = 60_000

logger = Logger()


class WebhookQueue:
    """The queue that the environment names."""

    def __init__(self) -> None:
        self._sqs: Any = client.connect("sqs")

    def send_events(self, deliveries: "Iterable[tuple[str, Change]]") -> None:
        """Sends a message for each pair of a webhook's id and a change.

        Raises `errors.Unavailable` if SQS does not take them all. A retry may send some of them twice.
        """
        messages = (
            {"webhook_id": webhook_id, "event": change.event(), "created_at": change.created_at}
            for webhook_id, change in deliveries
        )
        entries = ({"Id": str(number), "MessageBody": to_json(message)} for number, message in enumerate(messages))
        send_in_batches(entries, "MessageBody", _MAX_BYTES, self._send)

    def send_redelivery(self, webhook_id: str, period: Mapping[str, object], wait: int = 0) -> None:
        """Sends the message that starts a redelivery after *wait* seconds: of the events of *period* to the webhook.

        *period* has `from` and `to` in Unix seconds. Raises `errors.Unavailable`.
        """
        with translate_errors():
            self._sqs.send_message(
                QueueUrl=os.environ["WEBHOOK_QUEUE_URL"],
                MessageBody=to_json({"webhook_id": webhook_id, "redelivery": period}),
                DelaySeconds=wait,
            )

    def is_full(self) -> bool:
        """Returns whether too many messages are in flight for another one to wait. Raises `errors.Unavailable`."""
        name = "ApproximateNumberOfMessagesNotVisible"
        with translate_errors():
            response = self._sqs.get_queue_attributes(QueueUrl=os.environ["WEBHOOK_QUEUE_URL"], AttributeNames=[name])
        return int(response["Attributes"][name]) >= MAX_IN_FLIGHT

    def postpone(self, record: Mapping[str, Any], seconds: int) -> None:
        """Makes the queue deliver the message of *record* again in *seconds*. Logs failures."""
        try:
            self._sqs.change_message_visibility(
                QueueUrl=os.environ["WEBHOOK_QUEUE_URL"],
                ReceiptHandle=record["receiptHandle"],
                VisibilityTimeout=seconds,
            )
        except Exception:
            # The message returns after the visibility timeout of the queue.
            logger.warning("A message returns early or late", exc_info=True, extra={"message_id": record["messageId"]})

    def _send(self, entries: Batch) -> Batch:
        """Returns the entries that SQS rejected."""
        response = self._sqs.send_message_batch(QueueUrl=os.environ["WEBHOOK_QUEUE_URL"], Entries=entries)
        rejected = {failure["Id"] for failure in response.get("Failed", [])}
        return [entry for entry in entries if entry["Id"] in rejected]
