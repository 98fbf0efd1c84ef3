"""The event bus that gets every change."""

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from coherent.storage import client
from coherent.storage.batches import Batch, send_in_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coherent.changes.change import Change

# PutEvents takes 256 KB for all entries. Their names and times need the difference.
_MAX_BYTES = 250_000


class EventBus:
    """The bus that the environment names. Without one, nothing is published."""

    def __init__(self) -> None:
        self._events: Any = client.connect("events")
        self._bus_name = os.environ["EVENT_BUS_NAME"]
        self._source = os.environ["POWERTOOLS_SERVICE_NAME"]

    def put(self, changes: "Sequence[Change]") -> None:
        """Puts an event for each of *changes*. Retries rejected ones.

        Raises `errors.Unavailable` if EventBridge throttles, fails or does not respond.
        """
        if self._bus_name:
            send_in_batches(map(self._entry, changes), "Detail", _MAX_BYTES, self._put)

    def _put(self, entries: Batch) -> Batch:
        """Returns the entries that EventBridge rejected."""
        results = self._events.put_events(Entries=entries)["Entries"]
        return [entry for entry, result in zip(entries, results, strict=True) if "ErrorCode" in result]

    def _entry(self, change: "Change") -> dict[str, str]:
        event = change.event()
        detail = _json(event)
        if len(detail.encode()) > _MAX_BYTES:
            detail = _json({**event, "payload": {"object": None}, "truncated": True})
        return {"EventBusName": self._bus_name, "Source": self._source, "DetailType": change.type, "Detail": detail}


def _json(event: Mapping[str, object]) -> str:
    # UTF-8 instead of escapes, which would make events larger.
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))
