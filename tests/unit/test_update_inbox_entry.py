"""PUT /v1/inbox/{conversation_id}."""

import json
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest
from coherent.storage import blocks

from tests import tables
from tests.handlers import (
    JSON,
    Context,
    Response,
    call,
    create,
    entry,
    event,
    handler,
    invoke,
    list_conversations,
    put_entry,
    receive,
    send,
    update,
)
from tests.wire import Wire

pytestmark = pytest.mark.usefixtures("tables", "no_backoff")

TAKES = "this call takes read_up_to, is_unread, muted_until, is_blocked"
NOTHING = "read_up_to, is_unread, muted_until, is_blocked: at least one of them must be given"
ID = "read_up_to: must be the id of a message of this conversation, or null if nothing is read"
BOOLEAN = "is_unread: must be true or false"
BLOCKED = "is_blocked: must be true or false"
UNTIL = (
    "muted_until: must be a whole number of Unix seconds in the future, at most 253402300799 "
    "(the end of the year 9999), or null"
)
CONTRADICTION = "is_unread, read_up_to: must not contradict each other; false means that all is read, null nothing"


def state(shown: Response | dict[str, Any]) -> tuple[int, bool, str | None]:
    """Returns the unread count, whether it is unread, and the mark of an entry."""
    found = shown.body if isinstance(shown, Response) else shown
    return found["unread_count"], found["is_unread"], found["read_up_to"]


def received(count: int) -> tuple[dict[str, Any], list[str]]:
    """Returns a conversation with *count* messages of harry, and their ids."""
    conversation = create()
    return conversation, [receive(conversation) for _ in range(count)]


def test_sample_event_returns_404_on_empty_table() -> None:
    response = invoke("update_inbox_entry", event("update_inbox_entry"))
    assert (response.status, response.message) == (404, "conversation_id: no such conversation")


# Marks.


def test_mark_moves_in_both_directions() -> None:
    conversation, ids = received(3)
    assert state(entry(conversation)) == (3, True, None)
    for mark, count in ((ids[0], 2), (ids[2], 0), (ids[1], 1), (None, 3), (ids[2], 0)):
        response = put_entry(conversation, read_up_to=mark)
        assert (response.status, state(response)) == (200, (count, count > 0, mark))
        assert entry(conversation) == response.body
    receive(conversation)
    assert state(entry(conversation)) == (1, True, ids[2])


def test_own_messages_never_count_and_sending_does_not_mark() -> None:
    conversation = create()
    first, second = send(conversation)["id"], receive(conversation)
    last = send(conversation)["id"]
    assert state(entry(conversation)) == (1, True, None)
    for mark, count in ((first, 1), (second, 0), (last, 0), (None, 1)):
        assert state(put_entry(conversation, read_up_to=mark)) == (count, count > 0, mark)


def test_mark_moves_last_opened_at_forward_to_now(pass_time: Callable[[int], None]) -> None:
    conversation, (id,) = received(1)

    def opened_at(**changes: Any) -> object:
        return put_entry(conversation, **changes).body["conversation"]["last_opened_at"]

    assert opened_at(read_up_to=None) is None
    assert opened_at(is_unread=True) is None
    assert opened_at(read_up_to=id) == int(time.time())
    pass_time(5)
    assert opened_at(read_up_to=None) == int(time.time()) - 5
    assert opened_at(is_unread=False) == int(time.time())
    update(conversation, last_opened_at=2**32)
    assert opened_at(read_up_to=id) == 2**32


def test_is_unread_false_marks_everything_as_read() -> None:
    conversation, ids = received(2)
    assert state(put_entry(conversation, is_unread=False)) == (0, False, ids[1])
    assert state(put_entry(create(), is_unread=False)) == (0, False, None)


def test_flag_keeps_the_mark_and_the_count() -> None:
    conversation, ids = received(2)
    put_entry(conversation, read_up_to=ids[1])
    assert state(put_entry(conversation, is_unread=True)) == (0, True, ids[1])
    assert state(put_entry(conversation, read_up_to=None)) == (2, True, None)
    assert state(put_entry(conversation, read_up_to=ids[1])) == (0, False, ids[1])
    assert state(put_entry(conversation, read_up_to=ids[1], is_unread=True)) == (0, True, ids[1])
    assert state(put_entry(conversation, read_up_to=ids[0], is_unread=False)) == (1, True, ids[0])
    assert state(put_entry(conversation, is_unread=False)) == (0, False, ids[1])


def test_flag_without_unread_messages_survives_everything_but_a_mark() -> None:
    conversation, ids = received(1)
    own = send(conversation)
    put_entry(conversation, read_up_to=ids[0], is_unread=True)
    send(conversation)
    call("delete_message", id=own["id"])
    call("delete_message", id=ids[0])
    assert state(put_entry(conversation, read_up_to=None)) == (0, True, None)


def test_deleting_an_unread_message_takes_it_off() -> None:
    conversation, ids = received(4)
    put_entry(conversation, read_up_to=ids[1])
    for id, count in ((ids[0], 2), (ids[2], 1), (ids[3], 0)):
        call("delete_message", id=id)
        assert state(entry(conversation)) == (count, count > 0, ids[1])


def test_mark_may_name_a_deleted_message() -> None:
    conversation, ids = received(4)
    for id in (ids[1], ids[3]):
        call("delete_message", id=id)
    assert state(put_entry(conversation, read_up_to=ids[1])) == (1, True, ids[1])
    assert state(put_entry(conversation, read_up_to=ids[3])) == (0, False, ids[3])
    assert state(put_entry(conversation, read_up_to=None)) == (2, True, None)


def test_mark_must_name_a_message_of_the_conversation() -> None:
    conversation, ids = received(2)
    other, foreign = create(), create(user="harry")
    others: list[dict[str, Any]] = [{}, {"is_unread": True, "muted_until": 2**32}]
    put_entry(conversation, read_up_to=ids[0])
    before = call("retrieve_inbox_entry", id=conversation["id"])
    for id in (
        send(other)["id"],
        send(foreign, user="harry")["id"],
        conversation["id"],
        # Before the first, between two, and after the last message.
        "0" * 16,
        ids[0][:-1] + ("0" if ids[0][-1] != "0" else "1"),
        "z" * 16,
    ):
        for more in others:
            response = put_entry(conversation, read_up_to=id, **more)
            assert (response.status, response.message) == (400, ID)
    deleted = send(other)["id"]
    call("delete_message", id=deleted)
    assert put_entry(conversation, read_up_to=deleted).status == 400
    after = call("retrieve_inbox_entry", id=conversation["id"])
    assert (after.body, after.headers["ETag"]) == (before.body, before.headers["ETag"])
    assert put_entry(create(), read_up_to=ids[0]).status == 400


# The limit of the count.


def put_messages(conversation: dict[str, Any], count: int) -> list[str]:
    """Adds *count* unread messages of harry to *conversation*, and returns their ids. Only the last one arrives."""
    client, table_name = boto3.client("dynamodb"), os.environ["MESSAGES_TABLE_NAME"]
    arrived = receive(conversation)
    (row,) = [row for row in tables.messages() if row["id"]["S"] == arrived]
    ids = [f"{number:016}" for number in range(1, count)]
    for start in range(0, len(ids), 25):
        puts: Any = [{"PutRequest": {"Item": row | {"id": {"S": id}}}} for id in ids[start : start + 25]]
        client.batch_write_item(RequestItems={table_name: puts})
    (conversation_row,) = tables.conversations()
    tables.put_rows({"conversations": [conversation_row | {"unread_count": {"N": str(count)}}]})
    return [*ids, arrived]


def test_count_is_exact_up_to_999_and_then_1000_or_more() -> None:
    conversation = create()
    ids = put_messages(conversation, 998)

    def recounted() -> int:
        """Returns the count after a mark, which recounts."""
        count: int = put_entry(conversation, read_up_to=None).body["unread_count"]
        return count

    for count in (998, 999, 1000, 1000):
        assert entry(conversation)["unread_count"] == count
        ids.append(receive(conversation))
    assert recounted() == 1000
    # 1,002 are left, whatever the stored count was.
    for id, count in zip(ids[:4], (1000, 1000, 999, 998), strict=True):
        call("delete_message", id=id)
        assert entry(conversation)["unread_count"] == count
    assert recounted() == 998
    assert state(put_entry(conversation, read_up_to=ids[5])) == (996, True, ids[5])
    assert put_entry(conversation, is_unread=False).body["unread_count"] == 0


def test_deletions_do_not_count_while_more_than_1000_are_unread(wire: Wire) -> None:
    conversation = create()
    ids = put_messages(conversation, 1002)
    for id, counted in zip(ids[:3], (False, False, True), strict=True):
        wire.reset()
        call("delete_message", id=id)
        assert ("COUNT" in [body.get("Select") for body in wire.bodies]) == counted
    assert entry(conversation)["unread_count"] == 999


# Concurrent clients.


@pytest.mark.parametrize("headers", [{}, {"If-Match": '"4"'}], ids=str)
@pytest.mark.parametrize("changes", [{"read_up_to": None}, {"is_unread": False}, {"is_unread": True}], ids=str)
def test_lost_response_is_applied_once(changes: dict[str, Any], headers: dict[str, str], wire: Wire) -> None:
    conversation, _ = received(3)
    wire.before("TransactWriteItems" if headers else "UpdateItem", wire.lose_next_response)
    response = put_entry(conversation, headers=headers, **changes)
    assert wire.fault is None
    assert (response.status, response.headers["ETag"]) == (200, '"5"')
    assert response.body == entry(conversation)
    assert response.body["unread_count"] == (0 if changes == {"is_unread": False} else 3)


def test_message_that_arrives_before_the_retry_of_a_lost_mark_counts(wire: Wire) -> None:
    conversation, ids = received(2)

    def lose_then_receive(_request: AWSPreparedRequest) -> None:
        if wire.requests[-1] == "UpdateItem":
            wire.fault = None
            wire.before("UpdateItem", lambda: receive(conversation))
            wire.lose_next_response()

    wire.fault = lose_then_receive
    assert state(put_entry(conversation, read_up_to=ids[1])) == (1, True, ids[1])
    assert state(entry(conversation)) == (1, True, ids[1])


# The state after a mark, a flag or a deletion, in each of which another client acts between read and write. Of the
# messages 0, 1 and 2, in a conversation whose mark is null.
Act = Callable[[dict[str, Any], list[str]], object]
ARRIVE: Act = lambda conversation, _: receive(conversation)  # noqa: E731 - so that the table below is short
READ_ALL: Act = lambda conversation, _: put_entry(conversation, is_unread=False)  # noqa: E731 - the same
FLAG: Act = lambda conversation, _: put_entry(conversation, is_unread=True)  # noqa: E731 - the same


def mark(place: int | None) -> Act:
    return lambda conversation, ids: put_entry(conversation, read_up_to=None if place is None else ids[place])


def delete(*places: int) -> Act:
    return lambda _, ids: [call("delete_message", id=ids[place]) for place in places]


@pytest.mark.parametrize(
    ("first", "meanwhile", "count", "is_unread"),
    [
        (mark(0), ARRIVE, 3, True),
        (mark(2), ARRIVE, 1, True),
        (READ_ALL, ARRIVE, 0, False),
        (mark(None), ARRIVE, 4, True),
        (mark(0), mark(1), 2, True),
        (mark(1), mark(0), 1, True),
        (mark(2), mark(None), 0, False),
        (mark(None), READ_ALL, 3, True),
        (mark(0), delete(2), 1, True),
        (mark(0), delete(0), 2, True),
        (mark(2), delete(0, 1, 2), 0, False),
        (mark(None), delete(0, 1, 2), 0, False),
        (mark(None), FLAG, 3, True),
        (delete(2), mark(0), 1, True),
        (delete(2), READ_ALL, 0, False),
        (delete(0), mark(None), 2, True),
        (delete(1), ARRIVE, 3, True),
        (delete(0, 1, 2), FLAG, 0, True),
        (FLAG, mark(2), 0, True),
        (FLAG, delete(0, 1, 2), 0, True),
        (FLAG, ARRIVE, 4, True),
    ],
)
def test_count_is_exact_whatever_other_clients_do_meanwhile(
    first: Act, meanwhile: Act, count: int, is_unread: bool, wire: Wire
) -> None:
    conversation, ids = received(3)

    def act(_request: AWSPreparedRequest) -> None:
        if wire.requests[-1] in {"UpdateItem", "TransactWriteItems"}:
            wire.fault = None
            meanwhile(conversation, ids)

    wire.fault = act
    first(conversation, ids)
    assert wire.fault is None
    found = entry(conversation)
    assert (found["unread_count"], found["is_unread"]) == (count, is_unread)
    messages = call("list_messages", query={"conversation_id": [conversation["id"]]}).body["data"]
    after_mark = [message for message in messages if message["id"] > (found["read_up_to"] or "")]
    assert found["unread_count"] == len(after_mark)


@pytest.fixture(params=["clocks agree", "their clock is behind"])
def another_client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Updates an entry or, with *is_muted*, its conversation, as another client whose clock may be behind."""

    def act(conversation: dict[str, Any], **changes: Any) -> None:
        with monkeypatch.context() as clock:
            if request.param == "their clock is behind":
                then = time.time_ns() - 10 * 10**9
                clock.setattr("time.time_ns", lambda: then)
            if "is_muted" in changes:
                update(conversation, **changes)
            else:
                put_entry(conversation, **changes)

    return act


def test_last_unread_message_is_deleted_while_another_client_flags(
    another_client: Callable[..., None], wire: Wire
) -> None:
    conversation, (id,) = received(1)
    wire.before("TransactWriteItems", lambda: another_client(conversation, is_unread=True))
    call("delete_message", id=id)
    assert state(entry(conversation)) == (0, True, None)
    assert [found["is_unread"] for found in call("list_inbox", query={"unread": ["true"]}).body["data"]] == [True]


def test_flag_set_while_the_mark_is_removed_is_kept(another_client: Callable[..., None], wire: Wire) -> None:
    conversation = create()
    send(conversation)
    put_entry(conversation, read_up_to=None)
    wire.before("UpdateItem", lambda: another_client(conversation, is_unread=True))
    assert state(put_entry(conversation, read_up_to=None)) == (0, True, None)


def test_concurrently_deleted_conversation_returns_404(wire: Wire) -> None:
    conversation, _ = received(1)
    wire.before("UpdateItem", lambda: call("delete_conversation", id=conversation["id"]))
    assert put_entry(conversation, is_unread=False).status == 404
    assert list_conversations() == []


def test_persistent_concurrent_marks_return_503(wire: Wire) -> None:
    conversation, ids = received(1)

    def change(_request: AWSPreparedRequest) -> None:
        if wire.requests[-1] == "UpdateItem":
            fault, wire.fault = wire.fault, None
            put_entry(conversation, read_up_to=ids[0])
            wire.fault = fault

    wire.fault = change
    assert put_entry(conversation, read_up_to=None).status == 503


def test_ambiguous_mark_followed_by_another_returns_503(wire: Wire) -> None:
    conversation, ids = received(1)

    def lose_then_change(_request: AWSPreparedRequest) -> None:
        if wire.requests[-1] == "UpdateItem":
            wire.before("UpdateItem", lambda: put_entry(conversation, read_up_to=None))
            wire.lose_next_response()

    wire.fault = lose_then_change
    # The first attempt was applied before the other change, so the retry must not be.
    assert put_entry(conversation, read_up_to=ids[0]).status == 503
    assert state(entry(conversation)) == (1, True, None)


@pytest.mark.parametrize("changes", [{"read_up_to": None}, {"muted_until": 2**32}], ids=str)
def test_concurrent_update_fails_if_match(changes: dict[str, Any], wire: Wire) -> None:
    conversation, _ = received(1)
    wire.before("TransactWriteItems", lambda: update(conversation, is_pinned=True))
    response = put_entry(conversation, headers={"If-Match": '"2"'}, **changes)
    assert (response.status, response.message) == (
        412,
        "If-Match: must name the current ETag; the conversation has changed, so retrieve it again",
    )
    assert state(entry(conversation)) == (1, True, None)
    assert entry(conversation)["muted_until"] is None


# Preconditions.


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": '"2"'}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"1"'}, 412),
        ({"If-Match": 'W/"2"'}, 412),
        ({"If-None-Match": '"1"'}, 200),
        ({"If-None-Match": '"2"'}, 412),
        ({"If-None-Match": "*"}, 412),
        ({"If-Match": "2"}, 400),
    ],
    ids=str,
)
@pytest.mark.parametrize("changes", [{"is_unread": False}, {"is_unread": True}, {"muted_until": 2**32}], ids=str)
def test_preconditions_are_evaluated(changes: dict[str, Any], headers: dict[str, str], status: int) -> None:
    conversation, _ = received(1)
    response = put_entry(conversation, headers=headers, **changes)
    assert response.status == status
    assert call("retrieve_inbox_entry", id=conversation["id"]).headers["ETag"] == (
        '"2"' if status != 200 else response.headers["ETag"]
    )


def test_conversation_of_another_user_returns_404() -> None:
    conversation, ids = received(1)
    foreign = put_entry(conversation, user="harry", read_up_to=ids[0], muted_until=2**32)
    absent = put_entry({"id": "xgQQXg3hrtjh7AvZ"}, user="harry", is_unread=True)
    assert (foreign.status, foreign.body) == (404, absent.body)
    assert foreign.message == "conversation_id: no such conversation"
    assert state(entry(conversation)) == (1, True, None)
    for condition in ('"1"', "*"):
        assert put_entry(conversation, "harry", {"If-Match": condition}, is_unread=True).status == 404


# Timed mutes. test_retrieve_inbox_entry.py shows how they run out, test_sweep_inbox.py how they are lifted.


def test_mute_is_set_prolonged_and_ended() -> None:
    conversation = create()
    for until in (2**32, 2**33, 2**31, None, None):
        found = put_entry(conversation, muted_until=until).body
        assert (found["conversation"]["is_muted"], found["muted_until"]) == (until is not None, until)
        assert entry(conversation) == found
        assert bool(list_conversations(muted="true")) is (until is not None)


def test_null_ends_only_a_timed_mute() -> None:
    conversation = create()
    update(conversation, is_muted=True)
    found = put_entry(conversation, muted_until=None).body
    assert (found["conversation"]["is_muted"], found["muted_until"]) == (True, None)
    assert put_entry(conversation, muted_until=2**32).body["muted_until"] == 2**32


def test_mute_that_becomes_permanent_while_its_end_is_requested_stays(
    another_client: Callable[..., None], wire: Wire
) -> None:
    conversation = create()
    put_entry(conversation, muted_until=2**32)
    wire.before("UpdateItem", lambda: another_client(conversation, is_muted=True))
    found = put_entry(conversation, muted_until=None).body
    assert (found["conversation"]["is_muted"], found["muted_until"]) == (True, None)


def test_mute_must_end_in_the_future(pass_time: Callable[[int], None]) -> None:
    pass_time(0)
    conversation, now = create(), int(time.time())
    assert put_entry(conversation, muted_until=now).message == UNTIL
    assert put_entry(conversation, muted_until=now + 1).status == 200


def test_all_attributes_can_be_changed_at_once() -> None:
    conversation, ids = received(2)
    response = put_entry(conversation, read_up_to=ids[0], is_unread=True, muted_until=2**32)
    assert state(response) == (1, True, ids[0])
    assert (response.body["muted_until"], response.body["conversation"]["is_muted"]) == (2**32, True)
    form = f"read_up_to={ids[1]}&is_unread=false&muted_until="
    response = call("update_inbox_entry", id=conversation["id"], body=form)
    assert state(response) == (0, False, ids[1])
    assert (response.body["muted_until"], response.body["conversation"]["is_muted"]) == (None, False)
    assert state(call("update_inbox_entry", id=conversation["id"], body="read_up_to=")) == (2, True, None)


# Blocked contacts. Their messages: test_receive_message.py and test_deliver_messages.py.


def is_blocked(conversation: dict[str, Any]) -> bool:
    """Returns `is_blocked` of the entry. It is the same in the inbox."""
    found = entry(conversation)
    assert found in call("list_inbox", query={"limit": ["100"]}).body["data"]
    return bool(found["is_blocked"])


def test_contact_is_blocked_in_all_conversations_of_the_user_until_unblocked() -> None:
    first, second, in_group = (
        create(contact_id="harry"),
        create(contact_id="harry"),
        create(contact_id="harry", group_id="friends"),
    )
    others = [create(contact_id="marv"), create(group_id="harry")]
    assert put_entry(first, is_blocked=True).body["is_blocked"] is True
    assert [is_blocked(each) for each in (first, second, in_group, *others)] == [True, True, True, False, False]
    assert [is_blocked(each) for each in (create(contact_id="harry"), create(contact_id="marv"))] == [True, False]
    assert entry(create("marv", contact_id="harry"), "marv")["is_blocked"] is False
    put_entry(others[0], is_blocked=True)
    assert put_entry(in_group, is_blocked=False).body["is_blocked"] is False
    assert [is_blocked(each) for each in (first, second, in_group, *others)] == [False, False, False, True, False]


@pytest.mark.parametrize("blocked", [True, False])
def test_blocking_increments_the_version_of_its_conversation_each_time(blocked: bool) -> None:
    conversation, other = create(), create()
    offset = 10**15 if blocked else 0
    for version in (2, 3):
        response = put_entry(conversation, is_blocked=blocked)
        assert (response.status, response.headers["ETag"]) == (200, f'"{offset + version}"')
        assert response.body == entry(conversation)
    assert call("retrieve_conversation", id=conversation["id"]).headers["ETag"] == '"3"'
    assert call("retrieve_inbox_entry", id=other["id"]).headers["ETag"] == f'"{offset + 1}"'
    for changes in ({"is_unread": True}, {"muted_until": 2**32}):
        assert put_entry(conversation, **changes).body["is_blocked"] is blocked


@pytest.mark.parametrize("blocked", [True, False])
def test_conversation_without_a_contact_cannot_be_blocked(blocked: bool) -> None:
    conversation = create(group_id="friends")
    response = put_entry(conversation, is_blocked=blocked, is_unread=True)
    assert (response.status, response.message) == (400, "is_blocked: the conversation has no contact to block")
    assert put_entry(conversation, headers={"If-Match": '"2"'}, is_blocked=blocked).status == 412
    found = entry(conversation)
    assert (found["is_blocked"], found["is_unread"]) == (False, False)


def test_marks_mute_and_block_are_changed_together() -> None:
    conversation, ids = received(3)
    response = put_entry(conversation, read_up_to=ids[0], is_unread=True, muted_until=2**32, is_blocked=True)
    assert (state(response), response.body["muted_until"]) == ((2, True, ids[0]), 2**32)
    assert response.body == entry(conversation)
    form = "is_unread=false&muted_until=&is_blocked=false"
    response = call("update_inbox_entry", id=conversation["id"], body=form)
    assert (state(response), response.body["muted_until"]) == ((0, False, ids[2]), None)
    assert response.body == entry(conversation)


def put_block_row(count: int) -> None:
    """Makes kevin block *count* contacts."""
    digests = {f"{number:032}" for number in range(count)}
    tables.put_row({**blocks.key("kevin"), "contacts": {"SS": sorted(digests)}})


def test_user_blocks_at_most_1000_contacts() -> None:
    put_block_row(999)
    first, second = create(contact_id="harry"), create(contact_id="marv")
    assert put_entry(first, is_blocked=True).status == 200
    response = put_entry(second, is_blocked=True, is_unread=True)
    assert (response.status, response.message) == (400, "is_blocked: must not be true for more than 1,000 contacts")
    assert (is_blocked(second), entry(second)["is_unread"]) == (False, False)
    # A blocked one can be blocked again, and an unblocked one makes room.
    assert [put_entry(first, is_blocked=blocked).status for blocked in (True, False)] == [200, 200]
    assert put_entry(second, is_blocked=True).status == 200


def test_two_clients_never_block_more_than_1000_contacts(wire: Wire) -> None:
    put_block_row(999)
    first, second = create(contact_id="harry"), create(contact_id="marv")
    wire.before("TransactWriteItems", lambda: put_entry(second, is_blocked=True))
    assert put_entry(first, is_blocked=True).status == 400
    assert (is_blocked(first), is_blocked(second)) == (False, True)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": f'"{10**15 + 2}"'}, 200),
        ({"If-Match": f'"2", "{10**15 + 2}"'}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"2"'}, 412),
        ({"If-Match": f'W/"{10**15 + 2}"'}, 412),
        ({"If-None-Match": '"2"'}, 200),
        ({"If-None-Match": f'"{10**15 + 2}"'}, 412),
        ({"If-None-Match": "*"}, 412),
    ],
    ids=str,
)
@pytest.mark.parametrize("changes", [{"is_unread": False}, {"is_blocked": False}, {"is_blocked": True}], ids=str)
def test_preconditions_of_a_blocked_entry_are_evaluated(
    changes: dict[str, Any], headers: dict[str, str], status: int
) -> None:
    conversation, _ = received(1)
    put_entry(create(contact_id="harry"), is_blocked=True)
    assert put_entry(conversation, headers=headers, **changes).status == status
    offset = 0 if status == 200 and changes == {"is_blocked": False} else 10**15
    tag = call("retrieve_inbox_entry", id=conversation["id"]).headers["ETag"]
    assert tag == f'"{offset + (3 if status == 200 else 2)}"'


@pytest.mark.parametrize("was_blocked", [False, True])
@pytest.mark.parametrize("changes", [{"is_unread": True}, {"is_blocked": False}, {"is_blocked": True}], ids=str)
def test_tag_is_stale_once_another_conversation_changes_the_block(
    changes: dict[str, Any], was_blocked: bool, wire: Wire
) -> None:
    conversation, other = create(contact_id="harry"), create(contact_id="harry")
    put_entry(other, is_blocked=was_blocked)
    tag = call("retrieve_inbox_entry", id=conversation["id"]).headers["ETag"]
    wire.before("TransactWriteItems", lambda: put_entry(other, is_blocked=not was_blocked))
    assert put_entry(conversation, headers={"If-Match": tag}, **changes).status == 412
    found = entry(conversation)
    assert (found["is_blocked"], found["is_unread"]) == (not was_blocked, False)


@pytest.mark.parametrize("meanwhile", [{"is_unread": True}, {"is_blocked": True}, {"is_blocked": False}], ids=str)
@pytest.mark.parametrize("blocked", [True, False])
def test_block_is_written_whatever_another_client_does_meanwhile(
    blocked: bool, meanwhile: dict[str, Any], wire: Wire
) -> None:
    conversation, other = create(contact_id="harry"), create(contact_id="harry")
    put_entry(conversation, is_blocked=not blocked)
    for changed in (conversation, other):
        wire.before("TransactWriteItems", partial(put_entry, changed, **meanwhile))
        response = put_entry(conversation, is_blocked=blocked)
        assert (response.status, response.body) == (200, entry(conversation))
        assert response.body["is_blocked"] is blocked


@pytest.mark.parametrize("blocked", [True, False])
def test_lost_block_is_applied_once(blocked: bool, wire: Wire) -> None:
    conversation = create(contact_id="harry")
    put_entry(conversation, is_blocked=not blocked)
    tag = call("retrieve_inbox_entry", id=conversation["id"]).headers["ETag"]
    wire.before("TransactWriteItems", wire.lose_next_response)
    response = put_entry(conversation, headers={"If-Match": tag}, is_blocked=blocked)
    assert (response.status, response.body) == (200, entry(conversation))
    assert response.headers["ETag"] == f'"{10**15 * blocked + 3}"'


def test_block_that_was_lost_is_not_repeated_after_another_client_unblocked(wire: Wire) -> None:
    conversation = create(contact_id="harry")

    def lose_then_unblock(_request: AWSPreparedRequest) -> None:
        if wire.requests[-1] == "TransactWriteItems":
            wire.before("TransactWriteItems", lambda: put_entry(conversation, is_blocked=False))
            wire.lose_next_response()

    wire.fault = lose_then_unblock
    put_entry(conversation, is_blocked=True)
    assert is_blocked(conversation) is False


def test_message_that_arrives_while_its_contact_is_blocked_counts(wire: Wire) -> None:
    conversation, ids = received(2)
    wire.before("TransactWriteItems", lambda: receive(conversation))
    response = put_entry(conversation, is_blocked=True, read_up_to=ids[0])
    assert (state(response), response.body) == ((2, True, ids[0]), entry(conversation))


def test_conversation_that_is_deleted_while_its_contact_is_blocked_returns_404(wire: Wire) -> None:
    conversation, other = create(contact_id="harry"), create(contact_id="harry")
    wire.before("TransactWriteItems", lambda: call("delete_conversation", id=conversation["id"]))
    assert put_entry(conversation, is_blocked=True).status == 404
    assert is_blocked(other) is False


def test_mute_that_is_lifted_while_a_contact_is_blocked_counts_once(
    pass_time: Callable[[int], None], wire: Wire
) -> None:
    conversation = create(contact_id="harry")
    put_entry(conversation, muted_until=int(time.time()) + 60)
    pass_time(60)
    wire.before("TransactWriteItems", lambda: handler("sweep_inbox")({}, Context()))
    response = put_entry(conversation, is_blocked=True, muted_until=2**32)
    assert (response.status, response.body) == (200, entry(conversation))
    assert response.headers["ETag"] == call("retrieve_inbox_entry", id=conversation["id"]).headers["ETag"]


def test_tag_is_stale_if_a_mute_runs_out_before_the_write(pass_time: Callable[[int], None], wire: Wire) -> None:
    conversation, _ = received(1)
    tag = put_entry(conversation, muted_until=int(time.time()) + 60).headers["ETag"]
    wire.before("Query", lambda: pass_time(60))
    assert put_entry(conversation, headers={"If-Match": tag}, read_up_to=None).status == 412
    assert entry(conversation)["conversation"]["is_muted"] is False


# Bad input.

FAR = 253_402_300_800
BAD_IDS: list[Any] = ["", "x", "a" * 15, "a" * 17, "xgQQXg3hrtjh7AvZ\n", 1, [], True]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, NOTHING),
        *(({"read_up_to": id}, ID) for id in BAD_IDS),
        *(({"is_unread": value}, BOOLEAN) for value in (None, "true", "maybe", 1, 0.0)),
        *(({"is_blocked": value}, BLOCKED) for value in (None, "true", 1, 0.0)),
        *(({"muted_until": value}, UNTIL) for value in (0, -1, 1_700_000_000, "", str(2**32), 4e9, True, FAR, 10**400)),
        ({"is_unread": False, "read_up_to": None}, CONTRADICTION),
        ({"is_unread": False, "read_up_to": None, "muted_until": 5}, f"{UNTIL}; {CONTRADICTION}"),
        ({"is_unread": True, "unread_count": 0}, f"unread_count: unknown or read-only; {TAKES}"),
        ({"is_unread": True, "position": "1"}, f"position: unknown or read-only; {TAKES}"),
        ({"is_muted": True}, f"is_muted: unknown or read-only; {TAKES}"),
        ({"is_unread": 1, "muted_until": 5, "read_up_to": "x"}, f"{ID}; {BOOLEAN}; {UNTIL}"),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_invalid_json_is_rejected(body: dict[str, object], message: str, wire: Wire) -> None:
    response = call("update_inbox_entry", id="a" * 16, body=json.dumps(body), content_type=JSON)
    assert (response.status, response.message) == (400, message)
    assert wire.requests == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (None, NOTHING),
        ("is_unread=", BOOLEAN),
        ("is_unread=maybe", BOOLEAN),
        ("is_blocked=", BLOCKED),
        ("read_up_to=null", ID),
        ("muted_until=1", UNTIL),
        ("muted_until=tomorrow", UNTIL),
        (f"muted_until={FAR}", UNTIL),
        ("muted_until=2099-01-01T00:00:00Z", UNTIL),
        ("is_unread=false&read_up_to=", CONTRADICTION),
        ("is_unread=true&is_unread=true", "is_unread: must be given only once"),
    ],
)
def test_invalid_form_is_rejected(body: str | None, message: str, wire: Wire) -> None:
    response = call("update_inbox_entry", id="a" * 16, body=body)
    assert (response.status, response.message) == (400, message)
    assert wire.requests == []
