"""GET /v1/webhooks/{id}."""

import pytest

from tests import webhook_calls as webhooks
from tests.handlers import call, create, event, invoke

pytestmark = pytest.mark.usefixtures("operator")


def test_sample_event_finds_nothing_on_empty_table() -> None:
    response = invoke("retrieve_webhook", event("retrieve_webhook"))
    assert (response.status, response.message) == (404, "id: no such webhook")


def test_webhook_is_returned_without_its_secret() -> None:
    created = webhooks.create()
    response = call("retrieve_webhook", id=created["id"])
    assert (response.status, response.body) == (200, webhooks.without_secret(created))
    assert response.headers["ETag"] == '"1"'


def test_unchanged_webhook_is_not_returned_again() -> None:
    created = webhooks.create()
    assert call("retrieve_webhook", id=created["id"], headers={"If-None-Match": '"1"'}).status == 304
    webhooks.put(created, is_enabled=False)
    assert call("retrieve_webhook", id=created["id"], headers={"If-None-Match": '"1"'}).body["is_enabled"] is False


def test_conversation_is_no_webhook() -> None:
    assert call("retrieve_webhook", id=create()["id"]).status == 404
