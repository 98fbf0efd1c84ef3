"""FastAPI behind Mangum, with plain functions, since boto3 blocks."""

from typing import Annotated, Any

import table
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from mangum import Mangum
from schemas import Changes, New, Page

app = FastAPI()
handler = Mangum(app, lifespan="off")
NOT_FOUND = HTTPException(404, "no such conversation")


def user_id(request: Request) -> str:
    return str(request.scope["aws.event"]["requestContext"]["authorizer"]["claims"]["sub"])


User = Annotated[str, Depends(user_id)]


@app.get("/conversations")
def list_conversations(user: User, query: Annotated[Page, Query()]) -> dict[str, Any]:
    return table.page(user, query.limit, query.starting_after)


@app.post("/conversations", status_code=201)
def create_conversation(user: User, new: New) -> dict[str, Any]:
    return table.create(user, new.model_dump(exclude_none=True))


@app.get("/conversations/{id}")
def retrieve_conversation(user: User, id: str) -> dict[str, Any]:
    return table.existing(table.retrieve(user, id), NOT_FOUND)


@app.put("/conversations/{id}")
def update_conversation(user: User, id: str, changes: Changes) -> dict[str, Any]:
    return table.existing(table.update(user, id, changes.model_dump(exclude_unset=True)), NOT_FOUND)


@app.delete("/conversations/{id}", status_code=204)
def delete_conversation(user: User, id: str) -> None:
    table.existing(table.delete(user, id), NOT_FOUND)
