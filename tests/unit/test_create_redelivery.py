"""POST /v1/webhooks/{id}/redeliveries."""

import json
import os
import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from tests import webhook_calls as webhooks
from tests.handlers import FORM, JSON, Response, call, event, invoke

pytestmark = pytest.mark.usefixtures("operator")

DAY = 24 * 60 * 60
TIME = "must be a whole number of Unix seconds, from 0 to 253402300799"
REVERSED = "from: must be less than to"
TOO_OLD = "from: must be at most seven days ago, since older changes are not kept"
TOO_LONG = "to: must be at most a day after from"
IN_FUTURE = "to: must not be in the future"


def post(webhook: dict[str, Any], period: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    body, id = json.dumps(period), webhook["id"]
    return call("create_redelivery", id=id, body=body, content_type=JSON, headers=headers)


def taken() -> list[Any]:
    """Returns the messages of the webhook queue, and removes them."""
    sqs, url = boto3.client("sqs"), os.environ["WEBHOOK_QUEUE_URL"]
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    for message in messages:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return [json.loads(message["Body"]) for message in messages]


def test_sample_event_finds_nothing_on_empty_table() -> None:
    response = invoke("create_redelivery", event("create_redelivery"))
    assert (response.status, response.message) == (404, "id: no such webhook")


def test_redelivery_is_one_message_to_the_queue() -> None:
    created, now = webhooks.create(), int(time.time())
    period = {"from": now - 3600, "to": now}
    response = post(created, period)
    assert (response.status, response.body) == (202, {"webhook_id": created["id"], **period})
    assert taken() == [{"webhook_id": created["id"], "redelivery": period}]


def test_form_is_accepted() -> None:
    created, now = webhooks.create(), int(time.time())
    body = f"from={now - 3600}&to={now}"
    assert call("create_redelivery", id=created["id"], body=body, content_type=FORM).status == 202
    assert len(taken()) == 1


def test_idempotency_key_is_checked_but_not_remembered() -> None:
    created, now = webhooks.create(), int(time.time())
    for _ in range(2):
        response = post(created, {"from": now - 3600, "to": now}, {"Idempotency-Key": "a key"})
        assert (response.status, response.headers.get("Idempotent-Replayed")) == (202, None)
    assert post(created, {"from": now - 3600, "to": now}, {"Idempotency-Key": "ä"}).status == 400
    assert len(taken()) == 2


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (-10, -10, REVERSED),
        (-10, -20, REVERSED),
        (-7 * DAY - 1, -7 * DAY + 60, TOO_OLD),
        (-2 * DAY, -DAY + 1, TOO_LONG),
        (-10, 1, IN_FUTURE),
        (10, 20, IN_FUTURE),
        (-8 * DAY, -6 * DAY, f"{TOO_OLD}; {TOO_LONG}"),
        (20, 10, f"{REVERSED}; {IN_FUTURE}"),
    ],
)
def test_period_outside_the_limits_is_rejected(
    before: int, after: int, message: str, pass_time: Callable[[int], None]
) -> None:
    pass_time(0)
    created, now = webhooks.create(), int(time.time())
    response = post(created, {"from": now + before, "to": now + after})
    assert (response.status, response.message) == (400, message)
    assert taken() == []


@pytest.mark.parametrize(("before", "after"), [(-7 * DAY, -6 * DAY), (-DAY, 0), (-1, 0)])
def test_period_at_the_limits_is_accepted(before: int, after: int, pass_time: Callable[[int], None]) -> None:
    pass_time(0)
    created, now = webhooks.create(), int(time.time())
    assert post(created, {"from": now + before, "to": now + after}).status == 202


@pytest.mark.parametrize(
    ("period", "message"),
    [
        ({}, f"from: {TIME}; to: {TIME}"),
        ({"from": "yesterday", "to": None}, f"from: {TIME}; to: {TIME}"),
        ({"from": -1, "to": 253402300800}, f"from: {TIME}; to: {TIME}"),
        ({"from": 1.5, "to": True}, f"from: {TIME}; to: {TIME}"),
        ({"from_": 1, "from": 1, "to": 2}, "from_: unknown or read-only; this call takes from, to"),
    ],
)
def test_malformed_period_is_rejected(period: dict[str, Any], message: str) -> None:
    response = post(webhooks.create(), period)
    assert (response.status, response.message) == (400, message)
    assert taken() == []


def test_disabled_webhook_gets_no_redelivery() -> None:
    created, now = webhooks.create(), int(time.time())
    webhooks.put(created, is_enabled=False)
    response = post(created, {"from": now - 1, "to": now})
    assert (response.status, response.message) == (
        400,
        "id: the webhook must be enabled (is_enabled=true) first",
    )
    assert taken() == []


def test_stack_without_changes_has_no_redelivery(monkeypatch: pytest.MonkeyPatch) -> None:
    created, now = webhooks.create(), int(time.time())
    monkeypatch.setenv("CHANGES_TABLE_NAME", "")
    response = post(created, {"from": now - 1, "to": now})
    assert (response.status, response.message) == (
        400,
        "from, to: this service keeps no changes, so it has none to send again",
    )
    assert taken() == []
