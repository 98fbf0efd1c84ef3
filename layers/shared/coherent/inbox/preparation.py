"""Prepares the rows of an earlier release, which has no inbox: activity, preview and unread count of each conversation.

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
from coherent.storage import rows
from coherent.storage.dynamodb import back_off, retry_conflicts, translate_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coherent.storage.dynamodb import Tables
    from coherent.storage.rows import Attributes

_KEY = rows.values({"user_id": "inbox#preparation", "id": "progress"})
# A deployment with canaries takes half an hour.
_OLD_VERSIONS_SECONDS = 60 * 60
_LAST_REQUESTS_SECONDS = 50
_ATTEMPTS = 6
_PAGE_SIZE = 500
_AFTER_ALL_IDS = "~"

logger = Logger()


class Preparation:
    """The preparation of one stack's conversations."""

    def __init__(self, tables: "Tables") -> None:
        self._tables = tables
        self._is_finished = False

    def require_finished(self) -> None:
        """Raises `errors.InboxNotReady` unless all rows are prepared. Asks the table only until they are."""
        if not self._is_finished and "finished_at" not in self._progress():
            raise errors.InboxNotReady
        self._is_finished = True

    def advance(self) -> None:
        """Prepares rows until the deadline. Does nothing once all are prepared.

        Raises `errors.Unavailable` if DynamoDB throttles or does not respond; the next call continues.
        """
        progress = self._progress()
        if "finished_at" in progress:
            return
        now = int(time.time())
        if not progress:
            if self._has_conversations():
                self._save({"started_at": now})
            else:
                self._save({"started_at": now, "finished_at": now})
            return
        started_at = int(progress["started_at"]["N"])
        if now < started_at + _OLD_VERSIONS_SECONDS:
            return
        position = rows.text(progress, "position")
        while deadline.seconds_left() > _LAST_REQUESTS_SECONDS:
            found, position = self._scan(position)
            for row in found:
                self._prepare(row, started_at)
            if position is None:
                self._save({"started_at": started_at, "finished_at": int(time.time())})
                return
            self._save({"started_at": started_at, "position": position})

    def _progress(self) -> "Attributes":
        with translate_errors():
            response = self._tables.client.get_item(TableName=self._tables.conversations, Key=_KEY, ConsistentRead=True)
        return response.get("Item", {})

    def _save(self, progress: dict[str, object]) -> None:
        try:
            retry_conflicts(
                self._tables.client.put_item,
                TableName=self._tables.conversations,
                Item=_KEY | rows.values(progress),
                # Another invocation may have finished meanwhile.
                ConditionExpression="attribute_not_exists(finished_at)",
            )
        except self._tables.client.exceptions.ConditionalCheckFailedException:
            logger.debug("The preparation is finished")

    def _has_conversations(self) -> bool:
        position: str | None = None
        while True:
            found, position = self._scan(position)
            if found or position is None:
                return bool(found)

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
        """Sets what the inbox needs, unless it is right already, on condition that the row stays unchanged."""
        key = {name: row[name] for name in ("user_id", "id")}
        for attempt in range(1, _ATTEMPTS + 1):
            needed = self._needed(row, started_at)
            is_preview_wrong = "last_message" in row and "last_message" not in needed
            if needed.items() <= row.items() and not is_preview_wrong:
                return
            expression = "SET version = version + :one, " + ", ".join(f"{name} = :{name}" for name in needed)
            try:
                retry_conflicts(
                    self._tables.client.update_item,
                    TableName=self._tables.conversations,
                    Key=key,
                    UpdateExpression=expression + (" REMOVE last_message" if is_preview_wrong else ""),
                    ConditionExpression="version = :version",
                    ExpressionAttributeValues={":one": rows.value(1), ":version": row["version"]}
                    | {f":{name}": attribute for name, attribute in needed.items()},
                )
            except self._tables.client.exceptions.ConditionalCheckFailedException:
                back_off(attempt)
            else:
                return
            with translate_errors():
                response = self._tables.client.get_item(
                    TableName=self._tables.conversations, Key=key, ConsistentRead=True
                )
            if "Item" not in response:
                return
            row = response["Item"]
        raise errors.Unavailable

    def _needed(self, row: "Attributes", started_at: int) -> "Attributes":
        """Returns the attributes that the inbox needs, computed from the messages.

        What the user of an earlier release has read is unknown: what arrived until `last_opened_at`, or, if the app
        never set that, until the preparation started.
        """
        newest = self._last_message(row, _AFTER_ALL_IDS)
        needed: Attributes = {}
        if newest is not None:
            last = max(newest["id"]["S"], rows.text(row, "last_message_id") or "")
            needed = rows.values({"last_message": effects.preview(newest), "last_message_id": last})
        mark = rows.text(row, "read_up_to")
        if "unread_revision" not in row:
            read_at = rows.number(row, "last_opened_at") or started_at
            read = self._last_message(row, ids.new((read_at + 1) * 1_000_000_000))
            mark = None if read is None else read["id"]["S"]
        if mark is not None:
            needed["read_up_to"] = rows.value(mark)
        counted = unread.count(self._tables, row | needed, mark)
        if counted < unread.MAX or (rows.number(row, "unread_count") or 0) < unread.MAX:
            needed["unread_count"] = rows.value(counted)
        active_at = rows.number(row, "last_active_at") or int(row["created_at"]["N"])
        return needed | rows.values(
            {
                "activity": positions.new(active_at, row["id"]["S"]),
                "is_unread": counted > 0 or rows.number(row, "is_flagged") == 1,
                "unread_revision": rows.number(row, "unread_revision") or 1,
            }
        )

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
