"""Messages against a plain Python list: whatever is done in whatever order, both say the same."""

import json
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests import tables
from tests.handlers import JSON, call, create, purge, sweep

USERS = st.sampled_from(["kevin", "harry"])
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "message": TEXTS,
        "attachments": st.lists(st.sampled_from(["a", "https://x.example/b"]), max_size=3),
        "reactions": st.lists(
            st.fixed_dictionaries(
                {"reaction": st.sampled_from(["heart", "👍"]), "contact_id": st.none() | st.just("harry")}
            ),
            max_size=3,
        ),
        "read_at": st.none() | st.integers(0, 253_402_300_799),
    },
).filter(bool)


class Service(RuleBasedStateMachine):
    """Two users who converse, pin, delete and list, while purges and sweeps come and go."""

    def __init__(self) -> None:
        """Starts from empty tables and an empty model, in which all stands in the order of creation."""
        super().__init__()
        tables.clear()
        self.conversations: dict[tuple[str, str], dict[str, Any]] = {}
        self.messages: dict[tuple[str, str], dict[str, Any]] = {}
        self.versions: dict[str, int] = {}
        self.ids = ["0" * 16, "z" * 16]
        self.deleted: list[tuple[str, str]] = []

    @initialize()
    def begin(self) -> None:
        """Each has a conversation, else most of what follows finds nothing to do."""
        for user in ("kevin", "harry", "kevin"):
            self.create(user)

    @rule(user=USERS)
    def create(self, user: str) -> None:
        """Somebody starts a conversation."""
        created = create(user)
        self.conversations[user, created["id"]] = created
        self.versions[created["id"]] = 1
        self.ids.append(created["id"])

    @rule(user=USERS, data=st.data(), text=TEXTS, key=st.none() | st.sampled_from(["a", "b"]))
    def send(self, user: str, data: st.DataObject, text: str, key: str | None) -> None:
        """Somebody says something, now and then in a way that can be repeated."""
        id = self.some_conversation(user, data)
        body = json.dumps({"conversation_id": id, "message": text})
        # A key of its own for each text and place, so that it is always used for the same.
        headers = {"Idempotency-Key": f"{key} {id} {hash(text)}"} if key else {}
        response = call("create_message", user=user, body=body, content_type=JSON, headers=headers)
        if "Idempotent-Replayed" in response.headers:
            assert (response.status, response.body["message"]) == (201, text)
        elif (user, id) not in self.conversations:
            assert (response.status, response.message) == (404, "conversation_id: no such conversation")
        else:
            sent = response.body
            assert (response.status, sent["conversation_id"], sent["message"]) == (201, id, text)
            assert all(sent["id"] > known for _, known in self.messages)
            self.messages[user, sent["id"]] = sent
            self.versions[sent["id"]] = 1
            self.versions[id] += 1
            self.conversations[user, id]["last_active_at"] = sent["created_at"]
            self.ids.append(sent["id"])

    @rule(user=USERS, data=st.data(), changes=CHANGES, version=st.none() | st.integers(1, 3))
    def update(self, user: str, data: st.DataObject, changes: dict[str, Any], version: int | None) -> None:
        """Somebody changes a message, or only if it is in the state they know."""
        id = self.some_message(user, data)
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        body = json.dumps(changes)
        response = call("update_message", user=user, id=id, body=body, content_type=JSON, headers=headers)
        known = self.messages.get((user, id))
        if known is None:
            assert response.status == 404
        elif version not in (None, self.versions[id]):
            assert response.status == 412
        else:
            known |= changes | {"updated_at": response.body["updated_at"]}
            self.versions[id] += 1
            assert (response.status, response.body, response.headers["ETag"]) == (200, known, f'"{self.versions[id]}"')

    @rule(user=USERS, data=st.data(), version=st.none() | st.integers(1, 3))
    def delete(self, user: str, data: st.DataObject, version: int | None) -> None:
        """Somebody deletes a message, or only if it is in the state they know."""
        id = self.some_message(user, data)
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        response = call("delete_message", user=user, id=id, headers=headers)
        known = self.messages.get((user, id))
        if known is None:
            assert response.status == 404
        elif version not in (None, self.versions[id]):
            assert response.status == 412
        else:
            assert response.status == 204
            del self.messages[user, id]
            conversation = self.conversations[user, known["conversation_id"]]
            if conversation["pinned_message_id"] == id:
                conversation["pinned_message_id"] = None
                self.versions[conversation["id"]] += 1

    @rule(user=USERS, data=st.data())
    def pin(self, user: str, data: st.DataObject) -> None:
        """Somebody pins a message, or what is none."""
        message_id = self.some_message(user, data)
        message = self.messages.get((user, message_id))
        # Mostly where it belongs.
        id = message["conversation_id"] if message and data.draw(st.booleans()) else self.some_conversation(user, data)
        response = call("update_conversation", user=user, id=id, body=f"pinned_message_id={message_id}")
        conversation = self.conversations.get((user, id))
        if conversation is None:
            assert response.status == 404
        elif message is None or message["conversation_id"] != id:
            assert response.status == 400
        else:
            conversation["pinned_message_id"] = message_id
            self.versions[id] += 1
            assert (response.status, response.body) == (200, conversation)

    @precondition(lambda self: len(self.conversations) > 2)
    @rule(user=USERS, data=st.data())
    def delete_conversation(self, user: str, data: st.DataObject) -> None:
        """Somebody deletes a conversation with everything in it."""
        id = self.some_conversation(user, data)
        is_known = (user, id) in self.conversations
        assert call("delete_conversation", user=user, id=id).status == (204 if is_known else 404)
        if is_known:
            del self.conversations[user, id]
            self.deleted.append((user, id))
            self.messages = {key: known for key, known in self.messages.items() if known["conversation_id"] != id}

    @rule(data=st.data())
    def purge(self, data: st.DataObject) -> None:
        """The stream tells of some deletions, once or more often."""
        if self.deleted:
            assert purge(*data.draw(st.lists(st.sampled_from(self.deleted), min_size=1, max_size=3))) == []

    @rule()
    def sweep(self) -> None:
        """The sweep comes by, late."""
        tables.age_tombstones()
        sweep()
        assert tables.tombstones() == []
        assert len(tables.messages()) == len(self.messages)

    @rule(user=USERS, data=st.data())
    def retrieve(self, user: str, data: st.DataObject) -> None:
        """Somebody looks a message up."""
        id = self.some_message(user, data)
        response = call("retrieve_message", user=user, id=id)
        known = self.messages.get((user, id))
        assert (response.status, response.body) == (200, known) if known else response.status == 404

    @rule(
        user=USERS,
        limit=st.integers(1, 4) | st.just(100),
        cursor_name=st.sampled_from(["starting_after", "ending_before"]),
        data=st.data(),
    )
    def list_(self, user: str, limit: int, cursor_name: str, data: st.DataObject) -> None:
        """Somebody lists the messages of a conversation, or all, from any position there ever was."""
        conversation_id = self.some_conversation(user, data) if data.draw(st.booleans()) else None
        cursor = data.draw(st.none() | st.sampled_from(self.ids))
        query = {"limit": str(limit)} | ({cursor_name: cursor} if cursor else {})
        if conversation_id:
            query["conversation_id"] = conversation_id
        response = call("list_messages", user=user, query={name: [value] for name, value in query.items()})
        if conversation_id and (user, conversation_id) not in self.conversations:
            assert response.status == 404
            return
        newest_first = [
            known
            for (owner, _), known in reversed(self.messages.items())
            if owner == user and conversation_id in (None, known["conversation_id"])
        ]
        if cursor is None:
            data_, beyond = newest_first[:limit], newest_first[limit:]
        elif cursor_name == "starting_after":
            older = [known for known in newest_first if known["id"] < cursor]
            data_, beyond = older[:limit], older[limit:]
        else:
            newer = [known for known in newest_first if known["id"] > cursor]
            data_, beyond = newer[-limit:], newer[:-limit]
        assert (response.status, response.body) == (200, {"has_more": bool(beyond), "data": data_})

    def some_conversation(self, user: str, data: st.DataObject) -> str:
        """Mostly one of the user's, else whatever there ever was."""
        return self.some([id for owner, id in self.conversations if owner == user], data)

    def some_message(self, user: str, data: st.DataObject) -> str:
        """Likewise, and above all one that is pinned."""
        pinned = [known["pinned_message_id"] for known in self.conversations.values() if known["pinned_message_id"]]
        return self.some([id for owner, id in self.messages if owner == user] + pinned * 3, data)

    def some(self, likely: list[str], data: st.DataObject) -> str:
        """One of the *likely*, or now and then any other."""
        return data.draw(st.sampled_from([*likely * 4, *self.ids[:2], *self.ids[-2:]]))

    @invariant()
    def conversations_know_what_happened_in_them(self) -> None:
        """Activity, pin and version are the model's."""
        for (user, id), known in self.conversations.items():
            response = call("retrieve_conversation", user=user, id=id)
            assert (response.body, response.headers["ETag"]) == (known, f'"{self.versions[id]}"')


@pytest.mark.usefixtures("tables", "no_backoff")
def test_any_history_of_messages_reads_like_one_of_a_plain_list() -> None:
    run_state_machine_as_test(Service, settings=settings(max_examples=12, stateful_step_count=50, deadline=None))
