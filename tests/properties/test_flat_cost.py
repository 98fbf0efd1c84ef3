"""The cost of a page does not depend on how many conversations the user owns."""

import itertools
import os
from typing import Any

import boto3
import pytest
from coherent import ids, positions

from tests import tables
from tests.filters import COMBINATIONS, INBOX_COMBINATIONS, inbox_partitions, partitions
from tests.handlers import call
from tests.wire import Wire

pytestmark = pytest.mark.usefixtures("tables")


def test_rows_read_do_not_grow_with_the_user(wire: Wire) -> None:
    limit = 3
    write(100)
    few = {str(query): items_read(query, limit, wire) for query in COMBINATIONS}
    write(9_900)
    many = {str(query): items_read(query, limit, wire) for query in COMBINATIONS}
    assert many == few
    for query in COMBINATIONS:
        assert few[str(query)] <= partitions(query) * (limit + 1)


def test_rows_and_queries_of_the_inbox_do_not_grow_with_the_user(wire: Wire) -> None:
    limit = 2
    write(160)
    few = {str(query): requests_of_inbox(query, limit, wire) for query in INBOX_COMBINATIONS}
    for query in INBOX_COMBINATIONS:
        rows, requests = few[str(query)]
        assert rows <= 2 * inbox_partitions(query) * (limit + 1)
        assert requests == (["Query"] * inbox_partitions(query) + ["BatchGetItem"]) * 2
    # moto looks at every row for each query, so only some combinations, and of the largest user those with few queries.
    for count, step, most in ((10_000, 23, 16), (100_000, 40, 2)):
        write(count - len(tables.conversations()))
        for query in [query for query in INBOX_COMBINATIONS[::step] if inbox_partitions(query) <= most]:
            assert requests_of_inbox(query, limit, wire) == few[str(query)]


def test_badge_does_not_grow_with_the_user(wire: Wire) -> None:
    read = []
    call("count_unread")
    for count in (4_000, 8_000):
        write(count)
        wire.reset()
        body = call("count_unread").body
        read.append(wire.items_read)
        assert (body["conversations"], body["has_more"]) == (100, True)
        assert wire.requests == ["Query", "Query"]
    assert read == [202, 202]


def items_read(query: dict[str, str], limit: int, wire: Wire) -> int:
    """Lists a page and returns the number of rows that DynamoDB read for it."""
    wire.reset()
    parameters = query | {"limit": str(limit)}
    response = call("list_conversations", query={name: [value] for name, value in parameters.items()})
    assert len(response.body["data"]) == limit
    return wire.items_read


def requests_of_inbox(query: dict[str, str], limit: int, wire: Wire) -> tuple[int, list[str]]:
    """Lists the first and the last page of the inbox, which are full. Returns the rows read, and the requests."""
    parameters = {name: [value] for name, value in (query | {"limit": str(limit)}).items()}
    call("list_inbox", query=parameters)
    wire.reset()
    for cursor in ({}, {"ending_before": [f"{0:010}.{'0' * 16}"]}):
        assert len(call("list_inbox", query=parameters | cursor).body["data"]) == limit
    return wire.items_read, list(wire.requests)


def write(count: int) -> None:
    """Writes *count* conversations of kevin, with all combinations of flags and groups in turn."""
    client = boto3.client("dynamodb")
    kinds = itertools.cycle(itertools.product("01", "01", "01", "01", (None, "friends")))
    for _ in range(0, count, 25):
        rows = [conversation_row(*kind) for kind in itertools.islice(kinds, 25)]
        client.batch_write_item(
            RequestItems={os.environ["CONVERSATIONS_TABLE_NAME"]: [{"PutRequest": {"Item": row}} for row in rows]}
        )


_clock = itertools.count(1_790_000_000_000_000_000, 1_000_000)


def conversation_row(
    is_archived: str, is_pinned: str, is_muted: str, is_unread: str, group_id: str | None
) -> dict[str, Any]:
    now = next(_clock)
    id = ids.new(now)
    row: dict[str, Any] = {
        "user_id": {"S": "kevin"},
        "id": {"S": id},
        "is_archived": {"N": is_archived},
        "is_pinned": {"N": is_pinned},
        "is_muted": {"N": is_muted},
        "is_unread": {"N": is_unread},
        "unread_count": {"N": is_unread},
        "activity": {"S": positions.new(now // 10**9, id)},
        "created_at": {"N": str(now // 10**9)},
        "version": {"N": "1"},
    }
    if group_id:
        row |= {"group_id": {"S": group_id}, "owner_group": {"S": f"kevin#{group_id}"}}
    return row
