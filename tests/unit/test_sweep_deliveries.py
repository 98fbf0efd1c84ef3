"""The schedule that applies the delivery orders that the stream has not applied."""

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from coherent.storage import rows

from tests import tables
from tests.handlers import JSON, Context, call, create, handler, list_messages, send
from tests.wire import Wire, error_response

pytestmark = pytest.mark.usefixtures("delivery", "no_backoff", "isolated_transactions")


def sweep(seconds: float = 300) -> None:
    handler("sweep_deliveries")({}, Context(seconds))


def log_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return line


def texts(user: str) -> list[str]:
    return [message["message"] for message in reversed(list_messages(user))]


@pytest.fixture
def conversations() -> list[dict[str, Any]]:
    """Kevin's conversations with two other users."""
    for user in ("harry", "marv"):
        create(user, contact_id="buzz")
    return [create("kevin", contact_id="harry"), create("kevin", contact_id="marv")]


def test_sweep_applies_every_order(conversations: list[dict[str, Any]]) -> None:
    for number in range(30):
        for conversation in conversations:
            send(conversation, str(number))
    sweep()
    assert texts("harry") == texts("marv") == [str(number) for number in range(30)]
    assert tables.orders() == []


def test_age_of_the_oldest_order_is_a_metric(
    conversations: list[dict[str, Any]], pass_time: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    send(conversations[0])
    pass_time(100)
    send(conversations[1])
    pass_time(20)
    sweep()
    assert 120 <= log_line(capsys)["DeliveryAge"] <= 121


def test_age_is_that_of_the_oldest_order_although_a_new_one_is_applied_first(
    conversations: list[dict[str, Any]],
    wire: Wire,
    pass_time: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    sent = send(conversations[0])
    sweep()
    send(conversations[0], "stuck")
    pass_time(100)
    body = json.dumps({"message": "edited"})
    assert call("update_message", id=sent["id"], body=body, content_type=JSON).status == 200
    wire.fault = lambda request: (
        error_response(request, 400, "ThrottlingException") if wire.requests[-1] == "TransactWriteItems" else None
    )
    with pytest.raises(RuntimeError):
        sweep()
    wire.reset()
    assert 100 <= log_line(capsys)["DeliveryAge"] <= 101


def test_sweep_without_orders_reports_no_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    sweep()
    line = log_line(capsys)
    assert "_aws" not in line
    assert "DeliveryAge" not in line


def test_failed_pair_waits_and_the_others_are_delivered(conversations: list[dict[str, Any]], wire: Wire) -> None:
    for conversation in conversations:
        send(conversation)

    def fault(request: Any) -> Any:
        return error_response(request, 400, "ThrottlingException") if '"harry#' in request.body.decode() else None

    wire.fault = fault
    with pytest.raises(RuntimeError, match="The deliveries of 1 pairs of users failed and wait for the next sweep"):
        sweep()
    wire.reset()
    assert texts("marv") == ["hello"]
    assert [order["recipient"]["S"] for order in tables.orders()] == ["harry"]
    sweep()
    assert texts("harry") == ["hello"]


def test_sweep_ends_in_time(conversations: list[dict[str, Any]]) -> None:
    send(conversations[0])
    sweep(seconds=40)
    assert len(tables.orders()) == 1


def test_undeliverable_order_becomes_a_dead_letter_after_an_hour(
    conversations: list[dict[str, Any]], queue: str, pass_time: Callable[[int], None]
) -> None:
    send(conversations[0], "broken")
    (order,) = tables.orders()
    tables.put_rows({"messages": [order | rows.values({"attachments": "no list"})]})
    send(conversations[0], "behind it")
    with pytest.raises(RuntimeError):
        sweep()
    pass_time(59 * 60)
    with pytest.raises(RuntimeError):
        sweep()
    assert texts("harry") == []
    pass_time(2 * 60)
    sweep()
    assert texts("harry") == ["behind it"]
    assert tables.orders() == []
    (dead_letter,) = boto3.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    buried = json.loads(dead_letter["Body"])
    assert buried["reason"] == "It could not be delivered; the log has the exception"
    assert buried["event"]["detail"]["message"] == "broken"


@pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException", "ResourceNotFoundException"])
def test_order_that_aws_refuses_never_becomes_a_dead_letter(
    conversations: list[dict[str, Any]], wire: Wire, pass_time: Callable[[int], None], code: str
) -> None:
    send(conversations[0])
    pass_time(24 * 60 * 60)
    wire.fault = lambda request: (
        error_response(request, 400, code) if wire.requests[-1] == "TransactWriteItems" else None
    )
    with pytest.raises(RuntimeError):
        sweep()
    wire.reset()
    sweep()
    assert texts("harry") == ["hello"]
