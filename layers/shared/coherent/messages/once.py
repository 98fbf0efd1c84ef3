"""How a message is stored once, although the request or the event that stores it may be repeated."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from coherent.storage import idempotency

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from coherent.storage.rows import Attributes, Reason


class Once(Protocol):
    """Writes of the transaction that stores the message. They fail if it has been stored before."""

    def writes(self, row: "Attributes") -> "list[TransactWriteItemTypeDef]":
        """Returns the writes that accompany *row*, the message."""

    def earlier(self, row: "Attributes", reasons: "Sequence[Reason]") -> "Attributes | None":
        """Returns the message that was stored before, if these cancellation reasons of the writes say so."""


class IdempotencyKey:
    """The key of a user's request, or of an event, remembered for 24 hours. Without a key every request stores."""

    def __init__(self, table_name: str, user_id: str, key: str | None, given: Mapping[str, object]) -> None:
        self._table_name, self._user_id, self._key, self._given = table_name, user_id, key, given

    def writes(self, row: "Attributes") -> "list[TransactWriteItemTypeDef]":
        """Returns the write that records the key."""
        if self._key is None:
            return []
        return [idempotency.put_record(self._user_id, self._key, self._given, row, self._table_name)]

    def earlier(self, row: "Attributes", reasons: "Sequence[Reason]") -> "Attributes | None":
        """Returns the first message with the key. Raises `errors.IdempotencyKeyReused`."""
        record = reasons[-1].get("Item") if reasons else None
        if record is None:
            return None
        # The record names this row if an attempt was applied and its response lost.
        return row | idempotency.original(record, self.writes(row)[0])
