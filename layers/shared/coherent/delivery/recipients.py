"""Which contacts are users of the stack: those in its user pool, and those who have had a conversation here."""

import os
import re
import time
from typing import TYPE_CHECKING, Any

from coherent.storage import client, rows
from coherent.storage.dynamodb import translate_errors

if TYPE_CHECKING:
    from coherent.storage.dynamodb import Tables
    from coherent.storage.rows import Attributes

# The form of a Cognito `sub`, and that of a client id, which is the `sub` of a backend.
_SUB = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CLIENT_ID = re.compile("[0-9A-Za-z]{26}")
# Cognito accepts about 30 of these requests a second, so its responses are remembered. Before the sign-up a `sub` does
# not exist, so a negative response rarely becomes wrong.
_KNOWN_SECONDS = 30 * 24 * 60 * 60
_UNKNOWN_SECONDS = 60


class Recipients:
    """The contacts to whom messages are delivered. `is_user` raises `errors.Unavailable`."""

    def __init__(self, tables: "Tables") -> None:
        self._tables = tables
        self._cognito: Any = client.connect("cognito-idp")

    def is_user(self, contact_id: str) -> bool:
        """Returns whether the contact is a user of the stack."""
        # No user id has a "#", which separates the parts of our keys.
        if "#" in contact_id:
            return False
        with translate_errors():
            known = self._known(contact_id)
            if known:
                return True
            if self._has_conversations(contact_id):
                self._remember(contact_id, is_user=True)
                return True
            if known is not None or not (_SUB.fullmatch(contact_id) or _CLIENT_ID.fullmatch(contact_id)):
                return False
            is_user = self._has_signed_up(contact_id) if _SUB.fullmatch(contact_id) else self._is_client(contact_id)
            self._remember(contact_id, is_user=is_user)
        return is_user

    def _known(self, contact_id: str) -> bool | None:
        """Returns whether the contact is remembered as a user, or None if nothing is remembered."""
        row = self._tables.client.get_item(TableName=self._tables.conversations, Key=_key(contact_id)).get("Item")
        # TTL deletion may be days late.
        if row is None or int(row["expires_at"]["N"]) <= time.time():
            return None
        return row["is_user"]["N"] == "1"

    def _remember(self, contact_id: str, *, is_user: bool) -> None:
        expires_at = int(time.time()) + (_KNOWN_SECONDS if is_user else _UNKNOWN_SECONDS)
        row = _key(contact_id) | rows.values({"is_user": is_user, "expires_at": expires_at})
        self._tables.client.put_item(TableName=self._tables.conversations, Item=row)

    def _has_conversations(self, contact_id: str) -> bool:
        response = self._tables.client.query(
            TableName=self._tables.conversations,
            KeyConditionExpression="user_id = :pairs",
            # Each conversation leaves a row here, also after its deletion.
            ExpressionAttributeValues=rows.values({":pairs": f"pair#{contact_id}"}),
            ConsistentRead=True,
            Limit=1,
        )
        return bool(response["Items"])

    def _has_signed_up(self, contact_id: str) -> bool:
        response = self._cognito.list_users(
            UserPoolId=os.environ["USER_POOL_ID"], Filter=f'sub = "{contact_id}"', Limit=1
        )
        return bool(response["Users"])

    def _is_client(self, contact_id: str) -> bool:
        pages = self._cognito.get_paginator("list_user_pool_clients").paginate(
            UserPoolId=os.environ["USER_POOL_ID"], PaginationConfig={"PageSize": 60}
        )
        return any(found["ClientId"] == contact_id for page in pages for found in page["UserPoolClients"])


def _key(contact_id: str) -> "Attributes":
    return rows.values({"user_id": f"user#{contact_id}", "id": "known"})
