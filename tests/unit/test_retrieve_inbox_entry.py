"""GET /v1/inbox/{conversation_id}: the preview, the unread count and the version of an entry."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import tables
from tests.handlers import (
    Context,
    call,
    create,
    entry,
    event,
    handler,
    invoke,
    list_conversations,
    put_entry,
    receive,
    send,
    update,
)
from tests.wire import Wire

pytestmark = pytest.mark.usefixtures("tables", "no_backoff")


def preview(conversation: dict[str, Any]) -> str | None:
    """Returns the text of the preview, or None without one. It is that of the last message."""
    found = entry(conversation)["last_message"]
    messages = call("list_messages", query={"conversation_id": [conversation["id"]]}).body["data"]
    shown = messages[0] | {"message": messages[0]["message"][:100]} if messages else {}
    assert found == ({name: shown[name] for name in ("id", "contact", "message", "created_at")} if shown else None)
    return None if found is None else str(found["message"])


def test_row_of_an_earlier_release_that_was_deployed_again_returns_503() -> None:
    id = tables.put_conversation("kevin")
    for response in (call("retrieve_inbox_entry", id=id), call("update_inbox_entry", id=id, body="is_unread=true")):
        assert (response.status, response.headers["Retry-After"]) == (503, "60")


def test_sample_event_returns_404_on_empty_table() -> None:
    response = invoke("retrieve_inbox_entry", event("retrieve_inbox_entry"))
    assert (response.status, response.message) == (404, "conversation_id: no such conversation")


def test_entry_of_a_new_conversation() -> None:
    conversation = create(contact_id="harry", group_id="friends")
    response = call("retrieve_inbox_entry", id=conversation["id"])
    assert (response.status, response.headers["ETag"]) == (200, '"1"')
    assert response.body == {
        "position": f"{conversation['created_at']:010}.{conversation['id']}",
        "conversation": conversation,
        "last_message": None,
        "unread_count": 0,
        "is_unread": False,
        "read_up_to": None,
        "muted_until": None,
        "is_blocked": False,
    }
    assert list(response.body) == [
        *("position", "conversation", "last_message", "unread_count", "is_unread", "read_up_to", "muted_until"),
        "is_blocked",
    ]
    assert list(response.body["conversation"]) == list(conversation)
    assert len(conversation) == 10


def test_entry_shows_the_last_message_and_counts_those_of_others() -> None:
    conversation = create()
    receive(conversation, "first")
    sent = send(conversation, "🎄" * 10_000)
    found = entry(conversation)
    assert found["last_message"] == {
        "id": sent["id"],
        "contact": None,
        "message": "🎄" * 100,
        "created_at": sent["created_at"],
    }
    assert (found["unread_count"], found["is_unread"], found["read_up_to"]) == (1, True, None)
    assert found["position"] == f"{sent['created_at']:010}.{conversation['id']}"
    assert found["conversation"] == call("retrieve_conversation", id=conversation["id"]).body
    id = receive(conversation, "", attachments=["https://x.example/cat.png"])
    found = entry(conversation)
    assert found["last_message"].items() >= {"id": id, "contact": {"id": "harry"}, "message": ""}.items()
    assert found["unread_count"] == 2


def test_muting_does_not_touch_the_count() -> None:
    conversation = create()
    receive(conversation)
    update(conversation, is_muted=True)
    receive(conversation)
    assert entry(conversation)["unread_count"] == 2


def test_read_is_strongly_consistent(wire: Wire) -> None:
    conversation = create()
    wire.reset()
    entry(conversation)
    (read,) = wire.bodies
    assert [requested["ConsistentRead"] for requested in read["RequestItems"].values()] == [True]


def test_conversation_of_another_user_returns_404() -> None:
    created = create(user="kevin")
    foreign = call("retrieve_inbox_entry", user="harry", id=created["id"])
    absent = call("retrieve_inbox_entry", user="harry", id="xgQQXg3hrtjh7AvZ")
    assert (foreign.status, foreign.body) == (404, absent.body)
    call("delete_conversation", id=created["id"])
    assert call("retrieve_inbox_entry", id=created["id"]).body == absent.body


@pytest.mark.parametrize(("known", "status"), [('"2"', 304), ('W/"2"', 304), ("*", 304), ('"1"', 200), ('"3"', 200)])
def test_if_none_match_is_respected(known: str, status: int) -> None:
    conversation = create()
    send(conversation)
    response = call("retrieve_inbox_entry", id=conversation["id"], headers={"If-None-Match": known})
    assert (response.status, response.headers["ETag"]) == (status, '"2"')
    assert (response.body is None) == (status == 304)


def test_etag_is_that_of_the_conversation_unless_its_contact_is_blocked() -> None:
    conversation = create()
    sent = send(conversation)
    changes: list[Callable[[], object]] = [
        lambda: receive(conversation),
        lambda: put_entry(conversation, read_up_to=sent["id"]),
        lambda: put_entry(conversation, is_unread=True),
        lambda: put_entry(conversation, muted_until=2**32),
        lambda: update(conversation, is_pinned=True),
        lambda: call("delete_message", id=entry(conversation)["last_message"]["id"]),
        lambda: call("update_message", id=sent["id"], body="message=edited"),
    ]
    tags = []
    for change in changes:
        change()
        tags.append(call("retrieve_inbox_entry", id=conversation["id"]).headers["ETag"])
        assert call("retrieve_conversation", id=conversation["id"]).headers["ETag"] == tags[-1]
    assert len(set(tags)) == len(changes)
    put_entry(create(contact_id="harry"), is_blocked=True)
    assert call("retrieve_conversation", id=conversation["id"]).headers["ETag"] == tags[-1]
    blocked = call("retrieve_inbox_entry", id=conversation["id"])
    assert blocked.headers["ETag"] == f'"{10**15 + int(tags[-1][1:-1])}"'
    for tag, status in ((tags[-1], 200), (blocked.headers["ETag"], 304)):
        assert call("retrieve_inbox_entry", id=conversation["id"], headers={"If-None-Match": tag}).status == status


# The preview follows the messages.


def test_preview_follows_edits_of_the_last_message_only() -> None:
    conversation = create()
    first, last = send(conversation, "first"), send(conversation, "last")
    call("update_message", id=first["id"], body="message=edited")
    assert preview(conversation) == "last"
    call("update_message", id=last["id"], body=f"message={'x' * 101}")
    assert preview(conversation) == "x" * 100
    call("update_message", id=last["id"], body="attachments[]=a&read_at=1")
    assert preview(conversation) == "x" * 100


def test_preview_follows_deletions() -> None:
    conversation = create()
    texts = [receive(conversation, "first"), send(conversation, "second")["id"], receive(conversation, "third")]
    call("delete_message", id=texts[1])
    assert preview(conversation) == "third"
    call("delete_message", id=texts[2])
    assert preview(conversation) == "first"
    before = entry(conversation)
    call("delete_message", id=texts[0])
    assert preview(conversation) is None
    assert (entry(conversation)["position"], entry(conversation)["unread_count"]) == (before["position"], 0)
    send(conversation, "again")
    assert preview(conversation) == "again"


def edit(id: str) -> object:
    return call("update_message", id=id, body="message=edited")


def delete(id: str) -> object:
    return call("delete_message", id=id)


# Of the messages 0, 1 and 2. Other clients act after the first one has read and before it writes.
RACES: dict[str, tuple[Callable[[list[str]], object], Callable[[list[str], dict[str, Any]], object], str | None]] = {
    "edit the last, another arrives": (lambda ids: edit(ids[2]), lambda _, c: receive(c, "new"), "new"),
    "edit the last, which is deleted": (lambda ids: edit(ids[2]), lambda ids, _: delete(ids[2]), "1"),
    "edit the second, which becomes the last": (lambda ids: edit(ids[1]), lambda ids, _: delete(ids[2]), "edited"),
    "delete the last, another arrives": (lambda ids: delete(ids[2]), lambda _, c: receive(c, "new"), "new"),
    "delete the last, which is edited": (lambda ids: delete(ids[2]), lambda ids, _: edit(ids[2]), "1"),
    "delete the last, which is deleted": (lambda ids: delete(ids[2]), lambda ids, _: delete(ids[2]), "1"),
    "delete the last, the second is edited": (lambda ids: delete(ids[2]), lambda ids, _: edit(ids[1]), "edited"),
    "delete the last, the second is deleted": (lambda ids: delete(ids[2]), lambda ids, _: delete(ids[1]), "0"),
    "delete the second, the last is deleted": (lambda ids: delete(ids[1]), lambda ids, _: delete(ids[2]), "0"),
    "send, the last is deleted": (lambda _: None, lambda ids, _: delete(ids[2]), "sent"),
}


@pytest.mark.parametrize("race", RACES)
def test_preview_is_right_after_a_race(race: str, wire: Wire) -> None:
    conversation = create()
    ids = [send(conversation, str(number))["id"] for number in range(3)]
    first, meanwhile, expected = RACES[race]
    wire.before("TransactWriteItems", lambda: meanwhile(ids, conversation))
    if race.startswith("send"):
        send(conversation, "sent")
    else:
        first(ids)
    assert wire.fault is None
    assert preview(conversation) == expected


# A timed mute.


def muted(seconds: int = 60, **attributes: str) -> dict[str, Any]:
    """Returns a conversation that is muted for *seconds*, with the version 3."""
    conversation = create(**attributes)
    response = put_entry(conversation, muted_until=int(time.time()) + seconds)
    assert (response.status, response.headers["ETag"]) == (200, '"3"')
    return conversation


def lift() -> None:
    handler("sweep_inbox")({}, Context())


def test_mute_ends_on_the_second_in_every_response(pass_time: Callable[[int], None]) -> None:
    conversation = muted(60)
    until = entry(conversation)["muted_until"]
    unrelated = create()

    def states() -> set[tuple[bool, int | None]]:
        (listed,) = [found for found in list_conversations() if found["id"] == conversation["id"]]
        entries = call("list_inbox").body["data"]
        (shown,) = [found for found in entries if found["conversation"]["id"] == conversation["id"]]
        retrieved = call("retrieve_conversation", id=conversation["id"]).body
        found = entry(conversation)
        assert listed == shown["conversation"] == retrieved == found["conversation"]
        return {(bool(retrieved["is_muted"]), each["muted_until"]) for each in (shown, found)}

    assert states() == {(True, until)}
    pass_time(until - int(time.time()) - 1)
    assert states() == {(True, until)}
    pass_time(1)
    assert states() == {(False, None)}
    # The filters follow with the sweep.
    lift()
    assert states() == {(False, None)}
    assert list_conversations(muted="true") == []
    assert {found["id"] for found in list_conversations(muted="false")} == {conversation["id"], unrelated["id"]}


def test_etag_changes_when_the_mute_runs_out_and_not_when_it_is_lifted(pass_time: Callable[[int], None]) -> None:
    conversation = muted(60)

    def tags() -> set[str]:
        return {
            call(f"retrieve_{kind}", id=conversation["id"]).headers["ETag"] for kind in ("conversation", "inbox_entry")
        }

    assert tags() == {'"3"'}
    pass_time(59)
    assert tags() == {'"3"'}
    pass_time(1)
    assert tags() == {'"4"'}
    lift()
    assert tags() == {'"4"'}
    (row,) = tables.conversations()
    assert (row["version"], row["is_muted"], "muted_until" in row) == ({"N": "4"}, {"N": "0"}, False)


WRITES = {
    "update_conversation": "is_pinned=true",
    "update_conversation to mute": "is_muted=true",
    "update_inbox_entry": "is_unread=true",
    "update_inbox_entry to end a mute": "muted_until=",
    "update_inbox_entry to mute": f"muted_until={2**33}",
    "delete_conversation": None,
}


@pytest.mark.parametrize("is_lifted", [False, True])
@pytest.mark.parametrize("write", WRITES)
def test_tag_from_before_the_mute_ran_out_is_stale(
    write: str, is_lifted: bool, pass_time: Callable[[int], None]
) -> None:
    conversation = muted(60)
    pass_time(60)
    if is_lifted:
        lift()
    endpoint, body = write.partition(" ")[0], WRITES[write]
    read = endpoint.replace("update", "retrieve").replace("delete", "retrieve")
    statuses = [
        call(endpoint, id=conversation["id"], body=body, headers=headers).status
        for headers in ({"If-Match": '"3"'}, {"If-None-Match": '"4"'}, {"If-None-Match": '"7", W/"4"'})
    ]
    assert statuses == [412] * 3
    known = [call(read, id=conversation["id"], headers={"If-None-Match": tag}).status for tag in ('"3"', '"4"')]
    assert known == [200, 304]
    headers = {"If-Match": '"9", "4"', "If-None-Match": '"3"'}
    assert call(endpoint, id=conversation["id"], body=body, headers=headers).status in {200, 204}
    if endpoint != "delete_conversation":
        assert call(read, id=conversation["id"]).headers["ETag"] not in {'"3"', '"4"'}


@pytest.mark.parametrize("write", WRITES)
def test_tag_is_current_until_the_mute_runs_out(write: str, pass_time: Callable[[int], None]) -> None:
    conversation = muted(60)
    pass_time(59)
    endpoint, body = write.partition(" ")[0], WRITES[write]
    assert call(endpoint, id=conversation["id"], body=body, headers={"If-Match": '"4"'}).status == 412
    assert call(endpoint, id=conversation["id"], body=body, headers={"If-Match": '"3"'}).status in {200, 204}


@pytest.mark.parametrize("is_muted", [False, True])
def test_is_muted_ends_a_timed_mute(is_muted: bool, pass_time: Callable[[int], None]) -> None:
    conversation = muted(60)
    update(conversation, is_muted=is_muted)
    found = entry(conversation)
    assert (found["conversation"]["is_muted"], found["muted_until"]) == (is_muted, None)
    pass_time(61)
    lift()
    assert entry(conversation)["conversation"]["is_muted"] is is_muted


@pytest.mark.parametrize("is_lifted", [False, True])
def test_mute_that_runs_out_between_two_pages_hides_nothing(is_lifted: bool, pass_time: Callable[[int], None]) -> None:
    conversations = [muted(60) for _ in range(4)]
    query = {"limit": ["2"]}
    first = call("list_inbox", query=query).body["data"]
    pass_time(60)
    if is_lifted:
        lift()
    second = call("list_inbox", query=query | {"starting_after": [first[-1]["position"]]}).body["data"]
    walked = [found["conversation"] for found in (*first, *second)]
    assert sorted(found["id"] for found in walked) == sorted(conversation["id"] for conversation in conversations)
    assert [found["is_muted"] for found in walked] == [True, True, False, False]


def test_headers_with_100_tags_fit_an_expression(wire: Wire) -> None:
    # Without a contact, whose block state would have to be checked in a transaction.
    conversation = muted(group_id="friends")
    sent = send(conversation)
    tags = [f'"{10**17 + number}"' for number in range(191)]
    current = [f'"{version}"' for version in range(1, 10)]
    headers = {"If-Match": ", ".join([*current, *tags[:91]]), "If-None-Match": ", ".join(tags[91:])}
    for endpoint, id, body in (
        ("update_inbox_entry", conversation["id"], f"is_unread=true&read_up_to={sent['id']}&muted_until={2**33}"),
        ("update_conversation", conversation["id"], "is_muted=true&is_pinned=true&archived_at=1&last_opened_at=1"),
        ("update_message", sent["id"], "read_at=1&attachments[]=a&reactions[heart][]="),
        ("delete_message", sent["id"], None),
        ("delete_conversation", conversation["id"], None),
    ):
        wire.reset()
        assert call(endpoint, id=id, body=body, headers=headers).status in {200, 204}
        # The limit of DynamoDB, which moto does not check.
        assert 2048 < max(map(len, expressions(wire.bodies))) <= 4096


def expressions(part: Any) -> Iterator[str]:
    """Yields the expressions in a request."""
    if isinstance(part, dict):
        yield from (text for name, text in part.items() if name.endswith("Expression"))
    if isinstance(part, dict | list):
        for element in part.values() if isinstance(part, dict) else part:
            yield from expressions(element)
