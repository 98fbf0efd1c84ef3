"""Events and stream records are delivered twice, late, out of order and concurrently, and invocations fail."""

import json
import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

import pytest

from tests import tables
from tests.built.environments import Environment
from tests.faults.faulty import FaultyEnvironment
from tests.faults.fixtures import new_user
from tests.faults.network import Network
from tests.handlers import (
    JSON,
    call,
    create,
    deletions,
    entry,
    event,
    list_conversations,
    list_messages,
    order_records,
    send,
)

_SEEDS = int(os.environ.get("FAULTS_DELIVERIES", "1"))
_PARALLEL, _EVENTS = 4, 6
# Lambda retries a failed invocation twice.
_ATTEMPTS = 3
_LIKELIHOOD = 0.4
# A purge starts no request in its last 50 s.
_PURGE_SECONDS = 56


class Deliverer:
    """Delivers events to a function as Lambda does: concurrently, and again if an invocation fails."""

    def __init__(self, network: Network, port: int, seed: int) -> None:
        self._network, self._port, self._seed = network, port, seed
        self.counts: Counter[str] = Counter()

    def deliver(self, function: str, events: Sequence[Any], seconds: float | None = None) -> list[Any]:
        """Delivers *events* to *function* and returns those whose last attempt failed."""
        parts = [events[number::_PARALLEL] for number in range(_PARALLEL)]
        with ThreadPoolExecutor(_PARALLEL) as pool:
            failed = pool.map(partial(self._deliver, function, seconds), range(_PARALLEL), parts)
            return [event for part in failed for event in part]

    def _deliver(self, function: str, seconds: float | None, number: int, events: Sequence[Any]) -> list[Any]:
        chance = random.Random(f"{self._seed} {number}")  # noqa: S311 - repeatable
        failed = []
        with closing(FaultyEnvironment(self._port, self._network, chance, _LIKELIHOOD)) as environment:
            for event in events:
                for _ in range(_ATTEMPTS):
                    has_failed = environment.invoke(function, event, seconds).has_failed
                    self.counts["failed" if has_failed else "done"] += 1
                    if not has_failed:
                        break
                else:
                    failed.append(event)
        return failed


@pytest.mark.parametrize("seed", range(_SEEDS))
@pytest.mark.usefixtures("tables")
def test_event_is_stored_once_or_becomes_a_dead_letter(
    seed: int, network: Network, runtime: int, record_property: Callable[[str, object], None]
) -> None:
    user, chance = new_user(), random.Random(seed)  # noqa: S311 - repeatable
    with network.lock:
        kept, deleted = create(user)["id"], create(user)["id"]
    events = [_received(user, id, f"{id} {number}") for id in (kept, deleted) for number in range(_EVENTS)]
    invalid = [_received(user, kept, "") | {"id": f"invalid {user} {number}"} for number in range(_EVENTS)]
    deliverer = Deliverer(network, runtime, seed)
    early, late = events[::2], events[1::2]
    chance.shuffle(early)
    failed = deliverer.deliver("receive_message", early * 2)
    with network.lock:
        call("delete_conversation", user=user, id=deleted)
    chance.shuffle(late)
    failed += deliverer.deliver("receive_message", late + early + late + invalid)
    # Lambda puts these into the dead letter queue, from which people redrive them.
    with closing(Environment(runtime)) as environment:
        assert not any(environment.invoke("receive_message", event).has_failed for event in failed)
    with network.lock:
        found = list_messages(user)
        conversations = list_conversations(user)
        entries = [entry(each, user) for each in conversations]
    # Events for the deleted conversation begin one, together.
    assert len(conversations) == 2
    texts = Counter(message["message"] for message in found)
    assert set(texts.values()) == {1}
    expected = {
        each["detail"]["message"] for each in events if each in late or each["detail"]["conversation_id"] == kept
    }
    assert expected <= set(texts) <= {each["detail"]["message"] for each in events}
    assert {message["contact"]["id"] for message in found} == {"harry"}
    assert sum(each["unread_count"] for each in entries) == len(found)
    last = {each["conversation"]["id"]: each["conversation"]["last_active_at"] for each in entries}
    assert last == {message["conversation_id"]: message["created_at"] for message in reversed(found)}
    rejected = {json.loads(letter)["event"]["id"] for letter in network.dead_letters if user in letter}
    assert rejected == {each["id"] for each in invalid}
    record_property("deliveries", json.dumps({"function": "receive_message", **deliverer.counts}))


@pytest.mark.parametrize("seed", range(_SEEDS))
@pytest.mark.usefixtures("tables")
def test_purges_delete_the_messages_of_deleted_conversations_only(
    seed: int, network: Network, runtime: int, record_property: Callable[[str, object], None]
) -> None:
    user, chance = new_user(), random.Random(seed)  # noqa: S311 - repeatable
    with network.lock:
        kept = create(user)
        message = send(kept, user=user)
        removed = []
        for _ in range(5):
            id = create(user)["id"]
            for number in range(chance.choice([0, 1, 26])):
                tables.put_message(user, id, f"unpurged {number}")
            call("delete_conversation", user=user, id=id)
            removed.append((user, id))
    removed *= 2
    chance.shuffle(removed)
    deliverer = Deliverer(network, runtime, seed)
    batches = [deletions(*removed[start : start + 3]) for start in range(0, len(removed), 3)]
    deliverer.deliver("purge_messages", batches, _PURGE_SECONDS)
    with network.lock:
        tables.age_tombstones()
    # Concurrent sweeps, which the schedule never causes.
    deliverer.deliver("sweep_purges", [{}] * _PARALLEL, _PURGE_SECONDS)
    with closing(Environment(runtime)) as environment:
        assert not environment.invoke("sweep_purges", {}).has_failed
    with network.lock:
        found = tables.user_rows(user)
        assert list_messages(user) == [message]
    assert [row["id"]["S"] for row in found["messages"]] == [message["id"]]
    assert [row["id"]["S"] for row in found["conversations"]] == [kept["id"]]
    assert found["tombstones"] == []
    record_property("deliveries", json.dumps({"function": "purge_messages and sweep_purges", **deliverer.counts}))


@pytest.mark.parametrize("seed", range(_SEEDS))
@pytest.mark.usefixtures("delivery")
def test_order_between_users_is_applied_once_or_becomes_a_dead_letter(
    seed: int, network: Network, runtime: int, record_property: Callable[[str, object], None]
) -> None:
    kevin, harry, chance = new_user(), new_user(), random.Random(seed)  # noqa: S311 - repeatable
    with network.lock:
        conversations = {user: create(user, contact_id=contact) for user, contact in ((kevin, harry), (harry, kevin))}
        for user, conversation in conversations.items():
            sent = [send(conversation, f"{number}", user) for number in range(_EVENTS)]
            body = json.dumps({"message": "edited"})
            call("update_message", user=user, id=sent[0]["id"], body=body, content_type=JSON)
            call("delete_message", user=user, id=sent[1]["id"], query={"for": ["everyone"]})
        send(create(kevin, contact_id="stranger"), user=kevin)
        waiting = tables.orders()
        undeliverable = tables.put_undeliverable_order(kevin, harry)
    records = waiting * 2
    chance.shuffle(records)
    batches = [order_records(records[start : start + 4]) for start in range(0, len(records), 4)]
    deliverer = Deliverer(network, runtime, seed)
    deliverer.deliver("deliver_messages", batches)
    # Concurrent sweeps, which the schedule never causes.
    deliverer.deliver("sweep_deliveries", [{}] * _PARALLEL, _PURGE_SECONDS)
    with closing(Environment(runtime)) as environment:
        assert not environment.invoke("sweep_deliveries", {}).has_failed
    with network.lock:
        assert tables.orders() == []
        for user, contact_id in ((kevin, harry), (harry, kevin)):
            received = [message for message in list_messages(user)[::-1] if message["contact"]]
            assert [message["message"] for message in received] == ["edited", *map(str, range(2, _EVENTS))]
            assert {message["contact"]["id"] for message in received} == {contact_id}
            assert entry(conversations[user], user)["unread_count"] == len(received)
    letters = {json.loads(letter)["event"]["id"] for letter in network.dead_letters if kevin in letter}
    assert letters == {undeliverable}
    counts = {"function": "deliver_messages and sweep_deliveries", **deliverer.counts}
    record_property("deliveries", json.dumps(counts))


def _received(user: str, conversation_id: str, text: str) -> Any:
    detail = {"user_id": user, "conversation_id": conversation_id, "contact_id": "harry", "message": text}
    return event("receive_message") | {"id": text, "detail": detail}
