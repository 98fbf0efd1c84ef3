"""Puts changes into the webhook queue: one message for each webhook that takes events of the change's type."""

from typing import TYPE_CHECKING

from coherent.webhooks.queue import WebhookQueue
from coherent.webhooks.repository import WebhookRepository

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coherent.changes.change import Change
    from coherent.storage.dynamodb import Tables
    from coherent.webhooks.repository import Webhook


class WebhookPublisher:
    """The webhooks of the stack, as recipients of changes."""

    def __init__(self, tables: "Tables") -> None:
        self._webhooks = WebhookRepository(tables)
        self._queue = WebhookQueue()

    def webhooks(self) -> "list[Webhook]":
        """Returns the present webhooks. Raises `errors.Unavailable`."""
        return self._webhooks.list()

    def publish(self, changes: "Sequence[Change]", webhooks: "Sequence[Webhook]") -> None:
        """Sends *changes* to the queue of *webhooks*, without those that are disabled.

        Raises `errors.Unavailable` if SQS does not take them all.
        """
        enabled = [webhook for webhook in webhooks if webhook["is_enabled"]]
        self._queue.send_events(
            (webhook["id"], change) for change in changes for webhook in enabled if change.type in webhook["events"]
        )
