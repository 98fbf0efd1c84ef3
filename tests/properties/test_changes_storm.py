"""The feed replayed from the beginning equals what the API shows, whatever has failed, or came twice or late."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from coherent import errors

from tests import streams
from tests.handlers import call, list_conversations, list_messages
from tests.properties.interleaving import KilledError
from tests.properties.test_delivery_storm import SEEDS, USERS, Storm
from tests.wire import Wire

_BATCHES = 40

Record = dict[str, Any]


class ChangesStorm(Storm):
    """The storm of the deliveries, and two publishers of each stream that disturb each other."""

    def __init__(self, seed: int, likelihood: float, wire: Wire) -> None:
        """Has published nothing yet."""
        super().__init__(seed, likelihood, wire)
        self._published = {"conversations": 0, "messages": 0}

    def tasks(self) -> list[Callable[[], None]]:
        """Adds the publishers."""
        publishers = [partial(self._publish, name, number) for name in self._published for number in range(2)]
        return [*super().tasks(), *publishers]

    def _publish(self, name: str, number: int) -> None:
        chance = self.chance(f"{name} {number}")
        for _ in range(_BATCHES):
            # Lambda repeats what has failed; now and then what has not, and so late that others have gone on.
            start = chance.randint(0, self._published[name]) if chance.random() < 0.2 else self._published[name]
            batch = streams.records(name)[start : start + chance.randint(1, 8)]
            self.network.pause()
            if batch:
                with suppress(KilledError, RuntimeError, errors.Unavailable):
                    streams.publish(*batch)
                    self._published[name] = max(self._published[name], start + len(batch))

    def publish_rest(self) -> None:
        """Publishes what the publishers have left."""
        for name, start in self._published.items():
            if rest := streams.records(name)[start:]:
                streams.publish(*rest)


def feed(user: str) -> list[Record]:
    """Returns all changes of a user, page by page."""
    found: list[Record] = []
    while True:
        response = call("list_changes", user=user, query={"starting_after": [str(len(found))], "limit": ["7"]})
        assert response.status == 200, response
        found += response.body["data"]
        assert response.body["has_more"] == (len(found) < response.body["head"])
        if not response.body["has_more"]:
            return found


def replay(changes: list[Record]) -> dict[str, Record]:
    """Returns the resources that a client has after *changes*: of each the state with the greatest version."""
    latest: dict[str, Record] = {}
    for change in changes:
        known = latest.get(change["id"])
        if known is None or change["version"] > known["version"]:
            latest[change["id"]] = change
    return {id: change["object"] for id, change in latest.items() if change["object"] is not None}


def expected_changes(user: str) -> set[tuple[str, str, int]]:
    """Returns noun, id and version of every change that a user's rows have seen."""
    found = set()
    for name in ("conversations", "messages"):
        for record in streams.records(name):
            images = record["dynamodb"]
            row = images.get("NewImage", images.get("OldImage"))
            is_deleted = record["eventName"] == "REMOVE"
            if row["user_id"]["S"] == user:
                found.add((name, row["id"]["S"], int(row["version"]["N"]) + is_deleted))
    return found


# -1: every batch counts as so late that it may be a repeated one.
@pytest.mark.parametrize("repeated_seconds", [30, -1], ids=["young", "late"])
@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.usefixtures("no_backoff", "delivery", "stream_records", "queue")
def test_replayed_feed_equals_the_tables(
    seed: int, repeated_seconds: int, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coherent.changes.feed._REPEATED_SECONDS", repeated_seconds)
    storm = ChangesStorm(seed, 0.2, wire)
    storm.run()
    storm.publish_rest()
    for user in USERS:
        changes = feed(user)
        assert [change["number"] for change in changes] == list(range(1, len(changes) + 1))
        shown = {f"{change['type'].partition('.')[0]}s" for change in changes}
        assert shown == {"conversations", "messages"}
        published = {(f"{change['type'].partition('.')[0]}s", change["id"], change["version"]) for change in changes}
        assert published == expected_changes(user)
        resources = [*list_conversations(user), *list_messages(user)]
        assert len(resources) < 100
        assert replay(changes) == {resource["id"]: resource for resource in resources}
