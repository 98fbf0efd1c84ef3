"""The parameters of the message calls and of the event `message.received`."""

import re
import time
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo

from coherent import ids
from coherent.messages import EMPTY_MESSAGE_FAULT
from coherent.parameters import (
    NAME_RULE,
    SECONDS_RULE,
    Changes,
    Context,
    EmptyIsNull,
    Id,
    Name,
    PageParameters,
    Parameters,
    Seconds,
)

# Together these keep a message below the 400 KB of a DynamoDB item, at four bytes a character.
MAX_ATTACHMENTS = 32
MAX_ATTACHMENT_BYTES = 2048
MAX_REACTIONS = 64

_MESSAGE_RULE = (
    "1 to 10,000 characters without control characters other than tabs and line ends; empty only with attachments"
)
_ATTACHMENTS_RULE = (
    f"an array of at most {MAX_ATTACHMENTS} strings, each 1 to {MAX_ATTACHMENT_BYTES:,} bytes of UTF-8 without white "
    "space or control characters; in a form, attachments[]=..."
)
_REACTIONS_RULE = (
    f'an array of at most {MAX_REACTIONS} reactions such as {{"reaction": "heart", "contact_id": "harry"}}: 1 to 64 '
    "characters without white space or control characters, and who reacted, where null is the user; in a form, "
    "reactions[heart][]=harry"
)

_CONTROL_CHARACTERS = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"


def _limit_bytes(attachment: str) -> str:
    if len(attachment.encode()) > MAX_ATTACHMENT_BYTES:
        raise ValueError
    return attachment


Text = Annotated[str, Field(max_length=10_000, pattern=f"^[^{_CONTROL_CHARACTERS}]*$")]
Attachment = Annotated[
    str,
    Field(min_length=1, max_length=MAX_ATTACHMENT_BYTES, pattern=r"^[^\s\x00-\x1f\x7f-\x9f]*$"),
    AfterValidator(_limit_bytes),
]
Attachments = Annotated[list[Attachment], Field(max_length=MAX_ATTACHMENTS)]


class Reaction(Parameters):
    """A reaction. `contact_id` is null for the user's own."""

    reaction: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\s\x00-\x1f\x7f-\x9f]*$")]
    contact_id: Name | None


def _parse_reactions(value: object, info: ValidationInfo[Context]) -> object:
    if info.context["text"] and isinstance(value, dict):
        return [
            {"reaction": reaction, "contact_id": contact_id or None}
            for reaction, contact_ids in value.items()
            for contact_id in contact_ids
        ]
    return value


def _unique(reactions: list[Reaction]) -> list[Reaction]:
    return list(dict.fromkeys(reactions))


Reactions = Annotated[
    list[Reaction],
    Field(max_length=MAX_REACTIONS),
    BeforeValidator(_parse_reactions),
    AfterValidator(_unique),
]


class ListMessages(PageParameters):
    """The conversation, or all conversations, and the position of a page."""

    conversation_id: Id | None = Field(None, description=ids.RULE)


class CreateMessage(Parameters):
    """A new message of the user."""

    conversation_id: Id = Field(description=ids.RULE)
    message: Text = Field("", description=_MESSAGE_RULE)
    attachments: Attachments = Field([], description=_ATTACHMENTS_RULE)

    @classmethod
    def conflicts(cls, given: Mapping[str, object], *, text: bool) -> list[str]:  # noqa: ARG003
        """Requires a text or attachments."""
        is_empty = given.get("message", "") == "" and not given.get("attachments")
        return [EMPTY_MESSAGE_FAULT] if is_empty else []


class UpdateMessage(Changes):
    """A partial update of a message."""

    message: Text = Field("", description=_MESSAGE_RULE)
    reactions: Reactions = Field([], description=_REACTIONS_RULE)
    attachments: Attachments = Field([], description=_ATTACHMENTS_RULE)
    read_at: Annotated[Seconds | None, EmptyIsNull] = Field(None, description=SECONDS_RULE)

    @classmethod
    def conflicts(cls, given: Mapping[str, object], *, text: bool) -> list[str]:
        """Requires an attribute, and a text or attachments if both are given."""
        is_empty = given.get("message") == "" and given.get("attachments") == []
        return super().conflicts(given, text=text) + ([EMPTY_MESSAGE_FAULT] if is_empty else [])


class DeleteMessage(Parameters):
    """Whether to delete only the user's copy of a message, or all copies of one that the user has sent."""

    for_: Literal["everyone"] | None = Field(None, alias="for", description="everyone, or absent")


def _drop_control_characters(text: object) -> object:
    return re.sub(f"[{_CONTROL_CHARACTERS}]", "", text) if isinstance(text, str) else text


def _drop_malformed_id(id: object) -> object:
    return id if ids.is_id(id) else None


def _drop_wrong_time(seconds: object) -> object:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    return int(seconds) if 0 <= seconds <= time.time() else None


def _reject_reserved(user_id: str) -> str:
    # The partition of the tombstones of 0.1.0.
    if user_id == "purge":
        raise ValueError
    return user_id


class ReceiveMessage(CreateMessage):
    """A message from a contact: the detail of the event `message.received`. Unknown attributes are ignored.

    Without a conversation it goes to the newest one with the contact and the group. A malformed *conversation_id* is
    like that of a conversation that does not exist. *sent_at* is None if it is no time in the past.
    """

    model_config = ConfigDict(extra="ignore")

    conversation_id: Annotated[Id | None, BeforeValidator(_drop_malformed_id)] = Field(  # type: ignore[assignment]
        None, description=ids.RULE
    )
    message: Annotated[Text, BeforeValidator(_drop_control_characters)] = Field("", description=_MESSAGE_RULE)
    # No "#", which separates the parts of our keys; a Cognito `sub` has none.
    user_id: Annotated[str, Field(pattern=r"^[^\s#\x00-\x1f\x7f-\x9f]{1,128}$"), AfterValidator(_reject_reserved)] = (
        Field(description="the sub of the user's tokens")
    )
    contact_id: Name = Field(description=NAME_RULE)
    group_id: Name | None = Field(None, description=f"{NAME_RULE}, or null")
    sent_at: Annotated[int | None, BeforeValidator(_drop_wrong_time)] = Field(None, description="Unix seconds")

    @classmethod
    def conflicts(cls, given: Mapping[str, object], *, text: bool) -> list[str]:
        """Requires a text or attachments, once control characters are dropped."""
        return super().conflicts({**given, "message": _drop_control_characters(given.get("message", ""))}, text=text)
