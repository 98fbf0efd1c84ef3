"""API10: hostile events on the bus become dead letters and change nothing."""

import json
import time
from functools import partial
from typing import Any

from coherent import ids

from tests.security.attacks import ABSENT_ID, UNSAFE_CONSUMPTION, RecordAttack, unchanged
from tests.stack import Client, Stack, leak_free_error, wait_until

FOREIGN_CONVERSATION = "<another user's conversation>"
# Changes to a valid event, and the start of the dead letter's reason. KEVIN and HARRY stand for their user ids.
HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "the partition of tombstones of 0.1.0": ({"user_id": "purge"}, "user_id: must be"),
    "the partition of idempotency keys": ({"user_id": "idempotency#KEVIN"}, "user_id: must be"),
    "a user with a group": ({"user_id": "KEVIN#friends"}, "user_id: must be"),
    "a user with a line end": ({"user_id": 'KEVIN\n{"message":"forged"}'}, "user_id: must be"),
    "a user with a space": ({"user_id": " KEVIN"}, "user_id: must be"),
    "no user": ({"user_id": None}, "user_id: must be"),
    "several users": ({"user_id": ["KEVIN", "HARRY"]}, "user_id: must be"),
    "no contact": ({"contact_id": None}, "contact_id: must be"),
    "a contact with a line end": ({"contact_id": 'x\n{"message":"forged"}'}, "contact_id: must be"),
    "no text": ({"message": ""}, "message: must not be empty"),
    "nothing but control characters": ({"message": "\x1b\x07"}, "message: must not be empty"),
    "text that is too long": ({"message": "x" * 10_001}, "message: must be"),
    "a lone surrogate": ({"message": "\ud800"}, "message: must be"),
    "too many attachments": ({"attachments": ["x"] * 33}, "attachments: must be"),
    "deep nesting": ({"attachments": json.loads("[" * 200 + "]" * 200)}, "attachments: must be"),
    "100 KB": ({"user_id": None, "x": "漢" * 30_000}, "user_id: must be"),
}
# Changes that are ignored: the event is stored as if it had none of them.
IGNORED: list[dict[str, Any]] = [
    {"id": ABSENT_ID, "created_at": 1, "version": 9, "written_by": ABSENT_ID, "read_at": 1, "contact": None},
    {"__proto__": {"contact_id": "x"}},
    {"\ud800": "x"},
    {"message": "\x1bHi!\x07"},
    {"x": "漢" * 30_000},
]


# Changes after which the event goes to the newest conversation of its user and contact, or begins one.
MISDIRECTED: list[dict[str, Any]] = [
    {"conversation_id": FOREIGN_CONVERSATION},
    {"conversation_id": f"{ABSENT_ID}\n"},
    {"conversation_id": {"S": ABSENT_ID}},
]


def has_messages(client: Client, count: int) -> bool:
    return len(client.messages()["data"]) == count


def test_misdirected_event_reaches_only_its_own_user(stack: Stack, kevin: Client, harry: Client) -> None:
    foreign = harry.create(contact_id="kevin")
    with unchanged(stack, harry):
        for number, changes in enumerate(MISDIRECTED):
            given = {name: foreign["id"] if id == FOREIGN_CONVERSATION else id for name, id in changes.items()}
            stack.publish({"user_id": kevin.user_id, "contact_id": "stranger", "message": str(number)} | given)
            assert wait_until(partial(has_messages, kevin, number + 1))
    (begun,) = kevin.list()["data"]
    assert begun["contact_id"] == "stranger"


def test_hostile_event_becomes_a_dead_letter(
    stack: Stack, kevin: Client, harry: Client, conversation: dict[str, Any], record_attack: RecordAttack
) -> None:
    started = time.time()
    foreign = harry.create(contact_id="kevin")
    valid = {"user_id": kevin.user_id, "conversation_id": conversation["id"], "contact_id": "marv", "message": "Hi!"}
    names = {"KEVIN": kevin.user_id, "HARRY": harry.user_id, FOREIGN_CONVERSATION: foreign["id"]}

    def changed(changes: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(valid | changes)
        for name, id in names.items():
            text = text.replace(name, id)
        event: dict[str, Any] = json.loads(text)
        return event

    hostile = [changed(changes) for changes, _ in HOSTILE.values()]
    dead_letters: list[dict[str, Any]] = []
    with unchanged(stack, kevin, harry):
        # In groups of three: the emulator starts a process per concurrent invocation.
        for start in range(0, len(hostile), 3):
            group = hostile[start : start + 3]
            stack.publish(*group)
            dead_letters += stack.take_dead_letters(len(group))
    reasons = {json.dumps(dead_letter["event"]["detail"]): dead_letter["reason"] for dead_letter in dead_letters}
    assert len(dead_letters) == len(reasons) == len(hostile)
    for detail, (name, (_, reason)) in zip(hostile, HOSTILE.items(), strict=True):
        assert reasons[json.dumps(detail)].startswith(reason), name
    stack.publish(valid)
    assert wait_until(lambda: [message["message"] for message in kevin.messages()["data"]] == ["Hi!", "hello"])
    lines = [json.loads(line) for line in stack.log_lines(started)]
    assert not [line for line in lines if "forged" in str(line) or kevin.user_id in str(line)]
    invocations = [line for line in lines if line.get("endpoint") == "receive_message"]
    assert len(invocations) == len(hostile) + 1
    attack = (
        "events with foreign users and conversations, internal partitions, forged attributes and logs, too much data"
    )
    outcome = "a dead letter with the reason; nothing stored or logged; valid events are still processed"
    record_attack(UNSAFE_CONSUMPTION, attack, outcome, len(hostile))


def test_unknown_attributes_and_control_characters_are_ignored(
    stack: Stack, kevin: Client, conversation: dict[str, Any], record_attack: RecordAttack
) -> None:
    valid = {"user_id": kevin.user_id, "conversation_id": conversation["id"], "contact_id": "marv", "message": "Hi!"}
    for number, changes in enumerate(IGNORED, start=1):
        stack.publish(valid | changes)
        assert wait_until(partial(has_messages, kevin, number + 1))
    *received, _ = kevin.messages()["data"]
    shown: dict[str, Any] = {
        "contact": {"id": "marv"},
        "message": "Hi!",
        "reactions": [],
        "attachments": [],
        "read_at": None,
    }
    assert all(shown.items() <= message.items() for message in received)
    assert ABSENT_ID not in str(stack.message_rows(conversation))
    attack = "events with forged attributes, prototypes, control characters and lone surrogates beside a valid message"
    record_attack(UNSAFE_CONSUMPTION, attack, "the message is stored without them", len(IGNORED))


def test_repeated_event_is_stored_once(
    stack: Stack, kevin: Client, conversation: dict[str, Any], record_attack: RecordAttack
) -> None:
    detail = {"user_id": kevin.user_id, "conversation_id": conversation["id"], "contact_id": "marv", "message": "Hi!"}
    event = {"id": ids.new(time.time_ns()), "detail-type": "message.received", "detail": detail}
    functions, name = stack.aws("lambda"), stack.function_name("ReceiveMessage")

    def deliver(event: dict[str, Any]) -> None:
        assert "FunctionError" not in functions.invoke(FunctionName=name, Payload=json.dumps(event))

    deliver(event)
    with unchanged(stack, kevin):
        deliver(event)
        deliver(event | {"detail": detail | {"message": "another"}})
        body = {"conversation_id": conversation["id"], "message": "Hi!"}
        same_key = kevin.send("POST", "/messages", json=body, headers={"Idempotency-Key": str(event["id"])})
        assert leak_free_error(same_key)[0] == 422
    (dead_letter,) = stack.take_dead_letters(1)
    assert dead_letter["reason"].startswith("Idempotency-Key: ")
    attack = "an event twice, with another detail, and its id as a user's idempotency key"
    record_attack(UNSAFE_CONSUMPTION, attack, "stored once; 422", 4)
