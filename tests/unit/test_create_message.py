"""POST /v1/messages."""

import json
import time
from typing import Any
from urllib.parse import urlencode

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest

from tests import tables
from tests.handlers import JSON, Response, call, create, event, invoke, list_messages, send, update
from tests.wire import Wire

pytestmark = pytest.mark.usefixtures("tables", "no_backoff")

TAKES = "this call takes conversation_id, message, attachments"
ID = "conversation_id: must be an id of 16 letters and digits"
TEXT = (
    "message: must be 1 to 10,000 characters without control characters other than tabs and line ends; empty only "
    "with attachments"
)
EMPTY = "message: must not be empty without attachments"
ATTACHMENTS = (
    "attachments: must be an array of at most 32 strings, each 1 to 2,048 bytes of UTF-8 without white space or "
    "control characters; in a form, attachments[]=..."
)


def post(user: str = "kevin", key: str | None = None, **attributes: object) -> Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return call("create_message", user=user, body=json.dumps(attributes), content_type=JSON, headers=headers)


def test_sample_event_returns_404_on_empty_table() -> None:
    response = invoke("create_message", event("create_message"))
    assert (response.status, response.message) == (404, "conversation_id: no such conversation")


def test_message_is_created_and_conversation_becomes_active() -> None:
    conversation = create()
    before = int(time.time())
    response = post(conversation_id=conversation["id"], message="Merry Christmas!", attachments=["https://x.example/a"])
    sent = response.body
    assert response.status == 201
    assert list(sent) == [
        *("id", "conversation_id", "contact", "message", "reactions", "attachments"),
        *("read_at", "created_at", "updated_at"),
    ]
    assert sent == {
        "id": sent["id"],
        "conversation_id": conversation["id"],
        "contact": None,
        "message": "Merry Christmas!",
        "reactions": [],
        "attachments": ["https://x.example/a"],
        "read_at": None,
        "created_at": sent["created_at"],
        "updated_at": None,
    }
    assert before <= sent["created_at"] <= time.time()
    assert response.headers["Location"].endswith(f"/v1/messages/{sent['id']}")
    assert response.headers["ETag"] == '"1"'
    assert call("retrieve_message", id=sent["id"]).body == sent
    now = call("retrieve_conversation", id=conversation["id"])
    assert now.body == conversation | {"last_active_at": sent["created_at"]}
    assert now.headers["ETag"] == '"2"'


def test_form_is_accepted() -> None:
    conversation = create()
    form = f"conversation_id={conversation['id']}&message=two%0Alines&attachments[]=a&attachments[]=b"
    sent = call("create_message", body=form).body
    assert (sent["message"], sent["attachments"]) == ("two\nlines", ["a", "b"])


@pytest.mark.parametrize(
    ("form", "attachments"),
    [
        ("attachments[0]=a&attachments[1]=b", ["a", "b"]),
        ("attachments[1]=b&attachments[0]=a", ["a", "b"]),
        ("attachments[]=a&attachments[1]=b&", ["a", "b"]),
        ("attachments[5]=a&attachments[]=b", ["a", "b"]),
        ("&&attachments[]=a&&", ["a"]),
    ],
)
def test_form_may_have_indexes_and_empty_pairs(form: str, attachments: list[str]) -> None:
    conversation = create()
    response = call("create_message", body=f"conversation_id={conversation['id']}&message=hi&{form}")
    assert (response.status, response.body["attachments"]) == (201, attachments)


@pytest.mark.parametrize("given", [{}, {"message": ""}], ids=str)
def test_attachments_alone_are_a_message(given: dict[str, str]) -> None:
    response = post(conversation_id=create()["id"], attachments=["https://x.example/cat.png"], **given)
    assert (response.status, response.body["message"]) == (201, "")


CHARACTERS = ["a", "é", "漢", "🎄"]


@pytest.mark.parametrize("character", CHARACTERS)
@pytest.mark.parametrize("encoding", ["JSON, escaped", "JSON, UTF-8", "form"])
def test_largest_message_fits_in_every_encoding(encoding: str, character: str) -> None:
    attachment = character * (2048 // len(character.encode()))
    given = {"conversation_id": create()["id"], "message": character * 10_000, "attachments": [attachment] * 32}
    if encoding == "form":
        arrays = {("attachments[]" if name == "attachments" else name): value for name, value in given.items()}
        response = call("create_message", body=urlencode(arrays, doseq=True))
    else:
        body = json.dumps(given, ensure_ascii=encoding == "JSON, escaped")
        response = call("create_message", body=body, content_type=JSON)
    assert response.status == 201, response
    assert {name: response.body[name] for name in given} == given


def test_message_gets_a_later_id_after_a_conflict(wire: Wire) -> None:
    conversation = create()
    newer: list[dict[str, Any]] = []
    wire.before("TransactWriteItems", lambda: newer.append(send(conversation, "newer")))
    last = post(conversation_id=conversation["id"], message="last").body
    assert last["id"] > newer[0]["id"]
    following = list_messages(conversation_id=conversation["id"], ending_before=newer[0]["id"])
    assert following == [last]


def test_message_gets_the_greatest_id_although_another_clock_is_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = create()
    ahead = time.time_ns() + 5_000_000_000
    with monkeypatch.context() as clock:
        clock.setattr("time.time_ns", lambda: ahead)
        first = send(conversation, "from a clock that is ahead")
    second = send(conversation, "from ours")
    assert first["id"] < second["id"]
    assert first["created_at"] <= second["created_at"]
    conversation = call("retrieve_conversation", id=conversation["id"]).body
    assert conversation["last_active_at"] == second["created_at"]


def test_lost_response_does_not_restore_a_message_that_was_deleted_since(wire: Wire) -> None:
    conversation = create()
    wire.reset()
    wire.lose_next_response()

    def delete_then_retry(request: AWSPreparedRequest) -> None:
        del request
        if wire.requests.count("TransactWriteItems") == 2:
            wire.fault = None
            (row,) = tables.messages()
            tables.delete_message({name: row[name] for name in ("user_conversation", "id")})

    wire.fault = delete_then_retry
    assert post(conversation_id=conversation["id"], message="hello").status == 201
    assert tables.messages() == []


def test_last_active_at_never_goes_back() -> None:
    conversation = create()
    ahead = int(time.time()) + 1000
    boto3.client("dynamodb").update_item(
        TableName="conversations",
        Key={"user_id": {"S": "kevin"}, "id": {"S": conversation["id"]}},
        UpdateExpression="SET last_active_at = :ahead",
        ExpressionAttributeValues={":ahead": {"N": str(ahead)}},
    )
    sent = send(conversation)
    assert sent["created_at"] < ahead
    assert call("retrieve_conversation", id=conversation["id"]).body["last_active_at"] == ahead
    assert list_messages(conversation_id=conversation["id"]) == [sent]


def test_conversation_of_another_user_returns_404() -> None:
    conversation = create(user="kevin")
    foreign = post(user="harry", conversation_id=conversation["id"], message="hello")
    absent = post(user="harry", conversation_id="xgQQXg3hrtjh7AvZ", message="hello")
    assert (foreign.status, foreign.message) == (404, "conversation_id: no such conversation")
    assert foreign.body == absent.body
    assert list_messages("kevin") == list_messages("harry") == []
    assert call("retrieve_conversation", id=conversation["id"]).body == conversation


def test_deleted_conversation_returns_404() -> None:
    conversation = create()
    call("delete_conversation", id=conversation["id"])
    assert post(conversation_id=conversation["id"], message="hello").status == 404
    assert call("retrieve_conversation", id=conversation["id"]).status == 404


def test_same_key_returns_the_first_response() -> None:
    conversation = create()
    first = post(key="a key", conversation_id=conversation["id"], message="hello")
    update(conversation, is_muted=True)
    second = post(key="a key", conversation_id=conversation["id"], message="hello", attachments=[])
    assert "Idempotent-Replayed" not in first.headers
    assert (second.status, second.body) == (201, first.body)
    assert second.headers == first.headers | {"Idempotent-Replayed": "true"}
    assert list_messages() == [first.body]


@pytest.mark.parametrize("other", [{"message": "hi"}, {"attachments": ["a"]}], ids=str)
def test_same_key_with_other_attributes_is_rejected(other: dict[str, Any]) -> None:
    given = {"conversation_id": create()["id"], "message": "hello"}
    first = post(key="a key", **given)
    assert post(key="a key", **given | other).status == 422
    assert list_messages() == [first.body]


def test_key_used_for_a_conversation_is_rejected() -> None:
    created = call("create_conversation", body="contact_id=harry", headers={"Idempotency-Key": "a key"}).body
    assert post(key="a key", conversation_id=created["id"], message="hello").status == 422
    assert list_messages() == []


@pytest.mark.parametrize("key", [None, "a key"])
def test_lost_response_creates_one_message(key: str | None, wire: Wire) -> None:
    conversation = create()
    wire.lose_next_response()
    response = post(key=key, conversation_id=conversation["id"], message="hello")
    assert (response.status, "Idempotent-Replayed" in response.headers) == (201, False)
    assert list_messages() == [response.body]
    assert call("retrieve_conversation", id=conversation["id"]).headers["ETag"] == '"2"'


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"message": "hi"}, ID),
        ({"conversation_id": None, "message": "hi"}, ID),
        ({"conversation_id": "x", "message": "hi"}, ID),
        ({"conversation_id": "a" * 16}, EMPTY),
        ({"conversation_id": "a" * 16, "message": ""}, EMPTY),
        ({"conversation_id": "a" * 16, "message": "", "attachments": []}, EMPTY),
        *(
            ({"conversation_id": "a" * 16, "message": text}, TEXT)
            for text in (
                "a" * 10_001,
                None,
                1,
                ["a"],
                "a\0",
                "\x1b[2J",
                "\x0b",
                "\x0c",
                "\x7f",
                "\x85",
                "\x9b",
                "\ud800",
            )
        ),
        *(
            ({"conversation_id": "a" * 16, "message": "hi", "attachments": attachments}, ATTACHMENTS)
            for attachments in (
                None,
                "a",
                {"a": "b"},
                [1],
                [""],
                ["a b"],
                ["\x7f"],
                ["\x9f"],
                ["a" * 2049],
                ["é" * 1024 + "a"],
                ["a"] * 33,
                [["a"]],
            )
        ),
        ({"conversation_id": "a" * 16, "message": "hi", "id": "b" * 16}, f"id: unknown or read-only; {TAKES}"),
        ({"conversation_id": "a" * 16, "message": "hi", "contact": None}, f"contact: unknown or read-only; {TAKES}"),
        ({}, f"{ID}; {EMPTY}"),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_invalid_json_is_rejected(given: dict[str, Any], message: str, wire: Wire) -> None:
    response = post(**given)
    assert (response.status, response.message) == (400, message)
    assert wire.requests == []


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("attachments=a", ATTACHMENTS),
        ("attachments[]=", ATTACHMENTS),
        ("attachments[x][]=a", ATTACHMENTS),
        ("attachments[]=a&attachments=b", "attachments: must be given only once"),
        ("attachments[]=a&attachments[x][]=b", "attachments: must be given only once"),
        ("attachments[0]=a&attachments[0]=b", "attachments[0]: must be given only once"),
        ("attachments[1]=a&attachments[0]=b&attachments[01]=c", "attachments[01]: must be given only once"),
        ("message[]=a", "message: must be given only once"),
        ("a]]b[]=a", f"a]]b[]: unknown or read-only; {TAKES}"),
        ("attachments[99999]=a", f"attachments[99999]: unknown or read-only; {TAKES}"),
        ("attachments[0]=a&attachments=b", "attachments: must be given only once"),
    ],
)
def test_invalid_form_array_is_rejected(form: str, message: str) -> None:
    response = call("create_message", body=f"conversation_id={'a' * 16}&message=hi&{form}")
    assert response.status == 400
    assert response.message.partition(";")[0] == message.partition(";")[0]


@pytest.mark.parametrize("character", ["a", "é", "漢", "🎄", "\n", '"', "\\"])
def test_longest_message_is_stored(character: str) -> None:
    conversation = create()
    sent = send(conversation, message=character * 10_000)
    assert call("retrieve_message", id=sent["id"]).body["message"] == character * 10_000


def test_concurrently_deleted_conversation_returns_404(wire: Wire) -> None:
    conversation = create()
    wire.before("TransactWriteItems", lambda: call("delete_conversation", id=conversation["id"]))
    assert post(conversation_id=conversation["id"], message="hello").status == 404
    assert tables.messages() == []


def test_concurrent_messages_are_both_created(wire: Wire) -> None:
    conversation = create()
    wire.before("TransactWriteItems", lambda: send(conversation, "other"))
    assert post(conversation_id=conversation["id"], message="hello").status == 201
    assert len(list_messages()) == 2
