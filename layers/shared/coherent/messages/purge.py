"""Deletes the messages of deleted conversations. Every step is idempotent."""

import math
import secrets
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger

from coherent import deadline
from coherent.messages import orders
from coherent.storage import rows, tombstones
from coherent.storage.client import LAST_REQUESTS_SECONDS
from coherent.storage.dynamodb import count_retry, retry_conflicts, translate_errors
from coherent.storage.tombstones import Tombstone

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import WriteRequestOutputTypeDef, WriteRequestTypeDef

    from coherent.storage.dynamodb import Tables
    from coherent.storage.rows import Attributes

# The limit of BatchWriteItem.
_BATCH_SIZE = 25
_BACKOFF_SECONDS = 0.05
_MAX_BACKOFF_SECONDS = 2.0
# A send that was in flight may become visible shortly after the delete, so the sweep waits.
_SETTLED_SECONDS = 10 * 60
# The turn of a conversation in a sweep.
_TURN_SECONDS = 2

logger = Logger()


class Purge:
    """Purges the messages of the conversations that have tombstones.

    Every method raises `errors.Unavailable` if DynamoDB throttles or does not respond, and may then be called again.
    """

    def __init__(self, tables: "Tables") -> None:
        self._client = tables.client
        self._messages_table_name = tables.messages
        self._conversations_table_name = tables.conversations

    def sweep(self, partition: str) -> int:
        """Purges the conversations of *partition*'s settled tombstones, oldest first, until time is up.

        The conversations take turns, so a huge one does not delay the others. A failed purge keeps its tombstone.
        Logs failures and returns their number.
        """
        try:
            return self._sweep(deque(self._settled(partition)))
        except Exception:
            logger.exception("A sweep failed", extra={"partition": partition})
            return 1

    def _sweep(self, pending: deque[Tombstone]) -> int:
        finished: list[Tombstone] = []
        failed = 0
        while pending and deadline.seconds_left() > LAST_REQUESTS_SECONDS:
            tombstone = pending.popleft()
            try:
                is_finished = self.delete_messages(tombstone.user_id, tombstone.conversation_id, _TURN_SECONDS)
            except Exception:
                logger.exception("A purge failed", extra={"conversation": tombstone.conversation_id})
                failed += 1
                continue
            (finished if is_finished else pending).append(tombstone)
            if len(finished) == _BATCH_SIZE:
                self._delete_tombstones(finished)
                finished = []
        self._delete_tombstones(finished)
        return failed

    def oldest(self) -> int | None:
        """Returns when the oldest tombstone of all partitions was created, in Unix seconds, or None without one."""
        times = []
        for partition in tombstones.PARTITIONS:
            with translate_errors():
                response = self._client.query(
                    TableName=self._conversations_table_name,
                    KeyConditionExpression="user_id = :partition",
                    ExpressionAttributeValues=rows.values({":partition": partition}),
                    ProjectionExpression="id",
                    ConsistentRead=True,
                    Limit=1,
                )
            times += [tombstones.parse(partition, row["id"]["S"]).created_at for row in response["Items"]]
        return min(times, default=None)

    def delete_messages(self, user_id: str, conversation_id: str, seconds: float = math.inf) -> bool:
        """Deletes the messages of a deleted conversation, and nothing while the conversation exists.

        Stops after *seconds*, and before the deadline of the invocation. Returns whether nothing is left to delete,
        which includes that the conversation exists. No message can arrive meanwhile, since the transaction that writes
        one requires its conversation.
        """
        until = time.monotonic() + min(seconds, deadline.seconds_left() - LAST_REQUESTS_SECONDS)
        partition = rows.user_conversation(user_id, conversation_id)
        while time.monotonic() < until:
            with translate_errors():
                response = self._client.query(
                    TableName=self._messages_table_name,
                    KeyConditionExpression="user_conversation = :partition",
                    ExpressionAttributeValues=rows.values({":partition": partition}),
                    ProjectionExpression="user_conversation, id, origin_id",
                    ConsistentRead=True,
                )
            if not response["Items"] or self._exists(user_id, conversation_id):
                return True
            keys = list(_keys(user_id, response["Items"]))
            for start in range(0, len(keys), _BATCH_SIZE):
                self._delete(self._messages_table_name, keys[start : start + _BATCH_SIZE], until)
        return False

    def _settled(self, partition: str) -> Iterator[Tombstone]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._conversations_table_name,
            KeyConditionExpression="user_id = :partition AND id < :settled",
            ExpressionAttributeValues=rows.values(
                {":partition": partition, ":settled": tombstones.sort_key_at(int(time.time()) - _SETTLED_SECONDS)}
            ),
            ProjectionExpression="id",
            ConsistentRead=True,
        )
        with translate_errors():
            for page in pages:
                for row in page["Items"]:
                    yield tombstones.parse(partition, row["id"]["S"])

    def _delete_tombstones(self, finished: "Sequence[Tombstone]") -> None:
        keys = [rows.values({"user_id": tombstone.partition, "id": tombstone.sort_key}) for tombstone in finished]
        self._delete(self._conversations_table_name, keys, math.inf)

    def _exists(self, user_id: str, conversation_id: str) -> bool:
        with translate_errors():
            response = self._client.get_item(
                TableName=self._conversations_table_name,
                Key=rows.values({"user_id": user_id, "id": conversation_id}),
                ProjectionExpression="id",
                ConsistentRead=True,
            )
        return "Item" in response

    def _delete(self, table_name: str, keys: "Sequence[Attributes]", until: float) -> None:
        """Deletes up to 25 rows. Retries unprocessed deletes, but starts nothing after *until*."""
        requests: Sequence[WriteRequestTypeDef | WriteRequestOutputTypeDef]
        requests = [{"DeleteRequest": {"Key": key}} for key in keys]
        attempts = 0
        while requests and time.monotonic() < until:
            response = retry_conflicts(self._client.batch_write_item, RequestItems={table_name: requests})
            requests = response["UnprocessedItems"].get(table_name, [])
            if requests:
                count_retry()
                longest = min(_MAX_BACKOFF_SECONDS, _BACKOFF_SECONDS * 2**attempts)
                time.sleep(secrets.SystemRandom().uniform(0, longest))
                attempts += 1


def _keys(user_id: str, messages: "Sequence[Attributes]") -> "Iterator[Attributes]":
    """Yields the keys of *messages*, and of the origin row before each message that has one."""
    for message in messages:
        if "origin_id" in message:
            yield orders.origin_key(user_id, message["origin_id"]["S"])
        yield {name: message[name] for name in ("user_conversation", "id")}
