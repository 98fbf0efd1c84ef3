"""The feed: the changes of each user, numbered from 1 without gaps, for seven days.

Row n of a user's partition is put under the condition that it is absent, and only after row n - 1. So the numbers are
dense and committed in order, whatever the number of publishers. Row 0 is the head: it has the last number, also after
all other rows have expired.
"""

import json
import os
import time
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from aws_lambda_powertools import Logger

from coherent import errors
from coherent.changes import by_time
from coherent.changes.change import KEPT_SECONDS

# Not only for type checking: the reference reads the types of `Entry`.
from coherent.conversations.repository import Conversation
from coherent.messages.row import Message
from coherent.storage import rows
from coherent.storage.dynamodb import back_off, retry_conflicts, translate_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from coherent.changes.change import Change
    from coherent.changes.models import ListChanges
    from coherent.storage.rows import Attributes

# Rows expire in the order of their numbers, up to the difference between clocks, but TTL deletes them in any order.
_SETTLED_SECONDS = 60 * 60
# Lambda may have repeated a batch of the stream that is older.
_REPEATED_SECONDS = 30
_MAX_CLOCK_DIFFERENCE_SECONDS = 60
# The last rows of the feed, which are compared with a batch that may be a repeated one.
_MAX_READ_BACK = 1000
# An attempt fails only if another publisher has taken the number.
_ATTEMPTS = 20
_MAX_BACKOFF = 3
# `number` is a reserved word.
_NUMBER = {"#number": "number"}

logger = Logger()


class Entry(TypedDict):
    """A change as the API shows it. `id` is the resource's; `object` is null for a deletion."""

    number: int
    type: str
    id: str
    version: int
    object: Conversation | Message | None
    created_at: int


class FeedPage(NamedTuple):
    """Changes, oldest first, whether more follow, and the number of the user's last change."""

    data: list[Entry]
    has_more: bool
    head: int


class Feed:
    """The feeds of all users, in the table that the environment names. Without one, nothing is kept.

    Every method raises `errors.Unavailable` if DynamoDB throttles or does not respond.
    """

    def __init__(self, client: "DynamoDBClient") -> None:
        self._client = client
        self._table_name = os.environ["CHANGES_TABLE_NAME"]

    def append(self, user_id: str, changes: "Sequence[Change]", *, is_indexed: bool = False) -> None:
        """Appends *changes* of the user, with *is_indexed* also to the index of all users' changes by time.

        A change that a repeated batch has appended before may be appended again.
        """
        if not self._table_name:
            return
        last = self._last(user_id)
        oldest = min(change.created_at for change in changes)
        appended = self._appended_since(user_id, oldest) if oldest < time.time() - _REPEATED_SECONDS else set()
        for change in changes:
            if change.event_id not in appended:
                last = self._put(change, last, is_indexed=is_indexed)
        self._raise_head(user_id, last)

    def list(self, user_id: str, query: "ListChanges") -> FeedPage:
        """Returns the changes after `starting_after`, at most 1 MB of them, or only the head without it.

        Raises `errors.InvalidRequest` if there is no such number yet, `errors.Gone` if the changes after it have
        expired, and `errors.NoFeed` if the stack keeps no feed.
        """
        if not self._table_name:
            raise errors.NoFeed
        if query.starting_after is None:
            return FeedPage([], has_more=False, head=self._last(user_id))
        after = query.starting_after
        found, head = self._following(user_id, after, query.limit)
        if head is None:
            head = self._last(user_id)
            if after > head:
                raise errors.InvalidRequest(f"starting_after: must be at most the head, {head}")
            if not found and after < head:
                # A Query is no snapshot, and the change may be new. The second one returns it, unless it has expired.
                found, _ = self._following(user_id, after, query.limit)
        if after < head and (not found or int(found[0]["expires_at"]["N"]) <= time.time()):
            raise errors.Gone(after, head)
        last = _number(found[-1]) if found else after
        return FeedPage([_entry(row) for row in found], has_more=last < head, head=head)

    def _following(self, user_id: str, after: int, limit: int) -> "tuple[Sequence[Attributes], int | None]":
        """Returns at most *limit* rows after the number *after*, without a gap, and the head if it is among them.

        The row *after* is read too: without later rows, it shows that it is the head.
        """
        with translate_errors():
            response = self._client.query(
                TableName=self._table_name,
                KeyConditionExpression="user_id = :user_id AND #number >= :after",
                ExpressionAttributeNames=_NUMBER,
                ExpressionAttributeValues=rows.values({":user_id": user_id, ":after": after}),
                ConsistentRead=True,
                Limit=limit + 2,
            )
        found = response["Items"]
        later = [row for row in found if _number(row) > after]
        dense = [row for number, row in enumerate(later, after + 1) if _number(row) == number][:limit]
        is_whole = "LastEvaluatedKey" not in response and len(dense) == len(later)
        if not found and not after:
            return [], 0
        head = _number(found[-1]) if found and is_whole and _is_settled(found[-1]) else None
        return dense, head

    def _last(self, user_id: str) -> int:
        """Returns the number of the user's last change, or 0 without one."""
        with translate_errors():
            response = self._client.query(
                TableName=self._table_name,
                KeyConditionExpression="user_id = :user_id",
                ProjectionExpression="#number, head, expires_at",
                ExpressionAttributeNames=_NUMBER,
                ExpressionAttributeValues=rows.values({":user_id": user_id}),
                ConsistentRead=True,
                ScanIndexForward=False,
                Limit=1,
            )
            if not response["Items"]:
                return 0
            (last,) = response["Items"]
            if _is_settled(last):
                return _number(last)
            head = self._client.get_item(TableName=self._table_name, Key=_key(user_id, 0), ConsistentRead=True)
        return max(_number(last), rows.number(head.get("Item", {}), "head") or 0)

    def _appended_since(self, user_id: str, seconds: int) -> set[str]:
        """Returns the ids of the events that were appended since *seconds*, among the last 1,000."""
        with translate_errors():
            response = self._client.query(
                TableName=self._table_name,
                KeyConditionExpression="user_id = :user_id AND #number > :head",
                FilterExpression="expires_at >= :since",
                ProjectionExpression="event_id",
                ExpressionAttributeNames=_NUMBER,
                ExpressionAttributeValues=rows.values(
                    {":user_id": user_id, ":head": 0, ":since": seconds + KEPT_SECONDS - _MAX_CLOCK_DIFFERENCE_SECONDS}
                ),
                ConsistentRead=True,
                ScanIndexForward=False,
                Limit=_MAX_READ_BACK,
            )
        return {row["event_id"]["S"] for row in response["Items"]}

    def _put(self, change: "Change", last: int, *, is_indexed: bool) -> int:
        """Puts *change* after all others and returns its number. *last* was the last one."""
        content = {
            "user_id": change.user_id,
            "event_id": change.event_id,
            "type": change.type,
            "resource_id": change.resource_id,
            "version": change.version,
            "object": json.dumps(change.object, ensure_ascii=False, separators=(",", ":")),
            "created_at": change.created_at,
            **({"slot": by_time.slot(change)} if is_indexed else {}),
        }
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                retry_conflicts(
                    self._client.put_item,
                    TableName=self._table_name,
                    Item=rows.values(content | {"number": last + 1, "expires_at": int(time.time()) + KEPT_SECONDS}),
                    ConditionExpression="attribute_not_exists(#number)",
                    ExpressionAttributeNames=_NUMBER,
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except self._client.exceptions.ConditionalCheckFailedException as error:
                (existing,) = rows.conflicting_rows(error)
                if existing is not None and rows.text(existing, "event_id") == change.event_id:
                    # An attempt whose response was lost, or another publisher of the same change.
                    return last + 1
                back_off(min(attempt, _MAX_BACKOFF))
                last = self._last(change.user_id)
            else:
                return last + 1
        raise errors.Unavailable

    def _raise_head(self, user_id: str, last: int) -> None:
        try:
            retry_conflicts(
                self._client.update_item,
                TableName=self._table_name,
                Key=_key(user_id, 0),
                UpdateExpression="SET head = :last",
                ConditionExpression="attribute_not_exists(head) OR head < :last",
                ExpressionAttributeValues=rows.values({":last": last}),
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            logger.debug("Another publisher has raised the head")


def _key(user_id: str, number: int) -> "Attributes":
    return rows.values({"user_id": user_id, "number": number})


def _number(row: "Attributes") -> int:
    return int(row["number"]["N"])


def _is_settled(row: "Attributes") -> bool:
    """Returns whether *row* is a change that is too new for a later one to have expired."""
    return "expires_at" in row and int(row["expires_at"]["N"]) > time.time() + _SETTLED_SECONDS


def _entry(row: "Attributes") -> Entry:
    type = row["type"]["S"]
    return {
        "number": _number(row),
        "type": type,
        "id": row["resource_id"]["S"],
        "version": int(row["version"]["N"]),
        "object": None if type.endswith(".deleted") else json.loads(row["object"]["S"]),
        "created_at": int(row["created_at"]["N"]),
    }
