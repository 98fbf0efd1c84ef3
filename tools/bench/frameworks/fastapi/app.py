"""FastAPI behind Mangum: Pydantic models for bodies and queries, plain functions since boto3 blocks."""

from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from mangum import Mangum
from pydantic import BaseModel, ConfigDict, Field
from table import TABLE, client, create, page, shown, update

app = FastAPI()
handler = Mangum(app, lifespan="off")

Id = Annotated[str, Field(pattern="^[0-9A-Za-z]{16}$")]
Name = Annotated[str, Field(min_length=1, max_length=128)]
Seconds = Annotated[int, Field(ge=0)]


class Page(BaseModel):
    """Which conversations to list."""

    model_config = ConfigDict(extra="forbid")
    limit: Annotated[int, Field(ge=1, le=100)] = 10
    starting_after: Id | None = None


class New(BaseModel):
    """Whom a new conversation is with."""

    model_config = ConfigDict(extra="forbid")
    contact_id: Name | None = None
    group_id: Name | None = None


class Changes(BaseModel):
    """What to change of a conversation."""

    model_config = ConfigDict(extra="forbid")
    pinned_message_id: Id | None = None
    is_pinned: bool = False
    is_muted: bool = False
    archived_at: Seconds | None = None
    last_opened_at: Seconds | None = None


def user_id(request: Request) -> str:
    """Who asks."""
    return str(request.scope["aws.event"]["requestContext"]["authorizer"]["claims"]["sub"])


User = Annotated[str, Depends(user_id)]


@app.get("/conversations")
def list_conversations(user: User, query: Annotated[Page, Query()]) -> dict[str, Any]:
    """One page."""
    return page(user, query.limit, query.starting_after)


@app.post("/conversations", status_code=201)
def create_conversation(user: User, new: New) -> dict[str, Any]:
    """A new one."""
    return create(user, new.model_dump(exclude_none=True))


@app.get("/conversations/{id}")
def retrieve_conversation(user: User, id: str) -> dict[str, Any]:
    """One."""
    found = client.get_item(TableName=TABLE, Key=key(user, id), ConsistentRead=True)
    if "Item" not in found:
        raise HTTPException(404, "no such conversation")
    return shown(found["Item"])


@app.put("/conversations/{id}")
def update_conversation(user: User, id: str, changes: Changes) -> dict[str, Any]:
    """One, changed."""
    try:
        return update(key(user, id), changes.model_dump(exclude_unset=True))
    except client.exceptions.ConditionalCheckFailedException:
        raise HTTPException(404, "no such conversation") from None


@app.delete("/conversations/{id}", status_code=204)
def delete_conversation(user: User, id: str) -> None:
    """Deletes one."""
    try:
        client.delete_item(TableName=TABLE, Key=key(user, id), ConditionExpression="attribute_exists(id)")
    except client.exceptions.ConditionalCheckFailedException:
        raise HTTPException(404, "no such conversation") from None


def key(user: str, id: str) -> dict[str, Any]:
    """The key of a conversation of *user*."""
    return {"user_id": {"S": user}, "id": {"S": id}}
