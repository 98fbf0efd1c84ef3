"""Tombstones: a marker that a conversation was deleted and may still have messages.

They are spread over partitions, since one partition takes only 1,000 write units a second. In each, the sort key starts
with the time of the deletion.
"""

import zlib
from collections.abc import Mapping
from typing import NamedTuple

PARTITIONS = tuple(f"purge#{number:02}" for number in range(16))


class Tombstone(NamedTuple):
    """A tombstone. Its key is *partition* and *sort_key*; *created_at* is in Unix seconds."""

    partition: str
    sort_key: str
    user_id: str
    conversation_id: str
    created_at: int


def new(user_id: str, conversation_id: str, created_at: int) -> Mapping[str, object]:
    """Returns the attributes of the tombstone of a conversation that is deleted at *created_at*."""
    return {
        "user_id": PARTITIONS[zlib.crc32(conversation_id.encode()) % len(PARTITIONS)],
        "id": f"{sort_key_at(created_at)}{user_id}#{conversation_id}",
        "created_at": created_at,
    }


def sort_key_at(created_at: int) -> str:
    """Returns the prefix of all sort keys of *created_at*. Older sort keys are less than it."""
    return f"{created_at:010}#"


def parse(partition: str, sort_key: str) -> Tombstone:
    """Returns the tombstone of this key."""
    created_at, user_id, conversation_id = sort_key.split("#")
    return Tombstone(partition, sort_key, user_id, conversation_id, int(created_at))
