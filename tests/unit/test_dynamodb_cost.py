"""What a call costs: its requests to DynamoDB."""

import pytest

from tests.filters import COMBINATIONS, partitions
from tests.handlers import call, create
from tests.wire import Wire

pytestmark = pytest.mark.usefixtures("table")


def test_there_are_54_combinations_of_filters() -> None:
    assert len(COMBINATIONS) == 54


def test_each_call_on_one_conversation_is_one_request(wire: Wire) -> None:
    conversation = create()
    assert wire.requests == ["PutItem"]
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
        ("delete_conversation", "DeleteItem"),
    ):
        wire.reset()
        call(endpoint, id=conversation["id"], body="is_muted=true" if endpoint == "update_conversation" else None)
        assert wire.requests == [operation]


@pytest.mark.parametrize("query", COMBINATIONS, ids=str)
def test_a_list_is_one_query_per_partition_that_may_match(query: dict[str, str], wire: Wire) -> None:
    answer = call("list_conversations", query={name: [value] for name, value in query.items()})
    assert answer.status == 200
    assert wire.requests == ["Query"] * partitions(query)
