"""The scheduled sweep of purges."""

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from tests import tables
from tests.handlers import Context, call, create, handler, list_messages, send, sweep
from tests.unit.test_purge_messages import deleted_conversation
from tests.wire import Wire, error_response, response

pytestmark = pytest.mark.usefixtures("tables", "no_backoff")


@pytest.fixture
def one_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts all tombstones into one partition."""
    monkeypatch.setattr("coherent.storage.tombstones.PARTITIONS", ("purge#00",))
    monkeypatch.setattr("functions.sweep_purges.app.PARTITIONS", ("purge#00",))


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


def test_sweep_waits_until_tombstone_is_settled(wire: Wire) -> None:
    conversation = deleted_conversation(2)
    sweep()
    assert (len(tables.messages()), len(tables.tombstones())) == (2, 1)
    # A send that was in flight may become visible shortly after the delete.
    tables.put_message(*conversation)
    tables.age_tombstones()
    sweep()
    assert (tables.messages(), tables.tombstones()) == ([], [])
    assert all(body.get("ConsistentRead") for body in wire.bodies if "KeyConditionExpression" in body)


@pytest.mark.usefixtures("one_partition")
@pytest.mark.parametrize("operation", ["Query", "BatchWriteItem"])
@pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException"])
@pytest.mark.parametrize("position", [0, 1])
def test_failed_purge_does_not_stop_the_others(
    position: int, code: str, operation: str, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    failing = sorted([deleted_conversation(2), deleted_conversation(2)])[position]
    tables.age_tombstones()
    wire.reset()
    wire.fault = lambda request: (
        error_response(request, 400, code)
        if wire.requests[-1] == operation and f"kevin#{failing[1]}'" in str(wire.bodies[-1])
        else None
    )
    with pytest.raises(RuntimeError, match="1 purges failed"):
        sweep()
    wire.fault = None
    assert tables.tombstones() == [f"kevin#{failing[1]}"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    sweep()
    assert (tables.messages(), tables.tombstones()) == ([], [])


def test_restored_conversation_is_not_purged() -> None:
    conversation = create()
    sent = send(conversation)
    rows = tables.user_rows("kevin")
    call("delete_conversation", id=conversation["id"])
    tables.put_rows({"conversations": rows["conversations"]})
    for _ in ("young", "old"):
        sweep()
        assert list_messages() == [sent]
        tables.age_tombstones()
    assert call("delete_conversation", id=conversation["id"]).status == 204
    tables.age_tombstones()
    sweep()
    assert (tables.messages(), tables.tombstones()) == ([], [])


@pytest.mark.usefixtures("one_partition")
def test_huge_conversation_does_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch, wire: Wire) -> None:
    monkeypatch.setattr("coherent.messages.purge._TURN_SECONDS", 0.05)
    user, id = deleted_conversation(0)
    tables.age_tombstones()
    for _ in range(20):
        deleted_conversation(1)
    tables.age_tombstones()
    key = {"user_conversation": {"S": f"{user}#{id}"}, "id": {"S": "0" * 16}}

    def always_more(request: AWSPreparedRequest) -> AWSResponse | None:
        is_page = wire.requests[-1] == "Query" and key["user_conversation"]["S"] in str(wire.bodies[-1])
        return response(request, {"Items": [key], "Count": 1}) if is_page else None

    wire.fault = always_more
    # The sweep ends 50 s before its time is up.
    sweep(51)
    assert tables.messages() == []
    assert tables.tombstones() == [f"{user}#{id}"]


def test_tombstones_are_spread_over_partitions(wire: Wire) -> None:
    deleted = [deleted_conversation(0) for _ in range(64)]
    partitions = {
        write["Put"]["Item"]["user_id"]["S"]
        for body in wire.bodies
        for write in body.get("TransactItems", [])
        if "Put" in write and write["Put"]["Item"]["user_id"]["S"] != "kevin"
    }
    # All sixteen with a probability of 0.74; a single one would take only 333 deletions a second.
    assert len(partitions) > 8
    assert {f"{user}#{id}" for user, id in deleted} == set(tables.tombstones())


def test_tombstones_that_cannot_be_deleted_wait_for_the_next_sweep(wire: Wire) -> None:
    for _ in range(3):
        deleted_conversation(0)
    tables.age_tombstones()
    wire.fault = lambda request: (
        error_response(request, 400, "AccessDeniedException") if wire.requests[-1] == "BatchWriteItem" else None
    )
    with pytest.raises(RuntimeError, match="failed"):
        sweep()
    wire.fault = None
    assert len(tables.tombstones()) == 3
    sweep()
    assert tables.tombstones() == []


def test_partition_that_cannot_be_read_does_not_stop_the_others(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(64):
        deleted_conversation(0)
    tables.age_tombstones()
    wire.fault = lambda request: (
        error_response(request, 400, "AccessDeniedException") if "'purge#03'" in str(wire.bodies[-1]) else None
    )
    with pytest.raises(Exception, match="AccessDenied"):
        sweep()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    left = len(tables.tombstones())
    wire.fault = None
    handler("sweep_purges")({"quarter": 3}, Context())
    assert left < 16
    assert tables.tombstones() == []


@pytest.mark.usefixtures("one_partition")
def test_settled_tombstones_cost_a_query_each_and_are_deleted_in_batches(wire: Wire) -> None:
    for _ in range(60):
        deleted_conversation(0)
    tables.age_tombstones()
    wire.reset()
    sweep()
    assert tables.tombstones() == []
    assert (wire.requests.count("Query"), wire.requests.count("BatchWriteItem")) == (62, 3)
    assert len(wire.requests) == 65


def test_four_sweeps_cover_all_partitions() -> None:
    for _ in range(64):
        deleted_conversation(0)
    tables.age_tombstones()
    for quarter in range(4):
        handler("sweep_purges")({"quarter": quarter}, Context())
    assert tables.tombstones() == []


@pytest.mark.parametrize("seconds", [11, 49])
def test_sweep_stops_when_time_is_up(seconds: float, wire: Wire) -> None:
    for _ in range(3):
        deleted_conversation(1)
    tables.age_tombstones()
    wire.reset()
    sweep(seconds)
    # One for the settled tombstones of each partition, and one for the oldest of each.
    assert wire.requests == ["Query"] * 32
    assert (len(tables.messages()), len(tables.tombstones())) == (3, 3)
