"""Deletes the messages of deleted conversations. Every step is idempotent."""

import math
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from coherent import deadline
from coherent.storage import rows, tombstones
from coherent.storage.dynamodb import count_retry, retry_conflicts, translate_errors
from coherent.storage.tombstones import Tombstone

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import WriteRequestOutputTypeDef, WriteRequestTypeDef

    from coherent.storage.dynamodb import Tables

# The limit of BatchWriteItem.
_BATCH_SIZE = 25
_BACKOFF_SECONDS = 0.05
_MAX_BACKOFF_SECONDS = 2.0
# The longest that the last two requests can take with the timeouts of `client.connect`.
_LAST_REQUESTS_SECONDS = 50
# A transaction may release the conversation before it has written its message, so a tombstone outlives the first purge.
_SETTLED_SECONDS = 10 * 60


class Purge:
    """Purges messages by the tombstones of their conversations.

    Every method raises `errors.Unavailable` if DynamoDB throttles or does not respond, and may then be called again.
    """

    def __init__(self, tables: "Tables") -> None:
        self._client = tables.client
        self._messages_table_name = tables.messages
        self._conversations_table_name = tables.conversations

    def pending(self) -> list[Tombstone]:
        """Returns the tombstones that remain, oldest first."""
        found = [tombstone for partition in tombstones.PARTITIONS for tombstone in self._partition(partition)]
        return sorted(found, key=lambda tombstone: tombstone.created_at)

    def has_time(self) -> bool:
        """Returns whether the invocation has time for another purge."""
        return deadline.seconds_left() > _LAST_REQUESTS_SECONDS

    def finish(self, tombstone: Tombstone, seconds: float) -> bool:
        """Deletes the messages and, ten minutes after the deletion, the tombstone.

        Stops after *seconds* as `delete_messages` does, and then returns False.
        """
        if not self.delete_messages(tombstone.user_id, tombstone.conversation_id, seconds):
            return False
        if time.time() - tombstone.created_at > _SETTLED_SECONDS:
            key = rows.values({"user_id": tombstone.partition, "id": tombstone.sort_key})
            retry_conflicts(self._client.delete_item, TableName=self._conversations_table_name, Key=key)
        return True

    def delete_messages(self, user_id: str, conversation_id: str, seconds: float = math.inf) -> bool:
        """Deletes the messages of a deleted conversation, and nothing while the conversation exists.

        Stops after *seconds*, and before the deadline of the invocation. Returns whether nothing is left to delete: no
        message can arrive meanwhile, since the transaction that writes one requires its conversation.
        """
        until = time.monotonic() + min(seconds, deadline.seconds_left() - _LAST_REQUESTS_SECONDS)
        partition = rows.user_conversation(user_id, conversation_id)
        while time.monotonic() < until:
            if self._exists(user_id, conversation_id):
                return True
            with translate_errors():
                response = self._client.query(
                    TableName=self._messages_table_name,
                    KeyConditionExpression="user_conversation = :partition",
                    ExpressionAttributeValues=rows.values({":partition": partition}),
                    ProjectionExpression="user_conversation, id",
                    ConsistentRead=True,
                )
            keys = response["Items"]
            if not keys:
                return True
            for start in range(0, len(keys), _BATCH_SIZE):
                self._delete([{"DeleteRequest": {"Key": key}} for key in keys[start : start + _BATCH_SIZE]], until)
        return False

    def _partition(self, partition: str) -> Iterator[Tombstone]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._conversations_table_name,
            KeyConditionExpression="user_id = :partition",
            ExpressionAttributeValues=rows.values({":partition": partition}),
            ProjectionExpression="id",
            ConsistentRead=True,
        )
        with translate_errors():
            for page in pages:
                for row in page["Items"]:
                    yield tombstones.parse(partition, row["id"]["S"])

    def _exists(self, user_id: str, conversation_id: str) -> bool:
        with translate_errors():
            response = self._client.get_item(
                TableName=self._conversations_table_name,
                Key=rows.values({"user_id": user_id, "id": conversation_id}),
                ProjectionExpression="id",
                ConsistentRead=True,
            )
        return "Item" in response

    def _delete(self, requests: "Sequence[WriteRequestTypeDef | WriteRequestOutputTypeDef]", until: float) -> None:
        """Sends *requests*, and sends again what DynamoDB returns unprocessed, but starts nothing after *until*."""
        attempts = 0
        while requests and time.monotonic() < until:
            response = retry_conflicts(
                self._client.batch_write_item, RequestItems={self._messages_table_name: requests}
            )
            requests = response["UnprocessedItems"].get(self._messages_table_name, [])
            if requests:
                count_retry()
                longest = min(_MAX_BACKOFF_SECONDS, _BACKOFF_SECONDS * 2**attempts)
                time.sleep(secrets.SystemRandom().uniform(0, longest))
                attempts += 1
