"""The row of a message, and the message as the API shows it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypedDict, cast

from coherent import ids
from coherent.storage import rows
from coherent.storage.rows import Version

if TYPE_CHECKING:
    from coherent.storage.rows import Attributes


class Contact(TypedDict):
    """The sender of a message, if it is not the user."""

    id: str


class Reaction(TypedDict):
    """A reaction. `contact_id` is null for the user's own."""

    reaction: str
    contact_id: str | None


class Message(TypedDict):
    """A message as the API shows it. `contact` is null for the user's own; times are Unix seconds."""

    id: str
    conversation_id: str
    contact: Contact | None
    message: str
    reactions: list[Reaction]
    attachments: list[str]
    read_at: int | None
    created_at: int
    updated_at: int | None


def row_key(user_id: str, conversation_id: str, id: str) -> "Attributes":
    """Returns the key of a message's row."""
    return rows.values({"user_conversation": rows.user_conversation(user_id, conversation_id), "id": id})


def new_row(conversation: "Attributes", id: str, content: Mapping[str, object]) -> "Attributes":
    """Returns the row of a new message in *conversation*, a row or its key. *content* may have a creation time."""
    user_id, conversation_id = conversation["user_id"]["S"], conversation["id"]["S"]
    shared = {"user_id": user_id, "conversation_id": conversation_id, "reactions": [], "version": 1}
    created_at = int(ids.created_at(id))
    return row_key(user_id, conversation_id, id) | rows.values({"created_at": created_at, **content, **shared})


def own_reactions(row: "Attributes") -> list[str]:
    """Returns the user's own reactions."""
    reactions = cast("list[Reaction]", rows.plain(row["reactions"]))
    return [each["reaction"] for each in reactions if each["contact_id"] is None]


def version_of(row: "Attributes") -> Version[Message]:
    """Returns the message and its version number."""
    return Version(message_of(row), rows.version(row))


def message_of(row: "Attributes") -> Message:
    """Returns the message that *row* stores."""
    return {
        "id": row["id"]["S"],
        "conversation_id": row["conversation_id"]["S"],
        "contact": {"id": row["contact_id"]["S"]} if "contact_id" in row else None,
        "message": row["message"]["S"],
        "reactions": cast("list[Reaction]", rows.plain(row["reactions"])),
        "attachments": cast("list[str]", rows.plain(row["attachments"])),
        "read_at": rows.number(row, "read_at"),
        "created_at": int(row["created_at"]["N"]),
        "updated_at": rows.number(row, "updated_at"),
    }
