"""The webhooks in DynamoDB: in one partition beside the conversations."""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, cast

from coherent import errors, ids
from coherent.preconditions import Preconditions
from coherent.storage import idempotency, rows
from coherent.storage.dynamodb import retry_conflicts, transact, translate_errors
from coherent.storage.rows import Clauses, Creation, Version

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from coherent.storage.dynamodb import Tables
    from coherent.storage.rows import Attributes
    from coherent.webhooks.models import CreateWebhook, UpdateWebhook

# Each webhook gets its own copy of every event.
MAX_WEBHOOKS = 20
_PREVIOUS_SECRET_SECONDS = 24 * 60 * 60
# A disabled webhook loses its waiting events, including those that left the full queue.
_DISABLED: dict[str, Any] = {"is_enabled": False, "missed_since": None}
_FIRST_NUMBER = 1
_PARTITION = "operator#webhooks"
_COUNT = rows.values({"user_id": f"{_PARTITION}#count", "id": "count"})


class Webhook(TypedDict):
    """A webhook as the API shows it. Times are Unix seconds. Only a creation and a rotation show the secret."""

    id: str
    url: str
    events: list[str]
    is_enabled: bool
    previous_secret_valid_until: int | None
    created_at: int
    secret: NotRequired[str]


# `from` is a keyword of Python.
Redelivery = TypedDict("Redelivery", {"webhook_id": str, "from": int, "to": int})


class WebhookRepository:
    """The webhooks of the stack. Every method raises `errors.Unavailable` as the methods of conversations do.

    Rows have the number of the newest secret and the id of the master key that it is derived from, but no secret.
    """

    def __init__(self, tables: "Tables") -> None:
        self._client = tables.client
        self._table_name = tables.conversations

    def list(self) -> list[Webhook]:
        """Returns all webhooks, newest first."""
        with translate_errors():
            response = self._client.query(
                TableName=self._table_name,
                KeyConditionExpression="user_id = :partition",
                ExpressionAttributeValues=rows.values({":partition": _PARTITION}),
                ConsistentRead=True,
                ScanIndexForward=False,
            )
        return [webhook_of(row) for row in response["Items"]]

    def row(self, id: str) -> "Attributes":
        """Returns the row of the webhook. Raises `errors.NotFound`."""
        with translate_errors():
            response = self._client.get_item(TableName=self._table_name, Key=_key(id), ConsistentRead=True)
        if "Item" not in response:
            raise errors.NotFound("webhook")
        return response["Item"]

    def create(
        self, caller_id: str, new: "CreateWebhook", key_id: str, idempotency_key: str | None
    ) -> Creation["Attributes"]:
        """Creates a webhook whose secret is derived from the master key *key_id*, and returns its row.

        If the caller sent *idempotency_key* in the last 24 hours, nothing is created and the first row is returned.
        Raises `errors.IdempotencyKeyReused` if the attributes differ, and `errors.InvalidRequest` if the stack has
        20 webhooks.
        """
        row = _new_row(new, key_id)
        writes: list[TransactWriteItemTypeDef] = [
            {
                "Put": {
                    "TableName": self._table_name,
                    "Item": row,
                    "ConditionExpression": rows.IS_NEW,
                    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                }
            },
            self._count(1),
        ]
        if idempotency_key is not None:
            given = new.model_dump()
            writes.append(idempotency.put_record(caller_id, idempotency_key, given, row, self._table_name))
        try:
            transact(self._client, writes)
        except self._client.exceptions.TransactionCanceledException as error:
            _, full, *records = rows.conflicting_rows(error)
            if records and records[0] is not None:
                original = row | idempotency.original(records[0], writes[-1])
                return Creation(Version(original, 1), is_replay=True)
            if full is not None:
                raise errors.InvalidRequest(
                    f"webhooks: must be at most {MAX_WEBHOOKS} in a stack; delete one first"
                ) from None
            raise
        return Creation(Version(row, 1), is_replay=False)

    def update(
        self, id: str, changes: "UpdateWebhook", key_id: str | None, preconditions: Preconditions
    ) -> Version["Attributes"]:
        """Applies *changes* and returns the row. *key_id* is the present master key if the secret is to be rotated.

        Raises `errors.NotFound` and `errors.PreconditionFailed`.
        """
        attributes = _stored(changes.model_dump(exclude_unset=True, exclude={"rotate_secret"}))
        if not attributes.get("is_enabled", True):
            attributes |= _DISABLED
        clauses = Clauses()
        if key_id is not None:
            known = self.row(id)
            attributes |= _rotated(known, key_id)
            # Simultaneous rotations must not return the same secret.
            number = rows.number(known, "secret_number")
            clauses = Clauses(conditions=["secret_number = :number"], values={":number": number})
        row = rows.update_row(self._client, self._table_name, _key(id), attributes, preconditions, "webhook", clauses)
        return Version(row, rows.version(row))

    def disable(self, row: "Attributes") -> None:
        """Disables the webhook, unless it was changed or deleted since *row* was read."""
        unchanged = Preconditions(allowed=frozenset([rows.version(row)]))
        try:
            rows.update_row(self._client, self._table_name, _key(row["id"]["S"]), _DISABLED, unchanged, "webhook")
        except (errors.NotFound, errors.PreconditionFailed):
            return

    def remember_missed(self, id: str, since: int) -> None:
        """Remembers that the webhook has missed events of the time *since* or later. Does nothing if it is disabled."""
        is_earlier = "is_enabled = :one AND (attribute_not_exists(missed_since) OR missed_since > :since)"
        self._update_missed(id, "SET missed_since = :since", is_earlier, {":since": since, ":one": 1})

    def claim_missed(self, id: str, since: int, latest: int) -> bool:
        """Returns whether the caller may start the redelivery of what the webhook has missed *since*.

        It may not if another one has started after *latest*.
        """
        is_free = "missed_since = :since AND (attribute_not_exists(redelivered_at) OR redelivered_at <= :latest)"
        values = {":since": since, ":now": int(time.time()), ":latest": latest}
        return self._update_missed(id, "SET redelivered_at = :now", is_free, values)

    def forget_missed(self, id: str, since: int) -> None:
        """Forgets that the webhook has missed events, unless it has missed earlier ones than *since*."""
        self._update_missed(id, "REMOVE missed_since", "missed_since = :since", {":since": since})

    def _update_missed(self, id: str, expression: str, condition: str, values: Mapping[str, object]) -> bool:
        # The version stays: clients do not see the attribute.
        with suppress(self._client.exceptions.ConditionalCheckFailedException):
            retry_conflicts(
                self._client.update_item,
                TableName=self._table_name,
                Key=_key(id),
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeValues=rows.values(values),
            )
            return True
        return False

    def delete(self, id: str, preconditions: Preconditions) -> None:
        """Deletes the webhook. Raises as `update` does."""
        try:
            transact(self._client, [rows.delete(self._table_name, _key(id), preconditions), self._count(-1)])
        except self._client.exceptions.TransactionCanceledException as error:
            row, _ = rows.conflicting_rows(error)
            raise rows.condition_error(row, "webhook", preconditions) from None

    def _count(self, step: int) -> "TransactWriteItemTypeDef":
        """Returns the write of a transaction that counts the webhooks. It fails if there would be too many."""
        return {
            "Update": {
                "TableName": self._table_name,
                "Key": _COUNT,
                "UpdateExpression": "ADD webhooks :step",
                "ConditionExpression": "attribute_not_exists(webhooks) OR webhooks <= :most",
                "ExpressionAttributeValues": rows.values({":step": step, ":most": MAX_WEBHOOKS - step}),
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }


def webhook_of(row: "Attributes") -> Webhook:
    """Returns the webhook of *row* as the API shows it, without its secret."""
    return {
        "id": row["id"]["S"],
        "url": row["target_url"]["S"],
        "events": cast("list[str]", rows.plain(row["events"])),
        "is_enabled": row["is_enabled"]["N"] == "1",
        "previous_secret_valid_until": rows.number(row, "previous_until"),
        "created_at": int(row["created_at"]["N"]),
    }


def _key(id: str) -> "Attributes":
    return rows.values({"user_id": _PARTITION, "id": id})


def _stored(attributes: dict[str, Any]) -> dict[str, Any]:
    # DynamoDB reserves the word "url".
    return {"target_url" if name == "url" else name: given for name, given in attributes.items()}


def _rotated(row: "Attributes", key_id: str) -> dict[str, Any]:
    """Returns the changes that give the webhook a new secret, derived from the master key *key_id*.

    The old one stays valid for 24 hours. Another rotation within them replaces only the new one: the response of the
    first may have been lost, and then receivers know only the old one.
    """
    number, now = int(row["secret_number"]["N"]), int(time.time())
    changes: dict[str, Any] = {"key_id": key_id, "secret_number": number + 1}
    if row["key_id"]["S"] != key_id:
        # The old secret cannot be derived any more.
        return changes | {"previous_number": None, "previous_until": None}
    if (rows.number(row, "previous_until") or 0) <= now:
        changes |= {"previous_number": number, "previous_until": now + _PREVIOUS_SECRET_SECONDS}
    return changes


def _new_row(new: "CreateWebhook", key_id: str) -> "Attributes":
    now_ns = time.time_ns()
    return rows.values(
        {
            "user_id": _PARTITION,
            "id": ids.new(now_ns),
            **_stored(new.model_dump()),
            "is_enabled": True,
            "secret_number": _FIRST_NUMBER,
            "key_id": key_id,
            "created_at": now_ns // 1_000_000_000,
            "version": 1,
        }
    )
