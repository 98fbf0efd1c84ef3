"""What a change of a message writes to the row of its conversation: activity, preview, unread count and pin."""

import time
from typing import TYPE_CHECKING, Any

from coherent import ids, positions
from coherent.messages import unread
from coherent.storage import rows
from coherent.storage.rows import Clauses

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from coherent.storage.dynamodb import Tables
    from coherent.storage.rows import Attributes

_PREVIEW_CHARACTERS = 100

_IS_LATER = "(attribute_not_exists(last_message_id) OR last_message_id < :last_message_id)"
# A new conversation's position is its creation time, which another clock has made.
_IS_ACTIVITY_LATER = (
    "created_at <= :last_active_at AND (attribute_not_exists(last_active_at) OR last_active_at <= :last_active_at)"
)
_IS_PREVIEW = "last_message.id = :id"
_IS_NOT_PREVIEW = "(attribute_not_exists(last_message) OR last_message.id <> :id)"
_IS_PINNED = "pinned_message_id = :id"
_IS_NOT_PINNED = "(attribute_not_exists(pinned_message_id) OR pinned_message_id <> :id)"
_IS_MUTED = f"(is_muted = :one AND {rows.IS_MUTE_NOT_OVER})"
_IS_NOT_MUTED = f"(is_muted = :zero OR {rows.IS_MUTE_OVER})"


def preview(message: "Attributes") -> dict[str, object]:
    """Returns the preview of *message*, a row: its id, contact and creation time, and the start of its text."""
    shown = {name: rows.plain(message[name]) for name in ("id", "contact_id", "created_at") if name in message}
    return shown | {"message": message["message"]["S"][:_PREVIEW_CHARACTERS]}


def first_arrival(message: "Attributes") -> "Attributes":
    """Returns what the message of a contact that begins a conversation, a row, adds to the conversation's row."""
    return rows.values(_activity(message, {}) | {"unread_count": 1, "is_unread": True})


def arrival(
    table_name: str, message: "Attributes", conversation: "Attributes", unarchive: str
) -> "TransactWriteItemTypeDef":
    """Returns the write that accompanies a new *message*, a row. It fails if a later message has arrived.

    *conversation* is its row as far as it is known. *unarchive* says when a message of a contact restores an archived
    conversation: `always`, `never`, or `unmuted`, which is unless the conversation is muted.
    """
    activity = _activity(message, conversation)
    assignments = [f"{name} = :{name}" for name in activity]
    values = {f":{name}": given for name, given in activity.items()}
    conditions = [rows.EXISTS, _IS_ACTIVITY_LATER, _IS_LATER]
    is_incoming = "contact_id" in message
    if is_incoming:
        # A row of an earlier release has no count until the sweep prepares it.
        assignments += ["unread_count = if_not_exists(unread_count, :zero) + :one", "is_unread = :one"]
        values |= {":zero": 0}
    restores = unarchive != "never"
    if is_incoming and unarchive == "unmuted":
        # Assumes what is usual, that the conversation is not archived, unless its row is known.
        restores = _is_restored(conversation)
        conditions.append(_IS_NOT_MUTED if restores else f"(is_archived = :zero OR {_IS_MUTED})")
        values |= {":now": int(time.time())}
    if restores:
        assignments.append("is_archived = :zero")
        values |= {":zero": 0}
    removed = ["archived_at"] if restores else []
    return _write(table_name, message, Clauses(assignments, removed, conditions, values))


def edit(table_name: str, message: "Attributes", conversation: "Attributes", text: str) -> "TransactWriteItemTypeDef":
    """Returns the write that accompanies the new *text* of *message*: its preview, if it is the last message."""
    values: dict[str, object] = {":id": message["id"]["S"]}
    if not is_previewed(conversation, message):
        return _write(table_name, message, Clauses(conditions=[_IS_NOT_PREVIEW], values=values))
    assignments = ["last_message.message = :text"]
    values |= {":text": text[:_PREVIEW_CHARACTERS]}
    return _write(table_name, message, Clauses(assignments, (), [_IS_PREVIEW], values))


def deletion(
    tables: "Tables", message: "Attributes", conversation: "Attributes", previous: "Attributes | None"
) -> "TransactWriteItemTypeDef":
    """Returns the write that accompanies the deletion of *message*: preview, unread count and pin.

    *previous* is the message before it, which becomes the preview if *message* was the last one.
    """
    id = message["id"]["S"]
    assignments: list[str] = []
    removed: list[str] = []
    values: dict[str, object] = {":id": id}
    is_pinned, is_preview = is_pinned_in(conversation, message), is_previewed(conversation, message)
    conditions = [_IS_PINNED if is_pinned else _IS_NOT_PINNED, _IS_PREVIEW if is_preview else _IS_NOT_PREVIEW]
    if is_pinned:
        removed.append("pinned_message_id")
    if is_preview and previous is None:
        removed.append("last_message")
    elif is_preview and previous is not None:
        assignments.append("last_message = :preview")
        values |= {":preview": preview(previous)}
    if "unread_revision" not in conversation:
        # A row of an earlier release: the sweep has not counted yet.
        conditions.append("attribute_not_exists(unread_revision)")
    elif "contact_id" in message:
        recount = _recount_without(tables, message, conversation)
        assignments += recount.assignments
        conditions += recount.conditions
        values |= recount.values
    return _write(tables.conversations, message, Clauses(assignments, removed, conditions, values))


def is_previewed(conversation: "Attributes", message: "Attributes") -> bool:
    """Returns whether *message* is the preview of *conversation*; both are rows."""
    return "last_message" in conversation and conversation["last_message"]["M"]["id"] == message["id"]


def is_pinned_in(conversation: "Attributes", message: "Attributes") -> bool:
    """Returns whether *message* is pinned in *conversation*; both are rows."""
    return conversation.get("pinned_message_id") == message["id"]


def _activity(message: "Attributes", conversation: "Attributes") -> dict[str, object]:
    """Returns the attributes of the conversation's row that depend on its last message."""
    id = message["id"]["S"]
    # Not its creation time, which the sender may have given. Another clock may be ahead: the conversation must not move
    # down.
    known = (rows.number(conversation, name) or 0 for name in ("last_active_at", "created_at"))
    active_at = max(int(ids.created_at(id)), *known)
    return {
        "last_active_at": active_at,
        "last_message_id": id,
        "last_message": preview(message),
        "activity": positions.new(active_at, message["conversation_id"]["S"]),
    }


def _is_restored(conversation: "Attributes") -> bool:
    is_muted = rows.number(conversation, "is_muted") == 1 and not rows.is_mute_over(conversation)
    return rows.number(conversation, "is_archived") == 1 and not is_muted


def _recount_without(tables: "Tables", message: "Attributes", conversation: "Attributes") -> Clauses:
    id, mark = message["id"]["S"], rows.text(conversation, "read_up_to")
    counted = int(conversation["unread_count"]["N"])
    if mark is None or id > mark:
        # From MAX on it may be too low, and is shown as MAX. Only when it would fall below is it worth reading so much.
        counted = unread.count(tables, conversation, mark, without=id) if counted == unread.MAX else counted - 1
    return unread.recount(conversation, counted, is_flagged=rows.number(conversation, "is_flagged") == 1)


def _write(table_name: str, message: "Attributes", clauses: Clauses) -> "TransactWriteItemTypeDef":
    """Returns an update of the conversation, or a check if it would change nothing."""
    key = rows.values({"user_id": message["user_id"]["S"], "id": message["conversation_id"]["S"]})
    shared: dict[str, Any] = {
        "TableName": table_name,
        "Key": key,
        "ConditionExpression": " AND ".join(clauses.conditions),
        "ExpressionAttributeValues": rows.values(clauses.values),
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    if not clauses.assignments and not clauses.removed:
        return {"ConditionCheck": shared}  # type: ignore[typeddict-item]
    shared["ExpressionAttributeValues"][":one"] = rows.value(1)
    expression = "SET " + ", ".join(["version = version + :one", *clauses.assignments])
    if clauses.removed:
        expression += f" REMOVE {', '.join(clauses.removed)}"
    return {"Update": shared | {"UpdateExpression": expression}}  # type: ignore[typeddict-item]
