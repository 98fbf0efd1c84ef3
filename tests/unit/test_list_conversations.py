"""GET /v1/conversations."""

import itertools
import re
import threading
import time
from typing import Any
from urllib.parse import parse_qsl

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from tests.filters import COMBINATIONS
from tests.handlers import Context, call, create, event, handler, invoke, list_conversations, request, update
from tests.model import matches
from tests.wire import Wire, error_response

pytestmark = pytest.mark.usefixtures("tables")

LIMIT = "must be an integer between 1 and 100"
BOOLEAN = "must be true or false"
NAME = "must be 1 to 128 characters without white space or control characters"
ID = "must be an id of 16 letters and digits"
ONE_CURSOR = "starting_after, ending_before: only one of them may be given"
TAKES = "this call takes limit, starting_after, ending_before, muted, archived, pinned, group_id"


def ids(conversations: list[dict[str, Any]]) -> list[str]:
    return [conversation["id"] for conversation in conversations]


def page(**query: str) -> tuple[bool, list[str]]:
    response = call("list_conversations", query={name: [value] for name, value in query.items()})
    assert response.status == 200, response
    assert list(response.body) == ["has_more", "data"]
    return response.body["has_more"], ids(response.body["data"])


def test_sample_event_lists_empty_table() -> None:
    response = invoke("list_conversations", event("list_conversations"))
    assert (response.status, response.body) == (200, {"has_more": False, "data": []})


def test_default_page_has_the_newest_ten() -> None:
    created = [create() for _ in range(12)]
    response = call("list_conversations")
    assert response.body == {"has_more": True, "data": created[:1:-1]}
    assert list(response.body["data"][0]) == list(created[0])


def test_pages_can_be_walked_in_both_directions() -> None:
    newest_first = ids([create() for _ in range(5)])[::-1]
    assert page(limit="2") == (True, newest_first[:2])
    assert page(limit="2", starting_after=newest_first[1]) == (True, newest_first[2:4])
    assert page(limit="2", starting_after=newest_first[3]) == (False, newest_first[4:])
    assert page(limit="2", starting_after=newest_first[4]) == (False, [])
    assert page(limit="2", ending_before=newest_first[4]) == (True, newest_first[2:4])
    assert page(limit="2", ending_before=newest_first[2]) == (False, newest_first[:2])
    assert page(limit="2", ending_before=newest_first[0]) == (False, [])


def test_last_page_has_no_more() -> None:
    newest_first = ids([create() for _ in range(4)])[::-1]
    assert page(limit="4") == (False, newest_first)
    assert page(limit="2", starting_after=newest_first[1]) == (False, newest_first[2:])
    assert page(limit="2", ending_before=newest_first[2]) == (False, newest_first[:2])


def test_cursor_may_name_a_deleted_conversation() -> None:
    oldest, middle, newest = (create() for _ in range(3))
    call("delete_conversation", id=middle["id"])
    assert page(starting_after=middle["id"]) == (False, [oldest["id"]])
    assert page(ending_before=middle["id"]) == (False, [newest["id"]])


def test_cursor_need_not_match_the_filter() -> None:
    oldest, middle, newest = (update(create(), is_muted=True) for _ in range(3))
    update(middle, is_muted=False)
    assert page(muted="true", starting_after=middle["id"]) == (False, [oldest["id"]])
    assert page(muted="true", ending_before=middle["id"]) == (False, [newest["id"]])


def test_cursor_may_name_another_users_conversation() -> None:
    mine = create(user="kevin")
    foreign = create(user="harry")
    assert page(starting_after=foreign["id"]) == (False, [mine["id"]])
    assert page(ending_before=foreign["id"]) == (False, [])


def test_filters_combine() -> None:
    flags = [
        dict(zip(("is_muted", "is_archived", "is_pinned"), values, strict=True))
        for values in itertools.product((True, False), repeat=3)
    ]
    created = []
    for group_id, flag in itertools.product(("friends", "family", None), flags):
        conversation = create(**{"contact_id": "harry"} | ({"group_id": group_id} if group_id else {}))
        archived_at = 1_790_000_000 if flag["is_archived"] else None
        created.append(
            update(conversation, is_muted=flag["is_muted"], is_pinned=flag["is_pinned"], archived_at=archived_at)
        )
    for query in COMBINATIONS:
        assert list_conversations(**query) == [found for found in reversed(created) if matches(found, query)], query


def test_conversations_of_other_users_are_not_listed() -> None:
    other = update(create(user="harry", contact_id="kevin", group_id="friends"), user="harry", is_muted=True)
    assert list_conversations(user="harry", group_id="friends") == [other]
    for query in ({}, {"group_id": "friends"}, {"muted": "true"}, {"group_id": "friends", "muted": "true"}):
        assert list_conversations(user="kevin", **query) == []


def test_concatenated_names_do_not_collide() -> None:
    other = create(user="ab", contact_id="x", group_id="c")
    mine = create(user="a", contact_id="x", group_id="bc")
    assert list_conversations(user="ab", group_id="c") == [other]
    assert list_conversations(user="a", group_id="bc") == [mine]


def test_unfiltered_list_is_strongly_consistent(wire: Wire) -> None:
    list_conversations()
    assert wire.bodies[0]["ConsistentRead"] is True


def links(**query: str) -> dict[str, tuple[str, dict[str, str]]]:
    """Returns the Link header: the URL and the query parameters of each relation."""
    header = call("list_conversations", query={name: [value] for name, value in query.items()}).headers.get("Link", "")
    found = re.findall(r'<([^>?]*)\?([^>]*)>; rel="(next|prev)"(?:, |$)', header)
    return {relation: (url, dict(parse_qsl(query, strict_parsing=True))) for url, query, relation in found}


URL = "https://a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com/v1/conversations"


def test_links_name_next_and_previous_page() -> None:
    _, b, c, d, e = ids([create() for _ in range(5)])[::-1]
    assert links() == {}
    assert links(limit="2") == {"next": (URL, {"limit": "2", "starting_after": b})}
    middle = {
        "next": (URL, {"limit": "2", "starting_after": d}),
        "prev": (URL, {"limit": "2", "ending_before": c}),
    }
    assert links(limit="2", starting_after=b) == links(limit="2", ending_before=e) == middle
    assert links(limit="2", starting_after=d) == {"prev": (URL, {"limit": "2", "ending_before": e})}
    assert links(limit="2", ending_before=c) == {"next": (URL, {"limit": "2", "starting_after": b})}


@pytest.mark.parametrize("name", ["starting_after", "ending_before"])
def test_empty_page_after_a_cursor_links_to_the_page_before_it(name: str) -> None:
    cursor = create()["id"]
    assert links() == {}
    assert links(limit="2", **{name: cursor}) == {"prev": (URL, {"limit": "2", "ending_before": cursor})}
    newer = create()["id"]
    (followed,) = ids(list_conversations(ending_before=cursor))
    assert followed == newer


def test_links_keep_the_filters() -> None:
    for _ in range(2):
        create(contact_id="harry", group_id="a&b=ä")
    query = {"limit": "1", "muted": "false", "group_id": "a&b=ä"}
    _, followed = links(**query)["next"]
    assert followed == query | {"starting_after": list_conversations()[0]["id"]}


def test_links_use_the_custom_domain_or_public_url(monkeypatch: pytest.MonkeyPatch) -> None:
    request = event("list_conversations")
    request["requestContext"] |= {"domainName": "api.example.com", "path": "/chat/conversations"}
    request["multiValueQueryStringParameters"] = {"limit": ["1"]}
    # These headers come from the client and are ignored.
    request["multiValueHeaders"] |= {"Host": ["evil.example"], "X-Forwarded-Host": ["evil.example"]}
    for _ in range(2):
        create(user=request["requestContext"]["authorizer"]["claims"]["sub"])
    expected = "<https://api.example.com/chat/conversations?limit=1&starting_after="
    assert invoke("list_conversations", request).headers["Link"].startswith(expected)
    monkeypatch.setenv("PUBLIC_URL", "https://proxy.example.com/v2")
    expected = "<https://proxy.example.com/v2/conversations?limit=1&starting_after="
    assert invoke("list_conversations", request).headers["Link"].startswith(expected)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"limit": ["0"]}, f"limit: {LIMIT}"),
        ({"limit": ["101"]}, f"limit: {LIMIT}"),
        ({"limit": ["-1"]}, f"limit: {LIMIT}"),
        ({"limit": ["abc"]}, f"limit: {LIMIT}"),
        ({"limit": [""]}, f"limit: {LIMIT}"),
        ({"limit": ["1.0"]}, f"limit: {LIMIT}"),
        ({"limit": [" 1"]}, f"limit: {LIMIT}"),
        ({"limit": ["1_0"]}, f"limit: {LIMIT}"),
        ({"limit": ["010"]}, f"limit: {LIMIT}"),
        ({"limit": ["٣"]}, f"limit: {LIMIT}"),
        ({"limit": ["9" * 5000]}, f"limit: {LIMIT}"),
        ({"limit": ["5", "5"]}, "limit: must be given only once"),
        ({"muted": ["yes"]}, f"muted: {BOOLEAN}"),
        ({"archived": ["1"]}, f"archived: {BOOLEAN}"),
        ({"pinned": ["True"]}, f"pinned: {BOOLEAN}"),
        ({"pinned": [""]}, f"pinned: {BOOLEAN}"),
        ({"muted": ["null"]}, f"muted: {BOOLEAN}"),
        ({"group_id": [""]}, f"group_id: {NAME}"),
        ({"group_id": ["a b"]}, f"group_id: {NAME}"),
        ({"group_id": ["a\0b"]}, f"group_id: {NAME}"),
        ({"group_id": ["\ud800"]}, f"group_id: {NAME}"),
        ({"group_id": ["a" * 129]}, f"group_id: {NAME}"),
        ({"starting_after": [""]}, f"starting_after: {ID}"),
        ({"starting_after": ["xgQQXg3hrtjh7Av"]}, f"starting_after: {ID}"),
        ({"ending_before": ["xgQQXg3hrtjh7AvZ "]}, f"ending_before: {ID}"),
        ({"ending_before": ["../../etc/passwd"]}, f"ending_before: {ID}"),
        (
            {"starting_after": ["xgQQXg3hrtjh7AvZ"], "ending_before": ["xgQQXg3hrtjh7AvZ"]},
            ONE_CURSOR,
        ),
        ({"mutted": ["true"]}, f"mutted: unknown or read-only; {TAKES}"),
        ({"Muted": ["true"]}, f"Muted: unknown or read-only; {TAKES}"),
        ({"is_muted": ["true"]}, f"is_muted: unknown or read-only; {TAKES}"),
        ({"": [""]}, f": unknown or read-only; {TAKES}"),
        (
            {"limit": ["0", "5"], "muted": ["yes"], "starting_after": ["a" * 16], "ending_before": ["b" * 16]},
            f"limit: must be given only once; muted: {BOOLEAN}; {ONE_CURSOR}",
        ),
        ({"limit": ["0"], "muted": ["yes"]}, f"limit: {LIMIT}; muted: {BOOLEAN}"),
        (
            {"muted": ["true", "false"], "limit": ["5", "5"]},
            "muted: must be given only once; limit: must be given only once",
        ),
    ],
    ids=str,
)
def test_invalid_query_is_rejected(query: dict[str, list[str]], message: str) -> None:
    create()
    response = call("list_conversations", query=query)
    assert (response.status, response.message) == (400, message)


def test_partitions_are_queried_in_parallel(wire: Wire) -> None:
    # Each of the eight queries waits until another one was sent.
    pair = threading.Barrier(2, timeout=10)

    def wait(_request: object) -> None:
        pair.wait()

    wire.fault = wait
    assert call("list_conversations", query={"group_id": ["friends"]}).status == 200
    assert len(wire.requests) == 8


def test_failed_query_waits_for_the_others(wire: Wire) -> None:
    numbers, ended = itertools.count(), []

    def fail_first(request: AWSPreparedRequest) -> AWSResponse | None:
        if next(numbers) == 0:
            return error_response(request, 400, "AccessDeniedException")
        time.sleep(0.02)
        ended.append(request)
        return None

    wire.fault = fail_first
    assert call("list_conversations", query={"group_id": ["friends"]}).status == 500
    # A query that continued would use the deadline of the next invocation.
    assert len(ended) == 7


def test_parallel_queries_respect_the_deadline() -> None:
    event = request("list_conversations", query={"archived": ["false"]})
    assert handler("list_conversations")(event, Context(25))["statusCode"] == 200
    assert handler("list_conversations")(event, Context(5))["statusCode"] == 503
