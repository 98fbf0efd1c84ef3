"""Prepares the rows of an earlier release, which has no inbox and no pair rows: each conversation gets what it lacks.

Versions of the earlier release still run while a deployment shifts traffic, and change rows without keeping these
attributes. So the preparation waits until they are gone, and then checks every row once. A row beside the conversations
records its progress.
"""

import json
import time
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger

from coherent import deadline, errors, ids, positions
from coherent.messages import conversation as effects
from coherent.messages import unread
from coherent.storage import pairs, rows
from coherent.storage.client import LAST_REQUESTS_SECONDS
from coherent.storage.dynamodb import back_off, retry_conflicts, translate_errors
from coherent.storage.progress import KEY, Progress
from coherent.storage.rows import Clauses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coherent.storage.dynamodb import Tables
    from coherent.storage.rows import Attributes

# A deployment with canaries takes half an hour.
_OLD_VERSIONS_SECONDS = 60 * 60
# After a longer gap between two sweeps, the earlier release may have been deployed meanwhile.
_MAX_GAP_SECONDS = 10 * 60
_ATTEMPTS = 6
_PAGE_SIZE = 500
_AFTER_ALL_IDS = "~"

logger = Logger()


class Preparation:
    """The preparation of one stack's conversations."""

    def __init__(self, tables: "Tables") -> None:
        self._tables = tables
        self._progress = Progress(tables)

    def advance(self) -> None:
        """Prepares rows until the deadline. Does nothing once all are prepared.

        Raises `errors.Unavailable` if DynamoDB throttles or does not respond; the next call continues.
        """
        progress = self._progress.read()
        if "finished_at" in progress:
            return
        now = int(time.time())
        if not progress and self._is_new_table():
            self._save(progress, started_at=now, finished_at=now)
        elif not progress or now > ids.created_at(progress["written_by"]["S"]) + _MAX_GAP_SECONDS:
            self._save(progress, started_at=now)
        elif now < (started_at := int(progress["started_at"]["N"])) + _OLD_VERSIONS_SECONDS:
            self._save(progress, started_at=started_at)
        else:
            self._prepare_all(progress)

    def _prepare_all(self, progress: "Attributes") -> None:
        started_at = int(progress["started_at"]["N"])
        position = rows.text(progress, "position")
        is_finished = False
        while progress and not is_finished and deadline.seconds_left() > LAST_REQUESTS_SECONDS:
            found, end = self._scan(position)
            try:
                for row in found:
                    if deadline.seconds_left() < LAST_REQUESTS_SECONDS:
                        return
                    self._prepare(row, started_at)
                    self._point_pair(row)
                    position = json.dumps(_key(row))
                position, is_finished = end, end is None
            finally:
                # Also after an error: a huge conversation may need the whole time of the next invocation.
                finished_at = int(time.time()) if is_finished else None
                progress = self._save(progress, started_at=started_at, position=position, finished_at=finished_at)

    def _save(self, known: "Attributes", **progress: object) -> "Attributes":
        """Replaces the *known* progress and returns the new one, or nothing if another invocation has saved since.

        The id of the write, `written_by`, contains the time of the last sweep.
        """
        saved = {name: value for name, value in progress.items() if value is not None}
        row = KEY | rows.values(saved | {"written_by": ids.new(time.time_ns())})
        condition: dict[str, Any] = {"ConditionExpression": rows.IS_NEW}
        if known:
            condition = {
                "ConditionExpression": "written_by = :known",
                "ExpressionAttributeValues": {":known": known["written_by"]},
            }
        try:
            retry_conflicts(self._tables.client.put_item, TableName=self._tables.conversations, Item=row, **condition)
        except self._tables.client.exceptions.ConditionalCheckFailedException:
            logger.debug("Another invocation prepares the inbox")
            return {}
        return row

    def _is_new_table(self) -> bool:
        """Returns whether no earlier release has ever used the table."""
        with translate_errors():
            table = self._tables.client.describe_table(TableName=self._tables.conversations)["Table"]
        # The earlier release may be running although it has not written anything yet.
        if time.time() > table["CreationDateTime"].timestamp() + _OLD_VERSIONS_SECONDS:
            return False
        position: str | None = None
        while True:
            found, position = self._scan(position)
            if any("unread_revision" not in row for row in found):
                return False
            if position is None:
                return True

    def _scan(self, position: str | None) -> "tuple[Sequence[Attributes], str | None]":
        """Returns conversations from *position* on, and the position after them, or None at the end."""
        start: dict[str, Any] = {} if position is None else {"ExclusiveStartKey": json.loads(position)}
        with translate_errors():
            response = self._tables.client.scan(
                TableName=self._tables.conversations,
                FilterExpression="attribute_exists(is_archived)",
                ConsistentRead=True,
                Limit=_PAGE_SIZE,
                **start,
            )
        last = response.get("LastEvaluatedKey")
        return response["Items"], json.dumps(last) if last else None

    def _prepare(self, row: "Attributes", started_at: int) -> None:
        """Sets what the inbox needs, unless it is right already. Checks again after each change."""
        for attempt in range(1, _ATTEMPTS + 1):
            clauses = self._missing(row, started_at) or self._recount(row)
            if clauses is None:
                return
            removed = f" REMOVE {', '.join(clauses.removed)}" if clauses.removed else ""
            try:
                response = retry_conflicts(
                    self._tables.client.update_item,
                    TableName=self._tables.conversations,
                    Key=_key(row),
                    UpdateExpression=f"SET {', '.join(['version = version + :one', *clauses.assignments])}{removed}",
                    ConditionExpression=" AND ".join(clauses.conditions),
                    ExpressionAttributeValues=rows.values({":one": 1, **clauses.values}),
                    ReturnValues="ALL_NEW",
                )
            except self._tables.client.exceptions.ConditionalCheckFailedException:
                back_off(attempt)
                with translate_errors():
                    current = self._tables.client.get_item(
                        TableName=self._tables.conversations, Key=_key(row), ConsistentRead=True
                    )
                if "Item" not in current:
                    return
                row = current["Item"]
            else:
                row = response["Attributes"]
        raise errors.Unavailable

    def _point_pair(self, row: "Attributes") -> None:
        """Points the pair row of the conversation's contact and group at it, unless at a newer one."""
        pair = pairs.key(row["user_id"]["S"], rows.text(row, "contact_id"), rows.text(row, "group_id"))
        try:
            retry_conflicts(
                self._tables.client.put_item,
                TableName=self._tables.conversations,
                Item=pair | {"conversation_id": row["id"]},
                ConditionExpression=f"{rows.IS_NEW} OR conversation_id < :id",
                ExpressionAttributeValues={":id": row["id"]},
            )
        except self._tables.client.exceptions.ConditionalCheckFailedException:
            logger.debug("The pair has a newer conversation")

    def _missing(self, row: "Attributes", started_at: int) -> Clauses | None:
        """Returns the clauses that set all that the inbox needs but the unread count; None if nothing is missing.

        They fail if the row has changed. They do not fail if the newest message has: an edit or deletion does not
        write to a row without preview. So its preview must be compared again afterwards.
        """
        newest = self._last_message(row, _AFTER_ALL_IDS)
        active_at = rows.number(row, "last_active_at") or int(row["created_at"]["N"])
        needed: dict[str, object] = {"activity": positions.new(active_at, row["id"]["S"])}
        if newest is not None:
            needed["last_message"] = effects.preview(newest)
            needed["last_message_id"] = max(newest["id"]["S"], rows.text(row, "last_message_id") or "")
        if "unread_revision" not in row:
            needed |= {"unread_revision": 1, "unread_count": 0, "is_unread": False}
            if newest is not None and (mark := self._mark(row, newest, started_at)) is not None:
                needed["read_up_to"] = mark
        wrong = {name: value for name, value in needed.items() if row.get(name) != rows.value(value)}
        removed = ["last_message"] if newest is None and "last_message" in row else []
        if not wrong and not removed:
            return None
        return Clauses(
            [f"{name} = :{name}" for name in wrong],
            removed,
            ["version = :version"],
            {f":{name}": value for name, value in wrong.items()} | {":version": int(row["version"]["N"])},
        )

    def _mark(self, row: "Attributes", newest: "Attributes", started_at: int) -> str | None:
        """Returns the last message that counts as read: the last one until `last_opened_at`.

        What the user of an earlier release has read is unknown. If the app never set `last_opened_at`, all that
        arrived until the preparation started counts as read.
        """
        opened_at = rows.number(row, "last_opened_at")
        read_at = started_at if opened_at is None else min(opened_at, int(time.time()))
        end = ids.new((read_at + 1) * 1_000_000_000)
        last = newest if newest["id"]["S"] < end else self._last_message(row, end)
        return None if last is None else last["id"]["S"]

    def _recount(self, row: "Attributes") -> Clauses | None:
        """Returns the clauses that correct the unread count, or None if it is right."""
        counted = unread.count(self._tables, row, rows.text(row, "read_up_to"))
        is_flagged = rows.number(row, "is_flagged") == 1
        is_unread = counted > 0 or is_flagged
        if min(int(row["unread_count"]["N"]), unread.MAX) == counted and row["is_unread"] == rows.value(is_unread):
            return None
        return unread.recount(row, counted, is_flagged=is_flagged)

    def _last_message(self, row: "Attributes", before: str) -> "Attributes | None":
        with translate_errors():
            response = self._tables.client.query(
                TableName=self._tables.messages,
                KeyConditionExpression="user_conversation = :partition AND id < :before",
                ExpressionAttributeValues=rows.values(
                    {":partition": rows.user_conversation(row["user_id"]["S"], row["id"]["S"]), ":before": before}
                ),
                ConsistentRead=True,
                ScanIndexForward=False,
                Limit=1,
            )
        return response["Items"][0] if response["Items"] else None


def _key(row: "Attributes") -> "Attributes":
    return {name: row[name] for name in ("user_id", "id")}
