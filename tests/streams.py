"""The streams of the tables in moto, as Lambda passes them to functions."""

import time
from typing import TYPE_CHECKING, Any, Self

from tests import tables
from tests.handlers import Context, handler

if TYPE_CHECKING:
    from moto.dynamodb.models.dynamo_type import Item

Record = dict[str, Any]
# The rows that the template's mappings pass to `publish_changes` have these attributes.
_SELECTED = {"conversations": "is_archived", "messages": "user_id"}


class Stream:
    """The stream of one table: moto calls `add` for each write, and copies the table to restore it."""

    def __init__(self, records: list[Record] | None = None) -> None:
        """Begins with *records*."""
        self.records = records or []

    def add(self, old: "Item | None", new: "Item | None") -> None:
        """Appends a record, unless the write has changed nothing."""
        images = {name: item.to_json()["Attributes"] for name, item in (("OldImage", old), ("NewImage", new)) if item}
        if images.get("OldImage") == images.get("NewImage"):
            return
        names = {("NewImage",): "INSERT", ("OldImage", "NewImage"): "MODIFY", ("OldImage",): "REMOVE"}
        details = {"ApproximateCreationDateTime": int(time.time()), **images}
        self.records.append({"eventID": str(len(self.records)), "eventName": names[*images], "dynamodb": details})

    def __deepcopy__(self, _: object) -> Self:
        return type(self)(list(self.records))


def start() -> None:
    """Starts the streams of conversations and messages."""
    for name in ("conversations", "messages"):
        # moto's own class keeps records without a way to read them all.
        tables.backend().tables[name].stream_shard = Stream()  # type: ignore[assignment]


def stop() -> None:
    """Stops the streams."""
    for table in tables.backend().tables.values():
        table.stream_shard = None


def records(name: str) -> list[Record]:
    """Returns the records so far that the mapping of a table's stream passes on."""
    stream: Any = tables.backend().tables[name].stream_shard
    return [record for record in stream.records if _SELECTED[name] in _image(record["dynamodb"])]


def _image(images: Record) -> Record:
    image: Record = images.get("NewImage") or images["OldImage"]
    return image


def publish(*batch: Record, seconds: float = 60) -> None:
    """Invokes `publish_changes` with *batch*, or with all records of both streams."""
    handler("publish_changes")(
        {"Records": list(batch) or records("conversations") + records("messages")}, Context(seconds)
    )
