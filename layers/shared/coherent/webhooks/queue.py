"""The webhook queue: one message for each event and webhook, and one for each redelivery."""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger

from coherent import errors
from coherent.messages.dead_letters import to_json
from coherent.storage import client
from coherent.storage.dynamodb import back_off, translate_errors

if TYPE_CHECKING:
    from coherent.changes.change import Change

# Limits of SendMessageBatch, of which the second is 1 MiB.
_MAX_ENTRIES, _MAX_BYTES = 10, 1_000_000
_ATTEMPTS = 4
# SQS hands out nothing more, of any webhook, while 120,000 messages are in flight: those that wait count.
MAX_IN_FLIGHT = 60_000

logger = Logger()


class WebhookQueue:
    """The queue that the environment names."""

    def __init__(self) -> None:
        self._sqs: Any = client.connect("sqs")

    def send_events(self, deliveries: "Iterable[tuple[str, Change]]") -> None:
        """Sends a message for each pair of a webhook's id and a change.

        Raises `errors.Unavailable` if SQS does not take them all. A repetition may send some of them twice.
        """
        messages = (
            to_json({"webhook_id": webhook_id, "event": change.event(), "created_at": change.created_at})
            for webhook_id, change in deliveries
        )
        for batch in _batches(messages):
            self._send_batch(batch)

    def send_redelivery(self, webhook_id: str, period: Mapping[str, object], wait: int = 0) -> None:
        """Sends the order to send the events of *period* (`from` and `to`, Unix seconds) to the webhook once more.

        The order is carried out after *wait* seconds. Raises `errors.Unavailable`.
        """
        with translate_errors():
            self._sqs.send_message(
                QueueUrl=os.environ["WEBHOOK_QUEUE_URL"],
                MessageBody=to_json({"webhook_id": webhook_id, "redelivery": period}),
                DelaySeconds=wait,
            )

    def is_full(self) -> bool:
        """Returns whether so many messages wait for another attempt that no more must. Raises `errors.Unavailable`."""
        return self._in_flight() >= MAX_IN_FLIGHT

    def has_room(self) -> bool:
        """Returns whether the queue is at most half full. Raises `errors.Unavailable`."""
        return self._in_flight() <= MAX_IN_FLIGHT // 2

    def _in_flight(self) -> int:
        name = "ApproximateNumberOfMessagesNotVisible"
        with translate_errors():
            response = self._sqs.get_queue_attributes(QueueUrl=os.environ["WEBHOOK_QUEUE_URL"], AttributeNames=[name])
        return int(response["Attributes"][name])

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

    def _send_batch(self, batch: list[str]) -> None:
        waiting = {str(place): body for place, body in enumerate(batch)}
        for attempt in range(1, _ATTEMPTS + 1):
            with translate_errors():
                response = self._sqs.send_message_batch(
                    QueueUrl=os.environ["WEBHOOK_QUEUE_URL"],
                    Entries=[{"Id": id, "MessageBody": body} for id, body in waiting.items()],
                )
            waiting = {failure["Id"]: waiting[failure["Id"]] for failure in response.get("Failed", [])}
            if not waiting:
                return
            if attempt < _ATTEMPTS:
                back_off(attempt)
        raise errors.Unavailable


def _batches(bodies: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for body in bodies:
        length = len(body.encode())
        if batch and (len(batch) == _MAX_ENTRIES or size + length > _MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(body)
        size += length
    if batch:
        yield batch
