"""The EventBridge event `message.received`."""

import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import boto3
import pytest
from coherent import errors

from tests import tables
from tests.handlers import (
    Context,
    call,
    create,
    entry,
    event,
    handler,
    list_conversations,
    list_messages,
    put_entry,
    send,
    update,
)
from tests.wire import Wire, error_response

pytestmark = pytest.mark.usefixtures("tables", "no_backoff")

ABSENT = "<absent>"


def receive(given: dict[str, Any]) -> None:
    handler("receive_message")(given, Context(25))


def received(**detail: object) -> dict[str, Any]:
    """Returns the sample event for kevin with *detail* changed."""
    sample = event("receive_message")
    given = sample["detail"] | {"user_id": "kevin"} | detail
    return sample | {"detail": {name: value for name, value in given.items() if value is not ABSENT}}


def dead_letters(url: str) -> list[dict[str, Any]]:
    found = boto3.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(dead_letter["Body"]) for dead_letter in found]


def test_message_is_stored_with_its_contact(queue: str) -> None:
    conversation = create()
    receive(received(conversation_id=conversation["id"], contact_id="harry", message="Keep the change."))
    (message,) = list_messages(conversation_id=conversation["id"])
    assert (message["contact"], message["message"]) == ({"id": "harry"}, "Keep the change.")
    now = call("retrieve_conversation", id=conversation["id"]).body
    assert now["last_active_at"] == message["created_at"]
    assert dead_letters(queue) == []


def test_repeated_event_is_stored_once(queue: str) -> None:
    conversation = create()
    for _ in range(2):
        receive(received(conversation_id=conversation["id"]))
    assert len(list_messages()) == 1
    receive(received(conversation_id=conversation["id"]) | {"id": "another"})
    assert len(list_messages()) == 2
    assert dead_letters(queue) == []


@pytest.mark.parametrize(
    ("detail", "reason"),
    [
        ({"group_id": ""}, "group_id: must be 1 to 128 characters without white space or control characters, or null"),
        ({"user_id": ABSENT}, "user_id: must be the sub of the user's tokens"),
        ({"user_id": "purge"}, "user_id: must be the sub of the user's tokens"),
        ({"user_id": "idempotency#kevin"}, "user_id: must be the sub of the user's tokens"),
        ({"user_id": ""}, "user_id: must be the sub of the user's tokens"),
        ({"user_id": "a" * 129}, "user_id: must be the sub of the user's tokens"),
        ({"message": "\ud800"}, "message: must be 1 to 10,000 characters without control"),
        ({"message": "a" * 10_001}, "message: must be 1 to 10,000 characters without control"),
        ({"user_id": 1}, "user_id: must be the sub of the user's tokens"),
        (
            {"contact_id": None},
            "contact_id: must be 1 to 128 characters without white space or control characters",
        ),
        ({"message": ""}, "message: must not be empty without attachments"),
        ({"message": "\x1b", "attachments": []}, "message: must not be empty without attachments"),
        ({"message": ABSENT}, "message: must not be empty without attachments"),
        ({"attachments": ["a"] * 33}, "attachments: must be an array of at most 32 strings"),
    ],
    ids=str,
)
def test_invalid_event_becomes_a_dead_letter(queue: str, detail: dict[str, Any], reason: str) -> None:
    conversation = create()
    bad = received(**{"conversation_id": conversation["id"]} | detail)
    receive(bad)
    (dead_letter,) = dead_letters(queue)
    assert dead_letter["event"] == bad
    assert dead_letter["reason"].startswith(reason)
    assert tables.messages() == []


def test_unknown_attributes_are_ignored(queue: str) -> None:
    receive(received(conversation_id=create()["id"], message="hello", trace_id="1-2-3", sender={"name": "Harry"}))
    assert [message["message"] for message in list_messages()] == ["hello"]
    assert dead_letters(queue) == []


def test_control_characters_are_dropped(queue: str) -> None:
    receive(received(conversation_id=create()["id"], message="\x1b[1mred\x0b\x0c\x92 log\n\ttail\ufffe"))
    assert [message["message"] for message in list_messages()] == ["[1mred log\n\ttail\ufffe"]
    assert dead_letters(queue) == []


@pytest.mark.parametrize("message", ["", "\x1b", ABSENT])
def test_attachments_alone_are_a_message(queue: str, message: str) -> None:
    receive(received(conversation_id=create()["id"], message=message, attachments=["https://x.example/cat.png"]))
    assert [(found["message"], found["attachments"]) for found in list_messages()] == [
        ("", ["https://x.example/cat.png"])
    ]
    assert dead_letters(queue) == []


# EventBridge delivers events of up to 1 MB.
@pytest.mark.parametrize(
    "character", ["a", '"', "\\", "\n", "\x1b", "Я", "漢", "🎄", "\ud800", "\ufffe", "\uffff"], ids=ascii
)
@pytest.mark.parametrize("count", [10, 1_000_000])
def test_dead_letter_of_any_event_fits_the_queue(queue: str, character: str, count: int) -> None:
    bad = received(user_id=ABSENT, message=character * count)
    receive(bad)
    (body,) = [found["Body"] for found in boto3.client("sqs").receive_message(QueueUrl=queue)["Messages"]]
    assert len(body.encode()) <= 1_048_576
    assert not re.search("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", body)
    dead_letter = json.loads(body)
    assert "user_id: must be the sub of the user's tokens" in dead_letter["reason"]
    if "detail" in dead_letter:
        assert dead_letter["event"] == {name: bad[name] for name in ("id", "source", "detail-type", "time")}
        assert dead_letter["detail"].startswith('{"')
        assert len(dead_letter["detail"]) == 125_000
        assert dead_letter["detail_bytes"] > 900_000
        assert count == 1_000_000
    else:
        assert dead_letter["event"] == bad


def test_reused_event_id_becomes_a_dead_letter(queue: str) -> None:
    conversation = create()
    receive(received(conversation_id=conversation["id"]))
    receive(received(conversation_id=conversation["id"], contact_id="marv"))
    (dead_letter,) = dead_letters(queue)
    assert dead_letter["reason"].startswith("Idempotency-Key: ")


@pytest.mark.parametrize("conversation_id", [ABSENT, None, "", 7, "xgQQXg3hrtjh7AvZ", "xgQQXg3hrtjh7Av!"], ids=str)
@pytest.mark.parametrize("group_id", [ABSENT, None, "friends"])
def test_first_message_creates_its_conversation(queue: str, conversation_id: object, group_id: object) -> None:
    for contact_id in ("harry", "marv", "harry"):
        repeated = received(conversation_id=conversation_id, group_id=group_id, contact_id=contact_id)
        receive(repeated | {"id": f"{contact_id} {len(list_messages())}"})
    marv, harry = list_conversations()
    group = "friends" if group_id == "friends" else None
    assert [(found["contact_id"], found["group_id"]) for found in (marv, harry)] == [("marv", group), ("harry", group)]
    messages = list_messages(conversation_id=harry["id"])
    assert [message["contact"] for message in messages] == [{"id": "harry"}] * 2
    assert harry["last_active_at"] == messages[0]["created_at"]
    entry = call("retrieve_inbox_entry", id=harry["id"]).body
    assert (entry["unread_count"], entry["is_unread"], entry["last_message"]["id"]) == (2, True, messages[0]["id"])
    assert dead_letters(queue) == []


def test_message_goes_to_the_newest_conversation_of_its_pair(queue: str) -> None:
    create(contact_id="harry")
    newest = create(contact_id="harry")
    create(contact_id="harry", group_id="friends")
    receive(received(conversation_id=ABSENT, contact_id="harry"))
    assert [message["conversation_id"] for message in list_messages()] == [newest["id"]]
    assert dead_letters(queue) == []


def test_deleted_conversation_is_never_revived(queue: str) -> None:
    older, deleted = create(contact_id="harry"), create(contact_id="harry")
    call("delete_conversation", id=deleted["id"])
    receive(received(conversation_id=deleted["id"], contact_id="harry"))
    (message,) = list_messages()
    assert message["conversation_id"] not in (older["id"], deleted["id"])
    assert dead_letters(queue) == []


def test_conversation_of_another_user_is_like_one_that_does_not_exist(queue: str) -> None:
    foreign = create("harry")
    receive(received(conversation_id=foreign["id"]))
    assert list_messages("harry") == []
    (message,) = list_messages("kevin")
    assert message["conversation_id"] != foreign["id"]
    assert dead_letters(queue) == []


def test_repeated_first_message_is_stored_once(queue: str) -> None:
    for _ in range(3):
        receive(received(conversation_id=ABSENT))
    assert (len(list_conversations()), len(list_messages())) == (1, 1)
    call("delete_conversation", id=list_conversations()[0]["id"])
    receive(received(conversation_id=ABSENT))
    assert (list_conversations(), list_messages()) == ([], [])
    assert dead_letters(queue) == []


def test_lost_response_of_a_first_message_stores_it_once(queue: str, wire: Wire) -> None:
    wire.before("TransactWriteItems", wire.lose_next_response)
    receive(received(conversation_id=ABSENT))
    assert (len(list_conversations()), len(list_messages())) == (1, 1)
    assert dead_letters(queue) == []


@pytest.mark.usefixtures("isolated_transactions")
def test_concurrent_first_messages_create_one_conversation(queue: str) -> None:

    def deliver(number: int) -> None:
        # Like Lambda, repeats an event whose transaction conflicts went on.
        for _attempt in range(50):
            with suppress(errors.Unavailable):
                return receive(received(conversation_id=ABSENT) | {"id": str(number)})
        raise TimeoutError

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(deliver, range(8)))
    assert (len(list_conversations()), len(list_messages())) == (1, 8)
    assert dead_letters(queue) == []


@pytest.mark.parametrize("sent_at", [0, 1767225600, 1767225600.75])
def test_sent_at_becomes_created_at_and_arrival_is_the_order(queue: str, sent_at: float) -> None:
    receive(received(conversation_id=ABSENT, message="first") | {"id": "first"})
    receive(received(conversation_id=ABSENT, message="late", sent_at=sent_at) | {"id": "late"})
    late, first = list_messages()
    assert (late["message"], late["created_at"], first["message"]) == ("late", int(sent_at), "first")
    (conversation,) = list_conversations()
    assert conversation["last_active_at"] >= first["created_at"]
    assert call("retrieve_inbox_entry", id=conversation["id"]).body["last_message"]["created_at"] == int(sent_at)
    assert dead_letters(queue) == []


@pytest.mark.parametrize("sent_at", [-1, 4102444800, 1767225600000, "1767225600", True, [], 1e400], ids=str)
def test_wrong_sent_at_is_replaced_by_the_present_and_logged(
    queue: str, sent_at: object, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        receive(received(conversation_id=ABSENT, sent_at=sent_at))
    (message,) = list_messages()
    assert abs(message["created_at"] - time.time()) < 5
    assert "sent_at is no time in the past" in caplog.text
    assert dead_letters(queue) == []


def test_database_failure_raises_for_a_retry(queue: str, wire: Wire) -> None:
    conversation = create()
    wire.fault = lambda request: error_response(request, 500, "InternalServerError")
    with pytest.raises(errors.Unavailable):
        receive(received(conversation_id=conversation["id"]))
    wire.fault = None
    assert dead_letters(queue) == []
    receive(received(conversation_id=conversation["id"]))
    assert len(list_messages()) == 1


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize("unarchive", ["unmuted", "always", "never"])
@pytest.mark.parametrize("mute", ["none", "permanent", "timed", "timed, over"])
@pytest.mark.parametrize("is_own", [False, True])
def test_message_restores_an_archived_conversation(
    is_own: bool, mute: str, unarchive: str, monkeypatch: pytest.MonkeyPatch, pass_time: Callable[[int], None]
) -> None:
    monkeypatch.setattr("functions.receive_message.app.messages._unarchive", unarchive)
    monkeypatch.setattr("functions.create_message.app.messages._unarchive", unarchive)
    conversation = create()
    update(conversation, archived_at=1, is_muted=mute == "permanent")
    if mute.startswith("timed"):
        put_entry(conversation, muted_until=int(time.time()) + 60)
    pass_time(60 if mute == "timed, over" else 59)
    if is_own:
        send(conversation)
    else:
        receive(received(conversation_id=conversation["id"]))
    is_muted = mute in {"permanent", "timed"}
    is_restored = unarchive == "always" or (unarchive == "unmuted" and (is_own or not is_muted))
    found = call("retrieve_conversation", id=conversation["id"]).body
    assert (found["archived_at"], found["is_muted"]) == (None if is_restored else 1, is_muted)
    assert bool(list_conversations(archived="true")) is not is_restored
    assert entry(conversation)["unread_count"] == (0 if is_own else 1)


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize(
    ("before", "meanwhile", "archived_at"),
    [
        ({}, {"archived_at": 1}, None),
        ({"archived_at": 1}, {"is_muted": True}, 1),
        ({"archived_at": 1, "is_muted": True}, {"is_muted": False}, None),
        ({"archived_at": 1}, {"archived_at": None}, None),
        ({"is_muted": True}, {"archived_at": 1}, 1),
    ],
    ids=str,
)
def test_conversation_that_is_archived_or_muted_meanwhile_is_restored_as_it_then_is(
    before: dict[str, Any], meanwhile: dict[str, Any], archived_at: int | None, wire: Wire
) -> None:
    conversation = create()
    if before:
        update(conversation, **before)
    wire.before("TransactWriteItems", lambda: update(conversation, **meanwhile))
    receive(received(conversation_id=conversation["id"]))
    assert call("retrieve_conversation", id=conversation["id"]).body["archived_at"] == archived_at
    assert entry(conversation)["unread_count"] == 1


@pytest.mark.parametrize("group_id", [ABSENT, "friends"])
def test_message_of_a_blocked_contact_is_accepted_logged_and_not_stored(
    group_id: str, queue: str, caplog: pytest.LogCaptureFixture
) -> None:
    conversation = create(contact_id="harry")
    put_entry(conversation, is_blocked=True)
    before = tables.all_rows()
    given = received(conversation_id=conversation["id"], contact_id="harry", group_id=group_id, message="a secret")
    with caplog.at_level("INFO"):
        receive(given)
    assert (tables.all_rows(), dead_letters(queue)) == (before, [])
    (logged,) = [record for record in caplog.records if "blocks" in record.message]
    assert vars(logged)["request_id"] == given["id"]
    assert not any(private in str(vars(logged)) for private in ("kevin", "harry", "secret"))


def test_only_the_blocked_contact_of_this_user_is_not_delivered(queue: str) -> None:
    conversation = create(contact_id="harry")
    put_entry(conversation, is_blocked=True)
    receive(received(conversation_id=conversation["id"], contact_id="marv") | {"id": "of marv"})
    receive(received(user_id="marv", contact_id="harry") | {"id": "to marv"})
    assert [message["contact"] for message in list_messages()] == [{"id": "marv"}]
    assert [message["contact"] for message in list_messages("marv")] == [{"id": "harry"}]
    put_entry(conversation, is_blocked=False)
    receive(received(conversation_id=conversation["id"], contact_id="harry") | {"id": "of harry"})
    assert [message["contact"] for message in list_messages()] == [{"id": "harry"}, {"id": "marv"}]
    assert dead_letters(queue) == []


def test_unread_messages_of_a_contact_still_count_after_the_block(queue: str) -> None:
    conversation = create(contact_id="harry")
    receive(received(conversation_id=conversation["id"], contact_id="harry"))
    put_entry(conversation, is_blocked=True)
    assert entry(conversation)["unread_count"] == 1
    assert call("count_unread").body == {"conversations": 1, "messages": 1, "has_more": False}
    assert dead_letters(queue) == []


@pytest.mark.usefixtures("queue")
def test_deadline_before_dead_letter_raises_for_a_retry() -> None:
    # The queue is not checked: moto stores the message although our check raises before it is sent.
    with pytest.raises(errors.Unavailable):
        handler("receive_message")(received(message=""), Context(5))
