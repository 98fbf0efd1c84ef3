"""GET /v1/unread."""

from typing import Any

import pytest

from tests import tables
from tests.handlers import call, create, event, invoke, put_entry, receive, send, update
from tests.wire import Wire

pytestmark = pytest.mark.usefixtures("tables")

BOOLEAN = "must be true or false"
TAKES = "this call takes muted, archived, group_id"


def badge(user: str = "kevin", **query: str) -> tuple[int, int, bool]:
    response = call("count_unread", user=user, query={name: [value] for name, value in query.items()})
    assert response.status == 200, response
    assert list(response.body) == ["conversations", "messages", "has_more"]
    return response.body["conversations"], response.body["messages"], response.body["has_more"]


def test_sample_event_counts_nothing_on_empty_table() -> None:
    response = invoke("count_unread", event("count_unread"))
    assert (response.status, response.body) == (200, {"conversations": 0, "messages": 0, "has_more": False})


def test_messages_of_others_after_the_marks_are_counted() -> None:
    conversations = [create() for _ in range(4)]
    ids = [receive(conversation) for conversation in conversations[:2] for _ in range(3)]
    send(conversations[2])
    assert badge() == (2, 6, False)
    put_entry(conversations[0], read_up_to=ids[1])
    assert badge() == (2, 4, False)
    put_entry(conversations[1], is_unread=False)
    assert badge() == (1, 1, False)
    call("delete_message", id=ids[2])
    assert badge() == (0, 0, False)


def test_flagged_conversation_counts_without_messages() -> None:
    put_entry(create(), is_unread=True)
    assert badge() == (1, 0, False)


def test_filters_exclude_muted_and_archived_conversations_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.receive_message.app.messages._unarchive", "never")
    counts = {}
    for number, (is_muted, is_archived) in enumerate([(False, False), (True, False), (False, True), (True, True)]):
        for group_id, count in (("friends", number + 1), ("family", 1)):
            conversation = create(contact_id="harry", group_id=group_id)
            update(conversation, is_muted=is_muted, archived_at=1 if is_archived else None, is_pinned=number % 2 == 0)
            for _ in range(count):
                receive(conversation)
            counts[str(is_muted).lower(), str(is_archived).lower(), group_id] = count
    assert badge() == badge(muted="false", archived="false") == (2, 2, False)
    for (muted, archived, group_id), count in counts.items():
        assert badge(muted=muted, archived=archived, group_id=group_id) == (1, count, False)
        both = count + counts[muted, archived, "friends" if group_id == "family" else "family"]
        assert badge(muted=muted, archived=archived) == (2, both, False)
    assert badge(group_id="strangers") == badge("harry") == (0, 0, False)


def put_unread(count: int, unread_count: int) -> None:
    """Writes *count* conversations with so many unread messages each."""
    create()
    row = tables.conversations()[-1]
    unread = {"is_unread": {"N": "1"}, "unread_count": {"N": str(unread_count)}}
    later: list[dict[str, Any]] = [
        row | unread | {"id": {"S": f"{number:016}"}, "activity": {"S": f"{number:010}.{number:016}"}}
        for number in range(count)
    ]
    tables.put_rows({"conversations": later})


def test_hundred_conversations_are_counted_and_each_up_to_1000_messages() -> None:
    put_unread(101, 2)
    assert badge() == (100, 200, True)
    put_entry({"id": f"{50:016}"}, read_up_to=None)
    assert badge() == (100, 200, False)
    tables.clear()
    put_unread(3, 1001)
    assert badge() == (3, 3000, False)


@pytest.mark.parametrize("count", [0, 1, 101])
def test_badge_costs_two_queries_whatever_the_user_owns(count: int, wire: Wire) -> None:
    put_unread(count, 1)
    badge()
    wire.reset()
    badge()
    assert wire.requests == ["Query", "Query"]
    assert {body["Limit"] for body in wire.bodies} == {101}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"muted": ["maybe"]}, f"muted: {BOOLEAN}"),
        ({"archived": [""]}, f"archived: {BOOLEAN}"),
        ({"group_id": ["a b"]}, "group_id: must be 1 to 128 characters without white space or control characters"),
        ({"muted": ["true", "true"]}, "muted: must be given only once"),
        ({"pinned": ["true"]}, f"pinned: unknown or read-only; {TAKES}"),
        ({"unread": ["true"]}, f"unread: unknown or read-only; {TAKES}"),
        ({"limit": ["1"], "muted": ["1"]}, f"muted: {BOOLEAN}; limit: unknown or read-only; {TAKES}"),
    ],
    ids=str,
)
def test_invalid_query_is_rejected(query: dict[str, list[str]], message: str, wire: Wire) -> None:
    response = call("count_unread", query=query)
    assert (response.status, response.message) == (400, message)
    assert wire.requests == []
