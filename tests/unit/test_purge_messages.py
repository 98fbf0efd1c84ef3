"""The DynamoDB stream of the conversations table."""

import time

import pytest
from aws_lambda_powertools.utilities.batch.exceptions import BatchProcessingError
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from tests import tables
from tests.handlers import Context, call, create, event, handler, list_messages, purge, send
from tests.wire import Wire, error_response, response

pytestmark = pytest.mark.usefixtures("tables", "no_backoff")


def deleted_conversation(messages: int, user: str = "kevin") -> tuple[str, str]:
    """Creates a conversation with *messages* messages and deletes it. Returns the user id and its id."""
    conversation = create(user)
    for _ in range(messages):
        tables.put_message(user, conversation["id"])
    assert call("delete_conversation", user=user, id=conversation["id"]).status == 204
    return user, conversation["id"]


def test_sample_event_purges_nothing() -> None:
    assert handler("purge_messages")(event("purge_messages"), Context()) == {"batchItemFailures": []}


@pytest.mark.parametrize("count", [0, 1, 25, 26, 60])
def test_only_messages_of_deleted_conversation_are_purged(count: int) -> None:
    kept = send(create())
    other = send(create("harry"), user="harry")
    deleted = deleted_conversation(count)
    assert (len(tables.messages()), len(tables.tombstones())) == (count + 2, 1)
    assert purge(deleted) == []
    assert len(tables.tombstones()) == 1
    assert list_messages() == [kept]
    assert list_messages("harry") == [other]
    assert len(tables.messages()) == 2


@pytest.mark.parametrize("event_name", ["INSERT", "MODIFY", "REMOVE"])
def test_existing_conversation_is_never_purged(event_name: str) -> None:
    conversation = create()
    sent = send(conversation)
    sample = event("purge_messages")
    sample["Records"][0]["eventName"] = event_name
    sample["Records"][0]["dynamodb"]["Keys"] = {"user_id": {"S": "kevin"}, "id": {"S": conversation["id"]}}
    assert handler("purge_messages")(sample, Context()) == {"batchItemFailures": []}
    assert list_messages() == [sent]


def test_only_removals_are_purged() -> None:
    user, id = deleted_conversation(2)
    sample = event("purge_messages")
    sample["Records"][0]["eventName"] = "MODIFY"
    sample["Records"][0]["dynamodb"]["Keys"] = {"user_id": {"S": user}, "id": {"S": id}}
    assert handler("purge_messages")(sample, Context()) == {"batchItemFailures": []}
    assert len(tables.messages()) == 2


def test_purge_is_idempotent() -> None:
    deleted = deleted_conversation(3)
    assert purge(deleted, deleted) == purge(deleted) == []
    assert tables.messages() == []


def test_unprocessed_items_are_retried(wire: Wire) -> None:
    deleted = deleted_conversation(30)
    wire.reset()
    is_unprocessed = [True, False, True, True]

    def fault(request: AWSPreparedRequest) -> AWSResponse | None:
        if wire.requests[-1] != "BatchWriteItem" or not is_unprocessed or not is_unprocessed.pop(0):
            return None
        return response(request, {"UnprocessedItems": wire.bodies[-1]["RequestItems"]})

    wire.fault = fault
    assert purge(deleted) == []
    assert wire.requests == ["Query", "GetItem", *["BatchWriteItem"] * 5, "Query"]
    assert wire.bodies[0]["ProjectionExpression"] == "user_conversation, id, origin_id"
    assert wire.bodies[0]["ConsistentRead"] is wire.bodies[1]["ConsistentRead"] is True
    # The limit of DynamoDB, which moto does not check.
    assert all(len(body["RequestItems"]["messages"]) <= 25 for body in wire.bodies[2:-1])
    assert tables.messages() == []


def test_transaction_conflict_is_retried(wire: Wire) -> None:
    deleted = deleted_conversation(2)
    codes = ["TransactionConflictException"] * 2
    wire.fault = lambda request: (
        error_response(request, 400, codes.pop()) if codes and wire.requests[-1] == "BatchWriteItem" else None
    )
    assert purge(deleted) == []
    assert tables.messages() == []


def test_only_failed_records_are_reported(wire: Wire) -> None:
    deleted = [deleted_conversation(2) for _ in range(3)]
    wire.reset()

    def fault(request: AWSPreparedRequest) -> AWSResponse | None:
        body = wire.bodies[-1]
        is_second = deleted[1][1] in str(body.get("ExpressionAttributeValues"))
        return error_response(request, 400, "ThrottlingException") if is_second else None

    wire.fault = fault
    assert purge(*deleted) == [deleted[1][1]]
    wire.fault = None
    assert len(tables.messages()) == 2
    assert purge(deleted[1]) == []
    assert tables.messages() == []


def test_failure_of_all_records_raises(wire: Wire) -> None:
    deleted = deleted_conversation(2)
    wire.fault = lambda request: error_response(request, 500, "InternalServerError")
    with pytest.raises(BatchProcessingError):
        purge(deleted)
    wire.fault = None
    assert len(tables.tombstones()) == 1


@pytest.mark.parametrize("seconds", [0, 49])
def test_purge_stops_when_little_time_is_left(seconds: float) -> None:
    deleted = deleted_conversation(2)
    assert purge(deleted, seconds=seconds) == []
    assert (len(tables.messages()), len(tables.tombstones())) == (2, 1)


def test_purge_stops_when_time_is_up(wire: Wire) -> None:
    deleted = deleted_conversation(60)
    wire.fault = lambda _: time.sleep(0.3) if wire.requests[-1] == "BatchWriteItem" else None
    assert purge(deleted, seconds=50.5) == []
    assert 0 < len(tables.messages()) < 60
    assert len(tables.tombstones()) == 1
