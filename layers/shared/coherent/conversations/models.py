"""What clients may say about conversations: the parameters of the calls that take any."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from coherent import ids
from coherent.parameters import Boolean, EmptyIsNull, IntegerOfText, Parameters

_YEAR_10000 = 253_402_300_800
_NAME = r"^[^\s\x00-\x1f\x7f-\x9f]{1,128}$"
_NAME_RULE = "1 to 128 characters without white space or control characters"
_SECONDS_RULE = "a whole number of Unix seconds before the year 10000, or null"

Name = Annotated[str, Field(pattern=_NAME)]
Id = Annotated[str, Field(pattern=ids.PATTERN)]
Seconds = Annotated[int, Field(ge=0, lt=_YEAR_10000), IntegerOfText]


class ListConversations(Parameters):
    """Which conversations to list: those that match every filter given, on one side of a position."""

    limit: Annotated[int, Field(ge=1, le=100), IntegerOfText] = Field(10, description="an integer between 1 and 100")
    muted: Boolean | None = Field(None, description="true or false")
    archived: Boolean | None = Field(None, description="true or false")
    pinned: Boolean | None = Field(None, description="true or false")
    group_id: Name | None = Field(None, description=_NAME_RULE)
    starting_after: Id | None = Field(None, description=ids.RULE)
    ending_before: Id | None = Field(None, description=ids.RULE)

    @classmethod
    def conflicts(cls, given: Mapping[str, object], *, text: bool) -> list[str]:  # noqa: ARG003
        """A page has one direction."""
        both = {"starting_after", "ending_before"} <= given.keys()
        return ["starting_after, ending_before: only one of them may be given"] if both else []


class CreateConversation(Parameters):
    """Whom a new conversation is with: a contact, a group, or a contact in a group."""

    contact_id: Annotated[Name | None, EmptyIsNull] = Field(None, description=f"{_NAME_RULE}, or null")
    group_id: Annotated[Name | None, EmptyIsNull] = Field(None, description=f"{_NAME_RULE}, or null")

    @classmethod
    def conflicts(cls, given: Mapping[str, object], *, text: bool) -> list[str]:
        """A conversation is with somebody."""
        nothing = (None, "") if text else (None,)
        nobody = all(given.get(name) in nothing for name in cls.model_fields)
        return ["contact_id, group_id: at least one of them must be given"] if nobody else []


class UpdateConversation(Parameters):
    """What to change: the fields that were set (`model_fields_set`); what is absent stays as it is."""

    pinned_message_id: Annotated[Id | None, EmptyIsNull] = Field(None, description=f"{ids.RULE}, or null")
    is_pinned: Boolean = Field(False, description="true or false")
    is_muted: Boolean = Field(False, description="true or false")
    archived_at: Annotated[Seconds | None, EmptyIsNull] = Field(None, description=_SECONDS_RULE)
    last_opened_at: Annotated[Seconds | None, EmptyIsNull] = Field(None, description=_SECONDS_RULE)

    @classmethod
    def conflicts(cls, given: Mapping[str, object], *, text: bool) -> list[str]:  # noqa: ARG003
        """There is something to change."""
        return [] if given else [f"{', '.join(cls.model_fields)}: at least one of them must be given"]
