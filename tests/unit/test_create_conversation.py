"""POST /v1/conversations."""

import base64
import json
import os
import time
from typing import Any, NoReturn

import boto3
import pytest
from coherent import ids

from tests.handlers import FORM, JSON, Response, call, create, event, invoke, list_conversations, update
from tests.wire import Wire, cancelled_transaction

pytestmark = pytest.mark.usefixtures("tables")

NAME = "must be 1 to 128 characters without white space or control characters, or null"
UNKNOWN = ": unknown or read-only; this call takes contact_id, group_id"
NOBODY = "contact_id, group_id: at least one of them must be given"


def test_the_sample_event_creates_a_conversation() -> None:
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


def test_location_keeps_to_the_public_url_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBLIC_URL", "https://chat.example.com/api")
    response = invoke("create_conversation", event("create_conversation"))
    assert response.headers["Location"] == f"https://chat.example.com/api/conversations/{response.body['id']}"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (FORM, "contact_id=h%C3%A4rry%26co"),
        (FORM, "contact_id=h%C3%A4rry%26co&group_id="),
        ("Application/X-WWW-Form-URLencoded; charset=UTF-8", "contact_id=h%C3%A4rry%26co"),
        (JSON, '{"contact_id": "härry&co"}'),
        (JSON, '{"contact_id": "h\\u00e4rry&co", "group_id": null}'),
        ("application/json;charset=utf-8", '{"contact_id": "härry&co"}'),
    ],
)
@pytest.mark.parametrize("is_base64", [False, True])
def test_form_and_json_say_the_same(content_type: str, body: str, is_base64: bool) -> None:
    request = event("create_conversation")
    del request["multiValueHeaders"]["Content-Type"]
    request["multiValueHeaders"]["CONTENT-type"] = [content_type]
    request["body"] = base64.b64encode(body.encode()).decode() if is_base64 else body
    request["isBase64Encoded"] = is_base64
    response = invoke("create_conversation", request)
    assert response.status == 201
    assert (response.body["contact_id"], response.body["group_id"]) == ("härry&co", None)
    assert list_conversations(user=request["requestContext"]["authorizer"]["claims"]["sub"]) == [response.body]


def test_names_may_have_up_to_128_characters_of_any_script() -> None:
    longest = "漢" * 128
    assert create(contact_id=longest, group_id=longest)["group_id"] == longest
    assert [found["contact_id"] for found in list_conversations(group_id=longest)] == [longest]


def test_a_row_is_only_written_where_there_is_none(wire: Wire) -> None:
    create()
    assert wire.bodies[0]["ConditionExpression"] == "attribute_not_exists(id)"


def test_a_write_whose_answer_is_lost_creates_one_conversation(wire: Wire) -> None:
    wire.lose_next_response()
    created = create()
    assert wire.requests == ["PutItem", "PutItem"]
    assert list_conversations() == [created]


def test_a_new_conversation_has_the_first_etag() -> None:
    assert call("create_conversation", body="contact_id=harry").headers["ETag"] == '"1"'


def once(key: str, body: str = "contact_id=harry&group_id=friends", user: str = "kevin") -> Response:
    return call("create_conversation", user=user, body=body, headers={"Idempotency-Key": key})


def test_the_same_key_creates_once_and_answers_the_same_again() -> None:
    first = once("a key")
    assert first.status == 201
    assert "Idempotent-Replayed" not in first.headers
    update(first.body, is_muted=True)
    for body in ("contact_id=harry&group_id=friends", "group_id=friends&contact_id=harry"):
        again = once("a key", body)
        assert (again.status, again.body) == (201, first.body)
        assert again.headers == first.headers | {"Idempotent-Replayed": "true"}
    assert list_conversations() == [first.body | {"is_muted": True}]


def test_the_first_answer_is_given_even_when_the_conversation_is_gone() -> None:
    first = once("a key")
    call("delete_conversation", id=first.body["id"])
    assert once("a key").body == first.body
    assert list_conversations() == []


@pytest.mark.parametrize("body", ["contact_id=harry", "contact_id=kevin&group_id=friends", "group_id=friends"])
def test_the_same_key_with_other_attributes_is_refused(body: str) -> None:
    first = once("a key")
    response = once("a key", body)
    assert response.status == 422
    assert response.message == "Idempotency-Key: must be a new one for new attributes; this one was used with others"
    assert list_conversations() == [first.body]


def test_keys_are_the_users_own() -> None:
    mine, theirs = once("a key", user="kevin"), once("a key", user="harry")
    assert mine.body["id"] != theirs.body["id"]
    assert list_conversations(user="kevin") == [mine.body]
    assert list_conversations(user="harry") == [theirs.body]


def test_another_key_creates_another_conversation() -> None:
    assert [once(key).status for key in ("a key", "A key", "~" * 255, "!")] == [201] * 4
    assert len(list_conversations()) == 4


def test_a_wrong_request_does_not_use_up_its_key() -> None:
    assert once("a key", "contact_id=").status == 400
    assert once("a key").status == 201


@pytest.mark.parametrize("key", ["", "a" * 256, "schlüssel", "a\tb", "a\n", "a\x7f"])
def test_a_malformed_key_is_refused(key: str) -> None:
    response = once(key)
    assert (response.status, response.message) == (400, "Idempotency-Key: must be 1 to 255 printable ASCII characters")
    assert list_conversations() == []


def test_a_key_is_remembered_for_24_hours() -> None:
    first = once("a key").body
    (record,) = [row for row in rows() if "expires_at" in row]
    assert record["expires_at"] == {"N": str(first["created_at"] + 24 * 60 * 60)}
    table = os.environ["CONVERSATIONS_TABLE_NAME"]
    # It was made yesterday and has expired, and DynamoDB has not yet come round to remove it.
    yesterday = {
        "created_at": {"N": str(first["created_at"] - 24 * 60 * 60)},
        "expires_at": {"N": str(first["created_at"])},
    }
    boto3.client("dynamodb").put_item(TableName=table, Item=record | yesterday)
    second = once("a key", "contact_id=somebody")
    assert second.status == 201
    assert "Idempotent-Replayed" not in second.headers
    assert list_conversations() == [second.body, first]


def rows() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = boto3.client("dynamodb").scan(TableName=os.environ["CONVERSATIONS_TABLE_NAME"])[
        "Items"
    ]
    return found


def test_a_transaction_whose_answer_is_lost_creates_one_conversation(wire: Wire) -> None:
    wire.lose_next_response()
    response = once("a key")
    assert wire.requests == ["TransactWriteItems", "TransactWriteItems"]
    assert (response.status, "Idempotent-Replayed" in response.headers) == (201, False)
    assert list_conversations() == [response.body]


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("endings", [["TransactionConflict"], ["TransactionConflict"] * 5])
def test_twins_that_meet_try_again(endings: list[str], wire: Wire) -> None:
    codes = iter(endings)
    wire.fault = lambda request: cancelled_transaction(request, code) if (code := next(codes, None)) else None
    response = once("a key")
    assert response.status == 201
    assert wire.requests == ["TransactWriteItems"] * (len(endings) + 1)


@pytest.mark.usefixtures("no_backoff")
def test_twins_that_keep_meeting_are_told_to_come_again(wire: Wire) -> None:
    wire.fault = lambda request: cancelled_transaction(request, "TransactionConflict")
    response = once("a key")
    assert (response.status, response.headers["Retry-After"]) == (503, "1")


class Killed(BaseException):
    """The function's process was stopped in the midst of its work."""


def killed(_: object) -> NoReturn:
    raise Killed


def crash_before_the_request(wire: Wire) -> None:
    wire.fault = killed


def crash_before_the_request_that_follows_a_conflict(wire: Wire) -> None:
    wire.fault = lambda request: (
        cancelled_transaction(request, "TransactionConflict") if len(wire.requests) == 1 else killed(request)
    )


def crash_before_the_request_that_follows_a_lost_answer(wire: Wire) -> None:
    wire.lose_next_response()
    wire.fault = lambda request: None if len(wire.requests) == 1 else killed(request)


def crash_after_the_answer(wire: Wire) -> None:
    wire.kill_after_response = Killed()


@pytest.mark.parametrize(
    ("crash", "is_done"),
    [
        (crash_before_the_request, False),
        (crash_before_the_request_that_follows_a_conflict, False),
        (crash_before_the_request_that_follows_a_lost_answer, True),
        (crash_after_the_answer, True),
    ],
)
def test_a_crash_leaves_nothing_or_an_answer_to_be_had_again(crash: Any, is_done: bool, wire: Wire) -> None:
    crash(wire)
    with pytest.raises(Killed):
        once("a key")
    wire.reset()
    left = list_conversations()
    assert (len(left), len(rows())) == ((1, 2) if is_done else (0, 0))
    repeated = once("a key")
    assert (repeated.status, "Idempotent-Replayed" in repeated.headers) == (201, is_done)
    assert list_conversations() == (left or [repeated.body])
    assert once("a key").body == repeated.body


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("code", ["ThrottlingError", "ProvisionedThroughputExceeded"])
def test_a_throttled_transaction_is_tried_again_and_is_a_503_in_the_end(code: str, wire: Wire) -> None:
    wire.fault = lambda request: cancelled_transaction(request, code)
    assert once("a key").status == 503
    wire.reset()
    wire.fault = lambda request: cancelled_transaction(request, code) if len(wire.requests) < 6 else None
    assert once("a key").status == 201


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (None, NOBODY),
        ("", NOBODY),
        ("contact_id=", NOBODY),
        ("contact_id=&group_id=", NOBODY),
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
        ("contact_id=harry&is_pinned=true", "is_pinned: unknown or read-only; this call takes contact_id, group_id"),
        ("contact_id=harry&id=xgQQXg3hrtjh7AvZ", "id: unknown or read-only; this call takes contact_id, group_id"),
        ("contact_id=harry&colour=red", "colour: unknown or read-only; this call takes contact_id, group_id"),
        ("contact_id", "body: must be a well-formed form, such as is_pinned=true"),
        ("contact_id=%ff", "body: must be a well-formed form, such as is_pinned=true"),
        ("contact_id=\ud800", "body: must be UTF-8"),
    ],
)
def test_a_wrong_form_is_refused(body: str | None, message: str) -> None:
    response = call("create_conversation", body=body)
    assert (response.status, response.message) == (400, message)
    assert list_conversations() == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{}", NOBODY),
        ('{"contact_id": null}', NOBODY),
        ('{"contact_id": ""}', f"contact_id: {NAME}"),
        ('{"contact_id": 7}', f"contact_id: {NAME}"),
        ('{"contact_id": true}', f"contact_id: {NAME}"),
        ('{"contact_id": ["harry"]}', f"contact_id: {NAME}"),
        ('{"contact_id": {"id": "harry"}}', f"contact_id: {NAME}"),
        ('{"contact_id": "a\\u0000b"}', f"contact_id: {NAME}"),
        ('{"contact_id": "\\ud800"}', f"contact_id: {NAME}"),
        ('{"\\ud800": "harry", "group_id": "friends"}', "parameter names: must be valid Unicode"),
        ('{"contact_id": "harry", "contact_id": "kevin"}', "contact_id: must be given only once"),
        (
            '{"contact_id": "harry", "created_at": 1}',
            "created_at: unknown or read-only; this call takes contact_id, group_id",
        ),
        (
            json.dumps({"x" * 1000: 1, "group_id": "friends"}),
            "x" * 64 + UNKNOWN,
        ),
    ],
)
def test_wrong_json_is_refused(body: str, message: str) -> None:
    response = call("create_conversation", body=body, content_type=JSON)
    assert (response.status, response.message) == (400, message)
    assert list_conversations() == []


@pytest.mark.parametrize(
    "body",
    [
        "{",
        " ",
        "contact_id=harry",
        '{"contact_id": "harry",}',
        "nul",
        "NaN",
        '{"contact_id": Infinity}',
        "[" * 60_000,
        '{"a":' * 10_000,
        "1" * 5000,
        '{"contact_id": "a\nb"}',
        "\ufeff{}",
    ],
    ids=lambda body: body[:20],
)
def test_malformed_json_is_refused(body: str) -> None:
    response = call("create_conversation", body=body, content_type=JSON)
    assert (response.status, response.message) == (400, 'body: must be well-formed JSON, such as {"is_pinned": true}')


@pytest.mark.parametrize("body", ["null", "[]", '["contact_id"]', '"contact_id"', "7", "true"])
def test_json_other_than_an_object_is_refused(body: str) -> None:
    response = call("create_conversation", body=body, content_type=JSON)
    assert (response.status, response.message) == (400, 'body: must be a JSON object, such as {"is_pinned": true}')


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/xml", "multipart/form-data; boundary=x"])
def test_a_body_of_another_kind_is_refused(content_type: str) -> None:
    response = call("create_conversation", body="contact_id=harry", content_type=content_type)
    assert response.status == 415
    assert response.message == "Content-Type: must be application/json or application/x-www-form-urlencoded"
    assert list_conversations() == []


@pytest.mark.parametrize("is_base64", [False, True])
def test_a_body_of_64_kib_is_read_and_a_longer_one_refused(is_base64: bool) -> None:
    def post(length: int) -> tuple[int, str]:
        request = event("create_conversation")
        body = "contact_id=" + "a" * (length - len("contact_id="))
        request["body"] = base64.b64encode(body.encode()).decode() if is_base64 else body
        request["isBase64Encoded"] = is_base64
        response = invoke("create_conversation", request)
        return response.status, response.message

    assert post(65536) == (400, f"contact_id: {NAME}")
    assert post(65537) == (413, "body: must be at most 65536 bytes")


def test_a_body_is_measured_in_bytes() -> None:
    assert call("create_conversation", body="contact_id=" + "é" * 32763).status == 413


def test_base64_that_is_none_is_refused() -> None:
    request = event("create_conversation") | {"isBase64Encoded": True, "body": "a"}
    response = invoke("create_conversation", request)
    assert (response.status, response.message) == (400, "body: must be UTF-8")
