"""Whatever clients do at the same time, and whatever fails, looks as if requests were executed one after the other."""

import json
import os
from collections.abc import Callable

import pytest

from tests import tables
from tests.faults.fixtures import new_user
from tests.faults.histories import SENDER, History
from tests.faults.linear import is_linearizable
from tests.faults.network import Network
from tests.handlers import list_conversations

_SEEDS = int(os.environ.get("FAULTS_HISTORIES", "3"))
_CLIENTS, _STEPS = 4, 25


@pytest.mark.parametrize("seed", range(_SEEDS))
@pytest.mark.usefixtures("tables")
def test_history_is_linearizable(
    seed: int, network: Network, runtime: int, record_property: Callable[[str, object], None]
) -> None:
    history = History(network, runtime, new_user(), seed)
    history.run(_CLIENTS, _STEPS)
    assert not history.errors
    for key, ids in history.ids.items():
        assert len(ids) == 1, f"{key} was created more than once"
    for id, operations in history.operations.items():
        conversation, _ = history.created[id]
        assert is_linearizable(conversation, operations), "\n".join(map(str, [conversation, *operations]))
    _check_walks(history)
    with network.lock:
        _check_tables(history)
    counts = {
        "calls": history.calls,
        "faults": history.faults,
        "conversations": len(history.created),
        "unanswered": sum(not one.status for some in history.operations.values() for one in some),
    }
    record_property("history", json.dumps(counts))


def _check_walks(history: History) -> None:
    """Each walk returns, newest first and once, what existed throughout, and nothing that was deleted before."""
    deletions = {
        id: [operation for operation in operations if operation.function == "delete_conversation"]
        for id, operations in history.operations.items()
    }
    for walk in history.walks:
        assert walk.ids == sorted(set(walk.ids), reverse=True)
        for id, (_, created) in history.created.items():
            existed = created < walk.began and all(deletion.began > walk.ended for deletion in deletions.get(id, []))
            assert not existed or id in walk.ids, "A conversation is missing"
        for id in walk.ids:
            deleted = [deletion.ended for deletion in deletions.get(id, []) if deletion.status == 204]
            assert all(ended > walk.began for ended in deleted), "A deleted conversation is listed"


def _check_tables(history: History) -> None:
    """Nothing exists twice, filters are right, and each message has its conversation or a tombstone."""
    found, conversations = tables.user_rows(history.user), list_conversations(history.user)
    keys = [conversation["contact_id"] for conversation in conversations]
    assert len(keys) == len(set(keys))
    reported = {id for key in keys for id in history.ids[key]}
    # Events for deleted conversations begin one.
    unreported = {each["contact_id"] for each in conversations if each["id"] not in reported}
    assert unreported <= {*history.unanswered, SENDER}
    for is_muted in (True, False):
        expected = [conversation for conversation in conversations if conversation["is_muted"] is is_muted]
        assert list_conversations(history.user, muted=str(is_muted).lower()) == expected
    existing = {row["id"]["S"] for row in found["conversations"]}
    tombstones = {row["id"]["S"].rpartition("#")[2] for row in found["tombstones"]}
    assert existing == {conversation["id"] for conversation in conversations}
    assert not existing & tombstones
    texts = [row["message"]["S"] for row in found["messages"]]
    assert len(texts) == len(set(texts))
    assert {row["conversation_id"]["S"] for row in found["messages"]} <= existing | tombstones
