"""The purge: deletes what a deleted conversation leaves behind, however much, in steps that may all run twice."""

import secrets
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from coherent import rows
from coherent.dynamodb import availability, count_repetition, written

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import WriteRequestOutputTypeDef, WriteRequestTypeDef

# What BatchWriteItem takes.
_BATCH = 25
_BACKOFF_SECONDS = 0.05
_MOST_BACKOFF_SECONDS = 2.0
# What the last two requests may take, as `client.connect` sets it.
_LAST_REQUESTS_SECONDS = 50
# A transaction may release the conversation before it has written the message, so what was empty is looked at again.
_SETTLED_SECONDS = 10 * 60


class Order(NamedTuple):
    """To purge what a deleted conversation left behind, given at *created_at* (Unix seconds)."""

    user_id: str
    conversation_id: str
    created_at: int


class Purge:
    """The orders to purge, one for each deleted conversation until nothing of it is left.

    Every method raises `errors.Unavailable` when DynamoDB throttles or does not answer, and may then be called again.
    """

    def __init__(self, client: "DynamoDBClient", messages_table_name: str, conversations_table_name: str) -> None:
        self._client = client
        self._messages_table_name = messages_table_name
        self._conversations_table_name = conversations_table_name

    def orders(self) -> Iterator[Order]:
        """Those that are not finished."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._conversations_table_name,
            KeyConditionExpression="user_id = :purge",
            ExpressionAttributeValues=rows.values({":purge": "purge"}),
            ConsistentRead=True,
        )
        with availability():
            for page in pages:
                for row in page["Items"]:
                    user_id, _, conversation_id = row["id"]["S"].rpartition("#")
                    yield Order(user_id, conversation_id, int(row["created_at"]["N"]))

    def finish(self, order: Order, seconds_left: float) -> bool:
        """Deletes the messages and, once nothing can follow, the order; False if there was no time for all of it."""
        if not self.delete_messages(order.user_id, order.conversation_id, seconds_left):
            return False
        if time.time() - order.created_at > _SETTLED_SECONDS:
            key = {"user_id": "purge", "id": rows.user_conversation(order.user_id, order.conversation_id)}
            written(self._client.delete_item, TableName=self._conversations_table_name, Key=rows.values(key))
        return True

    def delete_messages(self, user_id: str, conversation_id: str, seconds_left: float) -> bool:
        """Deletes the messages and returns True; or stops well within *seconds_left* and returns False.

        None can be sent meanwhile: a message is written only together with its conversation, which is gone.
        """
        until = time.monotonic() + seconds_left - _LAST_REQUESTS_SECONDS
        partition = rows.user_conversation(user_id, conversation_id)
        while time.monotonic() < until:
            with availability():
                answer = self._client.query(
                    TableName=self._messages_table_name,
                    KeyConditionExpression="user_conversation = :partition",
                    ExpressionAttributeValues=rows.values({":partition": partition}),
                    ProjectionExpression="user_conversation, id",
                    ConsistentRead=True,
                )
            keys = answer["Items"]
            if not keys:
                return True
            for start in range(0, len(keys), _BATCH):
                self._delete([{"DeleteRequest": {"Key": key}} for key in keys[start : start + _BATCH]], until)
        return False

    def _delete(self, requests: "Sequence[WriteRequestTypeDef | WriteRequestOutputTypeDef]", until: float) -> None:
        """Carries out *requests*, again and again those that DynamoDB returns unprocessed, but none after *until*."""
        attempts = 0
        while requests and time.monotonic() < until:
            answer = written(self._client.batch_write_item, RequestItems={self._messages_table_name: requests})
            requests = answer["UnprocessedItems"].get(self._messages_table_name, [])
            if requests:
                count_repetition()
                longest = min(_MOST_BACKOFF_SECONDS, _BACKOFF_SECONDS * 2**attempts)
                time.sleep(secrets.SystemRandom().uniform(0, longest))
                attempts += 1
