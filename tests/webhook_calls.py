"""The operator's webhook calls, on the handlers."""

import json
from typing import Any

from tests.handlers import JSON, Response, call

# An IP address, which needs no resolver.
URL = "https://1.1.1.1/webhook"
OPERATOR = "service"


def post(key: str | None = None, **attributes: Any) -> Response:
    """Calls POST /v1/webhooks."""
    body = json.dumps({"url": URL, "events": ["message.created"], **attributes})
    headers = {} if key is None else {"Idempotency-Key": key}
    return call("create_webhook", user=OPERATOR, body=body, content_type=JSON, headers=headers)


def create(**attributes: Any) -> dict[str, Any]:
    """Creates a webhook and returns it with its secret."""
    response = post(**attributes)
    assert response.status == 201, response
    webhook: dict[str, Any] = response.body
    return webhook


def put(webhook: dict[str, Any], headers: dict[str, str] | None = None, **changes: Any) -> Response:
    """Calls PUT /v1/webhooks/{id}."""
    body, id = json.dumps(changes), webhook["id"]
    return call("update_webhook", user=OPERATOR, id=id, body=body, content_type=JSON, headers=headers)


def without_secret(webhook: dict[str, Any]) -> dict[str, Any]:
    """Returns *webhook* as the reading calls show it."""
    return {name: value for name, value in webhook.items() if name != "secret"}
