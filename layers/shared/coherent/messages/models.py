"""The parameters of the message calls and of the event `message.received`."""

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

# Together these keep a message below the 400 KB of a DynamoDB item, at four bytes a character.
MAX_ATTACHMENTS = 32
MAX_REACTIONS = 64

_MESSAGE_RULE = "1 to 10,000 characters without control characters other than tabs and line ends"
_ATTACHMENTS_RULE = (
    f"an array of at most {MAX_ATTACHMENTS} strings, each 1 to 2,048 characters without white space or control "
    "characters; in a form, attachments[]=..."
)
_REACTIONS_RULE = (
    f'an array of at most {MAX_REACTIONS} reactions such as {{"reaction": "heart", "contact_id": "harry"}}: 1 to 64 '
    "characters without white space or control characters, and who reacted, where null is the user; in a form, "
    "reactions[heart][]=harry"
)

Text = Annotated[str, Field(min_length=1, max_length=10_000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$")]
Attachment = Annotated[str, Field(min_length=1, max_length=2048, pattern=r"^[^\s\x00-\x1f\x7f-\x9f]*$")]
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


class ListMessages(PageParameters):
    """The conversation, or all conversations, and the position of a page."""

    conversation_id: Id | None = Field(None, description=ids.RULE)


class CreateMessage(Parameters):
    """A new message of the user."""

    conversation_id: Id = Field(description=ids.RULE)
    message: Text = Field(description=_MESSAGE_RULE)
    attachments: Attachments = Field([], description=_ATTACHMENTS_RULE)


class UpdateMessage(Changes):
    """A partial update of a message."""

    message: Text = Field("", description=_MESSAGE_RULE)
    reactions: Annotated[list[Reaction], Field(max_length=MAX_REACTIONS), BeforeValidator(_parse_reactions)] = Field(
        [], description=_REACTIONS_RULE
    )
    attachments: Attachments = Field([], description=_ATTACHMENTS_RULE)
    read_at: Annotated[Seconds | None, EmptyIsNull] = Field(None, description=SECONDS_RULE)


class ReceiveMessage(CreateMessage):
    """A message from a contact: the detail of the event `message.received`."""

    # No "#", which separates the parts of our keys; a Cognito `sub` has none.
    user_id: Annotated[str, Field(pattern=r"^[^\s#\x00-\x1f\x7f-\x9f]{1,128}$")] = Field(
        description="the sub of the user's tokens"
    )
    contact_id: Name = Field(description=NAME_RULE)
