"""Redeliveries: events of the past that `deliver_webhook` sends to a webhook again."""

import json
import os
from typing import TYPE_CHECKING, Any, TypedDict

from coherent.storage import client
from coherent.storage.dynamodb import translate_errors

if TYPE_CHECKING:
    from coherent.webhooks.models import CreateRedelivery

# `from` is a keyword of Python.
Redelivery = TypedDict("Redelivery", {"webhook_id": str, "from": int, "to": int})


class Redeliveries:
    """The redeliveries in the webhook queue."""

    def __init__(self) -> None:
        self._sqs: Any = client.connect("sqs")

    def create(self, webhook_id: str, period: "CreateRedelivery") -> Redelivery:
        """Orders the redelivery of the events of *period*. Raises `errors.Unavailable` if SQS does not respond."""
        ordered = {"webhook_id": webhook_id, "redelivery": {"from": period.from_, "to": period.to}}
        with translate_errors():
            self._sqs.send_message(QueueUrl=os.environ["WEBHOOK_QUEUE_URL"], MessageBody=json.dumps(ordered))
        return {"webhook_id": webhook_id, "from": period.from_, "to": period.to}
