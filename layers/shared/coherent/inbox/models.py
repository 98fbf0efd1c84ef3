"""The parameters of the inbox calls."""

import time
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

from coherent import positions
from coherent.parameters import (
    MAX_SECONDS,
    NAME_RULE,
    Boolean,
    Changes,
    EmptyIsNull,
    Id,
    Name,
    PageParameters,
    Parameters,
    Seconds,
)

_MAX_COUNTED_CONVERSATIONS = 100
_MUTED_UNTIL_RULE = (
    f"a whole number of Unix seconds in the future, at most {MAX_SECONDS} (the end of the year 9999), or null"
)


def _require_future(seconds: int) -> int:
    if seconds <= time.time():
        raise ValueError
    return seconds


Position = Annotated[str, Field(pattern=positions.PATTERN)]
FutureSeconds = Annotated[Seconds, AfterValidator(_require_future)]


class ListInbox(PageParameters):
    """The filters and the position of a page. Filters combine with AND."""

    muted: Boolean | None = Field(None, description="true or false")
    archived: Boolean | None = Field(None, description="true or false")
    pinned: Boolean | None = Field(None, description="true or false")
    unread: Boolean | None = Field(None, description="true or false")
    group_id: Name | None = Field(None, description=NAME_RULE)
    starting_after: Position | None = Field(None, description=positions.RULE)
    ending_before: Position | None = Field(None, description=positions.RULE)


class UpdateInboxEntry(Changes):
    """A partial update of an inbox entry."""

    read_up_to: Annotated[Id | None, EmptyIsNull] = Field(
        None, description="the id of a message of this conversation, or null if nothing is read"
    )
    is_unread: Boolean = Field(False, description="true or false")
    muted_until: Annotated[FutureSeconds | None, EmptyIsNull] = Field(None, description=_MUTED_UNTIL_RULE)
    is_blocked: Boolean = Field(False, description="true or false")

    @classmethod
    def conflicts(cls, given: Mapping[str, object], *, text: bool) -> list[str]:
        """Requires an attribute, and no marks that contradict each other."""
        nulls = (None, "") if text else (None,)
        is_read = given.get("is_unread") in ((False, "false") if text else (False,))
        is_nothing_read = "read_up_to" in given and given["read_up_to"] in nulls
        faults = super().conflicts(given, text=text)
        if "is_unread" in given and is_read and is_nothing_read:
            faults.append(
                "is_unread, read_up_to: must not contradict each other; false means that all is read, null nothing"
            )
        return faults


class CountUnread(Parameters):
    """Which conversations the badge counts."""

    muted: Boolean = Field(False, description="true or false")
    archived: Boolean = Field(False, description="true or false")
    group_id: Name | None = Field(None, description=NAME_RULE)

    @property
    def entries(self) -> ListInbox:
        """The entries that the badge counts."""
        return ListInbox.model_construct(
            limit=_MAX_COUNTED_CONVERSATIONS,
            unread=True,
            muted=self.muted,
            archived=self.archived,
            group_id=self.group_id,
        )
