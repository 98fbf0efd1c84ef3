"""The baseline: boto3 and json, nothing validated, nothing that can fail looked after."""

import json
from typing import Any

from table import TABLE, client, create, page, shown, update


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answers all five calls."""
    user_id = event["requestContext"]["authorizer"]["claims"]["sub"]
    method, parameters = event["httpMethod"], event["pathParameters"]
    if method == "POST":
        return response(201, create(user_id, json.loads(event["body"])))
    if parameters is None:
        query = event["queryStringParameters"] or {}
        return response(200, page(user_id, int(query.get("limit", "10")), query.get("starting_after")))
    key = {"user_id": {"S": user_id}, "id": {"S": parameters["id"]}}
    if method == "GET":
        return response(200, shown(client.get_item(TableName=TABLE, Key=key, ConsistentRead=True)["Item"]))
    if method == "PUT":
        return response(200, update(key, json.loads(event["body"])))
    client.delete_item(TableName=TABLE, Key=key, ConditionExpression="attribute_exists(id)")
    return {"statusCode": 204, "headers": {}, "body": ""}


def response(status: int, body: dict[str, Any]) -> dict[str, Any]:
    """JSON, as API Gateway wants it."""
    return {"statusCode": status, "headers": {"Content-Type": "application/json"}, "body": json.dumps(body)}
