"""Timed mutes: rows that say when to lift them, which a sweep does each minute.

They are spread over partitions, since one partition takes only 1,000 write units a second. In each, the sort key starts
with the time at which the mute runs out.
"""

import time
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger

from coherent import deadline
from coherent.storage import rows
from coherent.storage.client import LAST_REQUESTS_SECONDS
from coherent.storage.dynamodb import retry_conflicts, translate_errors

if TYPE_CHECKING:
    from coherent.storage.dynamodb import Tables

PARTITIONS = tuple(f"unmute#{number}" for number in range(4))
# A request that mutes takes at most as long as its function's timeout, which is 25 s.
_SETTLED_SECONDS = 60

logger = Logger()


def schedule(tables: "Tables", user_id: str, conversation_id: str, until: int) -> None:
    """Makes the sweep lift the mute of the conversation at *until* (Unix seconds), if it is then unchanged."""
    partition = PARTITIONS[zlib.crc32(conversation_id.encode()) % len(PARTITIONS)]
    key = {"user_id": partition, "id": f"{until:012}#{user_id}#{conversation_id}"}
    retry_conflicts(tables.client.put_item, TableName=tables.conversations, Item=rows.values(key))


def lift(tables: "Tables", partition: str) -> int:
    """Lifts the mutes of *partition* that have run out, until time is up.

    Logs failures, keeps their rows for the next sweep, and returns their number.
    """
    failed = 0
    for key in _due(tables, partition):
        if deadline.seconds_left() < LAST_REQUESTS_SECONDS:
            break
        try:
            _lift(tables, partition, key)
        except Exception:
            logger.exception("A mute was not lifted", extra={"conversation": key.rpartition("#")[2]})
            failed += 1
    return failed


def _due(tables: "Tables", partition: str) -> Iterator[str]:
    pages = tables.client.get_paginator("query").paginate(
        TableName=tables.conversations,
        KeyConditionExpression="user_id = :partition AND id < :now",
        # "$" comes after "#": includes the mutes that run out in this second.
        ExpressionAttributeValues=rows.values({":partition": partition, ":now": f"{int(time.time()):012}$"}),
        ConsistentRead=True,
    )
    with translate_errors():
        for page in pages:
            for row in page["Items"]:
                yield row["id"]["S"]


def _lift(tables: "Tables", partition: str, key: str) -> None:
    until, user_id, conversation_id = key.split("#")
    try:
        retry_conflicts(
            tables.client.update_item,
            TableName=tables.conversations,
            Key=rows.values({"user_id": user_id, "id": conversation_id}),
            # The version that clients have seen since the mute ran out (`rows.version`).
            UpdateExpression="SET is_muted = :zero, version = version + :one REMOVE muted_until",
            ConditionExpression="muted_until = :until",
            ExpressionAttributeValues=rows.values({":zero": 0, ":one": 1, ":until": int(until)}),
        )
    except tables.client.exceptions.ConditionalCheckFailedException:
        # The mute was ended or prolonged, its conversation deleted, or a lost response had lifted it. Or the request
        # that mutes is still running: then the next sweep lifts it.
        if int(until) > time.time() - _SETTLED_SECONDS:
            return
    retry_conflicts(
        tables.client.delete_item, TableName=tables.conversations, Key=rows.values({"user_id": partition, "id": key})
    )
