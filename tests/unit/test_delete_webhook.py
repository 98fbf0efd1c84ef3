"""DELETE /v1/webhooks/{id}."""

import pytest

from tests import webhook_calls as webhooks
from tests.handlers import call, create, event, invoke
from tests.wire import Wire

pytestmark = pytest.mark.usefixtures("operator")


def test_sample_event_finds_nothing_on_empty_table() -> None:
    response = invoke("delete_webhook", event("delete_webhook"))
    assert (response.status, response.message) == (404, "id: no such webhook")


def test_deleted_webhook_is_gone_and_the_others_stay() -> None:
    kept, deleted = webhooks.create(), webhooks.create()
    response = call("delete_webhook", id=deleted["id"])
    assert (response.status, response.body) == (204, None)
    for endpoint in ("retrieve_webhook", "update_webhook", "delete_webhook"):
        body = "is_enabled=true" if endpoint == "update_webhook" else None
        assert call(endpoint, id=deleted["id"], body=body).status == 404
    assert call("list_webhooks").body["data"] == [webhooks.without_secret(kept)]


def test_preconditions_are_checked() -> None:
    created = webhooks.create()
    assert call("delete_webhook", id=created["id"], headers={"If-Match": '"2"'}).status == 412
    assert call("delete_webhook", id=created["id"], headers={"If-Match": '"1"'}).status == 204
    assert call("delete_webhook", id=created["id"], headers={"If-Match": '"1"'}).status == 404


@pytest.mark.usefixtures("no_backoff")
def test_deletion_whose_response_is_lost_succeeds(wire: Wire) -> None:
    created = webhooks.create()
    wire.lose_next_response()
    assert call("delete_webhook", id=created["id"]).status == 204


def test_conversation_is_no_webhook() -> None:
    assert call("delete_webhook", id=create()["id"]).status == 404
