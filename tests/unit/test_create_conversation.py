"""POST /v1/conversations."""

import json
import os
import time
from typing import Any, NoReturn

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest
from coherent import ids

from tests import tables
from tests.handlers import JSON, Response, call, create, event, invoke, list_conversations, update
from tests.wire import Wire, cancelled_transaction

pytestmark = pytest.mark.usefixtures("tables")

NAME = "must be 1 to 128 characters without white space or control characters, or null"
UNKNOWN = ": unknown or read-only; this call takes contact_id, group_id, distinct"
NO_CONTACT = "contact_id, group_id: at least one of them must be given"


def post(key: str | None, body: str = "contact_id=harry&group_id=friends", user: str = "kevin") -> Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return call("create_conversation", user=user, body=body, headers=headers)


def test_sample_event_creates_a_conversation() -> None:
    before = int(time.time())
    response = invoke("create_conversation", event("create_conversation"))
    after = int(time.time())
    assert response.status == 201
    assert list(response.body.items())[1:8] == [
        ("contact_id", "harry"),
        ("group_id", "friends"),
        ("pinned_message_id", None),
        ("is_pinned", False),
        ("is_muted", False),
        ("last_active_at", None),
        ("last_opened_at", None),
    ]
    assert list(response.body) == [*list(response.body)[:8], "created_at", "archived_at"]
    assert ids.is_id(response.body["id"])
    assert before <= response.body["created_at"] <= after
    assert response.body["archived_at"] is None
    url = "https://a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com/v1/conversations"
    assert response.headers["Location"] == f"{url}/{response.body['id']}"


def test_location_uses_the_public_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBLIC_URL", "https://chat.example.com/api")
    response = invoke("create_conversation", event("create_conversation"))
    assert response.headers["Location"] == f"https://chat.example.com/api/conversations/{response.body['id']}"


def test_name_of_128_characters_is_accepted() -> None:
    longest = "漢" * 128
    assert create(contact_id=longest, group_id=longest)["group_id"] == longest
    assert [found["contact_id"] for found in list_conversations(group_id=longest)] == [longest]


def test_write_requires_that_the_row_is_new(wire: Wire) -> None:
    create()
    write, _pair = wire.bodies[0]["TransactItems"]
    assert write["Put"]["ConditionExpression"] == "attribute_not_exists(id)"


def test_new_conversation_has_etag_1() -> None:
    assert call("create_conversation", body="contact_id=harry").headers["ETag"] == '"1"'


def test_same_key_returns_the_first_response() -> None:
    first = post("a key")
    assert first.status == 201
    assert "Idempotent-Replayed" not in first.headers
    update(first.body, is_muted=True)
    for body in ("contact_id=harry&group_id=friends", "group_id=friends&contact_id=harry"):
        again = post("a key", body)
        assert (again.status, again.body) == (201, first.body)
        assert again.headers == first.headers | {"Idempotent-Replayed": "true"}
    assert list_conversations() == [first.body | {"is_muted": True}]


def test_same_key_returns_the_first_response_after_deletion() -> None:
    first = post("a key")
    call("delete_conversation", id=first.body["id"])
    assert post("a key").body == first.body
    assert list_conversations() == []


@pytest.mark.parametrize("body", ["contact_id=harry", "contact_id=kevin&group_id=friends", "group_id=friends"])
def test_same_key_with_other_attributes_is_rejected(body: str) -> None:
    first = post("a key")
    response = post("a key", body)
    assert response.status == 422
    assert response.message == "Idempotency-Key: was already used with other attributes; use a new key"
    assert list_conversations() == [first.body]


def test_same_key_of_two_users_creates_two_conversations() -> None:
    first, second = post("a key", user="kevin"), post("a key", user="harry")
    assert first.body["id"] != second.body["id"]
    assert list_conversations(user="kevin") == [first.body]
    assert list_conversations(user="harry") == [second.body]


def test_other_key_creates_another_conversation() -> None:
    assert [post(key).status for key in ("a key", "A key", "~" * 255, "!")] == [201] * 4
    assert len(list_conversations()) == 4


def test_rejected_request_does_not_use_its_key() -> None:
    assert post("a key", "contact_id=").status == 400
    assert post("a key").status == 201


@pytest.mark.parametrize("key", ["", "a" * 256, "schlüssel", "a\tb", "a\n", "a\x7f"])
def test_malformed_key_is_rejected(key: str) -> None:
    response = post(key)
    assert (response.status, response.message) == (400, "Idempotency-Key: must be 1 to 255 printable ASCII characters")
    assert list_conversations() == []


def test_key_expires_after_24_hours() -> None:
    first = post("a key").body
    (record,) = [row for row in tables.all_rows() if "expires_at" in row]
    assert record["expires_at"] == {"N": str(first["created_at"] + 24 * 60 * 60)}
    table = os.environ["CONVERSATIONS_TABLE_NAME"]
    # Created yesterday and expired, but not yet deleted by TTL.
    yesterday = {
        "created_at": {"N": str(first["created_at"] - 24 * 60 * 60)},
        "expires_at": {"N": str(first["created_at"])},
    }
    boto3.client("dynamodb").put_item(TableName=table, Item=record | yesterday)
    second = post("a key", "contact_id=marv")
    assert second.status == 201
    assert "Idempotent-Replayed" not in second.headers
    assert list_conversations() == [second.body, first]


@pytest.mark.parametrize("key", [None, "a key"])
def test_lost_response_does_not_restore_a_conversation_deleted_since(key: str | None, wire: Wire) -> None:
    wire.lose_next_response()

    def delete_then_retry(request: AWSPreparedRequest) -> None:
        del request
        if len(wire.requests) == 2:
            wire.fault = None
            (created,) = list_conversations()
            assert call("delete_conversation", id=created["id"]).status == 204

    wire.fault = delete_then_retry
    response = post(key)
    assert response.status == 201
    assert list_conversations() == []
    id = response.body["id"]
    assert call("retrieve_conversation", id=id).status == 404
    body = json.dumps({"conversation_id": id, "message": "hello"})
    assert call("create_message", body=body, content_type=JSON).status == 404


def test_location_has_no_double_slash() -> None:
    request = event("create_conversation")
    request["path"] = "/conversations/"
    request["requestContext"]["path"] = "/v1/conversations/"
    response = invoke("create_conversation", request)
    assert response.headers["Location"].endswith(f".com/v1/conversations/{response.body['id']}")


@pytest.mark.parametrize("key", [None, "a key"])
def test_lost_response_creates_one_conversation(key: str | None, wire: Wire) -> None:
    wire.lose_next_response()
    response = post(key)
    assert wire.requests == ["TransactWriteItems"] * 2
    assert (response.status, "Idempotent-Replayed" in response.headers) == (201, False)
    assert list_conversations() == [response.body]


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("conflicts", [1, 5])
def test_transaction_conflict_is_retried(conflicts: int, wire: Wire) -> None:
    wire.fault = lambda request: (
        cancelled_transaction(request, "TransactionConflict") if len(wire.requests) <= conflicts else None
    )
    response = post("a key")
    assert response.status == 201
    assert wire.requests == ["TransactWriteItems"] * (conflicts + 1)


@pytest.mark.usefixtures("no_backoff")
def test_persistent_transaction_conflict_returns_503(wire: Wire) -> None:
    wire.fault = lambda request: cancelled_transaction(request, "TransactionConflict")
    response = post("a key")
    assert (response.status, response.headers["Retry-After"]) == (503, "1")


class Killed(BaseException):
    """The execution environment was killed during the call."""


def killed(_: object) -> NoReturn:
    raise Killed


def crash_before_request(wire: Wire) -> None:
    wire.fault = killed


def crash_before_retry_of_conflict(wire: Wire) -> None:
    wire.fault = lambda request: (
        cancelled_transaction(request, "TransactionConflict") if len(wire.requests) == 1 else killed(request)
    )


def crash_before_retry_of_lost_response(wire: Wire) -> None:
    wire.lose_next_response()
    wire.fault = lambda request: None if len(wire.requests) == 1 else killed(request)


def crash_after_response(wire: Wire) -> None:
    wire.kill_after_response = Killed()


@pytest.mark.parametrize(
    ("crash", "is_applied"),
    [
        (crash_before_request, False),
        (crash_before_retry_of_conflict, False),
        (crash_before_retry_of_lost_response, True),
        (crash_after_response, True),
    ],
)
def test_retry_after_a_crash_creates_one_conversation(crash: Any, is_applied: bool, wire: Wire) -> None:
    crash(wire)
    with pytest.raises(Killed):
        post("a key")
    wire.reset()
    left = list_conversations()
    assert (len(left), len(tables.all_rows())) == ((1, 3) if is_applied else (0, 0))
    repeated = post("a key")
    assert (repeated.status, "Idempotent-Replayed" in repeated.headers) == (201, is_applied)
    assert list_conversations() == (left or [repeated.body])
    assert post("a key").body == repeated.body


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("code", ["ThrottlingError", "ProvisionedThroughputExceeded"])
def test_throttled_transaction_is_retried(code: str, wire: Wire) -> None:
    wire.fault = lambda request: cancelled_transaction(request, code)
    assert post("a key").status == 503
    wire.reset()
    wire.fault = lambda request: cancelled_transaction(request, code) if len(wire.requests) < 6 else None
    assert post("a key").status == 201


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (None, NO_CONTACT),
        ("", NO_CONTACT),
        ("contact_id=", NO_CONTACT),
        ("contact_id=&group_id=", NO_CONTACT),
        ("contact_id=a+b", f"contact_id: {NAME}"),
        ("contact_id=a%00b", f"contact_id: {NAME}"),
        ("contact_id=a%7Fb", f"contact_id: {NAME}"),
        ("contact_id=a%C2%80b", f"contact_id: {NAME}"),
        ("contact_id=a%C2%85b", f"contact_id: {NAME}"),
        ("contact_id=a%E2%80%83b", f"contact_id: {NAME}"),
        ("contact_id=a%0A", f"contact_id: {NAME}"),
        (f"contact_id={'a' * 129}", f"contact_id: {NAME}"),
        ("contact_id=%20&group_id=%20", f"contact_id: {NAME}; group_id: {NAME}"),
        ("contact_id=harry&contact_id=kevin", "contact_id: must be given only once"),
        ("contact_id=harry&is_pinned=true", f"is_pinned{UNKNOWN}"),
        ("contact_id=harry&id=xgQQXg3hrtjh7AvZ", f"id{UNKNOWN}"),
        ("contact_id=harry&colour=red", f"colour{UNKNOWN}"),
        ("contact_id", "body: must be a well-formed form, such as is_pinned=true"),
        ("contact_id=%ff", "body: must be UTF-8, percent-encoded"),
        ("contact_id=\ud800", "body: must be UTF-8"),
    ],
)
def test_invalid_form_is_rejected(body: str | None, message: str) -> None:
    response = call("create_conversation", body=body)
    assert (response.status, response.message) == (400, message)
    assert list_conversations() == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{}", NO_CONTACT),
        ('{"contact_id": null}', NO_CONTACT),
        ('{"contact_id": ""}', f"contact_id: {NAME}"),
        ('{"contact_id": 7}', f"contact_id: {NAME}"),
        ('{"contact_id": true}', f"contact_id: {NAME}"),
        ('{"contact_id": ["harry"]}', f"contact_id: {NAME}"),
        ('{"contact_id": {"id": "harry"}}', f"contact_id: {NAME}"),
        ('{"contact_id": "a\\u0000b"}', f"contact_id: {NAME}"),
        ('{"contact_id": "\\ud800"}', f"contact_id: {NAME}"),
        ('{"\\ud800": "harry", "group_id": "friends"}', "parameter names: must be valid Unicode"),
        ('{"\\ud800": 1, "\\ud800": 1}', "?: must be given only once"),
        ('{"contact_id": {"\\udc00": 1, "\\udc00": 1}}', "?: must be given only once"),
        ('{"contact_id": "harry", "contact_id": "kevin"}', "contact_id: must be given only once"),
        (
            '{"contact_id": "harry", "created_at": 1}',
            "created_at: unknown or read-only; this call takes contact_id, group_id, distinct",
        ),
        (
            json.dumps({"x" * 1000: 1, "group_id": "friends"}),
            "x" * 64 + UNKNOWN,
        ),
    ],
)
def test_invalid_json_is_rejected(body: str, message: str) -> None:
    response = call("create_conversation", body=body, content_type=JSON)
    assert (response.status, response.message) == (400, message)
    assert list_conversations() == []
