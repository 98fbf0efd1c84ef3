"""What clients may say about conversations: the parameters of the calls that take any."""

from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

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

    @model_validator(mode="after")
    def _one_direction(self) -> Self:
        if self.starting_after is not None and self.ending_before is not None:
            raise PydanticCustomError("both_cursors", "starting_after, ending_before: only one of them may be given")
        return self


class CreateConversation(Parameters):
    """Whom a new conversation is with: a contact, a group, or a contact in a group."""

    contact_id: Annotated[Name | None, EmptyIsNull] = Field(None, description=f"{_NAME_RULE}, or null")
    group_id: Annotated[Name | None, EmptyIsNull] = Field(None, description=f"{_NAME_RULE}, or null")

    @model_validator(mode="after")
    def _with_somebody(self) -> Self:
        if self.contact_id is None and self.group_id is None:
            raise PydanticCustomError("with_nobody", "contact_id, group_id: at least one of them must be given")
        return self


class UpdateConversation(Parameters):
    """What to change: the fields that were set (`model_fields_set`); what is absent stays as it is."""

    pinned_message_id: Annotated[Id | None, EmptyIsNull] = Field(None, description=f"{ids.RULE}, or null")
    is_pinned: Boolean = Field(False, description="true or false")
    is_muted: Boolean = Field(False, description="true or false")
    archived_at: Annotated[Seconds | None, EmptyIsNull] = Field(None, description=_SECONDS_RULE)
    last_opened_at: Annotated[Seconds | None, EmptyIsNull] = Field(None, description=_SECONDS_RULE)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            names = ", ".join(type(self).model_fields)
            raise PydanticCustomError("nothing", "{names}: at least one of them must be given", {"names": names})
        return self
