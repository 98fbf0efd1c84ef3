"""The inbox: every sequence of requests gets the model's responses, and every page is exact."""

import itertools
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

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


class Inbox(Messages):
    """Two users whose conversations move, while time passes."""

    clock: Clock

    def __init__(self) -> None:
        """Starts without any position."""
        self.clock.reset()
        super().__init__()
        self.positions: set[str] = {BOTTOM}

    @initialize(groups=st.lists(GROUPS, min_size=2, max_size=5))
    def begin_inbox(self, groups: list[str | None]) -> None:
        """Creates conversations, because pages need some."""
        for group_id in groups:
            body = {"contact_id": "marv"} | ({"group_id": group_id} if group_id else {})
            self.request("kevin", "create_conversation", body=body)

    @rule(user=USERS, data=st.data(), flags=FLAGS)
    def change_flags(self, user: str, data: st.DataObject, flags: dict[str, Any]) -> None:
        """Pins, mutes or archives a conversation, or the opposite."""
        self.request(user, "update_conversation", id=self.draw_conversation(user, data), body=flags)

    @rule(user=USERS, data=st.data(), if_match=ETAGS, if_none_match=ETAGS)
    def mark(self, user: str, data: st.DataObject, if_match: str | None, if_none_match: str | None) -> None:
        """Marks a conversation as read, up to a message or entirely, or as unread, mutes it, or blocks its contact."""
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
                    "is_blocked": st.booleans(),
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

    @invariant()
    def remember_positions(self) -> None:
        """Positions are cursors for good."""
        for model in self.models.values():
            self.positions |= {model.entry(id)["position"] for id in model.conversations}


@pytest.mark.usefixtures("tables", "no_backoff")
def test_inbox_behaves_like_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    Inbox.clock = Clock(monkeypatch)
    run_state_machine_as_test(Inbox, settings=settings(max_examples=8, stateful_step_count=50, deadline=None))


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
    model = service.models["kevin"]
    positions = sorted(model.entry(id)["position"] for id in model.conversations)
    assert len({position.partition(".")[0] for position in positions}) == 4
    for query in INBOX_COMBINATIONS:
        matching = len(model.matching(query))
        for cursor_name, limit in itertools.product(("starting_after", "ending_before"), {1, 3, matching or 1, 16}):
            cursor = {cursor_name: positions[len(positions) // 2]}
            service.page("kevin", "list_inbox", limit, cursor, **query)
