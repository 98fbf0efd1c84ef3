"""Conversations: every sequence of requests gets the model's responses, and every walk is complete."""

import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from tests.filters import COMBINATIONS
from tests.model import matches
from tests.properties.service import CURSORS, ETAGS, LIMITS, SECONDS, USERS, Service

GROUPS = st.sampled_from([None, "friends", "family"])
QUERIES = st.sampled_from(COMBINATIONS)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "pinned_message_id": st.none(),
        "is_pinned": st.booleans(),
        "is_muted": st.booleans(),
        "archived_at": SECONDS,
        "last_opened_at": SECONDS,
    },
).filter(bool)


@dataclass
class Walk:
    """A client that walks through a list from one end to the other."""

    user: str
    query: dict[str, str]
    limit: int
    cursor_name: str
    cursor: dict[str, str]
    # The conversations that existed and matched from the beginning until now.
    throughout: set[str]
    seen: list[str] = field(default_factory=list)


class Conversations(Service):
    """Two users who create, change, delete and list conversations, and clients that walk through the lists."""

    def __init__(self) -> None:
        """Starts without any walk."""
        super().__init__()
        self.walks: list[Walk] = []

    @initialize(groups=st.lists(GROUPS, min_size=2, max_size=4))
    def begin(self, groups: list[str | None]) -> None:
        """Creates conversations, because most rules need one."""
        for user, group_id in itertools.product(("kevin", "harry"), groups):
            self.create(user, group_id)

    @rule(user=USERS, group_id=GROUPS, key=st.none() | st.sampled_from(["a", "b", "c"]), is_distinct=st.booleans())
    def create(self, user: str, group_id: str | None, key: str | None = None, *, is_distinct: bool = False) -> None:
        """Creates or finds a conversation, or repeats an idempotency key with the same or other attributes."""
        body: dict[str, Any] = {"contact_id": "somebody"} | ({"group_id": group_id} if group_id else {})
        if is_distinct:
            body["distinct"] = True
        self.request(user, "create_conversation", body=body, key=key)

    @rule(user=USERS, data=st.data(), if_none_match=ETAGS)
    def retrieve(self, user: str, data: st.DataObject, if_none_match: str | None) -> None:
        """Retrieves a conversation of this or the other user."""
        id = self.draw_id(self.models[user].conversations, data)
        self.request(user, "retrieve_conversation", id=id, if_none_match=if_none_match)

    @rule(user=USERS, data=st.data(), changes=CHANGES, if_match=ETAGS)
    def update(self, user: str, data: st.DataObject, changes: dict[str, Any], if_match: str | None) -> None:
        """Updates one."""
        id = self.draw_id(self.models[user].conversations, data)
        self.request(user, "update_conversation", id=id, body=changes, if_match=if_match)

    @rule(user=USERS, data=st.data(), if_match=ETAGS)
    def delete(self, user: str, data: st.DataObject, if_match: str | None) -> None:
        """Deletes one."""
        id = self.draw_id(self.models[user].conversations, data)
        self.request(user, "delete_conversation", id=id, if_match=if_match)

    @rule(user=USERS, query=QUERIES, limit=LIMITS, cursor_name=CURSORS, data=st.data())
    def list_page(self, user: str, query: dict[str, str], limit: int, cursor_name: str, data: st.DataObject) -> None:
        """Lists from any position that ever existed."""
        cursor = data.draw(st.none() | st.sampled_from(self.ids))
        self.page(user, "list_conversations", limit, {cursor_name: cursor} if cursor else {}, **query)

    @rule(user=USERS, query=QUERIES, limit=st.integers(1, 3), newest_first=st.booleans())
    def start_walk(self, user: str, query: dict[str, str], limit: int, newest_first: bool) -> None:
        """Starts a walk through everything that matches."""
        cursor_name, cursor = ("starting_after", {}) if newest_first else ("ending_before", {"ending_before": "0" * 16})
        self.walks.append(Walk(user, query, limit, cursor_name, cursor, self.matching(user, query)))

    @precondition(lambda self: self.walks)
    @rule(data=st.data())
    def continue_walk(self, data: st.DataObject) -> None:
        """Requests the next page. A walk sees everything that existed all the time, and nothing twice."""
        walk = data.draw(st.sampled_from(self.walks))
        page = self.page(walk.user, "list_conversations", walk.limit, walk.cursor, **walk.query).body
        found = [conversation["id"] for conversation in page["data"]]
        walk.seen += found
        assert len(set(walk.seen)) == len(walk.seen)
        if found:
            walk.cursor = {walk.cursor_name: found[-1] if walk.cursor_name == "starting_after" else found[0]}
        if not page["has_more"]:
            assert walk.throughout <= set(walk.seen)
            self.walks.remove(walk)

    @invariant()
    def narrow_walks(self) -> None:
        """Drops from each walk what no longer exists or matches."""
        for walk in self.walks:
            walk.throughout &= self.matching(walk.user, walk.query)

    def matching(self, user: str, query: dict[str, str]) -> set[str]:
        """Returns the ids of the conversations that match *query*."""
        conversations = self.models[user].conversations
        return {id for id, conversation in conversations.items() if matches(conversation, query)}


@pytest.mark.usefixtures("tables")
def test_conversations_behave_like_the_model() -> None:
    run_state_machine_as_test(Conversations, settings=settings(max_examples=20, stateful_step_count=60, deadline=None))


@pytest.mark.usefixtures("tables")
def test_every_filter_limit_and_direction_pages_exactly() -> None:
    service = Conversations()
    flags = (False, True)
    for archived_at, is_pinned, is_muted in itertools.product((None, 1), flags, flags):
        service.create("kevin", "friends" if is_pinned == is_muted else None)
        changes = {"archived_at": archived_at, "is_pinned": is_pinned, "is_muted": is_muted}
        service.request("kevin", "update_conversation", id=service.ids[-2], body=changes)
    owned = sorted(service.models["kevin"].conversations)
    for query in COMBINATIONS:
        for limit in (*range(1, len(owned) + 2), 100):
            for cursor_name in ("starting_after", "ending_before"):
                cursor = {cursor_name: owned[len(owned) // 2]}
                service.page("kevin", "list_conversations", limit, cursor, **query)
