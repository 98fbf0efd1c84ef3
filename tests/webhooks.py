"""Webhooks on moto: rows, the queue, and `deliver_webhook` invoked as Lambda does."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import boto3
from coherent.changes.change import TYPES, Change
from coherent.preconditions import Preconditions
from coherent.webhooks.models import CreateWebhook, UpdateWebhook
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sqs.models import sqs_backends

from tests.handlers import Context, handler

_SENDER = handler("deliver_webhook").__globals__["sender"]


class Webhook(NamedTuple):
    """A webhook, and the secret that its creation or rotation returned."""

    id: str
    secret: str


class Webhooks:
    """The webhooks of the tables in moto, and the queue at *queue_url*."""

    def __init__(self, queue_url: str) -> None:
        self.queue_url = queue_url
        # The visibility timeouts that the function has set.
        self.waits: list[int] = []
        self._sqs = boto3.client("sqs")

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Records `waits` for the duration of the block."""
        events = handler("deliver_webhook").__globals__["queue"]._sqs.meta.events
        name = "provide-client-params.sqs.ChangeMessageVisibility"

        def note(params: dict[str, Any], **_: object) -> None:
            self.waits.append(params["VisibilityTimeout"])

        events.register(name, note)
        try:
            yield
        finally:
            events.unregister(name, note)

    def create(self, url: str, *events: str) -> Webhook:
        """Creates a webhook of *events*, or of all types."""
        new = CreateWebhook.parse({"url": url, "events": list(events or TYPES)}, text=False)
        row = _SENDER._webhooks.create("operator", new, _SENDER._secrets.prepare(), None).version.resource
        return Webhook(row["id"]["S"], _SENDER._secrets.newest(row))

    def update(self, webhook: Webhook, **changes: Any) -> Webhook:
        """Updates *webhook*. With `rotate_secret` the returned one has the new secret."""
        key_id = _SENDER._secrets.prepare() if "rotate_secret" in changes else None
        row = _SENDER._webhooks.update(
            webhook.id, UpdateWebhook.parse(changes, text=False), key_id, Preconditions()
        ).resource
        return Webhook(webhook.id, _SENDER._secrets.newest(row))

    def row(self, webhook: Webhook) -> dict[str, Any]:
        """Returns the row of *webhook*."""
        row: dict[str, Any] = _SENDER._webhooks.row(webhook.id)
        return row

    def delete(self, webhook: Webhook) -> None:
        """Deletes *webhook*."""
        _SENDER._webhooks.delete(webhook.id, Preconditions())

    def send(self, webhook: Webhook, change: Change) -> None:
        """Sends the event of *change* to the queue."""
        _SENDER._queue.send_events([(webhook.id, change)])

    def messages(self) -> list[dict[str, Any]]:
        """Takes all messages out of the queue, and returns their bodies."""
        return [json.loads(record["body"]) for record in self._received(delete=True)]

    def deliver(self, *, age: float = 0, seconds: float = 30) -> list[int | None]:
        """Invokes the function with each message of the queue as if it were *age* seconds old.

        Returns the wait that the function has set for each of them, or None for those that are done.
        """
        waits: list[int | None] = []
        for record in self._received():
            record["attributes"]["SentTimestamp"] = str(int((time.time() - age) * 1000))
            self.waits.clear()
            response = handler("deliver_webhook")({"Records": [record]}, Context(seconds))
            if not response["batchItemFailures"]:
                assert not self.waits
                self._sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=record["receiptHandle"])
            else:
                assert response["batchItemFailures"] == [{"itemIdentifier": record["messageId"]}]
            waits.append(self.waits[0] if self.waits else None)
        return waits

    def pass_waits(self) -> None:
        """Makes all messages visible, also delayed ones."""
        queue = sqs_backends[DEFAULT_ACCOUNT_ID][os.environ["AWS_DEFAULT_REGION"]].queues["webhooks"]
        for message in queue._messages:
            message.change_visibility(0)
            message.delay(0)

    def _received(self, *, delete: bool = False) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = []

        def receive() -> Any:
            return self._sqs.receive_message(
                QueueUrl=self.queue_url, MaxNumberOfMessages=10, AttributeNames=["All"], VisibilityTimeout=180
            ).get("Messages", [])

        for found in iter(receive, []):
            for message in found:
                records.append(
                    {
                        "messageId": message["MessageId"],
                        "receiptHandle": message["ReceiptHandle"],
                        "body": message["Body"],
                        "attributes": message["Attributes"],
                    }
                )
                if delete:
                    self._sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
        return records


def change(number: int = 1, type: str = "message.created", message: str = "Merry Christmas, Harry") -> Change:
    """Returns a change of kevin's message *number*, now."""
    object = {"id": f"{number:016}", "message": message}
    return Change("kevin", type, f"{number:016}", 1, object, int(time.time()))
