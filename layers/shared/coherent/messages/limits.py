"""Limits of what a user may send to contacts in a minute: in all, and to each contact."""

import os
import time
from typing import TYPE_CHECKING

from coherent import errors
from coherent.storage import rows
from coherent.storage.dynamodb import retry_conflicts

if TYPE_CHECKING:
    from coherent.storage.dynamodb import Tables

_SECONDS = 60


class SendLimits:
    """The limits that the environment names; 0 for none."""

    def __init__(self, tables: "Tables") -> None:
        self._tables = tables
        self._of_user = int(os.environ.get("SEND_LIMIT", "0"))
        self._per_contact = int(os.environ.get("SEND_LIMIT_PER_CONTACT", "0"))

    def count(self, user_id: str, contact_id: str) -> None:
        """Counts a message, edit or reaction. Raises `errors.TooManyRequests`, and `errors.Unavailable`.

        Does not depend on whether the contact is a user, or blocks the sender.
        """
        self._count(user_id, f"#{rows.digest(contact_id)}", self._per_contact, " to one contact")
        self._count(user_id, "", self._of_user, "")

    def _count(self, user_id: str, suffix: str, limit: int, scope: str) -> None:
        if not limit:
            return
        now = time.time()
        minute = int(now // _SECONDS)
        try:
            retry_conflicts(
                self._tables.client.update_item,
                TableName=self._tables.conversations,
                Key=rows.values({"user_id": f"limit#{user_id}", "id": f"{minute}{suffix}"}),
                UpdateExpression="SET expires_at = :expires_at ADD sent :one",
                ConditionExpression="attribute_not_exists(sent) OR sent < :limit",
                ExpressionAttributeValues=rows.values(
                    {":expires_at": (minute + 2) * _SECONDS, ":one": 1, ":limit": limit}
                ),
            )
        except self._tables.client.exceptions.ConditionalCheckFailedException:
            seconds = int((minute + 1) * _SECONDS - now) + 1
            raise errors.TooManyRequests(
                f"At most {limit} messages, edits and reactions{scope} are accepted in a clock minute; "
                f"try again in {seconds} s",
                seconds,
            ) from None
