"""POST /v1/webhooks."""

import importlib
import itertools
import json
import os
import time
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from coherent import ids
from coherent.webhooks.secrets import MasterKeyReplaced, Secrets

from tests import webhook_calls as webhooks
from tests.handlers import FORM, call, event, invoke
from tests.tables import all_rows
from tests.webhook_calls import URL, create, post, without_secret
from tests.wire import Wire

pytestmark = pytest.mark.usefixtures("operator")

TYPES = [f"{noun}.{verb}" for noun in ("conversation", "message") for verb in ("created", "updated", "deleted")]
EVENTS = f"events: must be an array of at least one of {', '.join(TYPES)}; in a form, events[]=..."
NO_URL = "url: must be an https URL of at most 2,048 characters, such as https://example.com/webhook"
UNKNOWN = ": unknown or read-only; this call takes url, events"
PARAMETER = "/coherent-conversations/conversations/webhook-master-key"


def is_enabled() -> bool:
    """Returns whether Lambda reads the webhook queue."""
    mapping = boto3.client("lambda").get_event_source_mapping(UUID=os.environ["WEBHOOK_MAPPING_ID"])
    return bool(mapping["State"] == "Enabled")


def stored() -> list[dict[str, Any]]:
    """Returns the rows of the webhooks."""
    return [row for row in all_rows() if row["user_id"]["S"] == "operator#webhooks"]


def listed() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call("list_webhooks").body["data"]
    return found


def test_sample_event_creates_a_webhook() -> None:
    before = int(time.time())
    response = invoke("create_webhook", event("create_webhook"))
    assert response.status == 201
    created = response.body
    assert list(created.items())[1:5] == [
        ("url", URL),
        ("events", ["message.created", "message.deleted"]),
        ("is_enabled", True),
        ("previous_secret_valid_until", None),
    ]
    assert list(created)[5:] == ["created_at", "secret"]
    assert ids.is_id(created["id"])
    assert before <= created["created_at"] <= time.time()
    url = "https://a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com/v1/webhooks"
    assert (response.headers["Location"], response.headers["ETag"]) == (f"{url}/{created['id']}", '"1"')
    assert listed() == [without_secret(created)]


def test_first_webhook_enables_the_mapping() -> None:
    assert not is_enabled()
    assert post(events=[]).status == 400
    assert not is_enabled()
    create()
    assert is_enabled()
    create()
    assert is_enabled()


def test_secrets_differ_and_are_not_stored() -> None:
    secrets = [create()["secret"] for _ in range(3)]
    assert len(set(secrets)) == 3
    for secret in secrets:
        assert secret.startswith("whsec_")
        assert len(secret) == len("whsec_") + 44
    contents = json.dumps(all_rows())
    master = boto3.client("ssm").get_parameter(Name=PARAMETER, WithDecryption=True)["Parameter"]
    assert master["Type"] == "SecureString"
    for private in [*secrets, *(secret.removeprefix("whsec_") for secret in secrets), master["Value"]]:
        assert private not in contents


def test_new_environment_derives_the_same_secrets() -> None:
    created = [create() for _ in range(2)]
    rows = {row["id"]["S"]: row for row in stored()}
    secrets = Secrets()
    assert [secrets.newest(rows[webhook["id"]]) for webhook in created] == [webhook["secret"] for webhook in created]
    assert secrets.valid(rows[created[0]["id"]]) == [created[0]["secret"]]


def test_secret_of_a_replaced_master_key_is_not_derived() -> None:
    create()
    (row,) = stored()
    ssm = boto3.client("ssm")
    ssm.put_parameter(Name=PARAMETER, Value="YQ==", Type="SecureString", Overwrite=True)
    with pytest.raises(MasterKeyReplaced):
        Secrets().newest(row)
    # One that is deleted is made anew with the next webhook.
    ssm.delete_parameter(Name=PARAMETER)
    create()
    with pytest.raises(MasterKeyReplaced):
        Secrets().newest(row)


def test_simultaneous_first_webhooks_share_one_master_key(monkeypatch: pytest.MonkeyPatch) -> None:
    boto3.client("ssm").delete_parameters(Names=[PARAMETER])
    first, second = Secrets(), Secrets()
    read = first._read

    def create_elsewhere() -> bytes:
        # The second creates the key after the first has found none.
        monkeypatch.setattr(first, "_read", read)
        try:
            return read()
        finally:
            second.prepare()

    monkeypatch.setattr(first, "_read", create_elsewhere)
    assert first.prepare() == second.prepare()


def test_first_webhook_beside_another_may_be_told_to_try_again() -> None:
    ssm = vars(importlib.import_module("functions.create_webhook.app"))["secrets"]._ssm
    with Stubber(ssm) as stubber:
        stubber.add_client_error("get_parameter", "ParameterNotFound")
        # SSM lets only one of simultaneous requests change a parameter.
        stubber.add_client_error("put_parameter", "TooManyUpdates")
        response = post()
    assert (response.status, stored()) == (503, [])


@pytest.mark.parametrize(
    ("element", "operation", "code", "status"),
    [
        ("secrets._ssm", "get_parameter", "ThrottlingException", 503),
        ("secrets._ssm", "get_parameter", "InternalServerError", 503),
        ("secrets._ssm", "get_parameter", "AccessDeniedException", 500),
        ("mapping._lambda", "update_event_source_mapping", "TooManyRequestsException", 503),
        ("mapping._lambda", "update_event_source_mapping", "ServiceException", 503),
        ("mapping._lambda", "update_event_source_mapping", "ResourceNotFoundException", 500),
        # Another request has just enabled it.
        ("mapping._lambda", "update_event_source_mapping", "ResourceInUseException", 201),
    ],
)
def test_failure_of_ssm_or_lambda_creates_no_webhook(element: str, operation: str, code: str, status: int) -> None:
    name, attribute = element.split(".")
    http_status = 500 if code in {"InternalServerError", "ServiceException"} else 400
    used = vars(importlib.import_module("functions.create_webhook.app"))[name]
    with Stubber(getattr(used, attribute)) as stubber:
        stubber.add_client_error(operation, code, http_status_code=http_status)
        response = post()
    assert response.status == status
    assert (response.headers.get("Retry-After") == "1") is (status == 503)
    assert len(stored()) == (status == 201)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", f"{NO_URL}; {EVENTS}"),
        ("url=http://example.com&events[]=message.created", "url: must begin with https://"),
        ("url=https://a:b@1.1.1.1&events[]=message.created", "url: must not contain credentials"),
        ("url=https://1.1.1.1/%23a&events[]=message.created", "url: must not contain a fragment (#)"),
        ("url=https://1.1.1.1:8443&events[]=message.created", "url: must have port 443, which is the default"),
        (
            "url=https://127.1&events[]=message.created",
            "url: must have a host name (xn-- if it is not ASCII) or an IP address, and no characters to be escaped",
        ),
        (
            "url=https://169.254.169.254/latest&events[]=message.created",
            "url: must lead to public addresses only; private ones are never called",
        ),
        ("url=https://nowhere.invalid&events[]=message.created", "url: must have a host whose name resolves"),
        (f"url=https://1.1.1.1/{'a' * 2033}&events[]=message.created", NO_URL),
        ("url=https://1.1.1.1&events=message.created", EVENTS),
        ("url=https://1.1.1.1&events[]=message.read", EVENTS),
        ("url=https://1.1.1.1&events[]=message.created&events[]=*", EVENTS),
        ("url=http://1.1.1.1&events[]=message.read", f"{EVENTS}; url: must begin with https://"),
        (
            "url=https://1.1.1.1&events[]=message.created&secret=a&is_enabled=true",
            f"secret{UNKNOWN}; is_enabled{UNKNOWN}",
        ),
    ],
    ids=itertools.count(),
)
def test_malformed_webhook_is_rejected(body: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coherent.webhooks.addresses._RESOLVER_SECONDS", 1)
    response = call("create_webhook", body=body, content_type=FORM)
    assert (response.status, response.message) == (400, message)
    assert (stored(), is_enabled()) == ([], False)


@pytest.mark.parametrize("attributes", [{"url": None}, {"url": 1}, {"events": None}, {"events": []}, {"events": [1]}])
def test_wrong_type_is_rejected(attributes: dict[str, Any]) -> None:
    response = post(**attributes)
    assert (response.status, response.message) == (400, NO_URL if "url" in attributes else EVENTS)


def test_repeated_events_are_stored_once_in_their_order() -> None:
    assert create(events=[*reversed(TYPES), *TYPES])["events"] == TYPES[::-1]


def test_longest_url_is_stored() -> None:
    longest = f"https://1.1.1.1/{'a' * 2032}"
    assert len(longest) == 2048
    assert create(url=longest)["url"] == longest


def test_webhook_for_a_private_address_needs_the_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_TARGETS", "any")
    assert create(url="https://127.0.0.1:8443/")["url"] == "https://127.0.0.1:8443/"


def test_same_key_returns_the_first_response_with_the_secret() -> None:
    first = post("a key")
    assert "Idempotent-Replayed" not in first.headers
    assert webhooks.put(first.body, url="https://1.0.0.1", rotate_secret=True).status == 200
    again = post("a key")
    assert (again.status, again.body) == (201, first.body)
    assert again.headers == first.headers | {"Idempotent-Replayed": "true"}
    assert len(listed()) == 1
    assert post("another key").body["id"] != first.body["id"]


def test_same_key_with_other_attributes_is_rejected() -> None:
    post("a key")
    response = post("a key", events=["message.deleted"])
    assert response.status == 422
    assert len(listed()) == 1


def test_stack_has_at_most_20_webhooks() -> None:
    created = [post(str(number)).body for number in range(20)]
    message = "webhooks: must be at most 20 in a stack; delete one first"
    assert [(response.status, response.message) for response in (post(), post("a key"))] == [(400, message)] * 2
    # A replay needs no room.
    assert post("0").body == created[0]
    assert [webhook["id"] for webhook in listed()] == [webhook["id"] for webhook in reversed(created)]
    assert call("delete_webhook", id=created[0]["id"]).status == 204
    assert call("delete_webhook", id=created[0]["id"]).status == 404
    assert post().status == 201
    assert post().status == 400


@pytest.mark.usefixtures("no_backoff")
def test_write_whose_response_is_lost_creates_one_webhook(wire: Wire) -> None:
    wire.lose_next_response()
    created = create()
    assert listed() == [without_secret(created)]
    assert post().status == 201
