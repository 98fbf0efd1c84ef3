"""The inbox: every sequence of requests gets the model's responses, and walks keep their promises while it moves."""

import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from tests.filters import INBOX_COMBINATIONS
from tests.handlers import Context, handler
from tests.properties.clock import Clock
from tests.properties.service import CURSORS, ETAGS, LIMITS, USERS
from tests.properties.test_messages import Messages

GROUPS = st.sampled_from([None, "friends"])
QUERIES = st.sampled_from(INBOX_COMBINATIONS)
FLAGS = st.fixed_dictionaries(
    {}, optional={"is_pinned": st.booleans(), "is_muted": st.booleans(), "archived_at": st.sampled_from([None, 1])}
).filter(bool)
# How far the clock is set back, which is how far the clocks of two functions differ.
CLOCK_DIFFERENCE = 100
BOTTOM = f"{0:010}.{'0' * 16}"


@dataclass
class Walk:
    """A client that walks through the inbox, down from the top or up from the bottom."""

    user: str
    query: dict[str, str]
    limit: int
    is_up: bool
    # What matched from the beginning until now, and where it was at the beginning.
    throughout: dict[str, str]
    # The same, without what has moved.
    quiet: set[str]
    cursor: dict[str, str]
    seen: list[str] = field(default_factory=list)
    top: str | None = None


class Inbox(Messages):
    """Two users whose conversations move, and clients that walk through their inboxes."""

    clock: Clock

    def __init__(self) -> None:
        """Starts without any walk."""
        self.clock.reset()
        super().__init__()
        self.walks: list[Walk] = []
        self.positions: set[str] = {BOTTOM}

    @initialize(groups=st.lists(GROUPS, min_size=2, max_size=5))
    def begin_inbox(self, groups: list[str | None]) -> None:
        """Creates conversations, because walks need some."""
        for group_id in groups:
            body = {"contact_id": "marv"} | ({"group_id": group_id} if group_id else {})
            self.request("kevin", "create_conversation", body=body)

    @rule(user=USERS, data=st.data(), flags=FLAGS)
    def change_flags(self, user: str, data: st.DataObject, flags: dict[str, Any]) -> None:
        """Pins, mutes or archives a conversation, or the opposite."""
        self.request(user, "update_conversation", id=self.draw_conversation(user, data), body=flags)

    @rule(user=USERS, data=st.data(), if_match=ETAGS, if_none_match=ETAGS)
    def mark(self, user: str, data: st.DataObject, if_match: str | None, if_none_match: str | None) -> None:
        """Marks a conversation as read, up to a message or entirely, or as unread, or changes its timed mute."""
        id = self.draw_conversation(user, data)
        messages = self.models[user].marks_of(id).message_ids
        in_future = st.integers(1, 3).map(lambda seconds: self.clock.seconds + seconds)
        body = data.draw(
            st.fixed_dictionaries(
                {},
                optional={
                    # Deleted ones, and those of other conversations, are among them.
                    "read_up_to": st.none() | st.sampled_from([*messages, self.draw_message(user, data)]),
                    "is_unread": st.booleans(),
                    "muted_until": st.none() | in_future,
                },
            ).filter(lambda body: body and (body.get("is_unread"), body.get("read_up_to", "")) != (False, None))
        )
        self.request(user, "update_inbox_entry", id=id, body=body, if_match=if_match, if_none_match=if_none_match)

    @rule(user=USERS, data=st.data(), if_none_match=ETAGS)
    def retrieve_entry(self, user: str, data: st.DataObject, if_none_match: str | None) -> None:
        """Retrieves the entry of a conversation of this or the other user."""
        id = self.draw_conversation(user, data)
        self.request(user, "retrieve_inbox_entry", id=id, if_none_match=if_none_match)

    @rule(seconds=st.sampled_from([1, 2, 10, 10, CLOCK_DIFFERENCE, -CLOCK_DIFFERENCE]))
    def set_clock(self, seconds: int) -> None:
        """Lets time pass, or sets the clock back."""
        for model in self.models.values():
            model.matching({})
        # A mute that a clock which is behind has not seen run out would begin again.
        if seconds > 0 or not any(
            marks.is_mute_over for model in self.models.values() for marks in model.marks.values()
        ):
            self.clock.set_forward(seconds)

    @rule()
    def sweep_mutes(self) -> None:
        """Lifts the mutes that have run out."""
        handler("sweep_inbox")({}, Context(300))
        for model in self.models.values():
            model.sweep_inbox()

    @rule(user=USERS, query=QUERIES)
    def count_unread(self, user: str, query: dict[str, str]) -> None:
        """Counts what is unread."""
        kept = {name: value for name, value in query.items() if name in ("muted", "archived", "group_id")}
        self.request(user, "count_unread", query=kept)

    @rule(user=USERS, query=QUERIES, limit=LIMITS, cursor_name=CURSORS, data=st.data())
    def list_inbox(self, user: str, query: dict[str, str], limit: int, cursor_name: str, data: st.DataObject) -> None:
        """Lists from any position that ever existed."""
        cursor = data.draw(st.none() | st.sampled_from(sorted(self.positions)))
        self.page(user, "list_inbox", limit, {cursor_name: cursor} if cursor else {}, **query)

    @rule(user=USERS, query=QUERIES, limit=st.integers(1, 3), is_up=st.booleans())
    def start_walk(self, user: str, query: dict[str, str], limit: int, is_up: bool) -> None:
        """Starts a walk through everything that matches."""
        found = self.matching(user, query)
        cursor = {"ending_before": BOTTOM} if is_up else {}
        self.walks.append(Walk(user, query, limit, is_up, found, set(found), cursor))

    @precondition(lambda self: self.walks)
    @rule(data=st.data())
    def continue_walk(self, data: st.DataObject) -> None:
        """Requests the next page."""
        walk = data.draw(st.sampled_from(self.walks))
        if not self.advance(walk):
            self.walks.remove(walk)
            self.check_promises(walk)

    def advance(self, walk: Walk) -> bool:
        """Requests the next page of *walk*. Returns whether there are more."""
        page = self.inbox_page(walk)
        found = [entry["conversation"]["id"] for entry in page["data"]]
        positions = [entry["position"] for entry in page["data"]]
        assert positions == sorted(positions, reverse=True)
        walk.seen += found
        if found:
            walk.top = walk.top or positions[0]
            walk.cursor = {"ending_before": positions[0]} if walk.is_up else {"starting_after": positions[-1]}
        has_more: bool = page["has_more"]
        return has_more

    def inbox_page(self, walk: Walk) -> Any:
        """Returns the next page of *walk*, which is the model's."""
        return self.page(walk.user, "list_inbox", walk.limit, walk.cursor, **walk.query).body

    def check_promises(self, walk: Walk) -> None:
        """Checks what *walk* saw, and then reads the top again."""
        if walk.is_up:
            assert walk.throughout.keys() <= set(walk.seen), "A conversation is missing from a walk up"
            return
        assert len(set(walk.seen)) == len(walk.seen), "A conversation appears twice in a walk down"
        assert walk.quiet <= set(walk.seen), "A conversation that did not move is missing from a walk down"
        again = Walk(walk.user, walk.query, walk.limit, False, {}, set(), {})
        began = int(walk.top.partition(".")[0]) if walk.top else 0
        # Up to where the walk began: also what moved in that second, or has its time from a clock that is behind.
        while self.advance(again) and int(again.cursor["starting_after"].partition(".")[0]) >= began - CLOCK_DIFFERENCE:
            pass
        assert walk.throughout.keys() <= {*walk.seen, *again.seen}, "A conversation is missing from walk and top"

    @invariant()
    def narrow_walks(self) -> None:
        """Drops from each walk what no longer exists or matches, and notes what has moved."""
        for walk in self.walks:
            found = self.matching(walk.user, walk.query)
            walk.throughout = {id: position for id, position in walk.throughout.items() if id in found}
            walk.quiet &= {id for id, position in walk.throughout.items() if found[id] == position}

    @invariant()
    def remember_positions(self) -> None:
        """Positions are cursors for good."""
        for user in self.models:
            self.positions |= set(self.matching(user, {}).values())

    def matching(self, user: str, query: dict[str, str]) -> dict[str, str]:
        """Returns the ids and positions of the conversations that match *query*."""
        model = self.models[user]
        return {id: model.entry(id)["position"] for id in model.matching(query)}


@pytest.mark.usefixtures("tables", "no_backoff")
def test_inbox_behaves_like_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    Inbox.clock = Clock(monkeypatch)
    run_state_machine_as_test(Inbox, settings=settings(max_examples=25, stateful_step_count=60, deadline=None))


@pytest.mark.usefixtures("tables", "no_backoff")
def test_every_filter_limit_and_direction_pages_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    Inbox.clock = Clock(monkeypatch)
    service, flags = Inbox(), (False, True)
    for archived_at, is_pinned, is_muted, is_unread in itertools.product((None, 1), flags, flags, flags):
        group = {"group_id": "friends"} if is_pinned == is_unread else {}
        id = service.request("kevin", "create_conversation", body={"contact_id": "harry"} | group).body["id"]
        changes = {"archived_at": archived_at, "is_pinned": is_pinned, "is_muted": is_muted}
        service.request("kevin", "update_conversation", id=id, body=changes)
        service.request("kevin", "update_inbox_entry", id=id, body={"is_unread": is_unread})
        # Four seconds, with many ties.
        service.clock.set_forward(is_muted and is_unread)
    positions = sorted(service.matching("kevin", {}).values())
    assert len({position.partition(".")[0] for position in positions}) == 4
    for query in INBOX_COMBINATIONS:
        matching = len(service.matching("kevin", query))
        for cursor_name, limit in itertools.product(("starting_after", "ending_before"), {1, 3, matching or 1, 16}):
            cursor = {cursor_name: positions[len(positions) // 2]}
            service.page("kevin", "list_inbox", limit, cursor, **query)
