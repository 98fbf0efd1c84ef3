"""The inbound FIFO queue, whose batches `receive_message` takes."""

import json
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from coherent import deadline

from tests import tables
from tests.handlers import JSON, Context, call, handler, list_conversations, list_messages
from tests.wire import Wire, error_response

pytestmark = pytest.mark.usefixtures("tables", "no_backoff")


@pytest.fixture
def queues(_dynamodb: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """The URLs of the inbound queue and the dead-letter queue."""
    sqs = boto3.client("sqs")
    attributes = {"FifoQueue": "true", "VisibilityTimeout": "150"}
    inbound = sqs.create_queue(QueueName="inbound.fifo", Attributes=attributes)["QueueUrl"]
    letters = sqs.create_queue(QueueName="letters")["QueueUrl"]
    monkeypatch.setenv("INBOUND_QUEUE_URL", inbound)
    monkeypatch.setenv("DEAD_LETTERS_URL", letters)
    yield inbound, letters
    for url in (inbound, letters):
        sqs.delete_queue(QueueUrl=url)


def send(url: str, contact: str, message: str, **more: object) -> None:
    body = json.dumps({"user_id": "kevin", "contact_id": contact, "message": message, **more})
    send_body(url, contact, body, f"{contact} {message}")


def send_body(url: str, group: str, body: str, deduplication_id: str) -> None:
    boto3.client("sqs").send_message(
        QueueUrl=url, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=deduplication_id
    )


def batch(url: str) -> dict[str, Any]:
    """Returns the next messages as Lambda passes them to the function."""
    received = boto3.client("sqs").receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"], MessageAttributeNames=["All"]
    )
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
                "eventSource": "aws:sqs",
            }
            for message in received.get("Messages", [])
        ]
    }


def deliver(given: dict[str, Any], url: str, *, attempt: int = 1) -> list[str]:
    """Invokes the function and deletes what succeeded, as Lambda does. Returns the failed texts."""
    for record in given["Records"]:
        record["attributes"]["ApproximateReceiveCount"] = str(attempt)
    response = handler("receive_message")(given, Context(25))
    failed = {failure["itemIdentifier"] for failure in response["batchItemFailures"]}
    for record in given["Records"]:
        if record["messageId"] not in failed:
            boto3.client("sqs").delete_message(QueueUrl=url, ReceiptHandle=record["receiptHandle"])
    return [json.loads(record["body"])["message"] for record in given["Records"] if record["messageId"] in failed]


def texts(contact: str) -> list[str]:
    """Returns the texts that kevin has from *contact*, oldest first."""
    (id,) = [found["id"] for found in list_conversations() if found["contact_id"] == contact]
    return [message["message"] for message in reversed(list_messages(conversation_id=id))]


def dead_letters(url: str) -> list[dict[str, Any]]:
    found = boto3.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(dead_letter["Body"]) for dead_letter in found]


def test_messages_of_a_group_are_stored_in_the_order_sent(queues: tuple[str, str]) -> None:
    inbound, letters = queues
    for number in range(5):
        for contact in ("harry", "marv"):
            send(inbound, contact, str(number))
    assert deliver(batch(inbound), inbound) == []
    assert texts("harry") == texts("marv") == ["0", "1", "2", "3", "4"]
    assert dead_letters(letters) == []


def test_failure_stops_only_its_group_and_keeps_its_order(queues: tuple[str, str], wire: Wire) -> None:
    inbound, letters = queues
    for contact, number in (("harry", 0), ("harry", 1), ("marv", 0), ("harry", 2), ("marv", 1)):
        send(inbound, contact, f"{contact} {number}")
    first = batch(inbound)
    wire.fault = lambda request: (
        error_response(request, 500, "InternalServerError") if "harry 1" in str(request.body) else None
    )
    assert deliver(first, inbound) == ["harry 1", "harry 2"]
    assert (texts("harry"), texts("marv")) == (["harry 0"], ["marv 0", "marv 1"])
    wire.fault = None
    assert deliver(first, inbound, attempt=2) == []
    assert (texts("harry"), texts("marv")) == (["harry 0", "harry 1", "harry 2"], ["marv 0", "marv 1"])
    assert dead_letters(letters) == []


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 1), (2, 2), (9, 256), (10, 300), (50, 300)])
def test_failed_message_is_returned_after_a_wait_that_doubles(
    queues: tuple[str, str], wire: Wire, attempt: int, seconds: int
) -> None:
    inbound, _ = queues
    send(inbound, "harry", "hello")
    given = batch(inbound)
    waits: list[int] = []

    def note_wait(params: dict[str, Any], **_: object) -> None:
        waits.append(params["VisibilityTimeout"])

    events = handler("receive_message").__globals__["queue"]._sqs.meta.events
    events.register("provide-client-params.sqs.ChangeMessageVisibility", note_wait)
    wire.fault = lambda request: error_response(request, 500, "InternalServerError")
    assert deliver(given, inbound, attempt=attempt) == ["hello"]
    events.unregister("provide-client-params.sqs.ChangeMessageVisibility", note_wait)
    assert waits == [seconds]


@pytest.mark.parametrize("body", ["", "hello", "[1]", '{"user_id": "kevin"}', "[" * 100_000])
def test_malformed_message_becomes_a_dead_letter_and_its_group_goes_on(queues: tuple[str, str], body: str) -> None:
    inbound, letters = queues
    send_body(inbound, "harry", body or " ", "malformed")
    send(inbound, "harry", "hello")
    assert deliver(batch(inbound), inbound) == []
    assert texts("harry") == ["hello"]
    (dead_letter,) = dead_letters(letters)
    assert dead_letter["event"]["id"] == "malformed"


def test_message_that_is_sent_twice_is_stored_once(queues: tuple[str, str]) -> None:
    inbound, letters = queues
    send(inbound, "harry", "hello")
    given = batch(inbound)
    for _ in range(2):
        assert deliver(given, inbound) == []
    assert texts("harry") == ["hello"]
    assert dead_letters(letters) == []


def test_message_that_fails_for_an_unknown_reason_becomes_a_dead_letter(queues: tuple[str, str], wire: Wire) -> None:
    inbound, letters = queues
    send(inbound, "harry", "hello")
    given = batch(inbound)
    wire.fault = lambda request: error_response(request, 400, "ResourceNotFoundException")
    for attempt in range(1, 5):
        assert deliver(given, inbound, attempt=attempt) == ["hello"]
    assert deliver(given, inbound, attempt=5) == []
    (dead_letter,) = dead_letters(letters)
    assert dead_letter["reason"] == "It failed repeatedly; the log has the exception"
    assert tables.messages() == []


def test_deduplication_id_is_one_of_its_group(queues: tuple[str, str]) -> None:
    inbound, letters = queues
    call("create_conversation", body='{"contact_id": "buzz"}', content_type=JSON, headers={"Idempotency-Key": "1"})
    for contact in ("harry", "marv"):
        send(inbound, contact, "hello")
    given = batch(inbound)
    for record in given["Records"]:
        # moto would drop the second one: it has no DeduplicationScope.
        record["attributes"]["MessageDeduplicationId"] = "1"
    assert deliver(given, inbound) == []
    assert dead_letters(letters) == []
    assert texts("harry") == texts("marv") == ["hello"]


@pytest.mark.parametrize("seconds", [9, 25])
def test_failures_are_reported_if_the_queue_takes_no_shorter_wait(
    queues: tuple[str, str], wire: Wire, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbound, _ = queues
    send(inbound, "harry", "stored")
    send(inbound, "marv", "failed")
    given = batch(inbound)

    def fail(request: AWSPreparedRequest) -> AWSResponse | None:
        if "failed" not in str(request.body):
            return None
        # With 9 s left no request starts.
        deadline._ends_at.set(time.monotonic() + seconds)
        monkeypatch.setenv("INBOUND_QUEUE_URL", f"{inbound}-deleted")
        return error_response(request, 500, "InternalServerError")

    wire.fault = fail
    assert deliver(given, inbound) == ["failed"]
    assert texts("harry") == ["stored"]
