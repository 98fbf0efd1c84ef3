"""GET /v1/inbox."""

import itertools
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import pytest

from tests import tables
from tests.filters import INBOX_COMBINATIONS
from tests.handlers import Response, call, create, entry, event, invoke, put_entry, receive, send, update
from tests.wire import Wire

pytestmark = pytest.mark.usefixtures("tables", "no_backoff")

BOOLEAN = "must be true or false"
POSITION = "must be the position of an inbox entry, such as 1767225600.xgQQXg3hrtjh7AvZ"
ONE_CURSOR = "starting_after, ending_before: only one of them may be given"
TAKES = "this call takes limit, starting_after, ending_before, muted, archived, pinned, unread, group_id"
A_POSITION = "1767225600.xgQQXg3hrtjh7AvZ"
URL = "https://a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com/v1/inbox"


def get(user: str = "kevin", **query: str) -> Response:
    response = call("list_inbox", user=user, query={name: [value] for name, value in query.items()})
    assert response.status == 200, response
    assert list(response.body) == ["has_more", "data"]
    return response


def inbox(user: str = "kevin", **query: str) -> list[dict[str, Any]]:
    """Returns the first 100 entries that match *query*."""
    entries: list[dict[str, Any]] = get(user, **{"limit": "100"} | query).body["data"]
    return entries


def page(**query: str) -> tuple[bool, list[str]]:
    """Returns `has_more` and the positions of a page."""
    body = get(**query).body
    return body["has_more"], [entry["position"] for entry in body["data"]]


def positions(count: int) -> list[str]:
    """Creates conversations and returns their positions, latest first."""
    return [entry(create())["position"] for _ in range(count)][::-1]


def links(**query: str) -> dict[str, tuple[str, dict[str, str]]]:
    """Returns the Link header: the URL and the query parameters of each relation."""
    found = re.findall(r'<([^>?]*)\?([^>]*)>; rel="(next|prev)"(?:, |$)', get(**query).headers.get("Link", ""))
    return {relation: (url, dict(parse_qsl(query, strict_parsing=True))) for url, query, relation in found}


def test_sample_event_lists_empty_table() -> None:
    response = invoke("list_inbox", event("list_inbox"))
    assert (response.status, response.body) == (200, {"has_more": False, "data": []})


def test_default_page_has_the_latest_ten() -> None:
    latest_first = positions(12)
    assert page() == (True, latest_first[:10])


def test_list_shows_the_entries_that_retrieve_returns() -> None:
    conversation, silent = create(contact_id="harry", group_id="friends"), create()
    receive(conversation)
    put_entry(conversation, is_unread=True, muted_until=2**32)
    entries = sorted([entry(conversation), entry(silent)], key=lambda found: str(found["position"]), reverse=True)
    assert inbox() == entries
    assert list(inbox()[0]) == list(entries[0])


def test_full_page_shows_who_is_blocked() -> None:
    conversations = [create(contact_id=("harry", "marv")[number % 2]) for number in range(100)]
    put_entry(conversations[0], is_blocked=True)
    blocked = [found["is_blocked"] for found in inbox()]
    assert blocked == [False, True] * 50
    assert [found["is_blocked"] for found in inbox(limit="3")] == blocked[:3]


def test_message_moves_its_conversation_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = int(time.time())
    conversations = [create() for _ in range(3)]
    for conversation, seconds, act in zip(conversations, (12, 10, 11), (send, receive, send), strict=True):
        monkeypatch.setattr("time.time_ns", lambda seconds=seconds: (now + seconds) * 10**9)
        act(conversation)
    expected = [f"{now + seconds}.{conversations[place]['id']}" for seconds, place in ((12, 0), (11, 2), (10, 1))]
    assert page() == (False, expected)


def test_conversations_of_one_second_are_ordered_by_id(monkeypatch: pytest.MonkeyPatch) -> None:
    conversations = [create() for _ in range(4)]
    monkeypatch.setattr("time.time_ns", lambda: 2_000_000_000 * 10**9)
    for place in (2, 0, 3, 1):
        receive(conversations[place])
    expected = [f"2000000000.{conversation['id']}" for conversation in reversed(conversations)]
    assert page() == (False, expected)
    walked = [page(limit="1", **({"starting_after": after} if after else {})) for after in ("", *expected)]
    assert walked == [(True, [expected[0]]), *((place < 3, [expected[place]]) for place in (1, 2, 3)), (False, [])]


def test_nothing_but_a_message_moves_a_conversation() -> None:
    conversation = create()
    sent, received = send(conversation), receive(conversation)
    before = entry(conversation)["position"]
    update(conversation, is_pinned=True, pinned_message_id=sent["id"], last_opened_at=2**32)
    put_entry(conversation, read_up_to=received, is_unread=True, muted_until=2**32)
    call("update_message", id=sent["id"], body="message=edited")
    call("update_message", id=received, body="read_at=1&reactions[heart][]=")
    call("delete_message", id=received)
    assert entry(conversation)["position"] == before


def test_last_activity_is_the_greatest_although_another_clock_is_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = create()
    with monkeypatch.context() as clock:
        clock.setattr("time.time_ns", lambda: 4_000_000_000 * 10**9)
        send(conversation)
    received = receive(conversation, "later")
    found = entry(conversation)
    assert found["position"] == f"4000000000.{conversation['id']}"
    assert (found["last_message"]["id"], found["last_message"]["message"]) == (received, "later")


def test_pages_can_be_walked_in_both_directions() -> None:
    latest_first = positions(5)
    assert page(limit="2") == (True, latest_first[:2])
    assert page(limit="2", starting_after=latest_first[1]) == (True, latest_first[2:4])
    assert page(limit="2", starting_after=latest_first[3]) == (False, latest_first[4:])
    assert page(limit="2", starting_after=latest_first[4]) == (False, [])
    assert page(limit="2", ending_before=latest_first[4]) == (True, latest_first[2:4])
    assert page(limit="2", ending_before=latest_first[2]) == (False, latest_first[:2])
    assert page(limit="2", ending_before=latest_first[0]) == (False, [])
    assert page(limit="5") == (False, latest_first)


def test_cursor_is_a_position_not_a_conversation() -> None:
    top, middle, bottom = positions(3)
    call("delete_conversation", id=middle.partition(".")[2])
    for cursor in (middle, middle[:-1] + "0"):
        assert page(starting_after=cursor) == (False, [bottom])
        assert page(ending_before=cursor) == (False, [top])
    assert page(starting_after="9999999999.zzzzzzzzzzzzzzzz") == (False, [top, bottom])
    assert page(ending_before="0000000000.0000000000000000") == (False, [top, bottom])


def test_links_name_next_and_previous_page() -> None:
    _, b, c, d, e = positions(5)
    assert links() == {}
    assert links(limit="2") == {"next": (URL, {"limit": "2", "starting_after": b})}
    middle = {
        "next": (URL, {"limit": "2", "starting_after": d}),
        "prev": (URL, {"limit": "2", "ending_before": c}),
    }
    assert links(limit="2", starting_after=b) == links(limit="2", ending_before=e) == middle
    assert links(limit="2", starting_after=d) == {"prev": (URL, {"limit": "2", "ending_before": e})}
    assert links(limit="2", ending_before=c) == {"next": (URL, {"limit": "2", "starting_after": b})}
    filters = {"limit": "1", "unread": "false", "muted": "false"}
    assert links(**filters)["next"][1].items() > filters.items()


@pytest.mark.parametrize("name", ["starting_after", "ending_before"])
def test_empty_page_after_a_cursor_links_to_the_page_before_it(name: str) -> None:
    (cursor,) = positions(1)
    assert links(limit="2", **{name: cursor}) == {"prev": (URL, {"limit": "2", "ending_before": cursor})}
    (later,) = positions(1)
    assert page(ending_before=cursor) == (False, [later])


def matches(found: dict[str, Any], query: dict[str, str]) -> bool:
    conversation = found["conversation"]
    values = {
        "muted": str(conversation["is_muted"]).lower(),
        "archived": str(conversation["archived_at"] is not None).lower(),
        "pinned": str(conversation["is_pinned"]).lower(),
        "unread": str(found["is_unread"]).lower(),
        "group_id": conversation["group_id"],
    }
    return all(query.get(name, value) == value for name, value in values.items())


def test_every_combination_of_filters_is_exact_in_both_directions() -> None:
    flags = itertools.product((True, False), repeat=3)
    for (is_muted, is_archived, is_pinned), group_id in itertools.product(flags, ("friends", None)):
        for is_unread in (True, False):
            conversation = create(**{"contact_id": "harry"} | ({"group_id": group_id} if group_id else {}))
            archived_at = 1 if is_archived else None
            update(conversation, is_muted=is_muted, is_pinned=is_pinned, archived_at=archived_at)
            put_entry(conversation, is_unread=is_unread)
    everything = inbox()
    assert len(everything) == 32
    for query in INBOX_COMBINATIONS:
        expected = [found for found in everything if matches(found, query)]
        # Many conversations of the same second are on both sides of the cursor.
        cursor = everything[16]["position"]
        below = [found for found in expected if found["position"] < cursor]
        above = [found for found in expected if found["position"] > cursor]
        assert get(limit="4", starting_after=cursor, **query).body == {
            "has_more": len(below) > 4,
            "data": below[:4],
        }, query
        assert get(limit="4", ending_before=cursor, **query).body == {
            "has_more": len(above) > 4,
            "data": above[-4:],
        }, query


def test_flagged_conversation_is_unread() -> None:
    conversation = create()
    put_entry(conversation, is_unread=True)
    (found,) = inbox(unread="true")
    assert (found["is_unread"], found["unread_count"]) == (True, 0)
    assert inbox(unread="false") == []


def test_conversations_of_other_users_are_not_listed() -> None:
    other = create(user="harry", contact_id="kevin", group_id="friends")
    receive(other, user="harry")
    assert [found["conversation"]["id"] for found in inbox("harry", group_id="friends")] == [other["id"]]
    for query in ({}, {"group_id": "friends"}, {"unread": "true"}, {"ending_before": "0000000000.0000000000000000"}):
        assert inbox("kevin", **query) == []


# Indexes lag behind the table.


def remove(conversation: dict[str, Any]) -> None:
    call("delete_conversation", id=conversation["id"])


def archive(conversation: dict[str, Any]) -> None:
    update(conversation, archived_at=1)


def move_up(conversation: dict[str, Any]) -> None:
    later = dict(
        next(row for row in tables.conversations() if row["id"]["S"] == conversation["id"]),
        activity={"S": f"9999999999.{conversation['id']}"},
    )
    tables.put_rows({"conversations": [later]})


@pytest.mark.parametrize("change", [remove, archive, move_up])
def test_row_that_left_the_page_since_the_index_was_written_is_skipped(
    change: Callable[[dict[str, Any]], None], wire: Wire
) -> None:
    conversations = [create() for _ in range(5)]
    e, d, _, b, a = [entry(conversation)["position"] for conversation in conversations]
    wire.freeze_indexes()
    change(conversations[2])
    query = {"limit": "3", "archived": "false"}
    # The page is short, but the walk meets all others.
    assert page(**query, starting_after=a) == (True, [b, d])
    assert page(**query, starting_after=d) == (False, [e])
    assert page(**query, ending_before=e) == (True, [b, d])
    assert page(**query, ending_before=b) == (False, [a])


def test_first_page_shows_where_a_conversation_moved_since(wire: Wire) -> None:
    conversations = [create() for _ in range(2)]
    wire.freeze_indexes()
    move_up(conversations[0])
    assert page() == (False, [f"9999999999.{conversations[0]['id']}", entry(conversations[1])["position"]])


@pytest.mark.parametrize("cursor", [{}, {"ending_before": "0000000000.0000000000000000"}])
def test_page_is_read_on_if_all_its_rows_left_since(cursor: dict[str, str], wire: Wire) -> None:
    conversations = [create() for _ in range(5)]
    left = entry(conversations[0 if not cursor else 4])["position"]
    wire.freeze_indexes()
    for conversation in conversations:
        if conversation["id"] not in left:
            remove(conversation)
    assert page(limit="2", **cursor) == (False, [left])


def test_page_is_empty_if_everything_was_deleted_since(wire: Wire) -> None:
    conversations = [create() for _ in range(3)]
    wire.freeze_indexes()
    for conversation in conversations:
        remove(conversation)
    assert page(limit="2") == (False, [])


def test_many_rows_may_leave_a_page(wire: Wire) -> None:
    conversations = [create() for _ in range(12)]
    wire.freeze_indexes()
    for conversation in conversations:
        remove(conversation)
    assert page(limit="1") == (False, [])


def test_deleted_text_is_not_shown_although_the_index_lags(wire: Wire) -> None:
    conversation = create()
    receive(conversation, "before")
    secret = receive(conversation, "secret")
    wire.freeze_indexes()
    call("delete_message", id=secret)
    (found,) = inbox()
    assert (found["last_message"]["message"], found["unread_count"]) == ("before", 1)


def test_conversation_marked_as_read_after_the_queries_is_shown_as_it_is(wire: Wire) -> None:
    conversation = create()
    receive(conversation)
    wire.before("BatchGetItem", lambda: put_entry(conversation, is_unread=False))
    (found,) = inbox()
    assert (found["conversation"]["id"], found["unread_count"]) == (conversation["id"], 0)
    receive(conversation)
    wire.before("BatchGetItem", lambda: put_entry(conversation, is_unread=False))
    assert inbox(unread="true") == []


def test_row_in_two_partitions_is_listed_once(wire: Wire) -> None:
    conversation = create()
    reads = iter(range(16))

    def pin_after_the_first_query(request: object) -> None:
        del request
        if wire.requests[-1] == "Query" and next(reads) == 0:
            tables.put_rows({"conversations": [tables.conversations()[0] | {"is_pinned": {"N": "1"}}]})

    wire.fault = pin_after_the_first_query
    assert len(inbox()) <= 1
    wire.fault = None
    assert [found["conversation"]["id"] for found in inbox(pinned="true")] == [conversation["id"]]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"limit": ["0"]}, "limit: must be an integer between 1 and 100"),
        ({"limit": ["101"]}, "limit: must be an integer between 1 and 100"),
        ({"unread": ["maybe"]}, f"unread: {BOOLEAN}"),
        ({"unread": [""]}, f"unread: {BOOLEAN}"),
        ({"muted": ["1"], "archived": ["True"]}, f"muted: {BOOLEAN}; archived: {BOOLEAN}"),
        ({"group_id": ["a b"]}, "group_id: must be 1 to 128 characters without white space or control characters"),
        *(
            ({"starting_after": [cursor]}, f"starting_after: {POSITION}")
            for cursor in (
                "",
                "x",
                # An id alone is no position.
                "xgQQXg3hrtjh7AvZ",
                "1767225600",
                "1767225600.",
                "1767225600.xgQQXg3hrtjh7Av",
                "1767225600.xgQQXg3hrtjh7AvZZ",
                "176722560.xgQQXg3hrtjh7AvZ",
                "17672256000.xgQQXg3hrtjh7AvZ",
                "1767225600-xgQQXg3hrtjh7AvZ",
                "1767225600.xgQQXg3hrtjh7AvZ\n",
                "١٢٣٤٥٦٧٨٩٠.xgQQXg3hrtjh7AvZ",
            )
        ),
        ({"ending_before": ["xgQQXg3hrtjh7AvZ"]}, f"ending_before: {POSITION}"),
        ({"starting_after": [A_POSITION], "ending_before": [A_POSITION]}, ONE_CURSOR),
        ({"starting_after": [A_POSITION] * 2}, "starting_after: must be given only once"),
        ({"is_unread": ["true"]}, f"is_unread: unknown or read-only; {TAKES}"),
        ({"conversation_id": ["xgQQXg3hrtjh7AvZ"]}, f"conversation_id: unknown or read-only; {TAKES}"),
        (
            {"unread": ["maybe"], "starting_after": ["x"], "ending_before": [A_POSITION]},
            f"starting_after: {POSITION}; unread: {BOOLEAN}; {ONE_CURSOR}",
        ),
    ],
    ids=str,
)
def test_invalid_query_is_rejected(query: dict[str, list[str]], message: str, wire: Wire) -> None:
    response = call("list_inbox", query=query)
    assert (response.status, response.message) == (400, message)
    assert wire.requests == []
