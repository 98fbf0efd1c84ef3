"""The scheduled sweep of purges."""

import pytest

from tests import tables
from tests.handlers import create, send, sweep
from tests.unit.test_purge_messages import deleted_conversation
from tests.wire import Wire, error_response

pytestmark = pytest.mark.usefixtures("tables", "no_backoff")


def test_sweep_without_tombstones_purges_nothing() -> None:
    kept = send(create())
    sweep()
    assert [row["id"]["S"] for row in tables.messages()] == [kept["id"]]


def test_only_messages_of_deleted_conversations_are_purged() -> None:
    kept = send(create())
    for count in (0, 3, 30):
        deleted_conversation(count)
    tables.age_tombstones()
    sweep()
    assert tables.tombstones() == []
    assert [row["id"]["S"] for row in tables.messages()] == [kept["id"]]
    sweep()
    assert len(tables.messages()) == 1


def test_young_tombstone_is_kept(wire: Wire) -> None:
    conversation = deleted_conversation(2)
    sweep()
    assert (tables.messages(), len(tables.tombstones())) == ([], 1)
    # A transaction may release the conversation before it has written its message.
    tables.put_message(*conversation)
    tables.age_tombstones()
    sweep()
    assert (tables.messages(), tables.tombstones()) == ([], [])
    assert all(body.get("ConsistentRead") for body in wire.bodies if "KeyConditionExpression" in body)


@pytest.mark.parametrize("operation", ["Query", "DeleteItem"])
@pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException"])
def test_failed_purge_does_not_stop_the_others(
    operation: str, code: str, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    first, _ = sorted([deleted_conversation(2), deleted_conversation(2)])
    tables.age_tombstones()
    wire.reset()
    wire.fault = lambda request: (
        error_response(request, 400, code)
        if wire.requests[-1] == operation and first[1] in str(wire.bodies[-1])
        else None
    )
    with pytest.raises(RuntimeError, match="1 purges failed"):
        sweep()
    wire.fault = None
    assert tables.tombstones() == [f"kevin#{first[1]}"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    sweep()
    assert (tables.messages(), tables.tombstones()) == ([], [])


@pytest.mark.parametrize("seconds", [11, 49])
def test_sweep_stops_when_time_is_up(seconds: float, wire: Wire) -> None:
    for _ in range(3):
        deleted_conversation(1)
    tables.age_tombstones()
    wire.reset()
    sweep(seconds)
    assert wire.requests == ["Query"]
    assert (len(tables.messages()), len(tables.tombstones())) == (3, 3)
