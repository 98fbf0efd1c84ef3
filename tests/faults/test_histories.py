"""Whatever clients do at once, and whatever fails meanwhile, looks as if one call had come after the other."""

import json
import os
from collections.abc import Callable

import pytest

from tests import tables
from tests.faults.calls import user_names
from tests.faults.histories import History
from tests.faults.linear import could_be
from tests.faults.network import Network
from tests.handlers import list_conversations

SEEDS = int(os.environ.get("CHAOS_HISTORIES", "3"))
_CLIENTS, _STEPS = 4, 25

user = user_names()


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.usefixtures("tables")
def test_a_history_reads_like_one_of_a_plain_model(
    seed: int, aws: Network, runtime: int, record_property: Callable[[str, object], None]
) -> None:
    history = History(aws, runtime, user(), str(seed))
    history.run(_CLIENTS, _STEPS)
    assert not history.wrong
    for marker, ids in history.ids_of.items():
        assert len(ids) == 1, f"{marker} was made more than once"
    for id, operations in history.operations.items():
        assert could_be(operations), f"{id}:\n" + "\n".join(map(str, sorted(operations, key=lambda one: one.began)))
    _check_walks(history)
    with aws.aws:
        _check_what_is_left(history)
    counts = {
        "calls": history.calls,
        "faults": history.faults,
        "conversations": len(history.created),
        "unanswered": sum(not one.status for some in history.operations.values() for one in some),
        "longest": max(map(len, history.operations.values())),
    }
    record_property("history", json.dumps(counts))


def _check_walks(history: History) -> None:
    """Each has, newest first and once, all that was there throughout, and nothing that was not."""
    never = float("inf")
    for walk in history.walks:
        assert walk.ids == sorted(set(walk.ids), reverse=True)
        for id, (_, made) in history.created.items():
            if made < walk.began and history.deletion_asked.get(id, never) > walk.ended:
                assert id in walk.ids, "One was left out"
        for id in walk.ids:
            assert history.deleted.get(id, never) > walk.began, "A ghost"


def _check_what_is_left(history: History) -> None:
    """Each filter lists what it should; each message has its conversation or will be purged; nothing is there twice."""
    found = tables.user_rows(history.user)
    everything = list_conversations(history.user)
    # What was never answered may have been made, once.
    markers = [conversation["contact_id"] for conversation in everything]
    assert len(markers) == len(set(markers))
    told = {id for marker in markers for id in history.ids_of[marker]}
    unknown = [c for c in everything if c["id"] not in told]
    assert {c["contact_id"] for c in unknown} <= history.unanswered
    for is_muted in (True, False):
        expected = [conversation for conversation in everything if conversation["is_muted"] is is_muted]
        assert list_conversations(history.user, muted=str(is_muted).lower()) == expected
    existing = {row["id"]["S"] for row in found["conversations"]}
    ordered = {tombstone["id"]["S"].partition("#")[2] for tombstone in found["tombstones"]}
    assert existing == {conversation["id"] for conversation in everything}
    assert not existing & ordered
    texts = [row["message"]["S"] for row in found["messages"]]
    assert len(texts) == len(set(texts))
    assert {row["conversation_id"]["S"] for row in found["messages"]} <= existing | ordered
