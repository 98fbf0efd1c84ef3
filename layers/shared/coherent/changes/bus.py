"""The event bus that gets every change."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from coherent import errors
from coherent.storage import client
from coherent.storage.dynamodb import back_off, translate_errors

if TYPE_CHECKING:
    from coherent.changes.change import Change

# The limits of PutEvents: 10 entries, and 256 KB for all of them, of which names and time take a little.
_MAX_ENTRIES = 10
_MAX_BYTES = 250_000
_ATTEMPTS = 6

Entry = Mapping[str, str]


class EventBus:
    """The bus that the environment names. Without one, nothing is published."""

    def __init__(self) -> None:
        self._events: Any = client.connect("events")
        self._bus_name = os.environ["EVENT_BUS_NAME"]
        self._source = os.environ["POWERTOOLS_SERVICE_NAME"]

    def put(self, changes: "Sequence[Change]") -> None:
        """Puts an event for each of *changes*. Retries those that EventBridge rejects.

        Raises `errors.Unavailable` if EventBridge throttles, fails or does not respond.
        """
        if not self._bus_name:
            return
        for batch in _batches([self._entry(change) for change in changes]):
            self._put(batch)

    def _put(self, entries: "list[Entry]") -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            with translate_errors():
                results = self._events.put_events(Entries=entries)["Entries"]
            entries = [entry for entry, result in zip(entries, results, strict=True) if "ErrorCode" in result]
            if not entries:
                return
            back_off(attempt)
        raise errors.Unavailable

    def _entry(self, change: "Change") -> Entry:
        event = change.event()
        detail = _json(event)
        if len(detail.encode()) > _MAX_BYTES:
            detail = _json({**event, "payload": {"object": None}, "truncated": True})
        return {"EventBusName": self._bus_name, "Source": self._source, "DetailType": change.type, "Detail": detail}


def _batches(entries: "Sequence[Entry]") -> "Iterator[list[Entry]]":
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        length = len(entry["Detail"].encode())
        if batch and (len(batch) == _MAX_ENTRIES or size + length > _MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += length
    if batch:
        yield batch


def _json(event: Mapping[str, object]) -> str:
    # UTF-8 instead of escapes, which would make events larger.
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))
