"""What clients and deliverers may say about messages: the parameters of the calls and events that take any."""

from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationInfo

from coherent import ids
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

# Together they keep a message below the 400 KB of a DynamoDB item, even where each character takes four bytes.
_MOST_ATTACHMENTS = 32
_MOST_REACTIONS = 64

_MESSAGE_RULE = "1 to 10,000 characters without control characters other than tabs and line ends"
_ATTACHMENTS_RULE = (
    f"an array of at most {_MOST_ATTACHMENTS} strings, each 1 to 2,048 characters without white space or control "
    "characters; in a form, attachments[]=..."
)
_REACTIONS_RULE = (
    f'an array of at most {_MOST_REACTIONS} reactions such as {{"reaction": "heart", "contact_id": "harry"}}: 1 to 64 '
    "characters without white space or control characters, and who reacted, where null is the user; in a form, "
    "reactions[heart][]=harry"
)

Text = Annotated[str, Field(min_length=1, max_length=10_000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$")]
Attachment = Annotated[str, Field(min_length=1, max_length=2048, pattern=r"^[^\s\x00-\x1f\x7f-\x9f]*$")]
Attachments = Annotated[list[Attachment], Field(max_length=_MOST_ATTACHMENTS)]


class Reaction(Parameters):
    """Who reacted how; null is the user."""

    reaction: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\s\x00-\x1f\x7f-\x9f]*$")]
    contact_id: Name | None


def _reactions_of_text(value: object, info: ValidationInfo[Context]) -> object:
    if info.context["text"] and isinstance(value, dict):
        return [
            {"reaction": reaction, "contact_id": contact_id or None}
            for reaction, contact_ids in value.items()
            for contact_id in contact_ids
        ]
    return value


class ListMessages(PageParameters):
    """Which messages to list: those of one conversation or of all, on one side of a position."""

    conversation_id: Id | None = Field(None, description=ids.RULE)


class CreateMessage(Parameters):
    """What the user says, and where."""

    conversation_id: Id = Field(description=ids.RULE)
    message: Text = Field(description=_MESSAGE_RULE)
    attachments: Attachments = Field([], description=_ATTACHMENTS_RULE)


class UpdateMessage(Changes):
    """What to change of a message."""

    message: Text = Field("", description=_MESSAGE_RULE)
    reactions: Annotated[list[Reaction], Field(max_length=_MOST_REACTIONS), BeforeValidator(_reactions_of_text)] = (
        Field([], description=_REACTIONS_RULE)
    )
    attachments: Attachments = Field([], description=_ATTACHMENTS_RULE)
    read_at: Annotated[Seconds | None, EmptyIsNull] = Field(None, description=SECONDS_RULE)


class ReceiveMessage(CreateMessage):
    """What somebody says to the user, as the event `message.received` brings it."""

    # No "#", which separates the parts of our keys; a Cognito `sub` has none.
    user_id: Annotated[str, Field(pattern=r"^[^\s#\x00-\x1f\x7f-\x9f]{1,128}$")] = Field(
        description="the sub of the user's tokens"
    )
    contact_id: Name = Field(description=NAME_RULE)
