"""Messages: every sequence of requests, events, purges and sweeps gets the model's responses."""

import json
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from tests import tables
from tests.handlers import Context, event, handler, purge, sweep
from tests.properties.service import CURSORS, ETAGS, SECONDS, USERS, Service

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
REACTIONS = st.fixed_dictionaries(
    {"reaction": st.sampled_from(["heart", "👍"]), "contact_id": st.none() | st.just("harry")}
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "message": TEXTS | st.just(""),
        "attachments": st.lists(st.sampled_from(["a", "https://x.example/b"]), max_size=3),
        "reactions": st.lists(REACTIONS, max_size=3),
        "read_at": SECONDS,
    },
).filter(lambda changes: changes and (changes.get("message"), changes.get("attachments")) != ("", []))


class Messages(Service):
    """Two users who send, change, pin, delete and list messages, while purges and sweeps run."""

    @initialize()
    def begin(self) -> None:
        """Creates conversations and messages, because most rules need one."""
        for user in ("kevin", "harry", "kevin"):
            id = self.request(user, "create_conversation", body={"contact_id": "harry"}).body["id"]
            for _ in range(2):
                self.request(user, "create_message", body={"conversation_id": id, "message": "hello"})

    @rule(user=USERS)
    def create(self, user: str) -> None:
        """Creates a conversation."""
        self.request(user, "create_conversation", body={"contact_id": "harry"})

    @rule(user=USERS, data=st.data(), text=TEXTS, key=st.none() | st.sampled_from(["a", "b"]))
    def send(self, user: str, data: st.DataObject, text: str, key: str | None) -> None:
        """Sends a message, or repeats an idempotency key with the same or other attributes."""
        body = {"conversation_id": self.draw_conversation(user, data), "message": text}
        # The model compares the attributes; mostly the key is used with the same ones.
        unique = f"{key} {hash(json.dumps(body))}" if data.draw(st.integers(0, 4)) else key
        self.request(user, "create_message", body=body, key=key and unique)

    @rule(user=USERS, data=st.data(), text=TEXTS, event_id=st.integers(0, 3))
    def receive(self, user: str, data: st.DataObject, text: str, event_id: int) -> None:
        """Receives a message from a contact, who may be blocked, or the same event again."""
        model = self.models[user]
        if not model.conversations:
            return
        id = data.draw(st.sampled_from(sorted(model.conversations)))
        detail = {"user_id": user, "conversation_id": id, "contact_id": "marv", "message": text}
        sample = event("receive_message") | {"id": f"{event_id} {user} {id} {text}", "detail": detail}
        before = {row["id"]["S"] for row in tables.messages()}
        handler("receive_message")(sample, Context(25))
        stored = [row for row in tables.messages() if row["id"]["S"] not in before]
        assert len(stored) == (sample["id"] not in model.first_requests and "marv" not in model.blocked)
        new_id, now = (stored[0]["id"]["S"], int(stored[0]["created_at"]["N"])) if stored else ("", 0)
        assert model.receive_message(detail, new_id, now, sample["id"])

    @rule(user=USERS, data=st.data(), if_none_match=ETAGS)
    def retrieve(self, user: str, data: st.DataObject, if_none_match: str | None) -> None:
        """Retrieves a message."""
        self.request(user, "retrieve_message", id=self.draw_message(user, data), if_none_match=if_none_match)

    @rule(user=USERS, data=st.data(), changes=CHANGES, if_match=ETAGS, if_none_match=ETAGS)
    def update(
        self, user: str, data: st.DataObject, changes: dict[str, Any], if_match: str | None, if_none_match: str | None
    ) -> None:
        """Updates one."""
        id = self.draw_message(user, data)
        conditions = {"if_match": if_match, "if_none_match": if_none_match}
        self.request(user, "update_message", id=id, body=changes, **conditions)

    @rule(user=USERS, data=st.data(), if_match=ETAGS)
    def delete(self, user: str, data: st.DataObject, if_match: str | None) -> None:
        """Deletes one."""
        self.request(user, "delete_message", id=self.draw_message(user, data), if_match=if_match)

    @rule(user=USERS, data=st.data())
    def pin(self, user: str, data: st.DataObject) -> None:
        """Pins a message, mostly in the conversation that it belongs to."""
        message_id = self.draw_message(user, data)
        message = self.models[user].messages.get(message_id)
        id = message["conversation_id"] if message and data.draw(st.booleans()) else self.draw_conversation(user, data)
        self.request(user, "update_conversation", id=id, body={"pinned_message_id": message_id})

    @precondition(lambda self: sum(len(model.conversations) for model in self.models.values()) > 2)
    @rule(user=USERS, data=st.data())
    def delete_conversation(self, user: str, data: st.DataObject) -> None:
        """Deletes a conversation with its messages."""
        self.request(user, "delete_conversation", id=self.draw_conversation(user, data))

    @rule(data=st.data())
    def purge(self, data: st.DataObject) -> None:
        """Delivers stream records of some deletions, each once or more often."""
        deleted = [(user, id) for user, model in self.models.items() for id in model.deleted_conversations]
        if deleted:
            assert purge(*data.draw(st.lists(st.sampled_from(deleted), min_size=1, max_size=3))) == []

    @rule()
    def sweep(self) -> None:
        """Sweeps when all tombstones are old: nothing is left of deleted conversations."""
        tables.age_tombstones()
        sweep()
        assert tables.tombstones() == []
        assert len(tables.messages()) == sum(len(model.messages) for model in self.models.values())

    @rule(user=USERS, limit=st.integers(1, 4) | st.just(100), cursor_name=CURSORS, data=st.data())
    def list_page(self, user: str, limit: int, cursor_name: str, data: st.DataObject) -> None:
        """Lists the messages of a conversation, or all, from any position that ever existed."""
        filters = {"conversation_id": self.draw_conversation(user, data)} if data.draw(st.booleans()) else {}
        cursor = data.draw(st.none() | st.sampled_from(self.ids))
        self.page(user, "list_messages", limit, {cursor_name: cursor} if cursor else {}, **filters)

    @invariant()
    def conversations_follow_their_messages(self) -> None:
        """Activity, pin, preview, unread count and version are the model's."""
        for user, model in self.models.items():
            for id in model.conversations:
                self.request(user, "retrieve_inbox_entry", id=id)

    def draw_conversation(self, user: str, data: st.DataObject) -> str:
        """Draws mostly a conversation of the user."""
        return self.draw_id(self.models[user].conversations, data)

    def draw_message(self, user: str, data: st.DataObject) -> str:
        """Draws mostly a message of the user, and often a pinned one."""
        model = self.models[user]
        pinned = [found["pinned_message_id"] for found in model.conversations.values() if found["pinned_message_id"]]
        return self.draw_id([*model.messages, *pinned * len(model.messages)], data)


@pytest.mark.usefixtures("tables", "no_backoff")
def test_messages_behave_like_the_model() -> None:
    run_state_machine_as_test(Messages, settings=settings(max_examples=8, stateful_step_count=50, deadline=None))
