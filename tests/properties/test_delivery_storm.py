"""Users write to each other while requests fail and streams deliver twice, late and in batches."""

import json
import os
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import boto3
import pytest
from coherent import errors
from coherent.storage import rows

from tests import tables
from tests.handlers import JSON, Context, call, create, entry, handler, order_records, put_entry
from tests.properties.interleaving import Interleaving, KilledError
from tests.wire import Wire

SEEDS = int(os.environ.get("DELIVERY_SEEDS", "1"))
USERS = ["kevin", "harry", "kate", "bert"]
_CLIENTS, _WORKERS, _STEPS, _DELIVERIES, _SWEEPS = 5, 3, 30, 20, 3
_ACTIONS = {
    "send": 16, "edit": 8, "react": 5, "delete": 3, "delete for everyone": 3, "create": 2, "delete conversation": 1,
    "archive": 1, "mute": 1, "read": 2, "block": 2, "unblock": 2,
}  # fmt: skip
_OF_MESSAGES = {"edit", "react", "delete", "delete for everyone"}
_FLAGS: dict[str, Any] = {"archive": {"archived_at": 1}, "mute": {"is_muted": True}}
_MARKS = {"read": {"is_unread": False}, "block": {"is_blocked": True}, "unblock": {"is_blocked": False}}

# Senders and recipients. kevin blocks bert all the time, and kate blocks whom she likes.
_BLOCKED = {("bert", "kevin")}
_SOMETIMES_BLOCKED = {(user, "kate") for user in USERS}
# What the sender's message and its copy have in common.
_SHARED = ("message", "attachments", "created_at", "updated_at")

Row = dict[str, Any]


class Storm:
    """The devices of the users, the workers that deliver, and what all of them have written."""

    def __init__(self, seed: int, likelihood: float, wire: Wire) -> None:
        """Makes all of them users with conversations. Requests do not fail yet."""
        self._seed, self._likelihood = seed, likelihood
        self.network = Interleaving(self.chance("network"))
        wire.fault = self.network
        for user in USERS:
            for contact_id in sorted({*USERS, "stranger"} - {user}):
                conversation = create(user, contact_id=contact_id)
                if (contact_id, user) in _BLOCKED:
                    put_entry(conversation, user, is_blocked=True)

    def run(self) -> None:
        """Lets everybody work, and applies what is left."""
        self.network.likelihood = self._likelihood
        self.network.run(self.tasks())
        self.network.likelihood = 0
        handler("sweep_deliveries")({}, Context())
        tables.age_tombstones()
        handler("sweep_purges")({}, Context())

    def tasks(self) -> list[Callable[[], None]]:
        """Returns what all of them do."""
        clients = [partial(self._use, number) for number in range(_CLIENTS)]
        workers = [partial(self._deliver, number) for number in range(_CLIENTS, _CLIENTS + _WORKERS)]
        return [*clients, *workers, self._sweep]

    def messages(self) -> list[Row]:
        """Returns the rows of all messages and copies."""
        return [row for row in self.network.put("reactions") if "user_id" in row]

    def deleted_by_users(self) -> set[str]:
        """Returns the ids of the messages that users have deleted from their mailboxes."""
        deleted = [(task, write["Delete"]) for task, write in self.network.applied if "Delete" in write]
        return {delete["Key"]["id"]["S"] for task, delete in deleted if task in range(_CLIENTS)}

    def chance(self, name: object) -> random.Random:
        """Returns a generator of its own for each *name*."""
        return random.Random(f"{self._seed} {name}")  # noqa: S311 - repeatable

    def _deliver(self, number: int) -> None:
        chance = self.chance(number)
        for _ in range(_DELIVERIES):
            known = self.network.put("ordered_at")
            batch = chance.choices(known[-10:], k=2) + chance.choices(known, k=chance.randint(0, 3)) if known else []
            self.network.pause()
            with suppress(KilledError, RuntimeError, errors.Unavailable):
                handler("deliver_messages")(order_records(batch), Context())

    def _sweep(self) -> None:
        for _ in range(_SWEEPS):
            for _ in range(100):
                self.network.pause()
            with suppress(KilledError, RuntimeError, errors.Unavailable):
                handler("sweep_deliveries")({}, Context())

    def _use(self, number: int) -> None:
        chance = self.chance(number)
        for step in range(_STEPS):
            function, given = _choose(chance, chance.choice(USERS), f"{number}-{step}")
            if "body" in given:
                given |= {"body": json.dumps(given["body"]), "content_type": JSON}
            # The tables show what a request has done; the response may be lost.
            with suppress(KilledError):
                call(function, **given)


def _choose(chance: random.Random, user: str, text: str) -> tuple[str, dict[str, Any]]:
    """Returns a function, and arguments of `call` except that the body is not encoded."""
    (action,) = chance.choices(list(_ACTIONS), list(_ACTIONS.values()))
    conversations, messages = _rows("conversations", user), _rows("messages", f"{user}#")
    if action == "create" or not conversations:
        group = chance.choice([{}, {"group_id": "friends"}])
        return "create_conversation", {"user": user, "body": {"contact_id": chance.choice(USERS), **group}}
    if action in _OF_MESSAGES and messages:
        # Mostly of the last messages, about which all clients fight.
        latest = sorted(messages, key=lambda row: str(row["id"]["S"]))[-chance.choice([4, 100]) :]
        return _choose_for_message(chance, action, chance.choice(latest), text)
    id = chance.choice(conversations)["id"]["S"]
    if action == "delete conversation":
        return "delete_conversation", {"user": user, "id": id}
    if action in _FLAGS:
        return "update_conversation", {"user": user, "id": id, "body": _FLAGS[action]}
    if action in _MARKS:
        return "update_inbox_entry", {"user": user, "id": id, "body": _MARKS[action if user == "kate" else "read"]}
    body = {"conversation_id": id, "message": text}
    return "create_message", {"user": user, "body": body, "headers": {"Idempotency-Key": text}}


def _choose_for_message(chance: random.Random, action: str, message: Row, text: str) -> tuple[str, dict[str, Any]]:
    given: dict[str, Any] = {"user": message["user_id"]["S"], "id": message["id"]["S"]}
    if action == "edit":
        return "update_message", given | {"body": {"message": f"{text} instead", "attachments": [text]}}
    if action == "react":
        # Under the condition that no reaction of the contact has arrived meanwhile, which the list would remove.
        condition = {"If-Match": f'"{message["version"]["N"]}"'}
        reactions: Any = rows.plain(message["reactions"])
        kept = [each for each in reactions if each["contact_id"] is not None]
        added = [{"reaction": text, "contact_id": None}] if chance.random() < 0.7 else []
        return "update_message", given | {"body": {"reactions": kept + added}, "headers": condition}
    return "delete_message", given | {"query": {"for": ["everyone"]} if action == "delete for everyone" else None}


def _rows(table_name: str, partitions: str) -> list[Row]:
    """Returns the rows of users in *partitions*, which begin so, from moto itself: queries would take longer."""
    table = tables.backend().tables[table_name]
    found = [items for partition, items in table.items.items() if partition.value.startswith(partitions)]
    rows_found = [item.to_json()["Attributes"] for items in found for item in items.values()]
    return [row for row in rows_found if "user_id" in row]


@pytest.fixture
def dead_letters(tables: None) -> Iterator[Callable[[], list[Row]]]:
    """Reads the dead-letter queue."""
    del tables
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName="dead-letters")["QueueUrl"]

    def read() -> list[Row]:
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(letter["Body"]) for letter in found]

    yield read
    sqs.delete_queue(QueueUrl=url)


@pytest.mark.parametrize("likelihood", [0, 0.2], ids=["no_faults", "faults"])
@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.usefixtures("no_backoff", "delivery")
def test_every_mailbox_equals_what_was_sent_to_it(
    seed: int, likelihood: float, wire: Wire, dead_letters: Callable[[], list[Row]]
) -> None:
    storm = Storm(seed, likelihood, wire)
    undeliverable = tables.put_undeliverable_order("kate", "harry")
    storm.run()
    assert tables.orders() == []
    assert {letter["event"]["id"] for letter in dead_letters()} == {undeliverable}
    _check_deliveries(storm)
    _check_mailboxes(storm)
    for row in tables.conversations():
        _check_entry(row)


def _check_deliveries(storm: Storm) -> None:
    """Each message was delivered once, and in order, unless its sender was blocked."""
    conversations = {row["id"]["S"]: row for row in storm.network.put("is_archived")}
    messages = storm.messages()
    sent = {row["id"]["S"]: row for row in messages if "contact_id" not in row}
    deliverable = {
        id: (row["user_id"]["S"], contact_id)
        for id, row in sent.items()
        if (contact_id := rows.text(conversations[row["conversation_id"]["S"]], "contact_id")) in USERS
        and contact_id != row["user_id"]["S"]
    }
    copies = {row["origin_id"]["S"]: row for row in messages if "origin_id" in row}
    assert len(copies) == sum("origin_id" in row for row in messages), "a message was delivered twice"
    assert copies.keys() <= deliverable.keys()
    assert {deliverable[id] for id in copies}.isdisjoint(_BLOCKED)
    assert {deliverable[id] for id in deliverable.keys() - copies.keys()} <= _BLOCKED | _SOMETIMES_BLOCKED
    in_order = defaultdict(list)
    for copy in sorted(copies.values(), key=lambda row: str(row["id"]["S"])):
        origin = sent[copy["origin_id"]["S"]]
        assert (copy["contact_id"]["S"], copy["user_id"]["S"]) == deliverable[origin["id"]["S"]]
        assert (copy["message"], copy["created_at"]) == (origin["message"], origin["created_at"])
        group, other_group = (conversations[row["conversation_id"]["S"]].get("group_id") for row in (copy, origin))
        assert group == other_group
        in_order[copy["conversation_id"]["S"], origin["conversation_id"]["S"]].append(origin["id"]["S"])
    assert all(origins == sorted(origins) for origins in in_order.values())


def _check_mailboxes(storm: Storm) -> None:
    """A copy that is not deleted equals the sender's message, if that exists."""
    existing = {row["id"]["S"]: row for row in tables.messages() if "user_id" in row}
    conversations = {row["id"]["S"] for row in tables.conversations()}
    for_everyone = {row["message_id"]["S"] for row in storm.network.put("kind") if row["kind"]["S"] == "deleted"}
    deleted = storm.deleted_by_users()
    origins = {}
    for copy in (row for row in storm.messages() if "origin_id" in row):
        id, origin_id = copy["id"]["S"], copy["origin_id"]["S"]
        is_kept = id not in deleted and copy["conversation_id"]["S"] in conversations and origin_id not in for_everyone
        assert (id in existing) == is_kept
        if is_kept:
            origins[f"{copy['user_id']['S']}#origins", origin_id] = id
        if is_kept and origin_id in existing:
            _check_same(existing[origin_id], existing[id])
    assert {
        (row["user_conversation"]["S"], row["id"]["S"]): row["copy_id"]["S"]
        for row in tables.messages()
        if "copy_id" in row
    } == origins


def _check_same(origin: Row, copy: Row) -> None:
    sender, recipient = origin["user_id"]["S"], copy["user_id"]["S"]
    if (sender, recipient) not in _BLOCKED | _SOMETIMES_BLOCKED:
        assert [copy.get(name) for name in _SHARED] == [origin.get(name) for name in _SHARED]
        assert _reactions(copy, sender) == _reactions(origin, None)
    if (recipient, sender) not in _BLOCKED | _SOMETIMES_BLOCKED:
        assert _reactions(origin, recipient) == _reactions(copy, None)


def _check_entry(row: Row) -> None:
    user, id = row["user_id"]["S"], row["id"]["S"]
    messages = _rows("messages", f"{user}#{id}")
    shown = entry({"id": id}, user)
    unread = [each for each in messages if "contact_id" in each and each["id"]["S"] > (shown["read_up_to"] or "")]
    assert shown["unread_count"] == len(unread)
    newest = max(messages, key=lambda each: str(each["id"]["S"]), default=None)
    preview = shown["last_message"] and (shown["last_message"]["id"], shown["last_message"]["message"])
    assert preview == (newest and (newest["id"]["S"], newest["message"]["S"]))


def _reactions(message: Row, contact_id: str | None) -> list[str]:
    reactions: Any = rows.plain(message["reactions"])
    return [each["reaction"] for each in reactions if each["contact_id"] == contact_id]
