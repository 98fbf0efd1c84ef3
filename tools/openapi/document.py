"""The API as an OpenAPI 3.1 document, made from the routes and the models."""

import tomllib
from pathlib import Path
from typing import Any

from coherent import ids
from coherent.conversations.repository import Conversation
from coherent.http import body, etags
from coherent.messages.models import Reaction
from coherent.messages.repository import Message

from tools.openapi import schemas
from tools.openapi.routes import EXAMPLE_CONVERSATION, EXAMPLE_ID, EXAMPLE_MESSAGE, ROUTES, Route

_PROJECT = Path(__file__).resolve().parent.parent.parent / "pyproject.toml"
_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"
_SIGN_IN = "https://example.auth.eu-west-1.amazoncognito.com/oauth2"
_SCOPES = {
    f"{noun}/{scope}": description
    for noun, verb in (("conversations", "Create"), ("messages", "Send"))
    for scope, description in (
        ("read", f"List and retrieve {noun}"),
        ("write", f"{verb}, update and delete {noun}"),
    )
}

_ERRORS_OF_EVERY_CALL = (401, 429, 500, 503)
_STATUS_DESCRIPTIONS = {
    304: "The resource has one of the ETags in If-None-Match",
    400: "A parameter is invalid; the message names it and says what would be right",
    401: "The token is missing, invalid, expired, or lacks the scope",
    404: "The user has no such conversation or message",
    412: "The resource has changed, so If-Match fails",
    413: f"The body is longer than {body.MAX_BYTES} bytes",
    415: "The body is neither JSON nor a form",
    422: "The idempotency key was used with other attributes",
    429: "Too many requests",
    500: "Internal error",
    503: "The service is temporarily unavailable",
}
_RESPONSE_HEADERS = {
    "ETag": ("Identifies this version of the resource", '"3"'),
    "Idempotent-Replayed": ("`true` if this repeats the response to an earlier request with the same key", "true"),
    "Link": (
        "URLs of the next and the previous page (RFC 8288)",
        f'<https://…?starting_after={EXAMPLE_ID}>; rel="next"',
    ),
    "Location": ("URL of the new resource", f"https://…/v1/conversations/{EXAMPLE_ID}"),
    "Retry-After": ("Seconds to wait before a retry", "1"),
    "X-Request-Id": ("Identifies this request in the logs", "0f5a2c1e-7b7c-4d8e-9a51-2f6f4f3c8d10"),
}
_REQUEST_HEADERS = {
    "Idempotency-Key": ("Makes retries safe for 24 hours", "[ -~]{1,255}", "order-4711"),
    "If-Match": ("Returns 412 unless the resource has one of these ETags", etags.PATTERN, '"3"'),
    "If-None-Match": ("Returns 304 if the resource has one of these ETags", etags.PATTERN, '"3"'),
}


def document() -> dict[str, Any]:
    """Returns the whole document."""
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = _operation(route)
    message_types = {"contact": schemas.Contact | None, "reactions": list[Reaction]}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Coherent Conversations",
            "version": tomllib.loads(_PROJECT.read_text())["project"]["version"],
            "description": "A user's conversations with contacts and groups, and their messages. "
            "The access token identifies the user.",
        },
        "servers": [{"url": "..", "description": "The API that serves this document as /docs/openapi.json"}],
        "paths": paths,
        "components": {
            "schemas": {
                "Conversation": schemas.resource(Conversation, EXAMPLE_CONVERSATION),
                "Conversations": schemas.page("Conversation"),
                "Message": schemas.resource(Message, EXAMPLE_MESSAGE, **message_types),
                "Messages": schemas.page("Message"),
                "Error": schemas.ERROR,
            },
            "securitySchemes": {"oauth2": _oauth2(), "bearer": _bearer()},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.endpoint,
        "summary": route.summary,
        "tags": [route.noun.title()],
        "security": [{"oauth2": [route.scope]}, {"bearer": [route.scope]}],
        "parameters": _parameters(route),
        "responses": {str(route.success): _success(route)},
    }
    if route.body is not None:
        schema, example = schemas.json_body(route.body), dict(route.body_example or {})
        form_example = {
            name: "" if value is None else value for name, value in example.items() if not isinstance(value, list)
        }
        operation["requestBody"] = {
            "required": True,
            "content": {
                _JSON: {"schema": schema, "example": example},
                _FORM: {"schema": schemas.form_body(schema), "example": form_example},
            },
        }
    for status in sorted({*route.errors, *_ERRORS_OF_EVERY_CALL}):
        operation["responses"][str(status)] = _failure(status)
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = []
    if "{id}" in route.path:
        schema = schemas.ID | {"examples": [EXAMPLE_ID]}
        parameters.append({"name": "id", "in": "path", "required": True, "schema": schema, "description": ids.RULE})
    if route.query is not None:
        for name, optional in route.query.model_json_schema()["properties"].items():
            # A query cannot express null, so only the other type of "X or null" remains.
            options = (option for option in optional.get("anyOf", []) if option["type"] != "null")
            schema = {**optional, **next(options, {})}
            description = schema.pop("description")
            schema = {key: value for key, value in schema.items() if key not in ("anyOf", "title")}
            if schema.get("default", "") is None:
                del schema["default"]
            parameters.append({"name": name, "in": "query", "schema": schema, "description": description})
    for name in route.request_headers:
        description, pattern, example = _REQUEST_HEADERS[name]
        # Swagger UI would fill its form with an example of the parameter itself, and send it.
        schema = {"type": "string", "examples": [example], "pattern": f"^{pattern}$"}
        parameters.append({"name": name, "in": "header", "schema": schema, "description": description})
    return parameters


def _success(route: Route) -> dict[str, Any]:
    response: dict[str, Any] = {"description": route.summary, "headers": _headers(*route.headers)}
    name = route.noun.title().removesuffix("s")
    example: Any = {"conversations": EXAMPLE_CONVERSATION, "messages": EXAMPLE_MESSAGE}[route.noun]
    if route.query is not None:
        name, example = route.noun.title(), {"has_more": False, "data": [example]}
    elif route.success == 204:
        return response
    schema = {"$ref": f"#/components/schemas/{name}"}
    return response | {"content": {_JSON: {"schema": schema, "example": example}}}


def _failure(status: int) -> dict[str, Any]:
    description = _STATUS_DESCRIPTIONS[status]
    if status == 304:
        return {"description": description, "headers": _headers("ETag")}
    headers = _headers("Retry-After") if status in (429, 503) else _headers()
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": description, "headers": headers, "content": {_JSON: {"schema": schema}}}


def _headers(*names: str) -> dict[str, Any]:
    return {
        name: {"description": description, "schema": {"type": "string"}, "example": example}
        for name, (description, example) in _RESPONSE_HEADERS.items()
        if name in (*names, "X-Request-Id")
    }


def _oauth2() -> dict[str, Any]:
    flow = {"tokenUrl": f"{_SIGN_IN}/token", "scopes": _SCOPES}
    return {
        "type": "oauth2",
        "description": "The sign-in of the deployed stack. Replace the host with the stack's output SignInUrl.",
        "flows": {
            "authorizationCode": {"authorizationUrl": f"{_SIGN_IN}/authorize", **flow},
            "clientCredentials": flow,
        },
    }


def _bearer() -> dict[str, Any]:
    return {"type": "http", "scheme": "bearer", "description": "An access token from the sign-in."}
