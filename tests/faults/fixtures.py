"""What a user has before a call, and what they have after it: in the tables, and in the model."""

import functools
import inspect
import itertools
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests import handlers, tables
from tests.faults.network import Network
from tests.model import Model

_UNPURGED = {f"unpurged {number}" for number in range(30)}
_numbers = itertools.count()

# The data of a user, in a form in which equal data is equal.
Snapshot = dict[str, Any]


@dataclass
class State(Model):
    """The model of a user's data, which also has the functions behind events."""

    # The texts of messages that wait for their purge.
    unpurged: set[str] = field(default_factory=set)
    has_dead_letter: bool = False

    def receive_message(self, detail: Mapping[str, Any], new_id: str, now: int, event_id: str) -> bool:
        """Stores a message, or creates a dead letter."""
        is_stored = super().receive_message(detail, new_id, now, event_id)
        self.has_dead_letter = self.has_dead_letter or not is_stored
        return is_stored

    def purge_messages(self) -> None:
        """Deletes the messages of deleted conversations."""
        self.unpurged.clear()

    def sweep_purges(self) -> None:
        """Deletes the messages of deleted conversations, and the tombstones."""
        self.unpurged.clear()
        self.deleted_conversations.clear()


class Fixture(NamedTuple):
    """The data of a user before a call, as `state` and as rows in JSON, and the ids that calls refer to."""

    user: str
    state: State
    rows: str
    ids: dict[str, str]

    def expected(self, state: State) -> Snapshot:
        """Returns the snapshot of *state*."""
        return {
            "resources": self._shown(state.conversations | state.messages, state.versions),
            "tombstones": set(state.deleted_conversations),
            "unpurged": set(state.unpurged),
            "has_dead_letter": state.has_dead_letter,
        }

    def snapshot(self, network: Network) -> Snapshot:
        """Returns the snapshot of the tables and the dead letters. Fails if the rows contradict each other."""
        with network.lock:
            found = tables.user_rows(self.user)
            listed = [*handlers.list_conversations(self.user), *handlers.list_messages(self.user)]
        existing = {row["id"]["S"] for row in found["conversations"]}
        tombstones = {row["id"]["S"].rpartition("#")[2] for row in found["tombstones"]}
        messages = [row for row in found["messages"] if row["conversation_id"]["S"] in existing]
        deleted = [row for row in found["messages"] if row not in messages]
        versions = {row["id"]["S"]: int(row["version"]["N"]) for row in found["conversations"] + messages}
        resources = {resource["id"]: resource for resource in listed}
        assert versions.keys() == resources.keys()
        assert {row["conversation_id"]["S"] for row in deleted} <= tombstones, "Messages that no purge will delete"
        assert all(("archived_at" in row) == (row["is_archived"]["N"] == "1") for row in found["conversations"])
        return {
            "resources": self._shown(resources, versions),
            "tombstones": tombstones,
            "unpurged": {row["message"]["S"] for row in deleted} & _UNPURGED,
            "has_dead_letter": any(self.user in dead_letter for dead_letter in network.dead_letters),
        }

    def _shown(self, resources: Mapping[str, Any], versions: Mapping[str, int]) -> Any:
        return self.normalized({id: {"version": versions[id], **resource} for id, resource in resources.items()})

    def normalized(self, value: Any) -> Any:
        """Returns *value* with new ids as `new <number>` in the order of creation, and times of the clock as 0."""
        text = json.dumps(without_times(value))
        for number, id in enumerate(sorted(set(re.findall(r'"([0-9A-Za-z]{16})"', text)) - self.state.versions.keys())):
            text = text.replace(id, f"new {number}")
        return json.loads(text)


def without_times(value: Any) -> Any:
    """Returns *value*, which can be JSON, with 0 for times of the service's clock."""
    return json.loads(re.sub(r'"((created|updated|last_active)_at)": \d+', r'"\1": 0', json.dumps(value)))


def execute(model: Model, function: str, given: Mapping[str, Any], new_id: str) -> Any:
    """Calls a method of the model. The service's clock shows 0."""
    chosen = {"new_id": new_id, "now": 0}
    parameters = _parameters(getattr(type(model), function))
    return getattr(model, function)(**given, **{name: chosen[name] for name in chosen.keys() & parameters})


@functools.cache
def _parameters(method: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(method).parameters)


def new_user() -> str:
    """Returns the id of a user who has no data."""
    return f"user-{os.getpid()}-{next(_numbers):06}"


@contextmanager
def seeded_user(network: Network, *, is_deleted: bool) -> Iterator[Fixture]:
    """Stores the data of a new user for as long as the block lasts. It is a copy of rows that the handlers wrote."""
    with network.lock:
        template = _template(is_deleted)
        fixture = template._replace(user=new_user())
        tables.put_rows(json.loads(template.rows.replace(template.user, fixture.user)))
    try:
        yield fixture
    finally:
        with network.lock:
            tables.delete_user(fixture.user)


@functools.cache
def _template(is_deleted: bool) -> Fixture:
    """Returns a conversation with two messages, the second one pinned, and another conversation in a group.

    If *is_deleted*, the first conversation is deleted, long ago, with messages that wait for their purge.
    """
    user = new_user()
    conversation = handlers.create(user, contact_id="harry")
    message, pinned = (handlers.send(conversation, text, user) for text in ("hello", "there"))
    handlers.update(conversation, user, pinned_message_id=pinned["id"])
    handlers.send(handlers.create(user, contact_id="marv", group_id="friends"), "hands off", user)
    version = handlers.call("retrieve_conversation", user=user, id=conversation["id"]).headers["ETag"].strip('"')
    state = State()
    if is_deleted:
        handlers.call("delete_conversation", user=user, id=conversation["id"])
        for text in _UNPURGED:
            tables.put_message(user, conversation["id"], text)
        tables.age_tombstones()
        state.deleted_conversations, state.unpurged = [conversation["id"]], set(_UNPURGED)
    rows = tables.user_rows(user)
    state.conversations = {resource["id"]: resource for resource in handlers.list_conversations(user)}
    state.messages = {resource["id"]: resource for resource in handlers.list_messages(user)}
    state.versions = {row["id"]["S"]: int(row["version"]["N"]) for row in rows["conversations"] + rows["messages"]}
    tables.delete_user(user)
    ids = {"conversation": conversation["id"], "message": message["id"], "pinned": pinned["id"], "version": version}
    return Fixture(user, state, json.dumps(rows), ids)
