"""The preparation of the rows of earlier releases, which have no inbox."""

import importlib
import json
import time
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError
from coherent.messages import unread

from tests import earlier_releases, handlers, tables
from tests.handlers import JSON, Context, call, create, entry, event, handler, list_messages, request, update
from tests.wire import Wire, error_response

pytestmark = pytest.mark.usefixtures("unprepared", "no_backoff")

Handler = Callable[[Any, Any], Any]
INBOX_CALLS = ("list_inbox", "retrieve_inbox_entry", "update_inbox_entry", "count_unread")


class Release:
    """The handlers of a release, called as `tests.handlers` calls those of this one."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        """Calls *handlers*."""
        self._handlers = handlers

    def call(self, function: str, id: str | None = None, **attributes: object) -> dict[str, Any]:
        """Calls an endpoint for kevin and returns its body."""
        body = json.dumps(attributes) if attributes else None
        response = self._handlers[function](request(function, id=id, body=body, content_type=JSON), Context(25))
        assert response["statusCode"] < 300, response
        return dict(json.loads(response["body"] or "{}"))

    def receive(self, conversation_id: str, message: str = "hello") -> None:
        """Stores a message from harry."""
        detail = {"user_id": "kevin", "conversation_id": conversation_id, "contact_id": "harry", "message": message}
        self._handlers["receive_message"](
            event("receive_message") | {"id": str(uuid.uuid4()), "detail": detail}, Context(25)
        )


THIS = Release({name: partial(lambda name, *given: handler(name)(*given), name) for name in handlers.FUNCTIONS})


@pytest.fixture(scope="module", params=sorted(earlier_releases.COMMITS))
def earlier(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Each earlier release."""
    folder = tmp_path_factory.mktemp("release")
    earlier_releases.extract(request.param, folder)
    return Release(earlier_releases.handlers(folder))


@pytest.fixture
def unprepared(tables: None) -> None:
    """Empty tables that no sweep has seen."""
    del tables
    begin()


def begin() -> None:
    """Empties the tables, and makes the functions forget that the inbox was prepared."""
    tables.clear(is_inbox_prepared=False)
    for function in INBOX_CALLS:
        importlib.import_module(f"functions.{function}.app").inbox._progress._is_finished = False
    importlib.import_module("functions.create_conversation.app").conversations._progress._is_finished = False


def sweep(seconds: float = 300) -> None:
    """Invokes `sweep_inbox`."""
    handler("sweep_inbox")({}, Context(seconds))


def begin_preparation() -> None:
    """Sweeps for the first time, and lets the hour pass in which versions of the earlier release may run."""
    sweep()
    tables.age_preparation()


def is_finished() -> bool:
    """Returns whether the inbox is prepared."""
    return "finished_at" in tables.preparation()


def expected(id: str) -> dict[str, Any]:
    """Returns what the entry of the conversation must show, computed from conversation and messages."""
    conversation = call("retrieve_conversation", id=id).body
    messages = list_messages(conversation_id=id)
    mark = entry({"id": id})["read_up_to"]
    count = sum(message["contact"] is not None and (mark is None or message["id"] > mark) for message in messages)
    shown = ("id", "contact", "message", "created_at")
    return {
        "position": f"{conversation['last_active_at'] or conversation['created_at']:010}.{id}",
        "conversation": conversation,
        "last_message": {name: messages[0][name] for name in shown} if messages else None,
        "unread_count": count,
        "is_unread": count > 0,
        "read_up_to": mark,
        "muted_until": None,
        "is_blocked": False,
    }


def check_inbox() -> None:
    """Fails unless the inbox has exactly the conversations of the table, each with its correct entry."""
    found = call("list_inbox", query={"limit": ["100"]}).body["data"]
    assert {each["conversation"]["id"] for each in found} == {row["id"]["S"] for row in tables.conversations()}
    assert found == sorted(found, key=lambda each: each["position"], reverse=True)
    assert found == [expected(each["conversation"]["id"]) for each in found]


def test_inbox_of_a_new_stack_is_ready_after_the_first_sweep() -> None:
    assert call("list_inbox").status == 503
    # Users may be faster than the sweep.
    THIS.receive(create()["id"])
    sweep()
    assert [each["unread_count"] for each in call("list_inbox").body["data"]] == [1]


def test_distinct_finds_the_newest_conversation_of_an_earlier_release(earlier: Release) -> None:
    older, newest, alone = (earlier.call("create_conversation", contact_id=name)["id"] for name in ("a", "a", "b"))
    refused = call("create_conversation", body="contact_id=a&distinct=true")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "60")
    assert call("create_conversation", body="contact_id=c&distinct=false").status == 201
    begin_preparation()
    sweep()
    found = [call("create_conversation", body=f"contact_id={name}&distinct=true") for name in ("a", "b")]
    assert [(response.status, response.body["id"]) for response in found] == [(200, newest), (200, alone)]
    assert older < newest


def test_empty_table_of_an_earlier_release_is_not_new(monkeypatch: pytest.MonkeyPatch, earlier: Release) -> None:
    now = time.time()
    with monkeypatch.context() as clock:
        clock.setattr("time.time", lambda: now + 60 * 60 + 60)
        sweep()
    assert not is_finished()
    earlier.call("create_conversation", contact_id="harry")
    tables.age_preparation()
    sweep()
    check_inbox()


@pytest.mark.parametrize("endpoint", INBOX_CALLS)
def test_inbox_is_unavailable_until_all_rows_are_prepared(endpoint: str, earlier: Release) -> None:
    id = earlier.call("create_conversation", contact_id="harry")["id"]

    def status() -> tuple[int, str | None]:
        given: dict[str, Any] = {"id": id} if "entry" in endpoint else {}
        given |= {"body": "is_unread=true"} if endpoint == "update_inbox_entry" else {}
        response = call(endpoint, **given)
        return response.status, response.headers.get("Retry-After")

    for _ in range(3):
        assert status() == (503, "60")
        sweep()
    tables.age_preparation()
    assert status() == (503, "60")
    sweep()
    assert status() == (200, None)


def test_rows_of_an_earlier_release_get_preview_position_and_unread_count(earlier: Release) -> None:
    conversations = [earlier.call("create_conversation", contact_id="harry", group_id="friends") for _ in range(4)]
    empty, never_opened, opened, own = (conversation["id"] for conversation in conversations)
    for id in (never_opened, opened):
        for _ in range(3):
            earlier.receive(id, "x" * 200)
    earlier.call("update_conversation", opened, last_opened_at=int(time.time()) - 60, is_pinned=True)
    earlier.call("create_message", conversation_id=own, message="my own")
    begin_preparation()
    # What arrives after the update is unread.
    for id in (opened, never_opened):
        earlier.receive(id, "the last one")
    started_at = int(tables.preparation()["started_at"]["N"]) + 60 * 60
    assert started_at >= int(time.time()) - 1
    sweep()
    counts = {id: entry({"id": id})["unread_count"] for id in (empty, own, opened)}
    assert counts == {empty: 0, own: 0, opened: 4}
    assert entry({"id": opened})["last_message"]["message"] == "the last one"
    check_inbox()
    group = call("list_inbox", query={"group_id": ["friends"], "unread": ["false"]}).body["data"]
    assert {each["conversation"]["id"] for each in group} >= {empty, own}


def test_all_is_read_that_arrived_before_the_preparation_if_the_app_sets_no_last_opened_at(earlier: Release) -> None:
    id = earlier.call("create_conversation", contact_id="harry")["id"]
    then = time.time_ns() - 2 * 60 * 60 * 10**9
    with pytest.MonkeyPatch.context() as clock:
        clock.setattr("time.time_ns", lambda: then)
        earlier.receive(id)
    begin_preparation()
    assert int(tables.preparation()["started_at"]["N"]) < time.time() - 60 * 60 + 1
    earlier.receive(id)
    sweep()
    assert (entry({"id": id})["unread_count"], entry({"id": id})["read_up_to"]) == (
        1,
        list_messages(conversation_id=id)[1]["id"],
    )


@pytest.mark.parametrize(("opened_at", "count"), [(0, 2), (253_402_300_799, 0)])
def test_last_opened_at_can_be_any_time(opened_at: int, count: int, earlier: Release) -> None:
    id = earlier.call("create_conversation", contact_id="harry")["id"]
    for _ in range(2):
        earlier.receive(id)
    earlier.call("update_conversation", id, last_opened_at=opened_at)
    begin_preparation()
    sweep()
    assert entry({"id": id})["unread_count"] == count
    check_inbox()


def test_rows_are_prepared_after_the_earlier_release_is_gone(earlier: Release) -> None:
    id = earlier.call("create_conversation", contact_id="harry")["id"]
    before = tables.conversations()
    for _ in range(3):
        sweep()
    assert tables.conversations() == before
    tables.age_preparation()
    earlier.receive(id)
    sweep()
    check_inbox()


def test_preparation_begins_again_after_an_update_was_rolled_back(
    monkeypatch: pytest.MonkeyPatch, earlier: Release
) -> None:
    id = earlier.call("create_conversation", contact_id="harry")["id"]
    begin_preparation()
    now, now_ns = time.time(), time.time_ns()
    monkeypatch.setattr("time.time", lambda: now + 24 * 60 * 60)
    monkeypatch.setattr("time.time_ns", lambda: now_ns + 24 * 60 * 60 * 10**9)
    sweep()
    # The second update has just begun.
    earlier.receive(id)
    assert not is_finished()
    assert int(tables.preparation()["started_at"]["N"]) == int(now) + 24 * 60 * 60
    tables.age_preparation()
    sweep()
    check_inbox()


def test_prepared_row_that_the_earlier_release_changed_is_corrected(earlier: Release) -> None:
    id = create()["id"]
    deleted = THIS.call("create_message", conversation_id=id, message="of this release")
    other = earlier.call("create_conversation", contact_id="harry")["id"]
    sweep()
    earlier.receive(id)
    THIS.receive(other)
    earlier.receive(other)
    earlier.call("delete_message", list_messages(conversation_id=id)[0]["id"])
    earlier.call("delete_message", deleted["id"])
    edited = THIS.call("create_message", conversation_id=other, message="first")
    earlier.call("update_message", edited["id"], message="second")
    tables.age_preparation()
    sweep()
    assert entry({"id": id})["last_message"] is None
    assert entry({"id": other})["last_message"]["message"] == "second"
    check_inbox()


def conversation_with_messages(earlier: Release, messages: int = 3) -> str:
    """Returns the id of a conversation that harry wrote to and kevin has not opened since 1970."""
    id: str = earlier.call("create_conversation", contact_id="harry")["id"]
    for _ in range(messages):
        earlier.receive(id)
    earlier.call("create_message", conversation_id=id, message="my own, the last one")
    earlier.call("update_conversation", id, last_opened_at=0)
    return id


def delete_unread(id: str) -> None:
    """Deletes the oldest message of the conversation."""
    THIS.call("delete_message", list_messages(conversation_id=id)[-1]["id"])


def delete_last(id: str) -> None:
    """Deletes the newest message of the conversation."""
    THIS.call("delete_message", list_messages(conversation_id=id)[0]["id"])


def edit_last(id: str) -> None:
    """Changes the text of the newest message of the conversation."""
    THIS.call("update_message", list_messages(conversation_id=id)[0]["id"], message="changed")


def delete_conversation(id: str) -> None:
    """Deletes the conversation."""
    THIS.call("delete_conversation", id)


def archive(id: str) -> None:
    """Archives the conversation."""
    update({"id": id}, archived_at=1)


@pytest.mark.parametrize("nth", range(1, 9))
@pytest.mark.parametrize(
    "act",
    [THIS.receive, delete_unread, delete_last, edit_last, delete_conversation, archive],
    ids=lambda act: str(act.__name__),
)
@pytest.mark.parametrize("earlier", ["0.2.0"], indirect=True)
def test_changes_while_a_row_is_prepared_are_in_its_entry(
    act: Callable[[str], None], nth: int, earlier: Release, wire: Wire
) -> None:
    id = conversation_with_messages(earlier)
    begin_preparation()
    left = [nth]

    def fault(_request: object) -> None:
        if wire.requests[-1] == "UpdateItem" or wire.bodies[-1]["TableName"] == "messages":
            left[0] -= 1
            if left[0] == 0:
                wire.fault = None
                act(id)

    wire.fault = fault
    sweep()
    assert left[0] <= 0
    wire.fault = None
    check_inbox()


@pytest.mark.parametrize("which", [0, -1], ids=["last", "unread"])
def test_message_is_deleted_by_a_request_that_began_before_its_row_was_prepared(
    which: int, earlier: Release, wire: Wire
) -> None:
    id = conversation_with_messages(earlier)
    begin_preparation()
    deleted = list_messages(conversation_id=id)[which]
    wire.before("TransactWriteItems", sweep)
    THIS.call("delete_message", deleted["id"])
    assert is_finished()
    check_inbox()


def test_count_stops_at_1000(monkeypatch: pytest.MonkeyPatch, earlier: Release) -> None:
    monkeypatch.setattr("coherent.messages.unread.MAX", 5)
    id = conversation_with_messages(earlier, 7)
    begin_preparation()
    sweep()
    assert entry({"id": id})["unread_count"] == unread.MAX == 5


def test_busy_conversation_that_takes_long_to_count_does_not_stop_the_preparation(
    monkeypatch: pytest.MonkeyPatch, earlier: Release, wire: Wire
) -> None:
    monkeypatch.setattr("coherent.messages.unread.MAX", 2)
    id = earlier.call("create_conversation", contact_id="harry")["id"]
    for _ in range(10):
        earlier.call("create_message", conversation_id=id, message="my own")
    earlier.call("update_conversation", id, last_opened_at=0)
    begin_preparation()
    arrivals = iter(range(100))

    def fault(_request: object) -> None:
        # A message for each page of a count.
        if wire.bodies[-1].get("Select") == "COUNT" and next(arrivals, None) is not None:
            now = wire.fault
            wire.fault = None
            THIS.call("create_message", conversation_id=id, message="my own")
            wire.fault = now

    wire.fault = fault
    sweep()
    wire.fault = None
    assert next(arrivals) >= 5
    check_inbox()


def test_preparation_continues_where_its_time_was_up(
    monkeypatch: pytest.MonkeyPatch, earlier: Release, wire: Wire
) -> None:
    ids = [conversation_with_messages(earlier, 1) for _ in range(3)]
    begin_preparation()
    with monkeypatch.context() as deadline:
        deadline.setattr("coherent.deadline.seconds_left", lambda: 300 if wire.requests.count("UpdateItem") < 2 else 49)
        wire.reset()
        sweep()
    prepared = [row["id"]["S"] for row in tables.conversations() if "unread_revision" in row]
    assert prepared == sorted(ids)[: len(prepared)] != sorted(ids)
    assert not is_finished()
    wire.reset()
    sweep()
    assert is_finished()
    assert wire.requests.count("UpdateItem") <= 2 * (3 - len(prepared))
    check_inbox()


@pytest.mark.parametrize("page_size", [1, 2, 500])
def test_rows_of_other_kinds_are_skipped(page_size: int, monkeypatch: pytest.MonkeyPatch, earlier: Release) -> None:
    monkeypatch.setattr("coherent.inbox.preparation._PAGE_SIZE", page_size)
    for number in range(4):
        earlier.call("delete_conversation", conversation_with_messages(earlier, 1))
        call("create_conversation", body="contact_id=harry", headers={"Idempotency-Key": str(number)})
    kept = conversation_with_messages(earlier, 1)
    begin_preparation()
    sweep()
    assert entry({"id": kept})["unread_count"] == 1
    check_inbox()


def test_conversation_that_fails_is_the_first_of_the_next_sweep(earlier: Release, wire: Wire) -> None:
    ids = sorted(conversation_with_messages(earlier, 1) for _ in range(3))
    begin_preparation()
    wire.fault = lambda request: (
        error_response(request, 400, "AccessDeniedException") if f"kevin#{ids[1]}" in str(wire.bodies[-1]) else None
    )
    with pytest.raises(ClientError, match="AccessDenied"):
        sweep()
    wire.reset()
    sweep()
    assert f"kevin#{ids[0]}" not in str(wire.bodies)
    check_inbox()


def test_simultaneous_sweeps_prepare_each_row_and_only_one_continues(
    monkeypatch: pytest.MonkeyPatch, earlier: Release, wire: Wire
) -> None:
    monkeypatch.setattr("coherent.inbox.preparation._PAGE_SIZE", 1)
    for _ in range(4):
        conversation_with_messages(earlier, 1)
    begin_preparation()

    def other_sweep() -> None:
        sweep()
        assert is_finished()
        wire.reset()

    wire.before("Scan", other_sweep)
    sweep()
    assert "Scan" not in wire.requests
    check_inbox()
