"""The cost of a page does not depend on how many conversations the user owns."""

import itertools
import os
from typing import Any

import boto3
import pytest
from coherent import ids

from tests.filters import COMBINATIONS, partitions
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


def items_read(query: dict[str, str], limit: int, wire: Wire) -> int:
    """Lists a page and returns the number of rows that DynamoDB read for it."""
    wire.reset()
    parameters = query | {"limit": str(limit)}
    response = call("list_conversations", query={name: [value] for name, value in parameters.items()})
    assert len(response.body["data"]) == limit
    return wire.items_read


def write(count: int) -> None:
    """Writes *count* conversations of kevin, with all combinations of flags and groups in turn."""
    client = boto3.client("dynamodb")
    kinds = itertools.cycle(itertools.product("01", "01", "01", (None, "friends")))
    for _ in range(0, count, 25):
        rows = [conversation_row(*kind) for kind in itertools.islice(kinds, 25)]
        client.batch_write_item(
            RequestItems={os.environ["CONVERSATIONS_TABLE_NAME"]: [{"PutRequest": {"Item": row}} for row in rows]}
        )


_clock = itertools.count(1_790_000_000_000_000_000, 1_000_000)


def conversation_row(is_archived: str, is_pinned: str, is_muted: str, group_id: str | None) -> dict[str, Any]:
    now = next(_clock)
    row: dict[str, Any] = {
        "user_id": {"S": "kevin"},
        "id": {"S": ids.new(now)},
        "is_archived": {"N": is_archived},
        "is_pinned": {"N": is_pinned},
        "is_muted": {"N": is_muted},
        "created_at": {"N": str(now // 10**9)},
        "version": {"N": "1"},
    }
    if group_id:
        row |= {"group_id": {"S": group_id}, "owner_group": {"S": f"kevin#{group_id}"}}
    return row
