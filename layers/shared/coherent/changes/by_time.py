"""The changes of all users by time, in the index `by_time`. Redeliveries to webhooks read it.

A partition of the index is an hour and one of 16 numbers, since a partition takes 1,000 writes a second.
"""

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from coherent.changes.change import Change
from coherent.storage import rows
from coherent.storage.dynamodb import batch_read, translate_errors

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import QueryInputTypeDef

    from coherent.storage.rows import Attributes

_SHARDS = 16
_HOUR = 60 * 60
# The most keys of a BatchGetItem.
_PAGE = 100


class Period(NamedTuple):
    """The Unix seconds from *start* to *end*, both included. A redelivery may have read a part already.

    *slot* and *key* are the partition that is read next, and the last key that was read in it.
    """

    start: int
    end: int
    slot: str | None = None
    key: Mapping[str, object] | None = None


class ChangesPage(NamedTuple):
    """Some changes in any order, and the period that follows: None at the end."""

    changes: list[Change]
    rest: Period | None


def slot(change: Change) -> str:
    """Returns the partition of *change*."""
    return _slot(change.created_at // _HOUR, zlib.crc32(change.event_id.encode()) % _SHARDS)


class ChangesByTime:
    """The changes of all users, in the table that the environment names."""

    def __init__(self, client: "DynamoDBClient") -> None:
        self._client = client
        self._table_name = os.environ["CHANGES_TABLE_NAME"]

    @property
    def are_kept(self) -> bool:
        """Whether the stack keeps changes."""
        return bool(self._table_name)

    def pages(self, period: Period) -> Iterator[ChangesPage]:
        """Yields the changes of *period*. Raises `errors.Unavailable` if DynamoDB throttles or does not respond."""
        slots = _slots(period)
        remaining = slots[slots.index(period.slot) :] if period.slot else slots
        key = period.key
        for name, following in zip(remaining, [*remaining[1:], None], strict=True):
            while True:
                found, key = self._query(period, name, key)
                rest = period._replace(slot=name if key else following, key=key)
                yield ChangesPage(self._changes(found), rest if rest.slot else None)
                if not key:
                    break

    def _query(
        self, period: Period, name: str, key: Mapping[str, object] | None
    ) -> "tuple[list[Attributes], dict[str, object] | None]":
        """Returns keys of the table, and the last one of the index if more follow."""
        query: QueryInputTypeDef = {
            "TableName": self._table_name,
            "IndexName": "by_time",
            "KeyConditionExpression": "slot = :slot AND created_at BETWEEN :start AND :end",
            "ExpressionAttributeValues": rows.values({":slot": name, ":start": period.start, ":end": period.end}),
            "Limit": _PAGE,
        }
        if key:
            query["ExclusiveStartKey"] = rows.values(key)
        with translate_errors():
            response = self._client.query(**query)
        last = response.get("LastEvaluatedKey")
        keys = [{name: row[name] for name in ("user_id", "number")} for row in response["Items"]]
        return keys, {name: rows.plain(last[name]) for name in last} if last else None

    def _changes(self, keys: "list[Attributes]") -> list[Change]:
        if not keys:
            return []
        found = batch_read(self._client, {self._table_name: {"Keys": keys}})[self._table_name]
        return [
            Change(
                user_id=row["user_id"]["S"],
                type=row["type"]["S"],
                resource_id=row["resource_id"]["S"],
                version=int(row["version"]["N"]),
                object=json.loads(row["object"]["S"]),
                created_at=int(row["created_at"]["N"]),
            )
            for row in found
        ]


def _slots(period: Period) -> list[str]:
    hours = range(period.start // _HOUR, period.end // _HOUR + 1)
    return [_slot(hour, shard) for hour in hours for shard in range(_SHARDS)]


def _slot(hour: int, shard: int) -> str:
    return f"{hour}#{shard:02}"
