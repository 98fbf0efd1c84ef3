"""Events and stream records come twice, late, out of order and at once, and functions fail meanwhile: all the same."""

import copy
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from tests import tables
from tests.faults.calls import user_names
from tests.faults.functions import Environment
from tests.faults.network import BYTE_BY_BYTE, FAULTS, Network, carry
from tests.handlers import call, create, event, list_messages, send

SEEDS = int(os.environ.get("CHAOS_DELIVERIES", "2"))
_AT_ONCE, _EVENTS = 4, 6
# Lambda delivers what failed twice more.
_ATTEMPTS = 3
_LIKELIHOOD = 0.4
# A purge begins nothing in the last 50 s.
_PURGE_SECONDS = 56
_QUICK = [fault for fault in FAULTS if fault != BYTE_BY_BYTE and "no answer" not in fault and "wait" not in fault]

user_name = user_names()


class Deliverer:
    """Lambda, as it delivers events and batches of records: again where a function failed, but not for ever."""

    def __init__(self, network: Network, port: int, seed: str) -> None:
        """Delivers the same way for the same *seed*."""
        self._network, self._port, self._seed = network, port, seed
        self.seen: Counter[str] = Counter()

    def deliver(self, function: str, events: Sequence[Any], seconds: float | None = None) -> list[Any]:
        """Has *function* get *events*, several at once and some of them failing; those that were given up."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            given_up = pool.map(
                lambda number: self._deliver(function, events[number::_AT_ONCE], f"{self._seed} {number}", seconds),
                range(_AT_ONCE),
            )
            return [event for some in given_up for event in some]

    def _deliver(self, function: str, events: Sequence[Any], seed: str, seconds: float | None) -> list[Any]:
        chance = random.Random(seed)  # noqa: S311 - so that it comes again
        given_up = []
        with closing(Environment(self._port)) as environment:
            for given in events:
                for _ in range(_ATTEMPTS):
                    fault = chance.choice(_QUICK) if chance.random() < _LIKELIHOOD else ""
                    at, is_lasting = chance.randint(1, 4), chance.random() < 0.5
                    self._network.set(environment.pid, FAULTS.get(fault, carry), at, is_lasting=is_lasting)
                    result = environment.invoke(function, given, seconds)
                    if fault.startswith("killed"):
                        environment.close()
                    self.seen["failed" if result.is_stopped or result.is_failed else "done"] += 1
                    if not (result.is_stopped or result.is_failed):
                        break
                else:
                    given_up.append(given)
        return given_up


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.usefixtures("tables")
def test_an_event_is_stored_once_or_becomes_a_letter(
    seed: int, aws: Network, runtime: int, record_property: Callable[[str, object], None]
) -> None:
    user, chance = user_name(), random.Random(seed)  # noqa: S311 - so that it comes again
    with aws.aws:
        kept, gone = create(user), create(user)
    events = [
        _received(user, conversation["id"], f"{conversation['id']} {number}")
        for conversation in (kept, gone)
        for number in range(_EVENTS)
    ]
    deliverer = Deliverer(aws, runtime, str(seed))
    early, late = events[::2], events[1::2]
    chance.shuffle(early)
    given_up = deliverer.deliver("receive_message", early + early)
    with aws.aws:
        call("delete_conversation", user=user, id=gone["id"])
    chance.shuffle(late)
    given_up += deliverer.deliver("receive_message", late + early + late)
    # What was given up waits in the queue of dead letters, from which people send it again.
    with closing(Environment(runtime)) as environment:
        for given in given_up:
            assert not environment.invoke("receive_message", given).is_failed
    with aws.aws:
        found = list_messages(user)
        now = call("retrieve_conversation", user=user, id=kept["id"]).body
    wanted = {given["detail"]["message"] for given in events if given["detail"]["conversation_id"] == kept["id"]}
    assert Counter(message["message"] for message in found) == dict.fromkeys(wanted, 1)
    assert {message["contact"]["id"] for message in found} == {"harry"}
    assert now["last_active_at"] == max(message["created_at"] for message in found)
    dead_letters = {
        json.loads(dead_letter)["event"]["detail"]["message"] for dead_letter in aws.dead_letters if user in dead_letter
    }
    assert {given["detail"]["message"] for given in late} - wanted <= dead_letters
    assert not dead_letters & wanted
    record_property("deliveries", json.dumps({"function": "receive_message", **deliverer.seen}))


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.usefixtures("tables")
def test_what_was_deleted_is_purged_and_nothing_else(
    seed: int, aws: Network, runtime: int, record_property: Callable[[str, object], None]
) -> None:
    user, chance = user_name(), random.Random(seed)  # noqa: S311 - so that it comes again
    with aws.aws:
        kept = create(user)
        said = send(kept, user=user)
        gone = []
        for _ in range(5):
            conversation = create(user)
            for number in range(chance.choice([0, 1, 26])):
                tables.put_message(user, conversation["id"], f"left {number}")
            call("delete_conversation", user=user, id=conversation["id"])
            gone.append(conversation["id"])
    removals = gone * 2
    chance.shuffle(removals)
    deliverer = Deliverer(aws, runtime, str(seed))
    batches = [_removed(user, removals[start : start + 3]) for start in range(0, len(removals), 3)]
    deliverer.deliver("purge_messages", batches, _PURGE_SECONDS)
    with aws.aws:
        tables.age_tombstones()
    # Several at once, which never happens: the more, the better.
    deliverer.deliver("sweep_purges", [event("sweep_purges")] * _AT_ONCE, _PURGE_SECONDS)
    with closing(Environment(runtime)) as environment:
        assert not environment.invoke("sweep_purges", event("sweep_purges")).is_failed
    with aws.aws:
        found = tables.user_rows(user)
        assert list_messages(user) == [said]
    assert [row["id"]["S"] for row in found["messages"]] == [said["id"]]
    assert [row["id"]["S"] for row in found["conversations"]] == [kept["id"]]
    assert found["tombstones"] == []
    record_property("deliveries", json.dumps({"function": "purge_messages and sweep_purges", **deliverer.seen}))


def _received(user: str, conversation_id: str, text: str) -> Any:
    sample = event("receive_message")
    sample["detail"] = {"user_id": user, "conversation_id": conversation_id, "contact_id": "harry", "message": text}
    return sample | {"id": text}


def _removed(user: str, ids: Sequence[str]) -> Any:
    sample = event("purge_messages")
    (record,) = sample["Records"]
    sample["Records"] = []
    for number, id in enumerate(ids):
        removal = copy.deepcopy(record)
        removal["dynamodb"] |= {"Keys": {"user_id": {"S": user}, "id": {"S": id}}, "SequenceNumber": str(number)}
        sample["Records"].append(removal)
    return sample
