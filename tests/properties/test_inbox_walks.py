"""Walks through the inbox keep the promises of the contract while conversations move, clocks differ and indexes lag."""

import os
import random
from functools import partial
from typing import Any, NamedTuple

import pytest

from tests import handlers
from tests.filters import INBOX_COMBINATIONS
from tests.handlers import Context, event, handler
from tests.model import Model, check
from tests.properties.clock import Clock
from tests.properties.lag import MAX_LAG, Lag
from tests.properties.service import URL, send
from tests.wire import Wire

SEEDS = int(os.environ.get("INBOX_SEEDS", "4"))
# Queries that find many conversations.
_BROAD = [query for query in INBOX_COMBINATIONS if len(query) < 2]
_WALKS, _MAX_CONVERSATIONS = 3, 14
# How far the clocks of two functions differ, and how long the indexes lag, in seconds.
_CLOCK_DIFFERENCE, _LAG = 100, 100
_USER = "kevin"
_WEIGHTS = {
    "receive": 8,
    "send": 4,
    "flags": 5,
    "mark": 5,
    "clock": 4,
    "delete message": 2,
    "create": 2,
    "sweep": 1,
    "delete": 1,
}


class Place(NamedTuple):
    """Where a conversation is in an index."""

    position: str
    partition: tuple[bool, ...]


class Churn:
    """One user whose conversations move between two pages, and within a page."""

    def __init__(self, seed: int, clock: Clock, wire: Wire, *, lags: bool, is_alike: bool) -> None:
        """Begins with conversations that were active at different times, some at the same one."""
        self.chance, self.clock, self.wire = random.Random(seed), clock, wire  # noqa: S311 - repeatable
        self.model = Model(URL)
        self.lag = Lag(self.chance, lags=lags, is_alike=is_alike)
        # For each state of the table: the conversations that match each query of a walk.
        self.query: dict[str, str] = {}
        self.places: list[dict[str, Place]] = []
        for _ in range(self.chance.randint(4, _MAX_CONVERSATIONS)):
            self.create()
            self.change_flags()
            self.clock.set_forward(self.chance.choice([0, 0, 300]))
        self.lag.remember()

    def walk(self) -> None:
        """Walks down or up, and checks the promises."""
        self.query = self.chance.choice(INBOX_COMBINATIONS if self.chance.random() < 0.2 else _BROAD)
        limit, is_up = self.chance.randint(1, 5), self.chance.random() < 0.5
        self.places = []
        # All states that an index may still show.
        for _ in range(MAX_LAG + 1):
            self.change()
        self.lag.oldest = self.lag.newest
        seen, top = self.pages(limit, is_up=is_up)
        moved, unmoved = self.matched_since(self.lag.oldest)
        if is_up:
            assert unmoved <= set(seen), "A conversation that did not move is missing from a walk up"
            assert self.lag.lags or moved <= set(seen), "A conversation that moved is missing from a walk up"
            return
        assert len(set(seen)) == len(seen), "A conversation appears twice in a walk down"
        assert unmoved <= set(seen), "A conversation that did not move is missing from a walk down"
        until = top - _CLOCK_DIFFERENCE - (_LAG if self.lag.lags else 0)
        lags, self.lag.lags = self.lag.lags, False
        again, _ = self.pages(limit, is_up=False, until=until)
        self.lag.lags = lags
        assert moved <= {*seen, *again}, "A conversation that moved is missing from the walk and from the top"

    def pages(self, limit: int, *, is_up: bool, until: int | None = None) -> tuple[list[str], int]:
        """Requests all pages, or those down to the time *until*, without changes in between.

        Returns the ids on them, and the time of the first entry.
        """
        seen: list[str] = []
        top = None
        cursor = {"ending_before": f"{0:010}.{'0' * 16}"} if is_up else {}
        has_more = True
        while has_more:
            page = self.next_page(limit, cursor, is_quiet=until is not None)
            seen += [entry["conversation"]["id"] for entry in page["data"]]
            positions = [entry["position"] for entry in page["data"]]
            has_more = page["has_more"]
            if positions:
                top = top or positions[0]
                cursor = {"ending_before": positions[0]} if is_up else {"starting_after": positions[-1]}
                has_more = has_more and (until is None or int(positions[-1].partition(".")[0]) >= until)
        return seen, int(top.partition(".")[0]) if top else 0

    def next_page(self, limit: int, cursor: dict[str, str], *, is_quiet: bool) -> Any:
        """Requests a page after some changes, and perhaps changes more between its queries and its read of the rows."""
        for _ in range(0 if is_quiet else self.chance.choice([0, 0, 1, 3])):
            self.change()
        self.lag.begin_page()
        if not is_quiet and self.chance.random() < 0.4:
            self.lag.before_rows = self.change
        self.wire.fault = self.lag
        query = {name: [value] for name, value in (self.query | {"limit": str(limit)} | cursor).items()}
        response = handlers.call("list_inbox", query=query)
        self.lag.before_rows = None
        if response.status == 503:
            # Six times nothing on the page was where the index shows it.
            assert self.lag.lags
            return {"data": [], "has_more": True}
        assert response.status == 200, response
        for entry in response.body["data"]:
            id = entry["conversation"]["id"]
            assert entry == self.model.entry(id), "An entry is not current"
            assert id in self.model.matching(self.query)
        positions = [entry["position"] for entry in response.body["data"]]
        assert positions == sorted(positions, reverse=True)
        return response.body

    def matched_since(self, state: int) -> tuple[set[str], set[str]]:
        """Returns the ids of what has matched since *state* and moved, and of what has matched and did not move.

        If partitions lag by themselves, what changed its partition without moving is in neither.
        """
        states = self.places[state - self.lag.newest - 1 :]
        throughout = set.intersection(*(set(places) for places in states))
        moved = {id for id in throughout if len({places[id].position for places in states}) > 1}
        hidden = {id for id in throughout if len({places[id].partition for places in states}) > 1}
        return moved, throughout - moved - (hidden if self.lag.lags and not self.lag.is_alike else set())

    # Changes

    def request(self, function: str, **given: Any) -> None:
        """Sends a request. Fails unless the response is the model's."""
        check(self.model, partial(send, _USER), function, **given)

    def change(self) -> None:
        """Makes a random change."""
        # What the change itself queries does not lag.
        self.wire.fault = None
        (action,) = self.chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
        if action == "create" or not self.model.conversations:
            self.create()
        elif action == "clock":
            self.set_clock()
        elif action == "sweep":
            handler("sweep_inbox")({}, Context(300))
            self.model.sweep_inbox()
        else:
            getattr(self, {"flags": "change_flags", "delete message": "delete_message"}.get(action, action))()
        self.lag.remember()
        self.places.append({id: self.place(id) for id in self.model.matching(self.query)})
        self.wire.fault = self.lag

    def place(self, id: str) -> Place:
        """Returns the place of a conversation."""
        entry = self.model.entry(id)
        conversation = entry["conversation"]
        flags = (
            conversation["archived_at"] is not None,
            conversation["is_pinned"],
            conversation["is_muted"] or self.model.marks_of(id).is_mute_over,
            entry["is_unread"],
        )
        return Place(entry["position"], flags)

    def any_id(self) -> str:
        """Returns the id of a conversation."""
        return self.chance.choice(sorted(self.model.conversations))

    def create(self) -> None:
        """Creates a conversation with a message."""
        group = self.chance.choice([{}, {"group_id": "friends"}])
        self.request("create_conversation", body={"contact_id": "harry"} | group)
        if self.chance.random() < 0.8:
            self.send()

    def send(self) -> None:
        """Sends a message."""
        self.request("create_message", body={"conversation_id": self.any_id(), "message": "hello"})

    def receive(self) -> None:
        """Receives a message."""
        detail = {"user_id": _USER, "conversation_id": self.any_id(), "contact_id": "harry", "message": "hello"}
        id = str(self.chance.random())
        known = set(self.model.versions)
        handler("receive_message")(event("receive_message") | {"id": id, "detail": detail}, Context(25))
        listed = handlers.list_messages(conversation_id=detail["conversation_id"])
        (stored,) = [message for message in listed if message["id"] not in known]
        assert self.model.receive_message(detail, stored["id"], stored["created_at"], id)

    def change_flags(self) -> None:
        """Changes the flags of a conversation."""
        flags = {"is_pinned": self.chance.random() < 0.5, "is_muted": self.chance.random() < 0.5}
        body = self.chance.choice([flags, {"archived_at": self.chance.choice([None, 1])}])
        self.request("update_conversation", id=self.any_id(), body=body)

    def mark(self) -> None:
        """Changes the marks or the timed mute of a conversation."""
        id = self.any_id()
        messages = sorted(self.model.marks_of(id).message_ids)
        body = self.chance.choice(
            [
                {"read_up_to": self.chance.choice([None, *messages])},
                {"is_unread": self.chance.random() < 0.5},
                {"muted_until": self.clock.seconds + self.chance.randint(1, 20)},
            ]
        )
        self.request("update_inbox_entry", id=id, body=body)

    def delete_message(self) -> None:
        """Deletes a message."""
        if self.model.messages:
            self.request("delete_message", id=self.chance.choice(sorted(self.model.messages)))

    def delete(self) -> None:
        """Deletes a conversation."""
        self.request("delete_conversation", id=self.any_id())

    def set_clock(self) -> None:
        """Lets time pass, or continues with a function whose clock is behind."""
        self.model.matching({})
        seconds = self.chance.choice([1, 2, 10, -_CLOCK_DIFFERENCE])
        # With a clock that is behind, a mute that has run out would begin again.
        if seconds > 0 or not any(marks.is_mute_over for marks in self.model.marks.values()):
            self.clock.set_forward(seconds)


@pytest.mark.usefixtures("tables", "no_backoff")
@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize(
    ("lags", "is_alike"), [(False, True), (True, True), (True, False)], ids=["current", "lagging_alike", "lagging"]
)
def test_walk_keeps_its_promises(
    lags: bool, is_alike: bool, seed: int, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    churn = Churn(seed, Clock(monkeypatch), wire, lags=lags, is_alike=is_alike)
    for _ in range(_WALKS):
        churn.walk()


@pytest.mark.usefixtures("tables")
def test_first_message_from_a_clock_that_is_behind_moves_nothing_down(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    conversation = handlers.create()
    clock.set_forward(-1)
    handlers.send(conversation)
    (entry,) = handlers.call("list_inbox").body["data"]
    assert entry["position"] == f"{conversation['created_at']}.{conversation['id']}"
    assert entry["conversation"]["last_active_at"] == conversation["created_at"]
