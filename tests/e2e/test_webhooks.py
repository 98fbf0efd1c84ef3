"""The operator's webhook calls of the deployed stack over HTTP."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.stack import CALLS, Client, Stack, error

# No server listens there. The stack of the tests has WebhookTargets=any.
URL = "https://127.0.0.1:1/webhook"
NEW = {"url": URL, "events": ["message.created", "conversation.deleted"]}
UNAUTHORIZED = (401, "Authorization: must be 'Bearer ' and a valid access token with the scope of this call")
DAY = 24 * 60 * 60


@pytest.fixture
def operator(stack: Stack) -> Iterator[Client]:
    """The operator of a stack without webhooks."""
    client = stack.operator()
    yield client
    for webhook in client.send("GET", "/webhooks").json()["data"]:
        assert client.send("DELETE", f"/webhooks/{webhook['id']}").status_code == 204


def mapping_state(stack: Stack) -> str:
    """Returns whether Lambda reads the webhook queue: Enabled or Disabled."""
    functions, id = stack.aws("lambda"), stack.function_name("DeliverWebhookQueue")
    return str(functions.get_event_source_mapping(UUID=id)["State"])


def shown(webhook: dict[str, Any]) -> dict[str, Any]:
    """Returns *webhook* without its secret."""
    return {name: value for name, value in webhook.items() if name != "secret"}


def test_webhook_is_created_rotated_disabled_and_deleted(stack: Stack, operator: Client) -> None:
    started = time.time()
    created = operator.send("POST", "/webhooks", json=NEW)
    webhook = created.json()
    assert (created.status_code, created.headers["ETag"]) == (201, '"1"')
    assert shown(webhook) == {
        "id": webhook["id"],
        **NEW,
        "is_enabled": True,
        "previous_secret_valid_until": None,
        "created_at": webhook["created_at"],
    }
    # The first one makes Lambda read the queue; from then on it does.
    assert mapping_state(stack) == "Enabled"
    path = f"/webhooks/{webhook['id']}"
    assert created.headers["Location"] == f"{stack.api_url}{path}"
    listed = operator.send("GET", "/webhooks")
    assert (listed.status_code, listed.json()) == (200, {"has_more": False, "data": [shown(webhook)]})

    rotated = operator.send("PUT", path, json={"rotate_secret": True}, headers={"If-Match": '"1"'})
    assert rotated.status_code == 200, rotated.text
    assert rotated.json()["secret"] != webhook["secret"]
    assert rotated.json()["previous_secret_valid_until"] >= started + DAY - 1
    disabled = operator.send("PUT", path, data={"is_enabled": "false", "events[]": "message.deleted"})
    retrieved = operator.send("GET", path)
    expected = shown(rotated.json()) | {"is_enabled": False, "events": ["message.deleted"]}
    assert retrieved.json() == disabled.json() == expected
    assert operator.send("GET", path, headers={"If-None-Match": retrieved.headers["ETag"]}).status_code == 304
    assert error(operator.send("DELETE", path, headers={"If-Match": '"1"'}))[0] == 412
    assert operator.send("DELETE", path).status_code == 204
    assert error(operator.send("GET", path)) == (404, "id: no such webhook")
    logged = "".join(stack.log_lines(started))
    assert "update_webhook" in logged
    for secret in (webhook["secret"], rotated.json()["secret"]):
        assert secret.removeprefix("whsec_") not in logged


def test_repeated_request_creates_one_webhook(operator: Client) -> None:
    headers = {"Idempotency-Key": f"{time.time()}"}
    first, second = (operator.send("POST", "/webhooks", json=NEW, headers=headers) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(operator.send("GET", "/webhooks").json()["data"]) == 1


@pytest.mark.parametrize(("method", "path"), [(method, path) for method, path, _ in CALLS if "/webhooks" in path])
def test_token_of_a_user_is_rejected(stack: Stack, kevin: Client, method: str, path: str) -> None:
    assert error(kevin.send(method, path, json=NEW if method == "POST" else None)) == UNAUTHORIZED
    # Nor can the operator's token for other calls be used.
    assert error(stack.operator().send("GET", "/conversations")) == UNAUTHORIZED


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": "http://127.0.0.1/"}, "url: must begin with https://"),
        ({"url": "https://kevin:pizza@127.0.0.1/"}, "url: must not contain credentials"),
        ({"url": "https://nowhere.invalid/"}, "url: must have a host whose name resolves"),
        ({"url": "https://127.0.0.1:65536/"}, "url: must have a port from 1 to 65535"),
        ({"events": ["message.read"]}, "events: must be an array of at least one of conversation.created, "),
    ],
)
def test_malformed_webhook_is_rejected(operator: Client, changes: dict[str, Any], message: str) -> None:
    status, found = error(operator.send("POST", "/webhooks", json=NEW | changes))
    assert (status, found[: len(message)]) == (400, message)
    assert operator.send("GET", "/webhooks").json()["data"] == []


def test_redelivery_is_accepted_within_seven_days(operator: Client) -> None:
    id = operator.send("POST", "/webhooks", json=NEW).json()["id"]
    path, now = f"/webhooks/{id}/redeliveries", int(time.time())
    response = operator.send("POST", path, json={"from": now - DAY, "to": now})
    assert (response.status_code, response.json()) == (202, {"webhook_id": id, "from": now - DAY, "to": now})
    for before, after, message in (
        (-10, -20, "from: must be less than to"),
        (-2 * DAY, -10, "to: must be at most a day after from"),
        (-8 * DAY, -8 * DAY + 1, "from: must be at most seven days ago, since older changes are not kept"),
        (-10, 600, "to: must not be in the future"),
    ):
        period = {"from": now + before, "to": now + after}
        assert error(operator.send("POST", path, json=period)) == (400, message)
    response = operator.send("POST", "/webhooks/xgQQXg3hrtjh7AvZ/redeliveries", json={"from": now - 1, "to": now})
    assert error(response) == (404, "id: no such webhook")
