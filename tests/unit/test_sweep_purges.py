"""The sweep, every five minutes."""

import pytest

from tests import tables
from tests.handlers import create, send, sweep
from tests.unit.test_purge_messages import deleted
from tests.wire import Wire, error_response

pytestmark = pytest.mark.usefixtures("tables", "no_backoff")


def test_there_may_be_nothing_to_do() -> None:
    stays = send(create())
    sweep()
    assert [row["id"]["S"] for row in tables.messages()] == [stays["id"]]


def test_what_the_stream_left_is_purged_and_nothing_else() -> None:
    stays = send(create())
    for count in (0, 3, 30):
        deleted(count)
    tables.age_tombstones()
    sweep()
    assert tables.tombstones() == []
    assert [row["id"]["S"] for row in tables.messages()] == [stays["id"]]
    sweep()
    assert len(tables.messages()) == 1


def test_an_order_stays_until_nothing_can_follow(wire: Wire) -> None:
    gone = deleted(2)
    sweep()
    assert (tables.messages(), len(tables.tombstones())) == ([], 1)
    # A transaction that had released the conversation, but not yet written its message.
    tables.put_message(*gone)
    tables.age_tombstones()
    sweep()
    assert (tables.messages(), tables.tombstones()) == ([], [])
    assert all(body.get("ConsistentRead") for body in wire.bodies if "KeyConditionExpression" in body)


@pytest.mark.parametrize("operation", ["Query", "DeleteItem"])
@pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException"])
def test_one_that_fails_does_not_stop_the_others(
    operation: str, code: str, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    first, _ = sorted([deleted(2), deleted(2)])
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
def test_it_stops_before_its_time_is_up(seconds: float, wire: Wire) -> None:
    for _ in range(3):
        deleted(1)
    tables.age_tombstones()
    wire.reset()
    sweep(seconds)
    assert wire.requests == ["Query"]
    assert (len(tables.messages()), len(tables.tombstones())) == (3, 3)
