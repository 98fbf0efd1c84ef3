"""Events of the deployed stack at a webhook: signed, sent again after a failure, and redelivered."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import trustme

from tests.receiver import Receiver, receiving, responding, verify
from tests.server import Handler
from tests.stack import Client, Stack, wait_until


@pytest.fixture
def operator(stack: Stack) -> Client:
    return stack.operator()


@pytest.fixture
def server(authority: trustme.CA) -> Iterator[Receiver]:
    with receiving(authority, "localhost") as server:
        yield server


@pytest.fixture
def webhook(operator: Client, server: Receiver) -> Iterator[dict[str, Any]]:
    """A webhook of *server* for new messages."""
    attributes = {"url": f"https://localhost:{server.port}/hook", "events": ["message.created"]}
    response = operator.send("POST", "/webhooks", json=attributes)
    assert response.status_code == 201, response.text
    yield response.json()
    assert operator.send("DELETE", f"/webhooks/{response.json()['id']}").status_code == 204


def test_webhook_gets_a_message_with_both_signatures(kevin: Client, webhook: dict[str, Any], server: Receiver) -> None:
    message = kevin.send_message(kevin.create(contact_id="marv"), "Merry Christmas \U0001f384")
    assert wait_until(lambda: server.received)
    request = server.received[0]
    event = json.loads(request.body)
    assert (event["type"], event["user_id"], event["resource_id"]) == ("message.created", kevin.user_id, message["id"])
    assert event["payload"] == {"object": message}
    assert request.headers["webhook-id"] == event["id"]
    verify(request, webhook["secret"])


@pytest.mark.usefixtures("webhook")
def test_event_that_fails_is_sent_again_after_five_seconds(kevin: Client, server: Receiver) -> None:
    def fail_once(handler: Handler) -> None:
        responding(500 if len(server.received) == 1 else 204)(handler)

    server.behaviour = fail_once
    kevin.send_message(kevin.create(contact_id="marv"))
    assert wait_until(lambda: len(server.received) == 2)
    first, second = server.received
    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)
    assert second.at - first.at >= 5


def test_gone_endpoint_disables_the_webhook(
    kevin: Client, operator: Client, webhook: dict[str, Any], server: Receiver
) -> None:
    server.behaviour = responding(410)
    kevin.send_message(kevin.create(contact_id="marv"))
    assert wait_until(lambda: not operator.send("GET", f"/webhooks/{webhook['id']}").json()["is_enabled"])
    assert len(server.received) == 1


def test_redelivery_sends_the_same_event_once_more(
    kevin: Client, operator: Client, webhook: dict[str, Any], server: Receiver
) -> None:
    head, started = kevin.send("GET", "/changes").json()["head"], int(time.time())
    kevin.send_message(kevin.create(contact_id="marv"))
    assert wait_until(lambda: server.received)
    # The conversation and the message. The feed may get them after the webhook.
    assert wait_until(lambda: kevin.send("GET", "/changes").json()["head"] >= head + 2)
    period = {"from": started - 1, "to": int(time.time())}
    response = operator.send("POST", f"/webhooks/{webhook['id']}/redeliveries", json=period)
    assert (response.status_code, response.json()) == (202, {"webhook_id": webhook["id"], **period})
    # Messages of other tests may be of the same second.
    id = server.received[0].headers["webhook-id"]
    assert wait_until(lambda: [each.headers["webhook-id"] for each in server.received].count(id) == 2)
    for request in server.received:
        verify(request, webhook["secret"])
