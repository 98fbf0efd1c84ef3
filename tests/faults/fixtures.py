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

from coherent.storage import rows

from tests import handlers, tables
from tests.faults.network import Network
from tests.model import Marks, Model, Response

_UNPURGED = {f"unpurged {number}" for number in range(30)}
_numbers = itertools.count()
# What the model's clock shows, and in data that is compared, the service's. Tests set only earlier times.
CLOCK = 2_000_000_000
MUTED_UNTIL = 4_000_000_000

# The data of a user, in a form in which equal data is equal.
Snapshot = dict[str, Any]


@dataclass
class State(Model):
    """The model of a user's data, which also has the functions behind events."""

    # The texts of messages that wait for their purge.
    unpurged: set[str] = field(default_factory=set)
    has_dead_letter: bool = False

    def receive_message(
        self, detail: Mapping[str, Any], new_id: str, now: int, event_id: str, new_conversation_id: str = ""
    ) -> bool:
        """Stores a message, or creates a dead letter if it has no text."""
        if self.conversation_for(detail) is None:
            # The conversation is created before the message.
            new_conversation_id, new_id = "new 0", "new 1"
        is_stored = bool(detail["message"])
        is_stored = is_stored and super().receive_message(detail, new_id, now, event_id, new_conversation_id)
        self.has_dead_letter = self.has_dead_letter or not is_stored
        return is_stored

    def purge_messages(self) -> None:
        """Deletes the messages of deleted conversations."""
        self.unpurged.clear()

    def list_changes(self, query: Mapping[str, str]) -> Response:  # noqa: ARG002 - the arguments of the call
        """Lists nothing, because nothing is published here."""
        return Response(200, {"has_more": False, "data": [], "head": 0})

    def sweep_purges(self) -> None:
        """Deletes the messages of deleted conversations, and the tombstones."""
        self.unpurged.clear()
        self.deleted_conversations.clear()


def _until(state: Model, id: str) -> int | None:
    marks = state.marks_of(id)
    return 1 if marks.is_mute_over else marks.muted_until


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
            "entries": self.normalized([state.entry(id) for id in sorted(state.conversations)]),
            "muted_until": {id: until for id in state.conversations if (until := _until(state, id))},
            "tombstones": set(state.deleted_conversations),
            "unpurged": set(state.unpurged),
            "has_dead_letter": state.has_dead_letter,
        }

    def snapshot(self, network: Network) -> Snapshot:
        """Returns the snapshot of the tables and the dead letters. Fails if the rows contradict each other."""
        with network.lock:
            found = tables.user_rows(self.user)
            listed = [*handlers.list_conversations(self.user), *handlers.list_messages(self.user)]
            entries = handlers.call("list_inbox", user=self.user, query={"limit": ["100"]}).body["data"]
        existing = {row["id"]["S"] for row in found["conversations"]}
        tombstones = {row["id"]["S"].rpartition("#")[2] for row in found["tombstones"]}
        messages = [row for row in found["messages"] if row["conversation_id"]["S"] in existing]
        deleted = [row for row in found["messages"] if row not in messages]
        versions = {row["id"]["S"]: rows.version(row) for row in found["conversations"] + messages}
        muted_until = {
            row["id"]["S"]: int(row["muted_until"]["N"]) for row in found["conversations"] if "muted_until" in row
        }
        mutes = {row["id"]["S"] for row in found["mutes"]}
        assert {f"{until:012}#{self.user}#{id}" for id, until in muted_until.items()} <= mutes, "Mutes without an end"
        resources = {resource["id"]: resource for resource in listed}
        assert versions.keys() == resources.keys()
        assert {row["conversation_id"]["S"] for row in deleted} <= tombstones, "Messages that no purge will delete"
        assert all(("archived_at" in row) == (row["is_archived"]["N"] == "1") for row in found["conversations"])
        return {
            "resources": self._shown(resources, versions),
            "entries": self.normalized(sorted(entries, key=lambda entry: str(entry["conversation"]["id"]))),
            "muted_until": muted_until,
            "tombstones": tombstones,
            "unpurged": {row["message"]["S"] for row in deleted} & _UNPURGED,
            "has_dead_letter": any(self.user in dead_letter for dead_letter in network.dead_letters),
        }

    def _shown(self, resources: Mapping[str, Any], versions: Mapping[str, int]) -> Any:
        return self.normalized({id: {"version": versions[id], **resource} for id, resource in resources.items()})

    def normalized(self, value: Any) -> Any:
        """Returns *value* with new ids as `new <number>` in the order of creation, and the clock's times as `CLOCK`."""
        text = json.dumps(without_times(value))
        known = self.state.versions.keys() | set(self.state.deleted_messages)
        for number, id in enumerate(sorted(set(re.findall(r'"([0-9A-Za-z]{16})"', text)) - known)):
            text = text.replace(id, f"new {number}")
        return json.loads(text)


def without_times(value: Any) -> Any:
    """Returns *value*, which can be JSON, with `CLOCK` for times of the service's clock."""
    text = re.sub(r'"((created|updated|last_active)_at)": \d+', rf'"\1": {CLOCK}', json.dumps(value))
    # Clients set earlier times, of fewer digits.
    text = re.sub(r'"last_opened_at": \d{10}', f'"last_opened_at": {CLOCK}', text)
    return json.loads(re.sub(r'"position": "\d+', f'"position": "{CLOCK}', text))


def execute(model: Model, function: str, given: Mapping[str, Any], new_id: str) -> Any:
    """Calls a method of the model. The service's clock shows `CLOCK`."""
    chosen = {"new_id": new_id, "now": CLOCK}
    parameters = _parameters(getattr(type(model), function))
    return getattr(model, function)(**given, **{name: chosen[name] for name in chosen.keys() & parameters})


@functools.cache
def _parameters(method: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(method).parameters)


def new_user() -> str:
    """Returns the id of a user who has no data."""
    return f"user-{os.getpid()}-{next(_numbers):06}"


@contextmanager
def seeded_user(network: Network, *, is_deleted: bool, is_mute_over: bool = False) -> Iterator[Fixture]:
    """Stores the data of a new user for as long as the block lasts. It is a copy of rows that the handlers wrote."""
    with network.lock:
        template = _template(is_deleted, is_mute_over)
        fixture = template._replace(user=new_user())
        tables.put_rows(json.loads(template.rows.replace(template.user, fixture.user)))
    try:
        yield fixture
    finally:
        with network.lock:
            tables.delete_user(fixture.user)


@functools.cache
def _template(is_deleted: bool, is_mute_over: bool) -> Fixture:
    """Returns a conversation with four messages, one received and one pinned, and a muted conversation in a group.

    If *is_deleted*, the first conversation is deleted, long ago, with messages that wait for their purge. If
    *is_mute_over*, the mute has run out.
    """
    user = new_user()
    conversation = handlers.create(user, contact_id="harry")
    message, removed = (handlers.send(conversation, text, user) for text in ("hello", "oops"))
    handlers.receive(conversation, "keep the change", user)
    received = handlers.list_messages(user)[0]
    pinned, last = (handlers.send(conversation, text, user) for text in ("there", "bye"))
    handlers.update(conversation, user, pinned_message_id=pinned["id"])
    handlers.call("delete_message", user=user, id=removed["id"])
    group = handlers.create(user, contact_id="marv", group_id="friends")
    handlers.send(group, "hands off", user)
    body = json.dumps({"muted_until": MUTED_UNTIL})
    handlers.call("update_inbox_entry", user=user, id=group["id"], body=body, content_type=handlers.JSON)
    version = handlers.call("retrieve_conversation", user=user, id=conversation["id"]).headers["ETag"].strip('"')
    state = State()
    if is_deleted:
        handlers.call("delete_conversation", user=user, id=conversation["id"])
        for text in _UNPURGED:
            tables.put_message(user, conversation["id"], text)
        tables.age_tombstones()
        state.deleted_conversations, state.unpurged = [conversation["id"]], set(_UNPURGED)
    if is_mute_over:
        tables.run_out_mutes()
    found = tables.user_rows(user)
    state.conversations = {resource["id"]: resource for resource in handlers.list_conversations(user)}
    state.messages = {resource["id"]: resource for resource in handlers.list_messages(user)}
    state.versions = {row["id"]["S"]: rows.version(row) for row in found["conversations"] + found["messages"]}
    state.deleted_messages = [removed["id"]]
    state.pairs = {("harry", None): conversation["id"], ("marv", "friends"): group["id"]}
    arrived = {each["id"] for each in (message, removed, received, pinned, last)}
    state.marks = {} if is_deleted else {conversation["id"]: Marks(message_ids=frozenset(arrived))}
    sent = {id for id, each in state.messages.items() if each["conversation_id"] == group["id"]}
    until = None if is_mute_over else MUTED_UNTIL
    state.marks[group["id"]] = Marks(None, False, until, is_mute_over, frozenset(sent))
    tables.delete_user(user)
    named = {
        "message": message, "removed": removed, "received": received, "pinned": pinned, "last": last,
        "conversation": conversation, "group": group,
    }  # fmt: skip
    return Fixture(
        user, state, json.dumps(found), {name: each["id"] for name, each in named.items()} | {"version": version}
    )
