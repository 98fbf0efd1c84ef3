"""DELETE /v1/messages/{id}."""

import pytest

from tests import tables
from tests.handlers import call, create, event, invoke, list_messages, send, update
from tests.wire import Wire, cancelled_transaction

pytestmark = pytest.mark.usefixtures("tables", "no_backoff")


def test_the_sample_event_finds_nothing_in_an_empty_table() -> None:
    response = invoke("delete_message", event("delete_message"))
    assert (response.status, response.message) == (404, "id: no such message")


def test_a_deleted_message_is_gone_and_the_others_stay() -> None:
    conversation = create()
    stays, goes = send(conversation), send(conversation)
    before = call("retrieve_conversation", id=conversation["id"]).body
    response = call("delete_message", id=goes["id"])
    assert (response.status, response.body) == (204, None)
    assert call("retrieve_message", id=goes["id"]).status == 404
    assert call("delete_message", id=goes["id"]).status == 404
    assert list_messages() == [stays]
    assert call("retrieve_conversation", id=conversation["id"]).body == before


def test_a_deleted_message_is_pinned_no_longer() -> None:
    conversation = create()
    pinned, other = send(conversation), send(conversation)
    before = update(conversation, pinned_message_id=pinned["id"])
    assert call("delete_message", id=other["id"]).status == 204
    assert call("retrieve_conversation", id=conversation["id"]).body == before
    tag = call("retrieve_conversation", id=conversation["id"]).headers["ETag"]
    assert call("delete_message", id=pinned["id"]).status == 204
    after = call("retrieve_conversation", id=conversation["id"])
    assert after.body == before | {"pinned_message_id": None}
    assert after.headers["ETag"] != tag


def test_another_users_message_looks_like_none_and_stays() -> None:
    sent = send(create())
    foreign = call("delete_message", user="harry", id=sent["id"])
    absent = call("delete_message", user="harry", id="xgQQXg3hrtjh7AvZ")
    assert (foreign.status, foreign.body) == (404, absent.body)
    assert list_messages() == [sent]


@pytest.mark.parametrize(("condition", "status"), [('"1"', 204), ("*", 204), ('"2"', 412), ('"x"', 412)])
def test_a_condition_decides(condition: str, status: int) -> None:
    sent = send(create())
    assert call("delete_message", id=sent["id"], headers={"If-Match": condition}).status == status
    assert list_messages() == ([] if status == 204 else [sent])


@pytest.mark.parametrize("is_pinned", [False, True])
@pytest.mark.parametrize("headers", [{}, {"If-Match": '"1"'}], ids=str)
def test_a_delete_whose_answer_is_lost_succeeds(is_pinned: bool, headers: dict[str, str], wire: Wire) -> None:
    conversation = create()
    sent = send(conversation)
    if is_pinned:
        update(conversation, pinned_message_id=sent["id"])
    wire.before("TransactWriteItems", wire.lose_next_response)
    assert call("delete_message", id=sent["id"], headers=headers).status == 204
    assert list_messages() == []
    assert call("retrieve_conversation", id=conversation["id"]).body["pinned_message_id"] is None


@pytest.mark.parametrize("is_pinned", [False, True])
def test_a_message_pinned_or_unpinned_at_the_last_moment_is_deleted_and_pinned_no_longer(
    is_pinned: bool, wire: Wire
) -> None:
    conversation = create()
    sent = send(conversation)
    states = [sent["id"], None] if is_pinned else [None, sent["id"]]
    update(conversation, pinned_message_id=states[0])
    wire.before("TransactWriteItems", lambda: update(conversation, pinned_message_id=states[1]))
    assert call("delete_message", id=sent["id"]).status == 204
    assert list_messages() == []
    assert call("retrieve_conversation", id=conversation["id"]).body["pinned_message_id"] is None


def test_a_message_whose_conversation_is_deleted_at_the_last_moment_is_gone(wire: Wire) -> None:
    conversation = create()
    sent = send(conversation)
    wire.before("TransactWriteItems", lambda: call("delete_conversation", id=conversation["id"]))
    assert call("delete_message", id=sent["id"]).status == 204
    assert call("retrieve_message", id=sent["id"]).status == 404


def test_a_message_changed_at_the_last_moment_stays_if_that_was_a_condition(wire: Wire) -> None:
    sent = send(create())
    wire.before("TransactWriteItems", lambda: call("update_message", id=sent["id"], body="message=hi"))
    assert call("delete_message", id=sent["id"], headers={"If-Match": '"1"'}).status == 412
    assert [message["message"] for message in list_messages()] == ["hi"]


def test_a_message_that_is_being_pinned_is_not_taken_for_gone(wire: Wire) -> None:
    sent = send(create())
    row = {"Item": {"pinned_message_id": {"S": sent["id"]}}}
    wire.reset()
    # The pin is there already, its transaction not yet over.
    wire.fault = lambda request: (
        cancelled_transaction(request, "TransactionConflict", "ConditionalCheckFailed", **row)
        if wire.requests == ["Query", "BatchGetItem", "TransactWriteItems"]
        else None
    )
    assert call("delete_message", id=sent["id"]).status == 204
    assert tables.messages() == []


def test_a_delete_that_meets_others_for_ever_is_a_503(wire: Wire) -> None:
    sent = send(create())
    wire.fault = lambda request: (
        cancelled_transaction(request, "TransactionConflict") if wire.requests[-1] == "TransactWriteItems" else None
    )
    assert call("delete_message", id=sent["id"]).status == 503
    wire.fault = None
    assert tables.messages()
