"""PUT /v1/messages/{id}."""

import json
import time
from typing import Any

import pytest

from tests import tables
from tests.handlers import JSON, Response, call, create, event, invoke, list_messages, receive, send
from tests.wire import Wire

pytestmark = pytest.mark.usefixtures("tables", "no_backoff")

TAKES = "this call takes message, reactions, attachments, read_at"
NOTHING = "message, reactions, attachments, read_at: at least one of them must be given"
REACTIONS = (
    'reactions: must be an array of at most 64 reactions such as {"reaction": "heart", "contact_id": "harry"}: 1 to 64 '
    "characters without white space or control characters, and who reacted, where null is the user; "
    "in a form, reactions[heart][]=harry"
)
SECONDS = "read_at: must be a whole number of Unix seconds, from 0 to 253402300799 (the end of the year 9999), or null"
ALL_CHANGES: dict[str, Any] = {
    "message": "Merry Christmas!",
    "reactions": [{"reaction": "❤️", "contact_id": "harry"}, {"reaction": "heart", "contact_id": None}],
    "attachments": ["https://x.example/a"],
    "read_at": 1_790_000_000,
}

BAD_REACTIONS: list[Any] = [
    *(None, "heart", {"heart": ["harry"]}, ["heart"], [{}], [None], [{"reaction": "heart"}]),
    [{"reaction": "", "contact_id": None}],
    [{"reaction": "a" * 65, "contact_id": None}],
    [{"reaction": "heart", "contact_id": ""}],
    [{"reaction": "heart", "contact_id": "a b"}, {"reaction": 1, "contact_id": 1}],
    [{"reaction": "heart", "contact_id": None, "at": 1}],
    [{"reaction": str(number), "contact_id": None} for number in range(65)],
]


def put(id: str, /, user: str = "kevin", headers: dict[str, str] | None = None, **changes: object) -> Response:
    return call("update_message", user=user, id=id, body=json.dumps(changes), content_type=JSON, headers=headers)


def test_sample_event_returns_404_on_empty_table() -> None:
    response = invoke("update_message", event("update_message"))
    assert (response.status, response.message) == (404, "id: no such message")
    assert tables.messages() == []


@pytest.mark.parametrize("name", ALL_CHANGES)
def test_only_the_given_attribute_changes(name: str) -> None:
    sent = send(create(), attachments=["x"])
    before = int(time.time())
    changed = put(sent["id"], **{name: ALL_CHANGES[name]}).body
    if name in ("message", "attachments"):
        assert before <= changed["updated_at"] <= time.time()
    else:
        assert changed["updated_at"] is None
    assert changed == sent | {name: ALL_CHANGES[name], "updated_at": changed["updated_at"]}
    response = put(sent["id"], **ALL_CHANGES)
    assert response.body == sent | ALL_CHANGES | {"updated_at": response.body["updated_at"]}
    assert (response.headers["ETag"], list(response.body)) == ('"3"', list(sent))
    back = put(sent["id"], **{name: sent[name]}).body
    assert back == response.body | {name: sent[name], "updated_at": back["updated_at"]}
    assert call("retrieve_message", id=sent["id"]).body == back


def received() -> dict[str, Any]:
    """Returns a message that harry sent to kevin."""
    message: dict[str, Any] = call("retrieve_message", id=receive(create())).body
    return message


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"message": "forged"}, "message"),
        ({"attachments": []}, "attachments"),
        ({"message": "forged", "attachments": ["x"], "read_at": 1}, "attachments, message"),
        ({"message": "hello"}, "message"),
    ],
    ids=str,
)
def test_user_cannot_edit_a_contacts_message(changes: dict[str, Any], names: str) -> None:
    message = received()
    response = put(message["id"], **changes)
    assert (response.status, response.message) == (403, f"{names}: only the sender of a message can change this")
    assert list_messages() == [message]


def test_user_can_mark_as_read_and_react_to_a_contacts_message() -> None:
    message = received()
    changes: dict[str, Any] = {"reactions": ALL_CHANGES["reactions"], "read_at": 1}
    assert put(message["id"], **changes).body == message | changes


def test_repeated_reaction_is_stored_once() -> None:
    heart, wave = {"reaction": "heart", "contact_id": None}, {"reaction": "wave", "contact_id": "harry"}
    sent = send(create())
    assert put(sent["id"], reactions=[heart, wave, heart, wave]).body["reactions"] == [heart, wave]
    form = "reactions[heart][0]=&reactions[wave][1]=harry&reactions[heart][1]="
    assert call("update_message", id=sent["id"], body=form).body["reactions"] == [heart, wave]


EMPTY = "message: must not be empty without attachments"


def test_message_may_be_empty_with_attachments_only() -> None:
    conversation = create()
    text, picture = send(conversation), send(conversation, "", attachments=["x"])
    both = send(conversation, "hello", attachments=["x"])
    for id, changes in (
        (text["id"], {"message": ""}),
        (picture["id"], {"attachments": []}),
        (both["id"], {"message": "", "attachments": []}),
    ):
        assert (put(id, **changes).status, put(id, **changes).message) == (400, EMPTY)
    assert put(both["id"], message="").body["message"] == ""
    assert (put(both["id"], attachments=[]).status, put(both["id"], attachments=[]).message) == (400, EMPTY)
    assert put(text["id"], message="", attachments=["x"]).status == 200
    assert put(picture["id"], message="hello", attachments=[]).status == 200


def test_concurrent_changes_cannot_empty_a_message(wire: Wire) -> None:
    sent = send(create(), "hello", attachments=["x"])
    wire.before("TransactWriteItems", lambda: put(sent["id"], attachments=[]))
    response = put(sent["id"], message="")
    assert (response.status, response.message) == (400, EMPTY)
    assert call("retrieve_message", id=sent["id"]).body["message"] == "hello"


def test_form_is_accepted() -> None:
    sent = send(create())
    form = "message=Hi&reactions[heart][]=harry&reactions[heart][]=&reactions[wave][]=marv&attachments[]=a&read_at=12"
    changed = call("update_message", id=sent["id"], body=form).body
    assert (changed["message"], changed["attachments"], changed["read_at"]) == ("Hi", ["a"], 12)
    assert changed["reactions"] == [
        {"reaction": "heart", "contact_id": "harry"},
        {"reaction": "heart", "contact_id": None},
        {"reaction": "wave", "contact_id": "marv"},
    ]
    assert call("update_message", id=sent["id"], body="read_at=").body["read_at"] is None


def test_updated_message_does_not_make_its_conversation_active() -> None:
    conversation = create()
    sent = send(conversation)
    before = call("retrieve_conversation", id=conversation["id"])
    put(sent["id"], **ALL_CHANGES)
    after = call("retrieve_conversation", id=conversation["id"])
    # The text is shown in the inbox, whose entry has the version of the conversation.
    assert (after.body, before.headers["ETag"], after.headers["ETag"]) == (before.body, '"2"', '"3"')


def test_message_of_another_user_returns_404() -> None:
    sent = send(create())
    foreign = put(sent["id"], user="harry", message="mine")
    absent = put("xgQQXg3hrtjh7AvZ", user="harry", message="mine")
    assert (foreign.status, foreign.body) == (404, absent.body)
    assert call("retrieve_message", id=sent["id"]).body == sent


def test_unpurged_message_of_deleted_conversation_returns_404() -> None:
    conversation = create()
    sent = send(conversation)
    call("delete_conversation", id=conversation["id"])
    assert put(sent["id"], message="hi").status == 404


@pytest.mark.parametrize(("condition", "status"), [('"1"', 200), ('"2", "1"', 200), ("*", 200), ('"2"', 412)])
def test_if_match_is_respected(condition: str, status: int) -> None:
    sent = send(create())
    response = put(sent["id"], headers={"If-Match": condition}, message="hi")
    assert response.status == status
    if status == 412:
        assert response.message == (
            "If-Match: must name the current ETag; the message has changed, so retrieve it again"
        )


@pytest.mark.parametrize("condition", [False, True])
def test_lost_response_is_retried(condition: bool, wire: Wire) -> None:
    sent = send(create())
    for changes, write, version in (({"message": "hi"}, "TransactWriteItems", 2), ({"read_at": 1}, "UpdateItem", 3)):
        wire.reset()
        wire.before(write, wire.lose_next_response)
        headers = {"If-Match": f'"{version - 1}"'} if condition else None
        response = put(sent["id"], headers=headers, **changes)
        assert wire.requests == ["Query", "BatchGetItem", write, write]
        assert (response.status, response.headers["ETag"]) == (200, f'"{version}"')
        assert response.body.items() >= changes.items()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, NOTHING),
        ({"id": "a" * 16}, f"id: unknown or read-only; {TAKES}"),
        ({"conversation_id": "a" * 16, "read_at": 1}, f"conversation_id: unknown or read-only; {TAKES}"),
        *(({"reactions": reactions}, REACTIONS) for reactions in BAD_REACTIONS),
        ({"read_at": -1}, SECONDS),
        ({"read_at": "1"}, SECONDS),
        ({"message": None, "read_at": 1}, "message: must be 1 to 10,000 characters"),
        ({"attachments": ["a"] * 33}, "attachments: must be an array of at most 32 strings"),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_invalid_json_is_rejected(changes: dict[str, Any], message: str, wire: Wire) -> None:
    response = put("a" * 16, **changes)
    assert response.status == 400
    assert response.message.startswith(message)
    assert response.message.count("must be") <= 1
    assert wire.requests == []


@pytest.mark.parametrize("character", ["a", "🎄"])
def test_largest_message_fits_a_row(character: str) -> None:
    conversation = create()
    attachment = character * (2048 // len(character.encode()))
    reactions = [{"reaction": character * 64, "contact_id": f"{number:02}{character * 126}"} for number in range(64)]
    changes: dict[str, Any] = {"message": character * 10_000, "attachments": [attachment] * 32, "reactions": reactions}
    # Escaped, so close to the limit of a body; the row is far below the 400 KB limit of DynamoDB.
    response = put(send(conversation)["id"], **changes)
    assert response.status == 200
    assert {name: response.body[name] for name in changes} == changes


def test_concurrently_deleted_message_returns_404(wire: Wire) -> None:
    sent = send(create())
    wire.before("TransactWriteItems", lambda: call("delete_message", id=sent["id"]))
    assert put(sent["id"], message="hi").status == 404
    assert tables.messages() == []


def test_concurrent_update_fails_if_match(wire: Wire) -> None:
    sent = send(create())
    wire.before("TransactWriteItems", lambda: put(sent["id"], message="first"))
    assert put(sent["id"], headers={"If-Match": '"1"'}, message="second").status == 412
    assert call("retrieve_message", id=sent["id"]).body["message"] == "first"
