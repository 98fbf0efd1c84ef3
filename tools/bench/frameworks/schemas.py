"""The Pydantic models of the frameworks that validate by them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Id = Annotated[str, Field(pattern="^[0-9A-Za-z]{16}$")]
Name = Annotated[str, Field(min_length=1, max_length=128)]
Seconds = Annotated[int, Field(ge=0)]


class Page(BaseModel):
    model_config = ConfigDict(extra="forbid")
    limit: Annotated[int, Field(ge=1, le=100)] = 10
    starting_after: Id | None = None


class New(BaseModel):
    model_config = ConfigDict(extra="forbid")
    contact_id: Name | None = None
    group_id: Name | None = None


class Changes(BaseModel):
    model_config = ConfigDict(extra="forbid")
    pinned_message_id: Id | None = None
    is_pinned: bool = False
    is_muted: bool = False
    archived_at: Seconds | None = None
    last_opened_at: Seconds | None = None
