"""GET /v1/webhooks."""

import pytest

from tests import webhook_calls as webhooks
from tests.handlers import call, event, invoke
from tests.wire import Wire

pytestmark = pytest.mark.usefixtures("operator")


def test_sample_event_lists_nothing_on_empty_table() -> None:
    response = invoke("list_webhooks", event("list_webhooks"))
    assert (response.status, response.body) == (200, {"has_more": False, "data": []})


def test_all_webhooks_are_listed_newest_first_without_secrets(wire: Wire) -> None:
    created = [webhooks.create(events=[event]) for event in ("message.created", "message.deleted")]
    wire.reset()
    response = call("list_webhooks", user="another client")
    assert response.body == {"has_more": False, "data": [webhooks.without_secret(each) for each in reversed(created)]}
    assert wire.requests == ["Query"]
    assert wire.bodies[0]["ConsistentRead"] is True
