"""The changes in the streams of both tables, which have rows of other kinds too."""

from typing import TYPE_CHECKING, Any

from coherent.changes.change import Change
from coherent.conversations.repository import conversation_of
from coherent.messages.row import message_of
from coherent.storage import rows

if TYPE_CHECKING:
    from coherent.storage.rows import Attributes

_VERBS = {"INSERT": "created", "MODIFY": "updated", "REMOVE": "deleted"}


def change_of(record: dict[str, Any]) -> Change | None:
    """Returns the change that a stream's *record* describes, or None if no resource has changed.

    The same record always gives the same change. Raises KeyError or ValueError if the record is malformed.
    """
    verb = _VERBS[record["eventName"]]
    images = record["dynamodb"]
    row = images["OldImage" if verb == "deleted" else "NewImage"]
    noun = _noun(row)
    if noun is None or (verb == "updated" and images["OldImage"]["version"] == row["version"]):
        return None
    created_at = int(images["ApproximateCreationDateTime"])
    shown = _at(row, created_at)
    return Change(
        user_id=row["user_id"]["S"],
        type=f"{noun}.{verb}",
        resource_id=row["id"]["S"],
        # The version of a deletion is above the last one.
        version=rows.version(shown) + (verb == "deleted"),
        object=dict(conversation_of(shown) if noun == "conversation" else message_of(shown)),
        created_at=created_at,
    )


def _noun(row: "Attributes") -> str | None:
    # Of the table of conversations, only conversations have flags; of the other, only messages name their user.
    if "is_archived" in row:
        return "conversation"
    return "message" if {"user_conversation", "user_id"} <= row.keys() else None


def _at(row: "Attributes", seconds: int) -> "Attributes":
    """Returns *row* as the API showed it at *seconds*: a timed mute that had run out by then is lifted."""
    shown = {name: attribute for name, attribute in row.items() if name != "muted_until"}
    if "muted_until" in row and int(row["muted_until"]["N"]) <= seconds:
        shown |= rows.values({"is_muted": False, "version": int(row["version"]["N"]) + 1})
    return shown
