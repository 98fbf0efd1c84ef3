"""Delivery of events to webhooks: signatures, retries, budget, dead letters and addresses."""

import base64
import hashlib
import hmac
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import trustme
from coherent import errors
from coherent.storage import rows
from coherent.webhooks.request import Client
from standardwebhooks import Webhook, WebhookVerificationError

from tests import receiver, tables
from tests.handlers import Context, handler
from tests.receiver import Receiver, receiving, responding
from tests.server import Handler
from tests.webhooks import Webhook as CreatedWebhook
from tests.webhooks import Webhooks, change
from tests.wire import Wire, error_response

HOUR = 60 * 60
DAY = 24 * HOUR
SENDER = "functions.deliver_webhook.app.sender"


@pytest.fixture
def server(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver at `localhost`, whose authority the function trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(receiver.trust(authority, tmp_path)))
    monkeypatch.setattr(f"{SENDER}._http", Client())
    with receiving(authority, "localhost") as server:
        yield server


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts take half a second at most."""
    monkeypatch.setattr("coherent.webhooks.sender.ATTEMPT_SECONDS", 0.5)


def url(server: Receiver) -> str:
    return f"https://localhost:{server.port}/hook?key=private"


def dead_letters(queue: str) -> list[dict[str, Any]]:
    found = boto3.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(letter["Body"]) for letter in found]


def metrics(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Returns the log line of the last invocation."""
    line: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return line


def test_event_is_sent_with_both_signatures(webhooks: Webhooks, server: Receiver) -> None:
    webhook = webhooks.create(url(server))
    sent = change(message="Zürich \U0001f384 \ufffe </script>")
    webhooks.send(webhook, sent)
    assert webhooks.deliver() == [None]
    (request,) = server.received
    assert request.path == "/hook?key=private"
    assert json.loads(request.body) == sent.event()
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == sent.event_id
    assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 10
    receiver.verify(request, webhook.secret)
    assert webhooks.deliver() == []


def test_signature_is_of_the_raw_body_and_the_whole_secret(webhooks: Webhooks, server: Receiver) -> None:
    webhook = webhooks.create(url(server))
    webhooks.send(webhook, change())
    webhooks.deliver()
    (request,) = server.received
    # Standard Webhooks signs with the decoded secret, the other signature with its text.
    assert len(base64.b64decode(webhook.secret.removeprefix("whsec_"))) == 32
    forged = request._replace(body=request.body + b" ")
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook.secret).verify(forged.body, dict(forged.headers))
    assert (
        hmac.new(webhook.secret.encode(), forged.body, "sha256").hexdigest() != request.headers["x-protocol-signature"]
    )


def test_rotation_signs_with_both_secrets_for_a_day(
    webhooks: Webhooks, server: Receiver, pass_time: Callable[[int], None]
) -> None:
    old = webhooks.create(url(server))
    new = webhooks.update(old, rotate_secret=True)
    assert old.secret != new.secret
    for seconds, secrets in {0: (new.secret, old.secret), DAY - 1: (new.secret, old.secret), 1: (new.secret,)}.items():
        pass_time(seconds)
        webhooks.send(new, change())
        assert webhooks.deliver() == [None]
        request = server.received.pop()
        # standardwebhooks compares the timestamp with a clock that cannot be moved.
        signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.{request.body.decode()}"
        keys = [base64.b64decode(secret.removeprefix("whsec_")) for secret in secrets]
        assert request.headers["webhook-signature"].split() == [
            f"v1,{base64.b64encode(hmac.digest(key, signed.encode(), 'sha256')).decode()}" for key in keys
        ]
        expected = hmac.new(secrets[-1].encode(), request.body, hashlib.sha256).hexdigest()
        assert request.headers["x-protocol-signature"] == expected


@pytest.mark.parametrize(
    ("age", "wait"),
    [
        (0, 5),
        (5, 60),
        (66, 5 * 60),
        (366, 30 * 60),
        (2200, 2 * HOUR),
        (3 * HOUR, 6 * HOUR),
        (9 * HOUR, 12 * HOUR - 180),
        (2 * DAY, 12 * HOUR - 180),
    ],
)
def test_failed_event_is_sent_again_later_and_later(
    webhooks: Webhooks, server: Receiver, age: int, wait: int, capsys: pytest.CaptureFixture[str]
) -> None:
    webhooks.send(webhooks.create(url(server)), change())
    server.behaviour = responding(500, b"out of order")
    assert webhooks.deliver(age=age) == [wait]
    line = metrics(capsys)
    assert line["result"] == 500
    assert line.get("WebhookFailures", 0) == (age > 30 * 60)


def test_event_reaches_an_endpoint_that_comes_back_after_an_hour(webhooks: Webhooks, server: Receiver) -> None:
    webhook = webhooks.create(url(server))
    webhooks.send(webhook, change())
    server.behaviour = responding(503)
    ids = set()
    for age in (0, 6, 70, 400, 2300):
        (wait,) = webhooks.deliver(age=age)
        assert wait
        ids.add(server.received.pop().headers["webhook-id"])
        webhooks.pass_waits()
    server.behaviour = responding(200)
    assert webhooks.deliver(age=9400) == [None]
    assert {server.received.pop().headers["webhook-id"]} == ids == {change().event_id}


def test_event_becomes_a_dead_letter_after_three_days(
    webhooks: Webhooks, server: Receiver, queue: str, capsys: pytest.CaptureFixture[str]
) -> None:
    webhook, sent = webhooks.create(url(server)), change()
    webhooks.send(webhook, sent)
    server.behaviour = responding(404)
    assert webhooks.deliver(age=2.6 * DAY) == [None]
    assert metrics(capsys)["WebhookFailures"] == 1
    (dead_letter,) = dead_letters(queue)
    assert dead_letter == {
        "reason": f"Webhook {webhook.id} did not accept the event in three days; last result: 404",
        "event": {"id": sent.event_id, "detail-type": "message.created", "detail": sent.event()},
    }
    assert webhooks.deliver() == []


@pytest.mark.parametrize("behaviour", [receiver.hang, receiver.close, responding(301, Location="https://localhost/")])
@pytest.mark.usefixtures("short")
def test_endpoint_without_a_success_fails(webhooks: Webhooks, server: Receiver, behaviour: receiver.Behaviour) -> None:
    webhooks.send(webhooks.create(url(server)), change())
    server.behaviour = behaviour
    assert webhooks.deliver() == [5]
    assert len(server.received) == 1


@pytest.mark.usefixtures("server")
def test_wrong_certificate_fails_before_anything_is_sent(
    webhooks: Webhooks, capsys: pytest.CaptureFixture[str]
) -> None:
    with receiving(trustme.CA(), "localhost") as stranger:
        webhooks.send(webhooks.create(url(stranger)), change())
        assert webhooks.deliver() == [5]
        assert stranger.received == []
    assert metrics(capsys)["result"] == "SSLCertVerificationError"


def test_gone_endpoint_disables_its_webhook(webhooks: Webhooks, server: Receiver) -> None:
    webhook = webhooks.create(url(server))
    webhooks.send(webhook, change())
    server.behaviour = responding(410)
    assert webhooks.deliver() == [5]
    assert rows.number(webhooks.row(webhook), "is_enabled") == 0
    webhooks.pass_waits()
    assert webhooks.deliver() == [None]
    assert len(server.received) == 1


def test_webhook_that_changes_meanwhile_stays_enabled_and_gets_the_event(webhooks: Webhooks, server: Receiver) -> None:
    webhook = webhooks.create(url(server))
    webhooks.send(webhook, change())

    def change_url(handler: Any) -> None:
        webhooks.update(webhook, url=f"{url(server)}&new")
        responding(410)(handler)

    server.behaviour = change_url
    assert webhooks.deliver() == [5]
    assert rows.number(webhooks.row(webhook), "is_enabled") == 1
    server.behaviour = responding(200)
    webhooks.pass_waits()
    assert webhooks.deliver() == [None]
    assert server.received[-1].path.endswith("&new")


def test_events_of_disabled_and_deleted_webhooks_are_dropped(webhooks: Webhooks, server: Receiver) -> None:
    disabled, deleted = webhooks.create(url(server)), webhooks.create(url(server))
    for webhook in (disabled, deleted):
        webhooks.send(webhook, change())
    webhooks.update(disabled, is_enabled=False)
    webhooks.delete(deleted)
    assert webhooks.deliver() == [None, None]
    assert server.received == []


@pytest.mark.usefixtures("no_backoff")
def test_event_returns_after_the_visibility_timeout_if_dynamodb_fails(
    webhooks: Webhooks, server: Receiver, wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    webhooks.send(webhooks.create(url(server)), change())
    wire.fault = lambda request: error_response(request, 500, "InternalServerError")
    with pytest.raises(errors.Unavailable):
        webhooks.deliver()
    assert metrics(capsys)["WebhookFailures"] == 1
    assert (server.received, webhooks.waits) == ([], [])


@pytest.mark.usefixtures("no_backoff")
def test_event_is_not_repeated_if_the_budget_cannot_be_settled(
    webhooks: Webhooks, server: Receiver, wire: Wire
) -> None:
    webhooks.send(webhooks.create(url(server)), change())
    wire.fault = lambda request: (
        error_response(request, 500, "InternalServerError") if b"ADD waited :unused" in (request.body or b"") else None
    )
    assert webhooks.deliver() == [None]
    assert len(server.received) == 1


def test_replaced_master_key_fails_like_an_endpoint(webhooks: Webhooks, server: Receiver) -> None:
    webhook = webhooks.create(url(server))
    webhooks.send(webhook, change())
    tables.put_row(webhooks.row(webhook) | rows.values({"key_id": "0" * 16}))
    assert webhooks.deliver() == [5]
    assert server.received == []


# Addresses.


def resolving(monkeypatch: pytest.MonkeyPatch, *responses: str) -> list[str]:
    """Makes the resolver give *responses* in turn, and connections fail. Returns the addresses that were tried."""
    tried: list[str] = []
    remaining = list(responses)
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if host != "hooks.example":
            return resolve(host, port, *arguments, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (remaining.pop(0), port))]

    def create_connection(address: tuple[str, int], **_: object) -> socket.socket:
        tried.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)
    monkeypatch.setattr("coherent.webhooks.request.socket.create_connection", create_connection)
    return tried


def test_address_that_was_checked_is_the_one_that_is_connected_to(
    webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_TARGETS", "public")
    webhooks.send(webhooks.create("https://hooks.example/"), change())
    tried = resolving(monkeypatch, "93.184.216.34", "169.254.169.254")
    assert webhooks.deliver() == [5]
    assert tried == ["93.184.216.34"]
    # The host now leads to a private address.
    webhooks.pass_waits()
    assert webhooks.deliver(age=6) == [60]
    assert tried == ["93.184.216.34"]


# The budget.


@pytest.fixture
def minute(pass_time: Callable[[int], None]) -> Callable[[int], None]:
    """Stops the clock at the beginning of a minute; calling it moves the clock."""
    pass_time(60 - int(time.time()) % 60)
    return pass_time


def reserved(webhook_id: str) -> int:
    """Returns how many attempts the budget allows now, if none ends."""
    budget = handler("deliver_webhook").__globals__["sender"]._budget
    return len(list(iter(lambda: budget.reserve(webhook_id), None)))


@pytest.mark.usefixtures("webhooks")
def test_hanging_endpoint_gets_thirty_attempts_a_minute_and_delays_no_other(minute: Callable[[int], None]) -> None:
    assert reserved("a") == 5
    assert reserved("b") == 5
    minute(30)
    assert reserved("a") == 12
    minute(29)
    assert reserved("a") == 12
    minute(1)
    assert reserved("a") == 5


def test_fast_endpoint_uses_only_the_time_that_it_takes(
    webhooks: Webhooks, server: Receiver, minute: Callable[[int], None]
) -> None:
    del minute
    webhook = webhooks.create(url(server))
    for number in range(20):
        webhooks.send(webhook, change(number))
    assert webhooks.deliver() == [None] * 20
    assert len(server.received) == 20


@pytest.mark.parametrize(("age", "longest"), [(0, 60), (10, 60), (HOUR, HOUR / 2), (2 * DAY, 12 * HOUR - 180)])
def test_event_waits_without_an_attempt_while_the_budget_is_exhausted(
    webhooks: Webhooks, server: Receiver, minute: Callable[[int], None], age: int, longest: float
) -> None:
    del minute
    hanging, other = webhooks.create(url(server)), webhooks.create(url(server))
    reserved(hanging.id)
    webhooks.send(hanging, change())
    (wait,) = webhooks.deliver(age=age)
    assert wait is not None
    assert 1 <= wait <= longest
    assert server.received == []
    webhooks.send(other, change())
    assert webhooks.deliver() == [None]
    assert len(server.received) == 1


def test_event_that_finds_no_budget_for_three_days_becomes_a_dead_letter(
    webhooks: Webhooks, server: Receiver, queue: str, minute: Callable[[int], None]
) -> None:
    del minute
    webhook = webhooks.create(url(server))
    reserved(webhook.id)
    webhooks.send(webhook, change())
    assert webhooks.deliver(age=3 * DAY) == [None]
    (dead_letter,) = dead_letters(queue)
    assert dead_letter["reason"].endswith("last result: budget exhausted")


# Logs.


def not_http(handler: Handler) -> None:
    handler.wfile.write(b"response\r\n")


@pytest.mark.parametrize("status", [200, 410, 500])
def test_logs_have_no_secret_url_or_text(
    webhooks: Webhooks, server: Receiver, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    webhook = webhooks.create(url(server))
    webhooks.send(webhook, change(message="hush"))
    server.behaviour = responding(status, b"response", Server="response")
    webhooks.deliver()
    server.behaviour = not_http
    webhooks.send(webhook, change(message="hush"))
    webhooks.deliver()
    captured = capsys.readouterr()
    output = captured.out + captured.err
    # The test's own server reports nothing of the function.
    assert webhook.id in output
    assert change().event_id in output
    signature = server.received[0].headers["x-protocol-signature"]
    for private in (webhook.secret, webhook.secret.removeprefix("whsec_"), "private", "hush", "response", signature):
        assert private not in output


# A queue in which too many messages wait.


@pytest.fixture
def full_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is full with two messages in flight, of which one is just being delivered."""
    monkeypatch.setattr("coherent.webhooks.queue.MAX_IN_FLIGHT", 2)


def publish(webhooks: Webhooks, webhook: CreatedWebhook, numbers: range, age: int = 0) -> set[str]:
    """Appends changes to the feed, sends them to the queue as `publish_changes` does, and returns their event ids."""
    changes = [change(number)._replace(created_at=int(time.time()) - age) for number in numbers]
    handler("publish_changes").__globals__["publisher"]._feed.append("kevin", changes, is_indexed=True)
    for each in changes:
        webhooks.send(webhook, each)
    return {each.event_id for each in changes}


@pytest.mark.usefixtures("full_queue")
def test_events_leave_a_full_queue_and_arrive_after_the_next_success(webhooks: Webhooks, server: Receiver) -> None:
    webhook = webhooks.create(url(server))
    missed = publish(webhooks, webhook, range(1, 5), age=HOUR) | publish(webhooks, webhook, range(5, 7), age=60)
    server.behaviour = responding(503)
    # The last one is alone in flight, so it waits.
    assert webhooks.deliver(age=HOUR) == [None] * 5 + [2 * HOUR]
    assert rows.number(webhooks.row(webhook), "version") == 1

    server.behaviour = responding(200)
    server.received.clear()
    webhooks.pass_waits()
    assert webhooks.deliver() == [None]
    # The index must show the latest changes, so the redelivery begins later.
    assert webhooks.deliver() == []
    for _ in range(2):
        webhooks.pass_waits()
        webhooks.deliver()
    assert missed == {request.headers["webhook-id"] for request in server.received}
    assert "missed_since" not in webhooks.row(webhook)


@pytest.mark.usefixtures("full_queue")
def test_one_waiting_event_does_not_fill_the_queue(webhooks: Webhooks, server: Receiver) -> None:
    publish(webhooks, webhooks.create(url(server)), range(1, 2))
    server.behaviour = responding(503)
    assert webhooks.deliver() == [5]


@pytest.mark.usefixtures("full_queue")
def test_missed_events_become_a_dead_letter_after_three_days(webhooks: Webhooks, server: Receiver, queue: str) -> None:
    webhook = webhooks.create(url(server))
    publish(webhooks, webhook, range(1, 3), age=4 * DAY)
    server.behaviour = responding(503)
    webhooks.deliver(age=HOUR)
    server.behaviour = responding(200)
    publish(webhooks, webhook, range(3, 4))
    webhooks.pass_waits()
    webhooks.deliver()
    (dead_letter,) = dead_letters(queue)
    detail = dead_letter["event"]["detail"]
    assert dead_letter["reason"] == f"Webhook {webhook.id} did not accept some events in three days"
    assert detail["webhook_id"] == webhook.id
    assert time.time() - 4 * DAY - 10 < detail["from"] < detail["to"] < time.time() - 3 * DAY


@pytest.mark.usefixtures("full_queue")
def test_events_that_leave_a_full_queue_are_dead_letters_without_a_feed(
    webhooks: Webhooks, server: Receiver, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = webhooks.create(url(server))
    publish(webhooks, webhook, range(1, 3))
    monkeypatch.setattr(f"{SENDER}._changes._table_name", "")
    server.behaviour = responding(503)
    assert webhooks.deliver() == [None, 5]
    (dead_letter,) = dead_letters(queue)
    reason = "did not accept the event, and too many events wait; last result: 503"
    assert dead_letter["reason"] == f"Webhook {webhook.id} {reason}"


@pytest.mark.usefixtures("full_queue")
def test_disabled_webhook_forgets_what_it_has_missed(webhooks: Webhooks, server: Receiver) -> None:
    webhook = webhooks.create(url(server))
    publish(webhooks, webhook, range(1, 3))
    server.behaviour = responding(503)
    webhooks.deliver()
    assert "missed_since" in webhooks.row(webhook)
    webhooks.update(webhook, is_enabled=False)
    assert "missed_since" not in webhooks.row(webhook)


@pytest.mark.usefixtures("full_queue")
@pytest.mark.parametrize(("age", "pause"), [(60, 10 * 60), (HOUR, HOUR)])
def test_events_that_leave_a_full_queue_again_are_not_multiplied(
    webhooks: Webhooks, server: Receiver, pass_time: Callable[[int], None], age: int, pause: int
) -> None:
    pass_time(0)
    webhook = webhooks.create(url(server))
    publish(webhooks, webhook, range(1, 9), age=age)

    def alternate(handler: Handler) -> None:
        responding(503 if len(server.received) % 2 else 200)(handler)

    server.behaviour = alternate
    # Each success follows a failure.
    webhooks.deliver(age=age)
    webhooks.pass_waits()
    assert ["redelivery" in message for message in webhooks.messages()] == [True]
    for seconds, orders in ((pause - 1, 0), (1, 1)):
        pass_time(seconds)
        webhooks.send(webhook, change(9))
        webhooks.send(webhook, change(9))
        webhooks.deliver()
        webhooks.pass_waits()
        assert len(webhooks.messages()) == orders


@pytest.mark.usefixtures("full_queue")
def test_simultaneous_successes_start_one_redelivery(webhooks: Webhooks, server: Receiver) -> None:
    webhook = webhooks.create(url(server))
    publish(webhooks, webhook, range(1, 3))
    server.behaviour = responding(503)
    webhooks.deliver()
    webhooks.pass_waits()
    server.behaviour = responding(200)
    row = webhooks.row(webhook)
    assert webhooks.deliver() == [None]
    # Another invocation that has read the row before, but while the first is between its writes.
    tables.put_row(webhooks.row(webhook) | {"missed_since": row["missed_since"]})
    webhooks.send(webhook, change(3))
    assert webhooks.deliver() == [None]
    webhooks.pass_waits()
    assert len(webhooks.messages()) == 1


def test_release_exercise_without_records_succeeds() -> None:
    assert handler("deliver_webhook")({"Records": []}, Context(30)) == {"batchItemFailures": []}
