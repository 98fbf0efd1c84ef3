"""DELETE /v1/messages/{id}."""

import pytest

from tests import tables
from tests.handlers import call, create, entry, event, invoke, list_messages, receive, send, update
from tests.wire import Wire, cancelled_transaction

pytestmark = pytest.mark.usefixtures("tables", "no_backoff")


def test_sample_event_returns_404_on_empty_table() -> None:
    response = invoke("delete_message", event("delete_message"))
    assert (response.status, response.message) == (404, "id: no such message")


def test_only_the_given_message_is_deleted() -> None:
    conversation = create()
    stays, goes = send(conversation), send(conversation)
    before = call("retrieve_conversation", id=conversation["id"]).body
    response = call("delete_message", id=goes["id"])
    assert (response.status, response.body) == (204, None)
    assert call("retrieve_message", id=goes["id"]).status == 404
    assert call("delete_message", id=goes["id"]).status == 404
    assert list_messages() == [stays]
    assert call("retrieve_conversation", id=conversation["id"]).body == before


def test_pinned_message_is_unpinned() -> None:
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


def test_message_of_another_user_returns_404() -> None:
    sent = send(create())
    foreign = call("delete_message", user="harry", id=sent["id"])
    absent = call("delete_message", user="harry", id="xgQQXg3hrtjh7AvZ")
    assert (foreign.status, foreign.body) == (404, absent.body)
    assert list_messages() == [sent]


@pytest.mark.parametrize(("condition", "status"), [('"1"', 204), ("*", 204), ('"2"', 412), ('"x"', 412)])
def test_if_match_is_respected(condition: str, status: int) -> None:
    sent = send(create())
    assert call("delete_message", id=sent["id"], headers={"If-Match": condition}).status == status
    assert list_messages() == ([] if status == 204 else [sent])


@pytest.mark.parametrize("is_pinned", [False, True])
@pytest.mark.parametrize("headers", [{}, {"If-Match": '"1"'}], ids=str)
def test_lost_response_is_retried(is_pinned: bool, headers: dict[str, str], wire: Wire) -> None:
    conversation = create()
    sent = send(conversation)
    if is_pinned:
        update(conversation, pinned_message_id=sent["id"])
    wire.before("TransactWriteItems", wire.lose_next_response)
    assert call("delete_message", id=sent["id"], headers=headers).status == 204
    assert list_messages() == []
    assert call("retrieve_conversation", id=conversation["id"]).body["pinned_message_id"] is None


@pytest.mark.parametrize("is_pinned", [False, True])
def test_concurrently_pinned_or_unpinned_message_is_unpinned(is_pinned: bool, wire: Wire) -> None:
    conversation = create()
    sent = send(conversation)
    states = [sent["id"], None] if is_pinned else [None, sent["id"]]
    update(conversation, pinned_message_id=states[0])
    wire.before("TransactWriteItems", lambda: update(conversation, pinned_message_id=states[1]))
    assert call("delete_message", id=sent["id"]).status == 204
    assert list_messages() == []
    assert call("retrieve_conversation", id=conversation["id"]).body["pinned_message_id"] is None


def test_concurrently_deleted_conversation_returns_204(wire: Wire) -> None:
    conversation = create()
    sent = send(conversation)
    wire.before("TransactWriteItems", lambda: call("delete_conversation", id=conversation["id"]))
    assert call("delete_message", id=sent["id"]).status == 204
    assert call("retrieve_message", id=sent["id"]).status == 404


def test_concurrent_update_fails_if_match(wire: Wire) -> None:
    sent = send(create())
    wire.before("TransactWriteItems", lambda: call("update_message", id=sent["id"], body="message=hi"))
    assert call("delete_message", id=sent["id"], headers={"If-Match": '"1"'}).status == 412
    assert [message["message"] for message in list_messages()] == ["hi"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": '"1"'}, 412),
        ({"If-Match": '"1", "2"'}, 412),
        ({"If-Match": "*"}, 204),
        ({"If-None-Match": '"7"'}, 204),
        ({}, 204),
    ],
    ids=str,
)
def test_message_that_is_changed_and_deleted_meanwhile_fails_if_match(
    headers: dict[str, str], status: int, wire: Wire
) -> None:
    sent = send(create())

    def change_and_delete() -> None:
        call("update_message", id=sent["id"], body="message=hi")
        call("delete_message", id=sent["id"])

    wire.before("TransactWriteItems", change_and_delete)
    assert call("delete_message", id=sent["id"], headers=headers).status == status
    assert call("delete_message", id=sent["id"], headers=headers).status == 404


def test_message_pinned_during_a_conflict_is_deleted(wire: Wire) -> None:
    sent = send(create())
    row = {"Item": {"pinned_message_id": {"S": sent["id"]}}}
    wire.reset()
    # A transaction has pinned the message but is not yet complete.
    wire.fault = lambda request: (
        cancelled_transaction(request, "TransactionConflict", "ConditionalCheckFailed", **row)
        if wire.requests == ["Query", "BatchGetItem", "TransactWriteItems"]
        else None
    )
    assert call("delete_message", id=sent["id"]).status == 204
    assert tables.messages() == []


def test_persistent_transaction_conflict_returns_503(wire: Wire) -> None:
    sent = send(create())
    wire.fault = lambda request: (
        cancelled_transaction(request, "TransactionConflict") if wire.requests[-1] == "TransactWriteItems" else None
    )
    assert call("delete_message", id=sent["id"]).status == 503
    wire.fault = None
    assert tables.messages()


def test_conversation_that_is_read_without_its_messages_stays_unread(wire: Wire) -> None:
    """BatchGetItem, which transactions do not isolate, can return a message, and its conversation as it was before."""
    conversation = create()
    before = tables.conversations()
    deleted, *_ = (receive(conversation) for _ in range(3))
    after = tables.conversations()

    def read_before() -> None:
        tables.put_rows({"conversations": before, "messages": []})
        wire.before("TransactWriteItems", lambda: tables.put_rows({"conversations": after, "messages": []}))

    wire.before("BatchGetItem", read_before)
    assert call("delete_message", id=deleted).status == 204
    assert wire.fault is None
    assert (entry(conversation)["unread_count"], entry(conversation)["is_unread"]) == (2, True)
