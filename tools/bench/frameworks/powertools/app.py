"""Powertools' resolver with validation, its Logger and its Metrics."""

from typing import Annotated, Any

import table
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response, content_types
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.openapi.params import Body, Query
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from schemas import Changes, New, Page

app = APIGatewayRestResolver(enable_validation=True)
logger = Logger()
metrics = Metrics()
NOT_FOUND = NotFoundError("no such conversation")


@app.get("/conversations")
def list_conversations(query: Annotated[Page, Query()]) -> dict[str, Any]:
    return table.page(user_id(), query.limit, query.starting_after)


@app.post("/conversations")
def create_conversation(new: Annotated[New, Body()]) -> Response[dict[str, Any]]:
    created = table.create(user_id(), new.model_dump(exclude_none=True))
    return Response(status_code=201, content_type=content_types.APPLICATION_JSON, body=created)


@app.get("/conversations/<id>")
def retrieve_conversation(id: str) -> dict[str, Any]:
    return table.existing(table.retrieve(user_id(), id), NOT_FOUND)


@app.put("/conversations/<id>")
def update_conversation(id: str, changes: Annotated[Changes, Body()]) -> dict[str, Any]:
    return table.existing(table.update(user_id(), id, changes.model_dump(exclude_unset=True)), NOT_FOUND)


@app.delete("/conversations/<id>")
def delete_conversation(id: str) -> Response[None]:
    table.existing(table.delete(user_id(), id), NOT_FOUND)
    return Response(status_code=204)


@logger.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_REST)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    metrics.add_metric(name="Requests", unit=MetricUnit.Count, value=1)
    return app.resolve(event, context)


def user_id() -> str:
    return str(app.current_event.request_context.authorizer.claims["sub"])
