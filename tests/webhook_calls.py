"""The operator's webhook calls, on the handlers."""

import json
import os
from typing import Any

import boto3

from tests.handlers import JSON, Response, call

# An IP address, which needs no resolver.
URL = "https://1.1.1.1/webhook"
OPERATOR = "service"
# The parameter with the master key of the secrets.
PARAMETER = "/coherent-conversations/conversations/webhook-master-key"
TYPES = [f"{noun}.{verb}" for noun in ("conversation", "message") for verb in ("created", "updated", "deleted")]
EVENTS = f"events: must be an array of at least one of {', '.join(TYPES)}; in a form, events[]=..."
NO_URL = "url: must be an https URL of at most 2,048 characters, such as https://example.com/webhook"


def is_enabled() -> bool:
    """Returns whether Lambda reads the webhook queue."""
    mapping = boto3.client("lambda").get_event_source_mapping(UUID=os.environ["WEBHOOK_MAPPING_ID"])
    return bool(mapping["State"] == "Enabled")


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
