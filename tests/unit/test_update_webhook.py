"""PUT /v1/webhooks/{id}."""

import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from coherent.storage.dynamodb import connect
from coherent.webhooks.repository import WebhookRepository
from coherent.webhooks.secrets import Secrets

from tests.handlers import call, event, invoke
from tests.webhook_calls import EVENTS, NO_URL, PARAMETER, create, is_enabled, put, without_secret
from tests.wire import Wire

pytestmark = pytest.mark.usefixtures("operator")

DAY = 24 * 60 * 60
NOTHING = "url, events, is_enabled, rotate_secret: at least one of them must be given"


def retrieved(webhook: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = call("retrieve_webhook", id=webhook["id"]).body
    return found


def row(webhook: dict[str, Any]) -> Any:
    return WebhookRepository(connect()).row(webhook["id"])


def valid(webhook: dict[str, Any]) -> list[str]:
    """Returns the secrets that sign the next delivery."""
    return Secrets().valid(row(webhook))


def rotate(webhook: dict[str, Any], **more: Any) -> Any:
    response = put(webhook, rotate_secret=True, **more)
    assert response.status == 200, response
    return response.body


def test_sample_event_finds_nothing_on_empty_table() -> None:
    response = invoke("update_webhook", event("update_webhook"))
    assert (response.status, response.message) == (404, "id: no such webhook")


def test_given_attributes_change_and_the_others_stay() -> None:
    created = create()
    expected = without_secret(created)
    steps: list[dict[str, Any]] = [
        {"url": "https://1.0.0.1/other"},
        {"events": ["message.deleted", "conversation.created"]},
        {"is_enabled": False},
        {"is_enabled": True, "events": ["message.updated"]},
    ]
    for version, changes in enumerate(steps, start=2):
        expected |= changes
        response = put(created, **changes)
        assert (response.status, response.body) == (200, expected)
        assert response.headers["ETag"] == f'"{version}"'
        assert retrieved(created) == expected
    assert valid(created) == [created["secret"]]


def test_only_enabling_a_webhook_enables_the_mapping() -> None:
    created = create()
    functions = boto3.client("lambda")
    (found,) = functions.list_event_source_mappings(FunctionName="deliver")["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=found["UUID"], Enabled=False)
    put(created, is_enabled=False)
    put(created, url="https://1.0.0.1", rotate_secret=True)
    assert not is_enabled()
    put(created, is_enabled=True)
    assert is_enabled()


def test_rotated_secret_and_the_old_one_are_valid_for_24_hours(pass_time: Callable[[int], None]) -> None:
    created = create()
    rotated = rotate(created)
    until = int(time.time()) + DAY
    assert rotated == without_secret(created) | {"previous_secret_valid_until": until, "secret": rotated["secret"]}
    assert rotated["secret"] != created["secret"]
    assert valid(created) == [rotated["secret"], created["secret"]]
    assert retrieved(created) == without_secret(rotated)
    pass_time(DAY - 1)
    assert valid(created) == [rotated["secret"], created["secret"]]
    pass_time(1)
    assert valid(created) == [rotated["secret"]]
    # What is over stays visible.
    assert retrieved(created) == without_secret(rotated)
    again = rotate(created)
    assert again["previous_secret_valid_until"] == int(time.time()) + DAY
    assert valid(created) == [again["secret"], rotated["secret"]]


def test_second_rotation_within_24_hours_keeps_the_secret_that_receivers_know(
    pass_time: Callable[[int], None],
) -> None:
    created = create()
    # The response of the first rotation is lost.
    lost = rotate(created)
    pass_time(3600)
    repeated = rotate(created)
    assert repeated["previous_secret_valid_until"] == lost["previous_secret_valid_until"]
    assert len({created["secret"], lost["secret"], repeated["secret"]}) == 3
    assert valid(created) == [repeated["secret"], created["secret"]]


def test_rotation_replaces_the_secret_of_a_lost_master_key() -> None:
    created = create()
    rotate(created)
    boto3.client("ssm").delete_parameter(Name=PARAMETER)
    rotated = rotate(created)
    assert rotated["previous_secret_valid_until"] is None
    assert valid(created) == [rotated["secret"]]


def test_simultaneous_rotations_return_different_secrets(wire: Wire) -> None:
    created = create()
    others: list[Any] = []
    wire.before("UpdateItem", lambda: others.append(put(created, rotate_secret=True)))
    response = put(created, rotate_secret=True)
    assert (response.status, others[0].status) == (503, 200)
    assert valid(created) == [others[0].body["secret"], created["secret"]]


@pytest.mark.usefixtures("no_backoff")
def test_rotation_whose_response_is_lost_is_applied_once(wire: Wire) -> None:
    created = create()
    wire.before("UpdateItem", wire.lose_next_response)
    rotated = rotate(created)
    assert valid(created) == [rotated["secret"], created["secret"]]


def test_preconditions_are_checked() -> None:
    created = create()
    assert put(created, {"If-Match": '"2"'}, rotate_secret=True).status == 412
    assert put(created, {"If-None-Match": '"1"'}, is_enabled=False).status == 412
    assert valid(created) == [created["secret"]]
    assert put(created, {"If-Match": '"1"'}, is_enabled=False).status == 200
    assert put(created, {"If-Match": '"1"'}, is_enabled=True).status == 412


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, NOTHING),
        ({"url": None}, NO_URL),
        ({"url": ""}, "url: must begin with https://"),
        ({"url": "http://1.1.1.1"}, "url: must begin with https://"),
        ({"url": "https://10.0.0.1"}, "url: must lead to public addresses only; private ones are never called"),
        ({"url": "https://nowhere.invalid"}, "url: must have a host whose name resolves"),
        ({"events": []}, EVENTS),
        ({"events": ["message.*"]}, EVENTS),
        ({"is_enabled": "yes"}, "is_enabled: must be true or false"),
        ({"rotate_secret": False}, "rotate_secret: must be true, or absent"),
        ({"secret": "x"}, "secret: unknown or read-only; this call takes url, events, is_enabled, rotate_secret"),
    ],
)
def test_malformed_change_is_rejected(changes: dict[str, Any], message: str) -> None:
    created = create()
    response = put(created, **changes)
    assert (response.status, response.message) == (400, message)
    assert retrieved(created) == without_secret(created)


def test_endpoint_that_is_gone_disables_the_webhook_that_was_called() -> None:
    created, repository = create(), WebhookRepository(connect())
    called = row(created)
    put(created, url="https://1.0.0.1")
    repository.disable(called)
    assert retrieved(created)["is_enabled"] is True
    repository.disable(row(created))
    assert retrieved(created) == without_secret(created) | {"url": "https://1.0.0.1", "is_enabled": False}
    call("delete_webhook", id=created["id"])
    repository.disable(called)
    assert call("list_webhooks").body["data"] == []
