"""The parameters of the conversation calls."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from coherent import ids
from coherent.parameters import (
    NAME_RULE,
    SECONDS_RULE,
    Boolean,
    Changes,
    EmptyIsNull,
    Id,
    Name,
    PageParameters,
    Parameters,
    Seconds,
)


class ListConversations(PageParameters):
    """The filters and the position of a page. Filters combine with AND."""

    muted: Boolean | None = Field(None, description="true or false")
    archived: Boolean | None = Field(None, description="true or false")
    pinned: Boolean | None = Field(None, description="true or false")
    group_id: Name | None = Field(None, description=NAME_RULE)


class CreateConversation(Parameters):
    """A new conversation with a contact, a group, or a contact in a group.

    With *distinct* the newest conversation with exactly these is returned instead, unless it was deleted.
    """

    contact_id: Annotated[Name | None, EmptyIsNull] = Field(None, description=f"{NAME_RULE}, or null")
    group_id: Annotated[Name | None, EmptyIsNull] = Field(None, description=f"{NAME_RULE}, or null")
    distinct: Boolean = Field(False, description="true or false")

    @classmethod
    def conflicts(cls, given: Mapping[str, object], *, text: bool) -> list[str]:
        """Requires a contact or a group."""
        nulls = (None, "") if text else (None,)
        is_empty = all(given.get(name) in nulls for name in ("contact_id", "group_id"))
        return ["contact_id, group_id: at least one of them must be given"] if is_empty else []


class UpdateConversation(Changes):
    """A partial update of a conversation."""

    pinned_message_id: Annotated[Id | None, EmptyIsNull] = Field(None, description=f"{ids.RULE}, or null")
    is_pinned: Boolean = Field(False, description="true or false")
    is_muted: Boolean = Field(False, description="true or false")
    archived_at: Annotated[Seconds | None, EmptyIsNull] = Field(None, description=SECONDS_RULE)
    last_opened_at: Annotated[Seconds | None, EmptyIsNull] = Field(None, description=SECONDS_RULE)
