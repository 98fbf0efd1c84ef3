"""The DynamoDB stream of the conversations."""

import time

import pytest
from aws_lambda_powertools.utilities.batch.exceptions import BatchProcessingError
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from tests import tables
from tests.handlers import Context, call, create, event, handler, list_messages, purge, send
from tests.wire import Wire, error_response, response

pytestmark = pytest.mark.usefixtures("tables", "no_backoff")


def deleted(messages: int, user: str = "kevin") -> tuple[str, str]:
    """A conversation of *user* with so many *messages*, deleted."""
    conversation = create(user)
    for _ in range(messages):
        tables.put_message(user, conversation["id"])
    assert call("delete_conversation", user=user, id=conversation["id"]).status == 204
    return user, conversation["id"]


def test_the_sample_event_finds_nothing_to_purge() -> None:
    assert handler("purge_messages")(event("purge_messages"), Context()) == {"batchItemFailures": []}


@pytest.mark.parametrize("count", [0, 1, 25, 26, 60])
def test_the_messages_of_a_deleted_conversation_are_purged_and_no_others(count: int) -> None:
    stays = send(create())
    harrys = send(create("harry"), user="harry")
    gone = deleted(count)
    assert (len(tables.messages()), len(tables.tombstones())) == (count + 2, 1)
    assert purge(gone) == []
    assert len(tables.tombstones()) == 1
    assert list_messages() == [stays]
    assert list_messages("harry") == [harrys]
    assert len(tables.messages()) == 2


def test_a_purge_may_run_twice() -> None:
    gone = deleted(3)
    assert purge(gone, gone) == purge(gone) == []
    assert tables.messages() == []


def test_what_dynamodb_leaves_undone_is_asked_for_again(wire: Wire) -> None:
    gone = deleted(30)
    wire.reset()
    undone = [True, False, True, True]

    def fault(request: AWSPreparedRequest) -> AWSResponse | None:
        if wire.requests[-1] != "BatchWriteItem" or not undone or not undone.pop(0):
            return None
        return response(request, {"UnprocessedItems": wire.bodies[-1]["RequestItems"]})

    wire.fault = fault
    assert purge(gone) == []
    assert wire.requests == ["Query", *["BatchWriteItem"] * 5, "Query"]
    assert wire.bodies[0]["ProjectionExpression"] == "user_conversation, id"
    assert wire.bodies[0]["ConsistentRead"] is True
    # More than DynamoDB takes, unlike moto.
    assert all(len(body["RequestItems"]["messages"]) <= 25 for body in wire.bodies[1:-1])
    assert tables.messages() == []


def test_a_batch_that_meets_a_transaction_is_written_again(wire: Wire) -> None:
    gone = deleted(2)
    error_responses = ["TransactionConflictException"] * 2
    wire.fault = lambda request: (
        error_response(request, 400, error_responses.pop())
        if error_responses and wire.requests[-1] == "BatchWriteItem"
        else None
    )
    assert purge(gone) == []
    assert tables.messages() == []


def test_one_that_fails_is_told_and_the_others_are_purged(wire: Wire) -> None:
    gone = [deleted(2) for _ in range(3)]
    wire.reset()

    def fault(request: AWSPreparedRequest) -> AWSResponse | None:
        body = wire.bodies[-1]
        is_second = gone[1][1] in str(body.get("ExpressionAttributeValues"))
        return error_response(request, 400, "ThrottlingException") if is_second else None

    wire.fault = fault
    assert purge(*gone) == [gone[1][1]]
    wire.fault = None
    assert len(tables.messages()) == 2
    assert purge(gone[1]) == []
    assert tables.messages() == []


def test_if_all_fail_the_function_does(wire: Wire) -> None:
    gone = deleted(2)
    wire.fault = lambda request: error_response(request, 500, "InternalServerError")
    with pytest.raises(BatchProcessingError):
        purge(gone)
    wire.fault = None
    assert len(tables.tombstones()) == 1


@pytest.mark.parametrize("seconds", [0, 49])
def test_what_time_does_not_allow_is_left_to_the_sweep(seconds: float) -> None:
    gone = deleted(2)
    assert purge(gone, seconds=seconds) == []
    assert (len(tables.messages()), len(tables.tombstones())) == (2, 1)


def test_it_stops_in_the_middle_when_time_is_up(wire: Wire) -> None:
    gone = deleted(60)
    wire.fault = lambda _: time.sleep(0.3) if wire.requests[-1] == "BatchWriteItem" else None
    assert purge(gone, seconds=50.5) == []
    assert 0 < len(tables.messages()) < 60
    assert len(tables.tombstones()) == 1
