"""Changes: what the feed costs in DynamoDB, for the publisher and for clients, and whether it grows with the feed."""

import os
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

from coherent import ids
from coherent.changes.change import Change
from coherent.changes.feed import Feed
from coherent.changes.models import ListChanges

from tools.bench import report
from tools.bench.flat import Cost, Meter, dynamodb
from tools.bench.samples import USER_ID
from tools.local.environment import REGION

TITLE = "Changes"

_SIZES, _QUICK_SIZES = (10, 10_000), (10, 500)
# Requests, as the table of docs/architecture.md says.
_REQUESTS = {
    "publish a change": 3,
    "publish a change, with webhooks": 3,
    "publish 10 changes of a user in a batch": 12,
    "the head": 1,
    "a poll without news": 1,
    "a poll with one change": 1,
    "a page of 100, and more follow": 2,
}

_TEXT = """\
What a change of a message costs in the feed, by the repository against the MiniStack emulator: for the publisher, and
for clients that read it. The rows are shorter than 1 KB. The figures are those of a user with {most:,} changes. Read
units are computed as above. Publishing also reads one unit in each batch, to find the webhooks."""


def measure(run: report.Run) -> report.Section:
    """Measures each kind of request to the feed of a user with few and with many changes."""
    sizes = _QUICK_SIZES if run.quick else _SIZES
    environment = {"AWS_DEFAULT_REGION": REGION, "CHANGES_TABLE_NAME": "changes"}
    with (
        tempfile.TemporaryDirectory() as folder,
        dynamodb(Path(folder)) as client,
        patch.dict(os.environ, environment),
    ):
        meter, feed = Meter(client), Feed(client)
        few, many = (_costs(meter, feed, size) for size in sizes)
    header = ["", "requests", "read units", "write units"]
    rows = [[name, cost.requests, cost.read_units, cost.write_units] for name, cost in many.items()]
    condition = f"{sizes[0]:,} to {sizes[1]:,} changes"
    requests = {name: cost.requests for name, cost in many.items()}
    goals = [
        report.holds("requests to the feed", condition, "as designed", requests == _REQUESTS),
        report.holds("units of the feed", condition, "the same", few == many),
    ]
    return f"{_TEXT.format(most=sizes[1])}\n\n{report.table(header, rows)}", goals


def _costs(meter: Meter, feed: Feed, size: int) -> dict[str, Cost]:
    user = f"{USER_ID}-{size}"
    costs: dict[str, Cost] = {}

    def publish(name: str, changes: int, *, is_indexed: bool = False) -> None:
        costs[name] = meter.measure(lambda: feed.append(user, _changes(user, changes), is_indexed=is_indexed))[1]

    def read(name: str, **query: str) -> None:
        costs[name] = meter.measure(feed.list, user, ListChanges.parse(query, text=True))[1]

    feed.append(user, _changes(user, size + 120))
    publish("publish a change", 1)
    publish("publish a change, with webhooks", 1, is_indexed=True)
    publish("publish 10 changes of a user in a batch", 10)
    head = feed.list(user, ListChanges.parse({}, text=True)).head
    read("the head")
    read("a poll without news", starting_after=str(head))
    read("a poll with one change", starting_after=str(head - 1))
    read("a page of 100, and more follow", starting_after=str(head - 130), limit="100")
    return costs


def _changes(user: str, count: int) -> list[Change]:
    now_ns = time.time_ns()
    return [_change(user, ids.new(now_ns + place * 1000), now_ns // 1_000_000_000) for place in range(count)]


def _change(user: str, id: str, created_at: int) -> Change:
    message: dict[str, object] = {
        "id": id,
        "conversation_id": "xgQQXg3hrtjh7AvZ",
        "contact": None,
        "message": "Keep the change, you filthy animal!",
        "reactions": [],
        "attachments": [],
        "read_at": None,
        "created_at": created_at,
        "updated_at": None,
    }
    return Change(user, "message.created", id, 1, message, created_at)
