"""Limits the time that the service waits for a webhook, so that an endpoint that hangs does not delay others."""

import time
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger

from coherent.storage import rows
from coherent.storage.dynamodb import retry_conflicts

if TYPE_CHECKING:
    from coherent.storage.dynamodb import Tables
    from coherent.storage.rows import Attributes

# The longest attempt, with DNS, connection, TLS, request and response.
ATTEMPT_SECONDS = 10
_MINUTE = 60
# In a clock minute, five attempts may begin at once, and 25 more that hang are spread over the minute.
_AT_ONCE, _MORE = 5 * ATTEMPT_SECONDS * 1000, 25 * ATTEMPT_SECONDS * 1000
_ATTEMPT = ATTEMPT_SECONDS * 1000

logger = Logger()


class Budget:
    """The budgets of all webhooks. Rows count milliseconds."""

    def __init__(self, tables: "Tables") -> None:
        self._tables = tables

    def reserve(self, webhook_id: str) -> "Attributes | None":
        """Reserves the time of an attempt, and returns the key of its row, or None if the budget is exhausted.

        Raises `errors.Unavailable`.
        """
        minute, second = divmod(time.time(), _MINUTE)
        key = rows.values({"user_id": f"limit#webhook#{webhook_id}", "id": str(int(minute))})
        allowed = _AT_ONCE + _MORE * second / _MINUTE
        try:
            retry_conflicts(
                self._tables.client.update_item,
                TableName=self._tables.conversations,
                Key=key,
                UpdateExpression="SET expires_at = :expires_at ADD waited :attempt",
                ConditionExpression="attribute_not_exists(waited) OR waited <= :room",
                ExpressionAttributeValues=rows.values(
                    {
                        ":expires_at": (minute + 2) * _MINUTE,
                        ":attempt": _ATTEMPT,
                        ":room": allowed - _ATTEMPT,
                    }
                ),
            )
        except self._tables.client.exceptions.ConditionalCheckFailedException:
            return None
        return key

    def settle(self, key: "Attributes", seconds: float) -> None:
        """Returns to the row *key* what an attempt of *seconds* has not used. Logs failures."""
        unused = max(0, _ATTEMPT - round(seconds * 1000))
        try:
            retry_conflicts(
                self._tables.client.update_item,
                TableName=self._tables.conversations,
                Key=key,
                UpdateExpression="ADD waited :unused",
                ExpressionAttributeValues=rows.values({":unused": -unused}),
            )
        except Exception:
            # An error would repeat a delivery that may have succeeded.
            logger.warning("The budget of a webhook was not settled", exc_info=True)
