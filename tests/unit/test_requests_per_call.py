"""The requests to DynamoDB that each call makes."""

import pytest

from tests.filters import COMBINATIONS, partitions
from tests.handlers import call, create, send
from tests.wire import Wire

pytestmark = pytest.mark.usefixtures("tables")


def test_filters_have_54_combinations() -> None:
    assert len(COMBINATIONS) == 54


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


def test_message_call_makes_one_to_three_requests(wire: Wire) -> None:
    conversation = create()
    wire.reset()
    sent = send(conversation)
    assert wire.requests == ["TransactWriteItems"]
    body = f"conversation_id={conversation['id']}&message=hello"
    for _ in ("first", "replay"):
        wire.reset()
        call("create_message", body=body, headers={"Idempotency-Key": "a key"})
        assert wire.requests == ["TransactWriteItems"]
    for endpoint, parameters, requests in (
        ("list_messages", {"query": {"conversation_id": [conversation["id"]]}}, ["Query", "BatchGetItem"]),
        ("list_messages", {"query": {"limit": ["100"]}}, ["Query", "BatchGetItem"]),
        ("retrieve_message", {"id": sent["id"]}, ["Query", "BatchGetItem"]),
        ("update_message", {"id": sent["id"], "body": "message=ho"}, ["Query", "BatchGetItem", "UpdateItem"]),
        ("delete_message", {"id": sent["id"]}, ["Query", "BatchGetItem", "TransactWriteItems"]),
    ):
        wire.reset()
        assert call(endpoint, **parameters).status in (200, 204)
        assert wire.requests == requests


@pytest.mark.parametrize("query", COMBINATIONS, ids=str)
def test_list_makes_one_query_per_partition(query: dict[str, str], wire: Wire) -> None:
    response = call("list_conversations", query={name: [value] for name, value in query.items()})
    assert response.status == 200
    assert wire.requests == ["Query"] * partitions(query)
