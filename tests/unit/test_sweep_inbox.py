"""The scheduled sweep of the inbox: mutes that have run out, and the rows of an earlier release."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from tests import tables
from tests.handlers import (
    USER_ENDPOINTS,
    Context,
    call,
    create,
    entry,
    event,
    handler,
    put_entry,
    receive,
    update,
)
from tests.wire import Wire, error_response

pytestmark = pytest.mark.usefixtures("tables", "no_backoff")

INBOX_ENDPOINTS = [name for name in USER_ENDPOINTS if name.endswith(("_inbox", "_inbox_entry", "_unread"))]
INBOX_ATTRIBUTES = {
    *("activity", "is_flagged", "is_unread", "last_message", "last_message_id", "read_up_to"),
    *("unread_count", "unread_revision"),
}


def sweep(seconds: float = 300) -> None:
    handler("sweep_inbox")(event("sweep_inbox"), Context(seconds))


def muted(seconds: int = 60, user: str = "kevin") -> dict[str, Any]:
    """Returns a conversation that is muted for *seconds*."""
    conversation = create(user)
    assert put_entry(conversation, user, muted_until=int(time.time()) + seconds).status == 200
    return conversation


def scheduled() -> int:
    """Returns the number of rows that say when to lift a mute."""
    return sum(row.get("user_id", {"S": ""})["S"].startswith("unmute#") for row in tables.all_rows())


def listed(**query: str) -> set[str]:
    data = call("list_inbox", query={name: [value] for name, value in query.items()}).body["data"]
    return {found["conversation"]["id"] for found in data}


# Mutes.


def test_only_mutes_that_have_run_out_are_lifted(pass_time: Callable[[int], None]) -> None:
    due, later, forever = muted(60), muted(61), create()
    update(forever, is_muted=True)
    muted(60, "harry")
    pass_time(59)
    sweep()
    assert listed(muted="true") == {due["id"], later["id"], forever["id"]}
    pass_time(1)
    sweep()
    assert (listed(muted="false"), listed(muted="true")) == ({due["id"]}, {later["id"], forever["id"]})
    assert [found["conversation"]["is_muted"] for found in call("list_inbox", user="harry").body["data"]] == [False]
    assert scheduled() == 1


@pytest.mark.parametrize(
    ("change", "is_muted"),
    [
        (lambda conversation: put_entry(conversation, muted_until=2**32), True),
        (lambda conversation: put_entry(conversation, muted_until=None), False),
        (lambda conversation: update(conversation, is_muted=True), True),
        (lambda conversation: update(conversation, is_muted=False), False),
        (lambda conversation: call("delete_conversation", id=conversation["id"]), None),
    ],
    ids=["prolonged", "ended", "muted for good", "unmuted", "deleted"],
)
@pytest.mark.parametrize("is_concurrent", [False, True])
def test_mute_that_changes_is_not_lifted(
    change: Callable[[dict[str, Any]], object],
    is_muted: bool | None,
    is_concurrent: bool,
    pass_time: Callable[[int], None],
    wire: Wire,
) -> None:
    conversation = muted(60)
    if not is_concurrent:
        change(conversation)
    pass_time(60)
    if is_concurrent:
        wire.before("UpdateItem", lambda: change(conversation))
    sweep()
    assert wire.fault is None
    before = tables.conversations()
    pass_time(60)
    sweep()
    assert tables.conversations() == before
    assert [bool(int(row["is_muted"]["N"])) for row in before] == ([] if is_muted is None else [is_muted])
    assert scheduled() == (before != [] and "muted_until" in before[0])


def test_mute_that_is_lifted_while_it_is_prolonged_is_muted(pass_time: Callable[[int], None], wire: Wire) -> None:
    conversation = muted(60)
    pass_time(60)
    wire.before("TransactWriteItems", sweep)
    response = put_entry(conversation, headers={"If-Match": '"4"'}, muted_until=2**32)
    assert (response.status, response.body["conversation"]["is_muted"]) == (200, True)
    sweep()
    assert entry(conversation) == response.body
    assert scheduled() == 1


def test_mute_that_runs_out_before_it_is_stored_is_lifted(pass_time: Callable[[int], None], wire: Wire) -> None:
    conversation = create()

    def run_out() -> None:
        pass_time(1)
        sweep()

    wire.before("UpdateItem", run_out)
    put_entry(conversation, muted_until=int(time.time()) + 1)
    pass_time(59)
    sweep()
    assert listed(muted="true") == set()
    pass_time(60)
    sweep()
    assert scheduled() == 0


def test_lost_response_lifts_once(pass_time: Callable[[int], None], wire: Wire) -> None:
    conversation = muted(60)
    pass_time(60)
    wire.before("UpdateItem", wire.lose_next_response)
    sweep()
    assert call("retrieve_inbox_entry", id=conversation["id"]).headers["ETag"] == '"4"'
    pass_time(60)
    sweep()
    assert call("retrieve_inbox_entry", id=conversation["id"]).headers["ETag"] == '"4"'
    assert (listed(muted="true"), scheduled()) == (set(), 0)


@pytest.mark.parametrize("operation", ["UpdateItem", "DeleteItem"])
def test_failed_lift_does_not_stop_the_others(
    operation: str, pass_time: Callable[[int], None], wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    conversations = [muted(60) for _ in range(6)]
    failing = conversations[2]["id"]
    pass_time(60)
    wire.reset()

    def fail(request: AWSPreparedRequest) -> AWSResponse | None:
        # Partitions are swept at the same time.
        is_failing = operation in str(request.headers["X-Amz-Target"]) and failing in str(request.body)
        return error_response(request, 400, "AccessDeniedException") if is_failing else None

    wire.fault = fail
    with pytest.raises(RuntimeError, match="1 mutes were not lifted"):
        sweep()
    wire.fault = None
    assert scheduled() == 1
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    pass_time(60)
    sweep()
    assert (listed(muted="true"), scheduled()) == (set(), 0)


def test_sweep_stops_when_time_is_up(pass_time: Callable[[int], None]) -> None:
    conversation = muted(60)
    pass_time(60)
    sweep(49)
    assert (listed(muted="true"), scheduled()) == ({conversation["id"]}, 1)
    sweep()
    assert (listed(muted="true"), scheduled()) == (set(), 0)


def test_mutes_are_spread_over_partitions() -> None:
    for _ in range(32):
        muted()
    partitions = {row["user_id"]["S"] for row in tables.all_rows() if "user_id" in row}
    # One of them stays empty with a probability of 0.0004.
    assert {f"unmute#{number}" for number in range(4)} <= partitions


# The preparation.


@pytest.fixture
def make_old(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Removes what the inbox needs from all rows, as an earlier release left them, and from memory."""

    def act() -> None:
        messages = tables.messages()
        conversations = [
            {name: value for name, value in row.items() if name not in INBOX_ATTRIBUTES}
            for row in tables.conversations()
        ]
        tables.clear(is_inbox_prepared=False)
        tables.put_rows({"conversations": conversations, "messages": messages})
        for name in INBOX_ENDPOINTS:
            monkeypatch.setattr(f"functions.{name}.app.inbox._progress._is_finished", False)

    return act


def statuses() -> set[int]:
    return {call(endpoint, body=event(endpoint)["body"]).status for endpoint in INBOX_ENDPOINTS}


@pytest.mark.parametrize("endpoint", INBOX_ENDPOINTS)
def test_inbox_that_is_not_prepared_returns_503_and_is_no_error(
    endpoint: str, make_old: Callable[[], None], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    create()
    make_old()
    sweep()
    capsys.readouterr()
    response = call(endpoint, body=event(endpoint)["body"])
    assert (response.status, response.headers["Retry-After"]) == (503, "60")
    assert response.body == {
        "type": "api_error",
        "message": "The service is being prepared after an update; try again in a minute",
        "documentation_url": "https://protocol.chat/docs/errors/api_error",
    }
    line = json.loads(capsys.readouterr().out)
    assert (line["status"], line["error"], "ApiError" in line) == (503, "NotPrepared", False)
    assert caplog.records == []


def test_new_stack_is_ready_after_the_first_sweep(make_old: Callable[[], None], wire: Wire) -> None:
    make_old()
    assert statuses() == {503}
    sweep()
    assert statuses() == {200, 404}
    wire.reset()
    call("count_unread")
    # It looks only until the inbox is ready.
    assert wire.requests == ["Query", "Query"]


def test_rows_of_an_earlier_release_are_prepared_after_an_hour(
    make_old: Callable[[], None], pass_time: Callable[[int], None]
) -> None:
    opened, never_opened, silent = create(), create(), create()
    first = receive(opened)
    update(opened, last_opened_at=int(time.time()))
    pass_time(10)
    receive(opened, "unread")
    last = receive(never_opened, "read")
    expected = {conversation["id"]: entry(conversation) for conversation in (opened, never_opened, silent)}
    make_old()
    sweep()
    for seconds in (*[514] * 7, 1, 1):
        assert statuses() == {503}
        pass_time(seconds)
        sweep()
    assert statuses() == {200, 404}
    for conversation, mark, count in ((opened, first, 1), (never_opened, last, 0), (silent, None, 0)):
        counted = {"unread_count": count, "is_unread": count > 0, "read_up_to": mark}
        assert entry(conversation) == expected[conversation["id"]] | counted
    assert len(listed()) == 3
    before = tables.conversations()
    pass_time(60)
    sweep()
    assert tables.conversations() == before
