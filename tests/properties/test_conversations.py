"""The service against a plain Python list: whatever is done in whatever order, both say the same."""

import itertools
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests import tables
from tests.filters import COMBINATIONS, matches
from tests.handlers import JSON, Response, call, create, update

USERS = st.sampled_from(["kevin", "harry"])
QUERIES = st.sampled_from(COMBINATIONS)
LIMITS = st.integers(1, 100) | st.integers(1, 4)
SECONDS = st.none() | st.integers(0, 253_402_300_799)
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

Conversation = dict[str, Any]


@dataclass
class Walk:
    """A client on its way from one end of a list to the other."""

    user: str
    query: dict[str, str]
    limit: int
    cursor_name: str
    cursor: str | None
    throughout: set[str]
    seen: list[str] = field(default_factory=list)


class Service(RuleBasedStateMachine):
    """Two users who create, change, delete and list, and clients who walk through lists meanwhile."""

    def __init__(self) -> None:
        """Starts from an empty table and an empty model, in which conversations stand in the order of creation."""
        super().__init__()
        tables.clear()
        self.model: dict[str, list[Conversation]] = {"kevin": [], "harry": []}
        self.ids: list[str] = ["0" * 16, "z" * 16]
        self.walks: list[Walk] = []
        self.versions: dict[str, int] = {}
        self.first_responses: dict[tuple[str, str], Response] = {}

    @rule(user=USERS, key=st.sampled_from(["a", "b", "c"]), group_id=st.sampled_from([None, "friends"]))
    def create_once(self, user: str, key: str, group_id: str | None) -> None:
        """Somebody starts a conversation in a way that can be repeated."""
        attributes = {"contact_id": "somebody"} | ({"group_id": group_id} if group_id else {})
        response = call("create_conversation", user=user, body=urlencode(attributes), headers={"Idempotency-Key": key})
        first = self.first_responses.get((user, key))
        if first is None:
            assert (response.status, "Idempotent-Replayed" in response.headers) == (201, False)
            self.first_responses[user, key] = response
            self.remember(user, response.body)
        elif first.body["group_id"] != group_id:
            assert response.status == 422
        else:
            assert (response.status, response.body) == (201, first.body)
            assert response.headers == first.headers | {"Idempotent-Replayed": "true"}

    @rule(user=USERS, data=st.data(), changes=CHANGES, version=st.integers(1, 4))
    def update_if(self, user: str, data: st.DataObject, changes: dict[str, Any], version: int) -> None:
        """Somebody changes a conversation, provided that it is in the state they know."""
        id = data.draw(st.sampled_from(self.ids))
        known = self.find(user, id)
        headers = {"If-Match": f'"{version}"'}
        response = call(
            "update_conversation", user=user, id=id, body=json.dumps(changes), content_type=JSON, headers=headers
        )
        if known is None:
            assert response.status == 404
        elif self.versions[id] != version:
            assert response.status == 412
        else:
            known |= changes
            self.versions[id] += 1
            assert (response.status, response.body) == (200, known)
            assert response.headers["ETag"] == f'"{version + 1}"'

    @rule(user=USERS, data=st.data(), version=st.integers(1, 4))
    def delete_if(self, user: str, data: st.DataObject, version: int) -> None:
        """Somebody deletes a conversation, provided that it is in the state they know."""
        id = data.draw(st.sampled_from(self.ids))
        known = self.find(user, id)
        response = call("delete_conversation", user=user, id=id, headers={"If-Match": f'"{version}"'})
        if known is None:
            assert response.status == 404
        elif self.versions[id] != version:
            assert response.status == 412
        else:
            assert response.status == 204
            self.model[user] = [kept for kept in self.model[user] if kept is not known]

    @rule(user=USERS, group_id=st.sampled_from([None, "friends", "family"]))
    def create(self, user: str, group_id: str | None) -> None:
        """Somebody starts a conversation."""
        attributes = {"contact_id": "somebody"} | ({"group_id": group_id} if group_id else {})
        self.remember(user, create(user, **attributes))

    @rule(user=USERS, data=st.data(), changes=CHANGES)
    def update(self, user: str, data: st.DataObject, changes: dict[str, Any]) -> None:
        """Somebody changes a conversation, if it is theirs."""
        id = data.draw(st.sampled_from(self.ids))
        known = self.find(user, id)
        if known is None:
            assert call("update_conversation", user=user, id=id, body="is_muted=true").status == 404
        else:
            known |= changes
            self.versions[id] += 1
            assert update(known, user, **changes) == known

    @rule(user=USERS, data=st.data())
    def delete(self, user: str, data: st.DataObject) -> None:
        """Somebody deletes a conversation, if it is theirs."""
        id = data.draw(st.sampled_from(self.ids))
        known = self.find(user, id)
        assert call("delete_conversation", user=user, id=id).status == (404 if known is None else 204)
        self.model[user] = [kept for kept in self.model[user] if kept is not known]

    @rule(user=USERS, data=st.data())
    def retrieve(self, user: str, data: st.DataObject) -> None:
        """Somebody looks a conversation up."""
        id = data.draw(st.sampled_from(self.ids))
        known = self.find(user, id)
        response = call("retrieve_conversation", user=user, id=id)
        if known is None:
            assert response.status == 404
        else:
            assert (response.status, response.body) == (200, known)
            assert response.headers["ETag"] == f'"{self.versions[id]}"'

    @rule(
        user=USERS,
        query=QUERIES,
        limit=LIMITS,
        cursor_name=st.sampled_from(["starting_after", "ending_before"]),
        data=st.data(),
    )
    def list_(self, user: str, query: dict[str, str], limit: int, cursor_name: str, data: st.DataObject) -> None:
        """Somebody lists, from any position there ever was."""
        self.page(user, query, limit, cursor_name, data.draw(st.none() | st.sampled_from(self.ids)))

    @rule(user=USERS, query=QUERIES, limit=st.integers(1, 3), newest_first=st.booleans())
    def start_walk(self, user: str, query: dict[str, str], limit: int, newest_first: bool) -> None:
        """A client starts to walk through all that matches."""
        throughout = {known["id"] for known in self.model[user] if matches(known, query)}
        cursor_name, cursor = ("starting_after", None) if newest_first else ("ending_before", "0" * 16)
        self.walks.append(Walk(user, query, limit, cursor_name, cursor, throughout))

    @precondition(lambda self: self.walks)
    @rule(data=st.data())
    def continue_walk(self, data: st.DataObject) -> None:
        """One of the clients turns the page."""
        walk = data.draw(st.sampled_from(self.walks))
        has_more, found = self.page(walk.user, walk.query, walk.limit, walk.cursor_name, walk.cursor)
        walk.seen += found
        assert len(set(walk.seen)) == len(walk.seen)
        if found:
            walk.cursor = found[-1] if walk.cursor_name == "starting_after" else found[0]
        if not has_more:
            assert walk.throughout <= set(walk.seen)
            self.walks.remove(walk)

    @invariant()
    def walks_lose_what_no_longer_matches(self) -> None:
        """Only what existed and matched from beginning to end has to be seen."""
        for walk in self.walks:
            walk.throughout &= {known["id"] for known in self.model[walk.user] if matches(known, walk.query)}

    def page(
        self, user: str, query: dict[str, str], limit: int, cursor_name: str, cursor: str | None
    ) -> tuple[bool, list[str]]:
        """A page, after it was found to be exactly the model's."""
        parameters = query | {"limit": str(limit)} | ({cursor_name: cursor} if cursor else {})
        response = call("list_conversations", user=user, query={name: [value] for name, value in parameters.items()})
        newest_first = [known for known in reversed(self.model[user]) if matches(known, query)]
        if cursor is None:
            beyond, nearest = newest_first[limit:], newest_first[:limit]
        elif cursor_name == "starting_after":
            older = [known for known in newest_first if known["id"] < cursor]
            beyond, nearest = older[limit:], older[:limit]
        else:
            newer = [known for known in newest_first if known["id"] > cursor]
            beyond, nearest = newer[:-limit], newer[-limit:]
        assert response.status == 200
        assert response.body == {"has_more": bool(beyond), "data": nearest}
        return bool(beyond), [known["id"] for known in nearest]

    def remember(self, user: str, created: Conversation) -> None:
        """Takes a new conversation into the model, as the newest."""
        assert all(created["id"] > known["id"] for known in self.model[user])
        self.model[user].append(dict(created))
        self.ids.append(created["id"])
        self.versions[created["id"]] = 1

    def find(self, user: str, id: str) -> Conversation | None:
        """What the model knows of it."""
        return next((known for known in self.model[user] if known["id"] == id), None)


@pytest.mark.usefixtures("tables")
def test_any_history_reads_like_one_of_a_plain_list() -> None:
    run_state_machine_as_test(Service, settings=settings(max_examples=20, stateful_step_count=60, deadline=None))


@pytest.mark.usefixtures("tables")
def test_every_limit_and_direction_pages_exactly_for_every_combination_of_filters() -> None:
    service = Service()
    flags = (False, True)
    for archived, pinned, muted in itertools.product((None, 1), flags, flags):
        service.create("kevin", "friends" if pinned == muted else None)
        created = service.model["kevin"][-1]
        changes = {"archived_at": archived, "is_pinned": pinned, "is_muted": muted}
        created |= changes
        update(created, "kevin", **changes)
    owned = len(service.model["kevin"])
    for query in COMBINATIONS:
        for limit in (*range(1, owned + 2), 100):
            for cursor_name in ("starting_after", "ending_before"):
                service.page("kevin", query, limit, cursor_name, service.ids[2 + owned // 2])
