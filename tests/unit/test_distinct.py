"""POST /v1/conversations with `distinct`: finds the newest conversation of a pair, or creates one."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests import tables
from tests.handlers import FORM, JSON, Response, call, create, list_conversations
from tests.wire import Wire

pytestmark = pytest.mark.usefixtures("tables", "no_backoff")

PAIRS: list[dict[str, Any]] = [
    {"contact_id": "harry"},
    {"group_id": "harry"},
    {"contact_id": "harry", "group_id": "harry"},
    {"contact_id": 'harry","group'},
    {"contact_id": "harry", "group_id": '","'},
    {"contact_id": "é" * 128, "group_id": "漢" * 128},
]


def distinct(user: str = "kevin", key: str | None = None, **attributes: Any) -> Response:
    """Sends a distinct POST of *user*, with harry unless *attributes* are given."""
    body = json.dumps({"distinct": True, **(attributes or {"contact_id": "harry"})})
    headers = {"Idempotency-Key": key} if key else None
    return call("create_conversation", user=user, body=body, content_type=JSON, headers=headers)


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_distinct_create_finds_its_pair_and_no_other(pair: dict[str, Any]) -> None:
    for other in PAIRS:
        if other != pair:
            create(**other)
    first, second = distinct(**pair), distinct(**pair)
    assert (first.status, second.status) == (201, 200)
    assert (first.body, first.headers["ETag"]) == (second.body, second.headers["ETag"])
    assert first.headers["Location"].endswith(first.body["id"])
    assert "Location" not in second.headers
    assert len(tables.conversations()) == len(PAIRS)


def test_found_conversation_is_returned_as_it_is() -> None:
    id = create()["id"]
    call("update_conversation", id=id, body="is_pinned=true")
    found = distinct()
    assert (found.status, found.body["id"], found.body["is_pinned"], found.headers["ETag"]) == (200, id, True, '"2"')


def test_distinct_create_finds_the_newest() -> None:
    newest = [create() for _ in range(3)][-1]
    assert distinct().body["id"] == newest["id"]


def test_plain_create_always_creates() -> None:
    assert distinct().body["id"] != create()["id"] != create()["id"]


def test_false_creates() -> None:
    create()
    response = call("create_conversation", body="contact_id=harry&distinct=false")
    assert (response.status, len(list_conversations())) == (201, 2)


def test_form_takes_distinct() -> None:
    existing = create()
    response = call("create_conversation", body="contact_id=harry&distinct=true", content_type=FORM)
    assert (response.status, response.body["id"]) == (200, existing["id"])


@pytest.mark.parametrize("value", ["maybe", 1, None, "true"])
def test_malformed_distinct_is_rejected(value: object) -> None:
    body = json.dumps({"contact_id": "harry", "distinct": value})
    response = call("create_conversation", body=body, content_type=JSON)
    assert (response.status, response.message) == (400, "distinct: must be true or false")


def test_distinct_alone_is_rejected() -> None:
    response = call("create_conversation", body="distinct=true")
    assert (response.status, response.message) == (400, "contact_id, group_id: at least one of them must be given")


def test_deleted_conversation_is_not_found() -> None:
    deleted = distinct().body
    call("delete_conversation", id=deleted["id"])
    created = distinct()
    assert (created.status, created.body["id"] != deleted["id"]) == (201, True)
    assert distinct().body["id"] == created.body["id"]


def test_users_do_not_find_conversations_of_each_other() -> None:
    assert [distinct(user).status for user in ("kevin", "harry", "kevin")] == [201, 201, 200]


@pytest.mark.usefixtures("isolated_transactions")
def test_concurrent_distinct_creates_make_one_conversation() -> None:
    with ThreadPoolExecutor(8) as threads:
        responses = list(threads.map(lambda _: distinct(), range(8)))
    assert len({response.body["id"] for response in responses}) == 1
    assert sorted(response.status for response in responses) == [200] * 7 + [201]


@pytest.mark.parametrize("status", [200, 201])
def test_key_returns_the_first_response_again(status: int) -> None:
    if status == 200:
        create()
    first = distinct(key="a key")
    call("update_conversation", id=first.body["id"], body="is_pinned=true")
    assert (first.status, "Idempotent-Replayed" in first.headers) == (status, False)
    for _ in ("after an update", "after a delete"):
        again = distinct(key="a key")
        assert (again.status, again.body, again.headers["ETag"]) == (status, first.body, first.headers["ETag"])
        assert again.headers["Idempotent-Replayed"] == "true"
        call("delete_conversation", id=first.body["id"])
    assert list_conversations() == []


def test_key_of_a_plain_create_cannot_be_used_for_a_distinct_one() -> None:
    call("create_conversation", body="contact_id=harry", headers={"Idempotency-Key": "a key"})
    assert distinct(key="a key").status == 422


def test_lost_response_of_a_distinct_create_creates_once(wire: Wire) -> None:
    wire.before("TransactWriteItems", wire.lose_next_response)
    response = distinct()
    assert (response.status, [found["id"] for found in list_conversations()]) == (201, [response.body["id"]])


def test_found_conversation_takes_two_requests(wire: Wire) -> None:
    create()
    wire.reset()
    distinct()
    assert wire.requests == ["GetItem", "GetItem"]
