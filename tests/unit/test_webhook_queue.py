"""The webhook queue: what publish_changes puts into it, and redeliveries, which read the changes of a period."""

import json
import time
from typing import Any

import boto3
import pytest
from coherent import errors
from coherent.changes.change import Change
from coherent.changes.source import change_of
from coherent.messages.dead_letters import to_json
from coherent.storage import rows
from coherent.webhooks.queue import WebhookQueue

from tests import streams
from tests.handlers import Context, event, handler
from tests.webhooks import Webhook, Webhooks, change
from tests.wire import Wire, error_response

pytestmark = pytest.mark.usefixtures("no_backoff", "stream_records")

HOUR = 60 * 60
URL = "https://example.com/hook"


def publish(*records: dict[str, Any]) -> list[Change]:
    """Invokes publish_changes with *records*, and returns their changes."""
    streams.publish(*records)
    return [change for record in records if (change := change_of(record))]


def record(
    number: int = 1, *, user: str = "kevin", at: float | None = None, is_deletion: bool = False
) -> dict[str, Any]:
    """Returns the record of the stream for a message of *user* that was created or deleted at *at*, or now."""
    (sample,) = [each for each in event("publish_changes")["Records"] if each["eventName"] == "INSERT"]
    images = sample["dynamodb"]
    images["NewImage"] |= rows.values({"id": f"{number:016}", "user_id": user})
    images["ApproximateCreationDateTime"] = int(time.time() if at is None else at)
    if is_deletion:
        sample["eventName"] = "REMOVE"
        images["OldImage"] = images.pop("NewImage")
    found: dict[str, Any] = sample
    return found


def indexed() -> list[dict[str, Any]]:
    """Returns the keys in the index by_time."""
    return boto3.client("dynamodb").scan(TableName="changes", IndexName="by_time")["Items"]


def events(messages: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return sorted((message["webhook_id"], message["event"]["id"]) for message in messages)


def test_webhooks_get_the_events_of_their_types(webhooks: Webhooks) -> None:
    everything, deletions = webhooks.create(URL), webhooks.create(URL, "message.deleted")
    webhooks.update(webhooks.create(URL), is_enabled=False)
    created, deleted = publish(record(), record(is_deletion=True))
    messages = webhooks.messages()
    assert events(messages) == sorted(
        [
            (everything.id, created.event_id),
            (everything.id, deleted.event_id),
            (deletions.id, deleted.event_id),
        ]
    )
    assert created.event() in [message["event"] for message in messages]


def test_stack_without_webhooks_queues_and_indexes_nothing(webhooks: Webhooks) -> None:
    publish(record())
    assert (webhooks.messages(), indexed()) == ([], [])
    # A disabled webhook may be enabled and ask for a redelivery.
    webhooks.update(webhooks.create(URL), is_enabled=False)
    publish(record(2))
    assert webhooks.messages() == []
    assert [row["number"]["N"] for row in indexed()] == ["2"]


def test_publishing_nothing_reads_no_webhooks(wire: Wire) -> None:
    wire.reset()
    handler("publish_changes")({"Records": []}, Context(60))
    assert wire.requests == []


def test_batch_that_is_repeated_reaches_webhooks_once(webhooks: Webhooks, wire: Wire) -> None:
    webhooks.create(URL)
    wire.fault = lambda request: (
        error_response(request, 400, "AccessDeniedException")
        if b"attribute_not_exists" in (request.body or b"")
        else None
    )
    for _ in range(2):
        with pytest.raises(RuntimeError):
            publish(record())
    wire.fault = None
    (created,) = publish(record())
    assert [message["event"]["id"] for message in webhooks.messages()] == [created.event_id]


def test_sample_event_reaches_webhooks(webhooks: Webhooks) -> None:
    webhooks.create(URL)
    handler("publish_changes")(event("publish_changes"), Context(60))
    assert {message["event"]["type"] for message in webhooks.messages()} >= {"conversation.updated", "message.created"}


# Batches.


def sent(webhooks: Webhooks, *texts: str) -> list[int]:
    """Sends an event for each of *texts*, and returns the sizes of the batches."""
    queue = WebhookQueue()
    sizes: list[int] = []
    queue._sqs.meta.events.register(
        "provide-client-params.sqs.SendMessageBatch", lambda params, **_: sizes.append(len(params["Entries"]))
    )
    queue.send_events([("xgQQXg3hrtjh7AvZ", change(number, message=text)) for number, text in enumerate(texts)])
    found = [message["event"]["payload"]["object"]["message"] for message in webhooks.messages()]
    assert sorted(found) == sorted(texts)
    return sizes


@pytest.mark.parametrize(
    ("texts", "sizes"),
    [
        (["a"] * 10, [10]),
        (["a"] * 21, [10, 10, 1]),
        (["a" * 200_000] * 5, [4, 1]),
        (["\U0001f384\ufffe" * 60_000] * 3, [1, 1, 1]),
    ],
)
def test_batches_respect_the_limits_of_sqs(webhooks: Webhooks, texts: list[str], sizes: list[int]) -> None:
    assert sent(webhooks, *texts) == sizes


def rejecting(times: int) -> tuple[WebhookQueue, list[list[str]]]:
    """Returns a queue that rejects the last entry of a batch *times* times, and the ids of the entries it has got."""
    queue = WebhookQueue()
    requested: list[list[str]] = []

    def reject(parsed: dict[str, Any], **_: object) -> None:
        taken = parsed.pop("Successful")
        requested.append([entry["Id"] for entry in taken])
        if len(requested) <= times:
            parsed["Failed"] = [{"Id": taken[-1]["Id"], "SenderFault": False, "Code": "InternalError"}]

    queue._sqs.meta.events.register("after-call.sqs.SendMessageBatch", reject)
    return queue, requested


def test_messages_that_sqs_rejects_are_sent_again(webhooks: Webhooks) -> None:
    queue, requested = rejecting(times=1)
    queue.send_events([("xgQQXg3hrtjh7AvZ", change(number)) for number in range(3)])
    assert requested == [["0", "1", "2"], ["2"]]
    # moto has taken what the test calls rejected.
    assert len(webhooks.messages()) == 4


@pytest.mark.usefixtures("webhooks")
def test_message_that_sqs_always_rejects_fails_the_batch() -> None:
    queue, requested = rejecting(times=99)
    with pytest.raises(errors.Unavailable):
        queue.send_events([("xgQQXg3hrtjh7AvZ", change())])
    assert len(requested) == 6


# Redeliveries.


def redeliver(webhooks: Webhooks, webhook: Webhook, start: int, end: int) -> list[dict[str, Any]]:
    """Orders a redelivery, invokes deliver_webhook until it is done, and returns the messages of its events."""
    waiting = [{"webhook_id": webhook.id, "redelivery": {"from": start, "to": end}}]
    found: list[dict[str, Any]] = []
    while waiting:
        given = event("deliver_webhook")
        given["Records"][0]["body"] = json.dumps(waiting.pop())
        given["Records"][0]["attributes"]["SentTimestamp"] = str(int(time.time() * 1000))
        assert handler("deliver_webhook")(given, Context(30)) == {"batchItemFailures": []}
        webhooks.pass_waits()
        for message in webhooks.messages():
            (waiting if "redelivery" in message else found).append(message)
    return found


def test_redelivery_sends_the_events_of_a_period_with_their_ids(
    webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = webhooks.create(URL, "message.created", "message.updated")
    now = int(time.time()) // HOUR * HOUR
    times = [now - 2 * HOUR - 1, now - 2 * HOUR, now - HOUR, now - HOUR + 1, now, now + 1]
    changes = publish(*[record(number, user=f"user{number % 2}", at=at) for number, at in enumerate(times)])
    publish(record(9, at=now - HOUR, is_deletion=True))
    webhooks.messages()
    expected = sorted((webhook.id, change.event_id) for change in changes[1:-1])
    assert events(redeliver(webhooks, webhook, now - 2 * HOUR, now)) == expected
    # The same in parts: pages of one change, and one event in each invocation.
    monkeypatch.setattr("coherent.changes.by_time._PAGE", 1)
    monkeypatch.setattr("coherent.webhooks.sender._REDELIVERED_EVENTS", 1)
    again = redeliver(webhooks, webhook, now - 2 * HOUR, now)
    assert events(again) == expected
    assert [message["event"] for message in again if message["event"]["id"] == changes[1].event_id] == [
        changes[1].event()
    ]


def test_redelivery_goes_on_when_time_is_up(webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch) -> None:
    webhook = webhooks.create(URL)
    now = int(time.time())
    # Pages of two changes, in the first of two partitions of the index.
    monkeypatch.setattr("coherent.changes.by_time._SHARDS", 1)
    monkeypatch.setattr("coherent.changes.by_time._PAGE", 2)
    publish(*[record(number, at=now - HOUR) for number in range(5)])
    webhooks.messages()
    monkeypatch.setattr("coherent.webhooks.sender._LAST_PAGE_SECONDS", 31)
    assert len(redeliver(webhooks, webhook, now - HOUR, now)) == 5


def test_redelivery_becomes_a_dead_letter_if_changes_are_no_longer_kept(
    webhooks: Webhooks, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = webhooks.create(URL)
    # The parameter Changes was switched off while the order waited.
    monkeypatch.setattr("functions.deliver_webhook.app.sender._changes._table_name", "")
    assert redeliver(webhooks, webhook, 0, 1) == []
    (letter,) = boto3.client("sqs").receive_message(QueueUrl=queue)["Messages"]
    dead_letter = json.loads(letter["Body"])
    assert dead_letter["reason"] == f"Webhook {webhook.id} gets no old events: the stack keeps no changes"
    assert dead_letter["event"]["detail"] == {"from": 0, "to": 1}


def test_redelivery_waits_while_the_budget_is_exhausted(webhooks: Webhooks) -> None:
    webhook = webhooks.create(URL)
    budget = handler("deliver_webhook").__globals__["sender"]._budget
    while budget.reserve(webhook.id):
        pass
    queue = handler("deliver_webhook").__globals__["queue"]
    queue.send_redelivery(webhook.id, {"from": 0, "to": 1})
    (wait,) = webhooks.deliver()
    assert wait is not None
    assert 1 <= wait <= 60


def test_json_of_a_message_has_no_character_that_sqs_rejects() -> None:
    assert json.loads(to_json({"text": "\uffff\ufffe"})) == {"text": "\uffff\ufffe"}
    assert "\uffff" not in to_json({"text": "\uffff"})
