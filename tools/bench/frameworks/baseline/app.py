"""The baseline: boto3 and json, without validation and error handling."""

import json
from typing import Any

import table


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    user_id = event["requestContext"]["authorizer"]["claims"]["sub"]
    method, parameters = event["httpMethod"], event["pathParameters"]
    if method == "POST":
        return response(201, table.create(user_id, json.loads(event["body"])))
    if parameters is None:
        query = event["queryStringParameters"] or {}
        return response(200, table.page(user_id, int(query.get("limit", "10")), query.get("starting_after")))
    if method == "GET":
        return response(200, table.retrieve(user_id, parameters["id"]))
    if method == "PUT":
        return response(200, table.update(user_id, parameters["id"], json.loads(event["body"])))
    table.delete(user_id, parameters["id"])
    return {"statusCode": 204, "headers": {}, "body": ""}


def response(status: int, body: dict[str, Any] | None) -> dict[str, Any]:
    return {"statusCode": status, "headers": {"Content-Type": "application/json"}, "body": json.dumps(body)}
