"""After any interleaving of requests and faults, unread count and preview are those of a recount."""

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

import pytest

from tests import handlers, tables
from tests.faults.calls import http_event
from tests.faults.faulty import FaultyEnvironment
from tests.faults.fixtures import new_user
from tests.faults.network import Network

_SEEDS = int(os.environ.get("FAULTS_UNREAD", "1"))
_CLIENTS, _ROUNDS, _ROUND_SECONDS = 6, 25, 120
# How often each action is chosen. Only messages of the user themselves are edited, and change no unread count.
_WEIGHTS = {
    "unread": {"receive": 8, "send": 2, "mark": 5, "mark all": 1, "flag": 1, "delete": 7, "edit": 3},
    "preview": {"send": 6, "delete": 8, "edit": 6},
}


@pytest.mark.parametrize("likelihood", [0, 0.3], ids=["no_faults", "faults"])
@pytest.mark.parametrize("kind", _WEIGHTS)
@pytest.mark.parametrize("seed", range(_SEEDS))
@pytest.mark.usefixtures("tables")
def test_unread_count_and_preview_equal_a_recount(
    seed: int, kind: str, likelihood: float, network: Network, runtime: int
) -> None:
    user = new_user()
    with network.lock:
        conversation: str = handlers.create(user)["id"]

    def work(number: int) -> None:
        chance = random.Random(f"{seed} {number}")  # noqa: S311 - repeatable
        with closing(FaultyEnvironment(runtime, network, chance, likelihood)) as environment:
            for step in range(_ROUNDS):
                with network.lock:
                    found = tables.user_rows(user)["messages"]
                barrier.wait()
                # Otherwise the requests of all clients keep in step.
                time.sleep(chance.uniform(0, 0.03))
                environment.invoke(
                    *_choose(chance, _WEIGHTS[kind], user, conversation, text=f"{number} {step}", found=found)
                )
                # The first client checks while the others wait: a later mark would mend the count.
                barrier.wait()
                if number == 0:
                    with network.lock:
                        _check(user, conversation)
                barrier.wait()

    barrier = threading.Barrier(_CLIENTS, timeout=_ROUND_SECONDS)
    with ThreadPoolExecutor(_CLIENTS) as pool:
        running = [pool.submit(work, number) for number in range(_CLIENTS)]
        for client in running:
            client.add_done_callback(lambda done: barrier.abort() if done.exception() else None)
    failures = [failure for client in running if (failure := client.exception())]
    # The others fail because the first one gave up.
    for failure in sorted(failures, key=lambda failure: isinstance(failure, threading.BrokenBarrierError)):
        raise failure


def _check(user: str, conversation: str) -> None:
    found = tables.user_rows(user)["messages"]
    entry = handlers.call("retrieve_inbox_entry", user=user, id=conversation).body
    unread = [row for row in found if "contact_id" in row and row["id"]["S"] > (entry["read_up_to"] or "")]
    newest = max(found, key=lambda row: str(row["id"]["S"]), default=None)
    assert entry["unread_count"] == len(unread)
    shown = entry["last_message"] and (entry["last_message"]["id"], entry["last_message"]["message"])
    assert shown == (newest and (newest["id"]["S"], newest["message"]["S"]))
    assert handlers.call("list_inbox", user=user).body["data"] == [entry]
    assert handlers.call("count_unread", user=user).body["messages"] == len(unread)


def _choose(
    chance: random.Random, weights: dict[str, int], user: str, conversation: str, *, text: str, found: list[Any]
) -> tuple[str, Any]:
    """Returns a function and its event. Mostly concerns one of the last messages, about which all clients fight."""
    (action,) = chance.choices(list(weights), list(weights.values()))
    message = chance.choice(sorted(row["id"]["S"] for row in found)[-3:]) if found else None
    own = sorted(row["id"]["S"] for row in found if "contact_id" not in row)
    request, mark = partial(http_event, user=user), partial(http_event, "update_inbox_entry", user, id=conversation)
    if action == "receive":
        detail = {"user_id": user, "conversation_id": conversation, "contact_id": "harry", "message": text}
        return "receive_message", handlers.event("receive_message") | {"id": f"{user} {text}", "detail": detail}
    if action == "send" or message is None:
        return "create_message", request("create_message", body={"conversation_id": conversation, "message": text})
    if action == "delete":
        return "delete_message", request("delete_message", id=message)
    if action == "edit" and own:
        return "update_message", request(
            "update_message", id=chance.choice(own[-2:]), body={"message": f"{text} instead"}
        )
    bodies = {"mark": {"read_up_to": message}, "mark all": {"is_unread": False}}
    return "update_inbox_entry", mark(body=bodies.get(action, {"is_unread": True}))
