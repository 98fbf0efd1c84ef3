"""The requests to DynamoDB that each call makes."""

import pytest

from tests import tables
from tests.filters import COMBINATIONS, INBOX_COMBINATIONS, inbox_partitions, partitions
from tests.handlers import Context, call, create, event, handler, order_records, receive, send
from tests.wire import Wire

pytestmark = pytest.mark.usefixtures("tables")


def test_filters_have_54_combinations_and_those_of_the_inbox_162() -> None:
    assert (len(COMBINATIONS), len(INBOX_COMBINATIONS)) == (54, 162)


def test_conversation_call_makes_one_request(wire: Wire) -> None:
    conversation = create()
    assert wire.requests == ["TransactWriteItems"]
    for _ in ("first", "replay"):
        wire.reset()
        call("create_conversation", body="contact_id=harry", headers={"Idempotency-Key": "a key"})
        assert wire.requests == ["TransactWriteItems"]
    wire.reset()
    call("update_conversation", id=conversation["id"], body="is_muted=true", headers={"If-Match": '"1"'})
    assert wire.requests == ["UpdateItem"]
    for endpoint, operation in (
        ("retrieve_conversation", "GetItem"),
        ("update_conversation", "UpdateItem"),
        ("delete_conversation", "TransactWriteItems"),
    ):
        wire.reset()
        call(endpoint, id=conversation["id"], body="is_muted=true" if endpoint == "update_conversation" else None)
        assert wire.requests == [operation]


def test_message_call_makes_one_to_four_requests(wire: Wire) -> None:
    conversation = create()
    older = send(conversation)
    wire.reset()
    send(conversation)
    assert wire.requests == ["TransactWriteItems"]
    body = f"conversation_id={conversation['id']}&message=hello"
    for _ in ("first", "replay"):
        wire.reset()
        call("create_message", body=body, headers={"Idempotency-Key": "a key"})
        assert wire.requests == ["TransactWriteItems"]
    sent = send(conversation)
    for endpoint, parameters, requests in (
        ("list_messages", {"query": {"conversation_id": [conversation["id"]]}}, ["Query", "BatchGetItem"]),
        ("list_messages", {"query": {"limit": ["100"]}}, ["Query", "BatchGetItem"]),
        ("retrieve_message", {"id": sent["id"]}, ["Query", "BatchGetItem"]),
        ("update_message", {"id": sent["id"], "body": "read_at=1"}, ["Query", "BatchGetItem", "UpdateItem"]),
        ("update_message", {"id": sent["id"], "body": "message=ho"}, ["Query", "BatchGetItem", "TransactWriteItems"]),
        # It looks for the message before the last one, which becomes the preview.
        ("delete_message", {"id": sent["id"]}, ["Query", "BatchGetItem", "Query", "TransactWriteItems"]),
        ("delete_message", {"id": older["id"]}, ["Query", "BatchGetItem", "TransactWriteItems"]),
    ):
        wire.reset()
        assert call(endpoint, **parameters).status in (200, 204)
        assert wire.requests == requests


def test_inbox_call_makes_one_to_four_requests(wire: Wire) -> None:
    conversation = create()
    first, second, last = (receive(conversation) for _ in range(3))
    for endpoint, body, requests in (
        ("retrieve_inbox_entry", None, ["BatchGetItem"]),
        ("count_unread", None, ["Query", "Query"]),
        ("update_inbox_entry", "is_unread=true", ["BatchGetItem", "UpdateItem"]),
        ("update_inbox_entry", f"read_up_to={last}", ["BatchGetItem", "UpdateItem"]),
        ("update_inbox_entry", "is_unread=false", ["BatchGetItem", "UpdateItem"]),
        ("update_inbox_entry", f"read_up_to={first}", ["BatchGetItem", "GetItem", "Query", "UpdateItem"]),
        ("update_inbox_entry", "read_up_to=", ["BatchGetItem", "Query", "UpdateItem"]),
        ("update_inbox_entry", f"muted_until={2**32}", ["BatchGetItem", "PutItem", "UpdateItem"]),
        ("update_inbox_entry", "is_blocked=true", ["BatchGetItem", "TransactWriteItems"]),
    ):
        id = None if endpoint == "count_unread" else conversation["id"]
        # The first call of a function makes sure that the inbox is prepared.
        call(endpoint, id=id, body=body)
        wire.reset()
        assert call(endpoint, id=id, body=body).status == 200
        assert wire.requests == requests
    call("delete_message", id=second)
    wire.reset()
    # It looks for the message, and then for its deletion.
    assert call("update_inbox_entry", id=conversation["id"], body=f"read_up_to={second}").status == 200
    assert wire.requests == ["BatchGetItem", "GetItem", "GetItem", "Query", "UpdateItem"]
    wire.reset()
    headers = {"If-None-Match": '"1"'}
    assert call("update_inbox_entry", id=conversation["id"], body="is_unread=true", headers=headers).status == 200
    assert wire.requests == ["BatchGetItem", "TransactWriteItems"]


def test_message_from_a_contact_makes_two_or_three_requests(wire: Wire) -> None:
    conversation = create(contact_id="harry")
    for given, requests in (
        ({"conversation_id": conversation["id"]}, ["GetItem", "TransactWriteItems"]),
        ({}, ["GetItem", "GetItem", "TransactWriteItems"]),
    ):
        received = event("receive_message") | {"id": str(given)}
        received["detail"] = {"user_id": "kevin", "contact_id": "harry", "message": "hello"} | given
        wire.reset()
        handler("receive_message")(received, Context(25))
        assert wire.requests == requests


def test_sent_and_delivered_message_makes_the_documented_requests(
    delivery: None, monkeypatch: pytest.MonkeyPatch, wire: Wire
) -> None:
    del delivery
    for limit in ("_of_user", "_per_contact"):
        monkeypatch.setattr(f"functions.create_message.app.messages._limits.{limit}", 1000)
    create("harry", contact_id="kevin")
    conversation = create("kevin", contact_id="harry")
    send(conversation)
    assert wire.requests[-4:] == ["GetItem", "UpdateItem", "UpdateItem", "TransactWriteItems"]
    # Is he blocked? Is harry known, or does he have conversations? Which is the newest with kevin?
    first = ["Query", "Query", "GetItem", "GetItem", "Query", "PutItem", "GetItem", "TransactWriteItems"]
    later = ["Query", "Query", "GetItem", "GetItem", "GetItem", "TransactWriteItems"]
    for requests in (first, later):
        orders = order_records(tables.orders())
        wire.reset()
        handler("deliver_messages")(orders, Context(60))
        assert wire.requests == requests
        send(conversation)


def test_inbox_page_makes_a_second_read_for_the_block_row_only_if_it_is_full(wire: Wire) -> None:
    # The first call also reads whether the inbox is prepared.
    call("list_inbox")
    for count, new, reads in ((99, 99, 1), (100, 1, 2)):
        for _ in range(new):
            create()
        wire.reset()
        assert len(call("list_inbox", query={"limit": ["100"]}).body["data"]) == count
        assert wire.requests == ["Query"] * 16 + ["BatchGetItem"] * reads


@pytest.mark.parametrize("query", INBOX_COMBINATIONS, ids=str)
def test_inbox_makes_one_query_per_partition(query: dict[str, str], wire: Wire) -> None:
    create(contact_id="harry", group_id="friends")
    response = call("list_inbox", query={name: [value] for name, value in query.items()})
    assert response.status == 200
    rows = ["BatchGetItem"] if response.body["data"] else []
    requests = [request for request in wire.requests if request not in {"GetItem", "TransactWriteItems"}]
    assert requests == ["Query"] * inbox_partitions(query) + rows


@pytest.mark.parametrize("query", COMBINATIONS, ids=str)
def test_list_makes_one_query_per_partition(query: dict[str, str], wire: Wire) -> None:
    response = call("list_conversations", query={name: [value] for name, value in query.items()})
    assert response.status == 200
    assert wire.requests == ["Query"] * partitions(query)
