"""The event source mapping between the webhook queue and `deliver_webhook`."""

import os
from typing import Any

from coherent.storage import client
from coherent.storage.dynamodb import translate_errors


class QueueMapping:
    """The mapping that the environment names. Its template disables it, because polling an empty queue costs money."""

    def __init__(self) -> None:
        self._lambda: Any = client.connect("lambda")

    def enable(self) -> None:
        """Makes Lambda read the queue, from a moment later. Raises `errors.Unavailable` if Lambda does not respond."""
        with translate_errors():
            try:
                self._lambda.update_event_source_mapping(UUID=os.environ["WEBHOOK_MAPPING_ID"], Enabled=True)
            except self._lambda.exceptions.ResourceInUseException:
                # Lambda still applies the update of another request, which has enabled it.
                return
