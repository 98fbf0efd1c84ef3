"""Powertools' resolver with validation: Pydantic models for bodies and queries, its Logger and its Metrics."""

from typing import Annotated, Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response, content_types
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.openapi.params import Body, Query
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, ConfigDict, Field
from table import TABLE, client, create, page, shown, update

app = APIGatewayRestResolver(enable_validation=True)
logger = Logger()
metrics = Metrics()

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


@app.get("/conversations")
def list_conversations(query: Annotated[Page, Query()]) -> dict[str, Any]:
    """One page."""
    count_request()
    return page(user_id(), query.limit, query.starting_after)


@app.post("/conversations")
def create_conversation(new: Annotated[New, Body()]) -> Response[dict[str, Any]]:
    """A new one."""
    count_request()
    made = create(user_id(), new.model_dump(exclude_none=True))
    return Response(status_code=201, content_type=content_types.APPLICATION_JSON, body=made)


@app.get("/conversations/<id>")
def retrieve_conversation(id: str) -> dict[str, Any]:
    """One."""
    count_request()
    found = client.get_item(TableName=TABLE, Key=key(id), ConsistentRead=True)
    if "Item" not in found:
        raise NotFoundError("no such conversation")
    return shown(found["Item"])


@app.put("/conversations/<id>")
def update_conversation(id: str, changes: Annotated[Changes, Body()]) -> dict[str, Any]:
    """One, changed."""
    count_request()
    try:
        return update(key(id), changes.model_dump(exclude_unset=True))
    except client.exceptions.ConditionalCheckFailedException:
        raise NotFoundError("no such conversation") from None


@app.delete("/conversations/<id>")
def delete_conversation(id: str) -> Response[None]:
    """Deletes one."""
    count_request()
    try:
        client.delete_item(TableName=TABLE, Key=key(id), ConditionExpression="attribute_exists(id)")
    except client.exceptions.ConditionalCheckFailedException:
        raise NotFoundError("no such conversation") from None
    return Response(status_code=204)


@logger.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_REST)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answers all five calls."""
    return app.resolve(event, context)


def count_request() -> None:
    """One metric for each request."""
    metrics.add_metric(name="Requests", unit=MetricUnit.Count, value=1)


def user_id() -> str:
    """Who asks."""
    return str(app.current_event.request_context.authorizer.claims["sub"])


def key(id: str) -> dict[str, Any]:
    """The key of a conversation of who asks."""
    return {"user_id": {"S": user_id()}, "id": {"S": id}}
