"""Which contacts are users of the stack: those in its user pool, and those who have had a conversation here."""

import os
import re
import time
from typing import TYPE_CHECKING, Any

from coherent.storage import client, rows
from coherent.storage.dynamodb import translate_errors

if TYPE_CHECKING:
    from coherent.storage.dynamodb import Tables

# The form of a Cognito `sub`. A backend's `sub` is its client id, which the user pool does not list.
_SUB = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Cognito accepts about 30 of these requests a second, so the answer is remembered. A contact may sign up any time.
_KNOWN_SECONDS = 30 * 24 * 60 * 60
_UNKNOWN_SECONDS = 60


class Recipients:
    """The contacts to whom messages are delivered. `is_user` raises `errors.Unavailable`."""

    def __init__(self, tables: "Tables") -> None:
        self._tables = tables
        self._cognito: Any = client.connect("cognito-idp")

    def is_user(self, contact_id: str) -> bool:
        """Returns whether the contact is a user. May be a minute late to notice that somebody has signed up."""
        # No user id has a "#", which separates the parts of our keys.
        if "#" in contact_id:
            return False
        key = rows.values({"user_id": f"user#{contact_id}", "id": "known"})
        now = int(time.time())
        with translate_errors():
            known = self._tables.client.get_item(TableName=self._tables.conversations, Key=key).get("Item")
            if known is not None and int(known["expires_at"]["N"]) > now:
                return known["is_user"]["N"] == "1"
            is_user = self._has_conversations(contact_id) or self._has_signed_up(contact_id)
            expires_at = now + (_KNOWN_SECONDS if is_user else _UNKNOWN_SECONDS)
            row = key | rows.values({"is_user": is_user, "expires_at": expires_at})
            self._tables.client.put_item(TableName=self._tables.conversations, Item=row)
        return is_user

    def _has_conversations(self, contact_id: str) -> bool:
        response = self._tables.client.query(
            TableName=self._tables.conversations,
            KeyConditionExpression="user_id = :pairs",
            # Each conversation leaves a row here, also after its deletion.
            ExpressionAttributeValues=rows.values({":pairs": f"pair#{contact_id}"}),
            Limit=1,
        )
        return bool(response["Items"])

    def _has_signed_up(self, contact_id: str) -> bool:
        if not _SUB.fullmatch(contact_id):
            return False
        response = self._cognito.list_users(
            UserPoolId=os.environ["USER_POOL_ID"], Filter=f'sub = "{contact_id}"', Limit=1
        )
        return bool(response["Users"])
