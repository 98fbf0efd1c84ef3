"""After any interleaving of requests and faults, unread count and preview are those of a recount."""

import os
import random
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
_CLIENTS, _STEPS = 6, 40
_WEIGHTS = {"receive": 8, "send": 3, "mark": 5, "mark all": 2, "flag": 1, "delete": 5, "edit": 2}


@pytest.mark.parametrize("likelihood", [0, 0.3], ids=["no_faults", "faults"])
@pytest.mark.parametrize("seed", range(_SEEDS))
@pytest.mark.usefixtures("tables")
def test_unread_count_and_preview_equal_a_recount(seed: int, likelihood: float, network: Network, runtime: int) -> None:
    user = new_user()
    with network.lock:
        conversation: str = handlers.create(user)["id"]

    def work(number: int) -> None:
        chance = random.Random(f"{seed} {number}")  # noqa: S311 - repeatable
        with closing(FaultyEnvironment(runtime, network, chance, likelihood)) as environment:
            for step in range(_STEPS):
                with network.lock:
                    found = tables.user_rows(user)["messages"]
                function, event = _choose(chance, user, conversation, f"{number} {step}", found)
                result = environment.invoke(function, event)
                assert result.status in (0, 200, 201, 204, 404, 503), result

    with ThreadPoolExecutor(_CLIENTS) as pool:
        list(pool.map(work, range(_CLIENTS)))
    with network.lock:
        found = tables.user_rows(user)["messages"]
        entry = handlers.call("retrieve_inbox_entry", user=user, id=conversation).body
        listed = handlers.call("list_inbox", user=user).body["data"]
        badge = handlers.call("count_unread", user=user).body
    unread = [row for row in found if "contact_id" in row and row["id"]["S"] > (entry["read_up_to"] or "")]
    newest = max(found, key=lambda row: str(row["id"]["S"]), default=None)
    assert entry["unread_count"] == len(unread)
    shown = entry["last_message"] and (entry["last_message"]["id"], entry["last_message"]["message"])
    assert shown == (newest and (newest["id"]["S"], newest["message"]["S"]))
    assert listed == [entry]
    assert badge["messages"] == len(unread)


def _choose(
    chance: random.Random, user: str, conversation: str, text: str, found: list[dict[str, Any]]
) -> tuple[str, Any]:
    """Returns a function and its event. Mostly concerns one of the last messages, about which all clients fight."""
    (action,) = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
    message = chance.choice(sorted(row["id"]["S"] for row in found)[-8:]) if found else None
    own = sorted(row["id"]["S"] for row in found if "contact_id" not in row)
    request, mark = partial(http_event, user=user), partial(http_event, "update_inbox_entry", user, id=conversation)
    if action == "receive" or message is None:
        detail = {"user_id": user, "conversation_id": conversation, "contact_id": "harry", "message": text}
        return "receive_message", handlers.event("receive_message") | {"id": f"{user} {text}", "detail": detail}
    if action == "send":
        return "create_message", request("create_message", body={"conversation_id": conversation, "message": text})
    if action == "delete":
        return "delete_message", request("delete_message", id=message)
    if action == "edit" and own:
        return "update_message", request("update_message", id=own[-1], body={"message": f"{text} instead"})
    bodies = {"mark": {"read_up_to": message}, "mark all": {"is_unread": False}}
    return "update_inbox_entry", mark(body=bodies.get(action, {"is_unread": True}))
