"""GET /v1/changes."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests import streams, tables
from tests.handlers import JSON, Response, call, create, event, invoke, list_conversations, put_entry, send, update
from tests.streams import publish
from tests.wire import Wire

pytestmark = pytest.mark.usefixtures("stream_records", "no_backoff")

_DAY = 24 * 60 * 60
_NUMBER = "starting_after: must be the number of a change, or 0 for the beginning"
_LIMIT = "limit: must be an integer between 1 and 100"


def get(user: str = "kevin", **query: Any) -> Response:
    return call("list_changes", user=user, query={name: [str(value)] for name, value in query.items()})


def changes(user: str = "kevin", **query: object) -> list[dict[str, Any]]:
    response = get(user, **{"starting_after": 0, "limit": 100} | query)
    assert response.status == 200, response
    found: list[dict[str, Any]] = response.body["data"]
    return found


def head(user: str = "kevin") -> int:
    response = get(user)
    assert list(response.body) == ["has_more", "data", "head"]
    assert (response.status, response.body["has_more"], response.body["data"]) == (200, False, [])
    number: int = response.body["head"]
    return number


def expire(*numbers: int) -> None:
    """Deletes changes of kevin, as TTL does."""
    for number in numbers:
        tables.delete_change("kevin", number)


def test_sample_event_lists_an_empty_feed() -> None:
    response = invoke("list_changes", event("list_changes"))
    assert (response.status, response.body) == (200, {"has_more": False, "data": [], "head": 0})
    assert "Link" not in response.headers


def test_changes_are_listed_in_order_with_the_resource_as_it_became() -> None:
    created = create()
    pinned = update(created, is_pinned=True)
    call("delete_conversation", id=created["id"])
    publish()
    found = changes()
    assert [list(change) for change in found] == [["number", "type", "id", "version", "object", "created_at"]] * 3
    assert [(change["number"], change["type"], change["version"], change["object"]) for change in found] == [
        (1, "conversation.created", 1, created),
        (2, "conversation.updated", 2, pinned),
        (3, "conversation.deleted", 3, None),
    ]
    assert {change["id"] for change in found} == {created["id"]}
    assert head() == 3


def test_versions_are_those_of_etags() -> None:
    conversation = create()
    message = send(conversation)
    call("update_message", id=message["id"], body=json.dumps({"message": "edited"}), content_type=JSON)
    publish()
    latest = {change["id"]: change for change in changes()}
    for endpoint, resource in (("retrieve_conversation", conversation), ("retrieve_message", message)):
        response = call(endpoint, id=resource["id"])
        change = latest[resource["id"]]
        assert response.headers["ETag"] == f'"{change["version"]}"'
        assert response.body == change["object"]


def test_pages_link_to_the_next_one() -> None:
    for _ in range(5):
        create()
    publish()
    url, numbers = "starting_after=0&limit=2", []
    while url:
        query = dict(pair.split("=") for pair in url.split("&"))
        response = get(**query)
        numbers += [change["number"] for change in response.body["data"]]
        assert response.body["head"] == 5
        link = response.headers.get("Link", "")
        assert bool(link) == response.body["has_more"]
        url = link.partition("?")[2].partition(">")[0]
        assert not link or link.endswith('; rel="next"')
    assert numbers == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("after", "limit", "numbers", "has_more"), [
    (0, 2, [1, 2], True), (1, 1, [2], True), (1, 2, [2, 3], False), (2, 5, [3], False), (3, 1, [], False),
])  # fmt: skip
def test_page_begins_after_the_number(after: int, limit: int, numbers: list[int], has_more: bool) -> None:
    for _ in range(3):
        create()
    publish()
    response = get(starting_after=after, limit=limit)
    assert [change["number"] for change in response.body["data"]] == numbers
    assert (response.body["has_more"], response.body["head"]) == (has_more, 3)


def test_users_have_feeds_of_their_own() -> None:
    create("kevin")
    create("harry")
    create("harry")
    publish()
    assert (head("kevin"), head("harry"), head("marv")) == (1, 2, 0)
    assert get("kevin", starting_after=2).message == "starting_after: must be at most the head, 1"


@pytest.mark.parametrize(("query", "message"), [
    ({"starting_after": "x"}, _NUMBER),
    ({"starting_after": ""}, _NUMBER),
    ({"starting_after": "1.5"}, _NUMBER),
    ({"starting_after": "-1"}, _NUMBER),
    ({"starting_after": "01"}, _NUMBER),
    ({"starting_after": 10**20}, _NUMBER),
    ({"starting_after": 3}, "starting_after: must be at most the head, 2"),
    ({"starting_after": 10**18}, "starting_after: must be at most the head, 2"),
    ({"limit": 0}, _LIMIT),
    ({"limit": 101}, _LIMIT),
    ({"ending_before": 1}, "ending_before: unknown or read-only; this call takes starting_after, limit"),
    ({"starting_after": "-1", "limit": "x"}, f"{_NUMBER}; {_LIMIT}"),
])  # fmt: skip
def test_bad_query_is_rejected(query: dict[str, Any], message: str) -> None:
    create()
    create()
    publish()
    response = get(**query)
    assert (response.status, response.message) == (400, message)


def test_user_without_changes_has_only_number_0() -> None:
    assert changes() == []
    assert get(starting_after=1).message == "starting_after: must be at most the head, 0"


def test_expired_changes_are_gone(pass_time: Callable[[int], None]) -> None:
    create()
    create()
    publish()
    pass_time(6 * _DAY)
    create()
    publish(streams.records("conversations")[-1])
    assert [change["number"] for change in changes()] == [1, 2, 3]
    pass_time(_DAY)
    # TTL has not deleted them yet.
    for after in (0, 1):
        response = get(starting_after=after)
        assert (response.status, response.body["type"]) == (410, "invalid_request")
        assert response.message == (
            f"starting_after: the changes after {after} are older than seven days; "
            "read the resources again, then the changes after the head, 3"
        )
    assert [change["number"] for change in changes(starting_after=2)] == [3]


@pytest.mark.parametrize("deleted", [(1,), (2,), (1, 2), (2, 3), (1, 2, 3)])
def test_numbers_go_on_after_any_deletion_by_ttl(deleted: tuple[int, ...], pass_time: Callable[[int], None]) -> None:
    for _ in range(3):
        create()
    publish()
    pass_time(7 * _DAY)
    expire(*deleted)
    assert head() == 3
    for after in range(3):
        assert get(starting_after=after).status == 410
    assert (get(starting_after=3).status, get(starting_after=3).body["data"]) == (200, [])
    assert get(starting_after=4).message == "starting_after: must be at most the head, 3"
    update(list_conversations()[0], is_muted=True)
    publish(streams.records("conversations")[-1])
    assert head() == 4
    assert [change["number"] for change in changes(starting_after=3)] == [4]
    assert get(starting_after=2).status == 410


def test_client_that_has_seen_the_last_deleted_change_goes_on(pass_time: Callable[[int], None]) -> None:
    create()
    publish()
    pass_time(7 * _DAY)
    create()
    publish(streams.records("conversations")[-1])
    expire(1)
    assert [change["number"] for change in changes(starting_after=1)] == [2]


def test_poll_at_the_head_makes_one_request(wire: Wire) -> None:
    create()
    publish()
    queries: list[dict[str, Any]] = [
        {},
        {"starting_after": 1},
        {"starting_after": 0},
        {"starting_after": 0, "limit": 1},
    ]
    for query in queries:
        wire.reset()
        assert get(**query).status == 200
        assert wire.requests == ["Query"]


def test_full_page_reads_the_head_too(wire: Wire) -> None:
    for _ in range(4):
        create()
    publish()
    wire.reset()
    assert get(starting_after=0, limit=2).body["head"] == 4
    assert wire.requests == ["Query", "Query"]


def test_page_of_long_messages_ends_at_a_megabyte() -> None:
    conversation = create()
    for _ in range(30):
        send(conversation, "\N{CHRISTMAS TREE}" * 10_000)
    publish()
    found: list[dict[str, Any]] = []
    pages = 0
    while True:
        response = get(starting_after=len(found), limit=100)
        assert len(json.dumps(response.body)) < 4_000_000
        found += response.body["data"]
        pages += 1
        if not response.body["has_more"]:
            break
    assert [change["number"] for change in found] == list(range(1, response.body["head"] + 1))
    assert pages > 1
    assert sum(change["type"] == "message.created" for change in found) == 30


def test_change_that_a_query_misses_is_found_by_the_next(wire: Wire) -> None:
    # A Query is no snapshot: it can return change 2 and miss change 1, which was committed before.
    create()
    create()
    publish()
    missed = tables.delete_change("kevin", 1)
    answered = 0

    def put_back() -> None:
        nonlocal answered
        answered += 1
        if answered == 2:
            tables.put_change(missed)

    wire.fault = lambda _: put_back()
    assert [change["number"] for change in changes()] == [1, 2]


def test_page_ends_at_a_change_that_a_query_misses() -> None:
    for _ in range(3):
        create()
    publish()
    expire(2)
    response = get(starting_after=0)
    assert [change["number"] for change in response.body["data"]] == [1]
    assert (response.body["has_more"], response.body["head"]) == (True, 3)


def test_stack_without_a_feed_has_none(monkeypatch: pytest.MonkeyPatch, wire: Wire) -> None:
    monkeypatch.setattr("functions.list_changes.app.feed._table_name", "")
    response = get()
    assert (response.status, response.message) == (404, "This service keeps no feed of changes")
    assert get(starting_after="x").message == _NUMBER
    assert wire.requests == []


def test_timed_mute_shows_its_end_in_the_feed(pass_time: Callable[[int], None]) -> None:
    conversation = create()
    pass_time(10)
    put_entry(conversation, muted_until=int(time.time()) + 30)
    pass_time(60)
    # The change is published late, and shows the conversation as it was.
    publish()
    assert [(change["version"], change["object"]["is_muted"]) for change in changes()] == [(1, False), (3, True)]
    pinned = update(conversation, is_pinned=True)
    publish(streams.records("conversations")[-1])
    change = changes()[-1]
    assert change["object"] == pinned
    assert not pinned["is_muted"]
    assert call("retrieve_conversation", id=conversation["id"]).headers["ETag"] == f'"{change["version"]}"'
    call("delete_conversation", id=conversation["id"])
    publish(next(record for record in streams.records("conversations") if record["eventName"] == "REMOVE"))
    assert changes()[-1]["version"] == change["version"] + 1
