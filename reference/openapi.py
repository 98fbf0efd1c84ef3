"""`openapi.json`: the API as OpenAPI 3.1, made of the models and one table of routes."""

import copy
import json
import sys
from typing import Any, NamedTuple, get_type_hints

from coherent import api, ids
from coherent.conversations.models import CreateConversation, ListConversations, UpdateConversation
from coherent.conversations.repository import Conversation
from coherent.parameters import Parameters
from pydantic import ConfigDict, Field, create_model

_ID = "8DoZ65wSg7hMp0Jh"
_CONVERSATION = {
    "id": _ID,
    "contact_id": "harry",
    "group_id": "friends",
    "pinned_message_id": None,
    "is_pinned": True,
    "is_muted": False,
    "last_active_at": None,
    "last_opened_at": 1795374369,
    "created_at": 1795374001,
    "archived_at": None,
}
_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"


class Route(NamedTuple):
    """One call: what it takes and what it answers."""

    method: str
    path: str
    endpoint: str
    summary: str
    scope: str
    success: int
    headers: tuple[str, ...] = ()
    query: type[Parameters] | None = None
    body: type[Parameters] | None = None
    body_example: dict[str, Any] | None = None
    request_headers: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()


_READ, _WRITE = "conversations/read", "conversations/write"
_ONE = "/conversations/{id}"
ROUTES = [
    Route("get", "/conversations", "list_conversations", "List conversations, newest first", _READ, 200,
          headers=("Link",), query=ListConversations, errors=(400,)),
    Route("post", "/conversations", "create_conversation", "Start a conversation with a contact, a group or both",
          _WRITE, 201, headers=("Location", "ETag", "Idempotent-Replayed"), body=CreateConversation,
          body_example={"contact_id": "harry", "group_id": "friends"}, request_headers=("Idempotency-Key",),
          errors=(400, 409, 413, 415, 422)),
    Route("get", _ONE, "retrieve_conversation", "Retrieve a conversation", _READ, 200,
          headers=("ETag",), request_headers=("If-None-Match",), errors=(304, 400, 404)),
    Route("put", _ONE, "update_conversation", "Pin, mute, archive or mark as opened; what is absent stays as it is",
          _WRITE, 200, headers=("ETag",), body=UpdateConversation,
          body_example={"is_pinned": True, "archived_at": None}, request_headers=("If-Match",),
          errors=(400, 404, 412, 413, 415)),
    Route("delete", _ONE, "delete_conversation", "Delete a conversation for good, with all its messages", _WRITE, 204,
          request_headers=("If-Match",), errors=(400, 404, 412)),
]  # fmt: skip

_EVERYWHERE = (401, 429, 500, 503)
_MEANINGS = {
    304: "The client has it already, as If-None-Match says",
    400: "A parameter is wrong; the message names it and says what would be right",
    401: "No token, a bad or expired one, or one without the scope",
    404: "The user has no such conversation",
    409: "The same request is still in progress",
    412: "The conversation has changed since, so If-Match fails",
    413: f"The body is longer than {api.MAX_BODY_BYTES} bytes",
    415: "The body is neither JSON nor a form",
    422: "The idempotency key was used with other attributes",
    429: "Too many requests",
    500: "Our fault",
    503: "The service is busy",
}
_RESPONSE_HEADERS = {
    "ETag": ("Names this state of the conversation", '"3"'),
    "Idempotent-Replayed": ("`true` where this is the answer to an earlier request with the same key", "true"),
    "Link": (
        "The next and the previous page (RFC 8288)",
        f'<https://…?starting_after={_ID}>; rel="next"',
    ),
    "Location": ("Where the new conversation is", f"https://…/v1/conversations/{_ID}"),
    "Retry-After": ("Seconds to wait", "1"),
    "X-Request-Id": ("Names this request in our logs", "0f5a2c1e-7b7c-4d8e-9a51-2f6f4f3c8d10"),
}
_REQUEST_HEADERS = {
    "Idempotency-Key": ("Makes the request safe to repeat for 24 hours", "[ -~]{1,255}", "order-4711"),
    "If-Match": ("Only if the conversation is in one of these states", api.CONDITION, '"3"'),
    "If-None-Match": ("Only if the conversation is in none of these states", api.CONDITION, '"3"'),
}


def document() -> dict[str, Any]:
    """The whole description."""
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Coherent Conversations",
            "version": "1",
            "description": "A user's conversations with contacts and groups. The user is the one of the access token.",
        },
        "servers": [{"url": "..", "description": "The API, as seen from its /docs/openapi.json"}],
        "paths": paths,
        "components": {
            "schemas": {"Conversation": _conversation(), "Page": _page(), "Error": _error()},
            "securitySchemes": {"oauth2": _oauth2(), "bearer": _bearer()},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.endpoint,
        "summary": route.summary,
        "tags": [route.path.split("/")[1].title()],
        "security": [{"oauth2": [route.scope]}, {"bearer": [route.scope]}],
        "parameters": _parameters(route),
        "responses": {str(route.success): _success(route)},
    }
    if route.body is not None:
        schema, example = _body(route.body), dict(route.body_example or {})
        of_form = {name: "" if value is None else value for name, value in example.items()}
        operation["requestBody"] = {
            "required": True,
            "content": {
                _JSON: {"schema": schema, "example": example},
                _FORM: {"schema": _as_form(schema), "example": of_form},
            },
        }
    for status in sorted({*route.errors, *_EVERYWHERE}):
        operation["responses"][str(status)] = _failure(status)
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = []
    if "{id}" in route.path:
        schema = _id() | {"examples": [_ID]}
        parameters.append({"name": "id", "in": "path", "required": True, "schema": schema, "description": ids.RULE})
    if route.query is not None:
        for name, schema in route.query.model_json_schema()["properties"].items():
            # Absent is no null: a query has none.
            given = {**schema, **next((kind for kind in schema.get("anyOf", []) if kind["type"] != "null"), {})}
            description = given.pop("description")
            kept = {key: value for key, value in given.items() if key not in ("anyOf", "title")}
            if kept.get("default", "") is None:
                del kept["default"]
            parameters.append({"name": name, "in": "query", "schema": kept, "description": description})
    for name in route.request_headers:
        description, pattern, example = _REQUEST_HEADERS[name]
        # An example of the parameter itself would stand in the reference's form, to be sent unless it is deleted.
        schema = {"type": "string", "examples": [example], "pattern": f"^{pattern}$"}
        parameters.append({"name": name, "in": "header", "schema": schema, "description": description})
    return parameters


def _success(route: Route) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": route.summary, "headers": _headers(*route.headers)}
    if route.query is not None:
        example: Any = {"has_more": False, "data": [_CONVERSATION]}
        answer["content"] = {_JSON: {"schema": {"$ref": "#/components/schemas/Page"}, "example": example}}
    elif route.success != 204:
        schema = {"$ref": "#/components/schemas/Conversation"}
        answer["content"] = {_JSON: {"schema": schema, "example": _CONVERSATION}}
    return answer


def _failure(status: int) -> dict[str, Any]:
    if status == 304:
        return {"description": _MEANINGS[status], "headers": _headers("ETag")}
    headers = _headers("Retry-After") if status in (409, 429, 503) else _headers()
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": _MEANINGS[status], "headers": headers, "content": {_JSON: {"schema": schema}}}


def _headers(*names: str) -> dict[str, Any]:
    return {
        name: {"description": description, "schema": {"type": "string"}, "example": example}
        for name, (description, example) in _RESPONSE_HEADERS.items()
        if name in (*names, "X-Request-Id")
    }


def _body(model: type[Parameters]) -> dict[str, Any]:
    schema = model.model_json_schema()
    for given in schema["properties"].values():
        # An attribute that is absent is not set to anything.
        given.pop("default", None)
        given.pop("title", None)
    del schema["title"]
    if model is CreateConversation:
        name = {"type": "string", "minLength": 1}
        schema["anyOf"] = [{"required": [one], "properties": {one: name}} for one in schema["properties"]]
    else:
        schema["minProperties"] = 1
    return schema


def _as_form(schema: dict[str, Any]) -> dict[str, Any]:
    """The same *schema* where null is written as nothing."""
    form = copy.deepcopy(schema)
    for given in form["properties"].values():
        given["anyOf"] = [
            {"type": "string", "maxLength": 0} if kind == {"type": "null"} else kind for kind in given.get("anyOf", [])
        ]
        if not given["anyOf"]:
            del given["anyOf"]
    return form


def _conversation() -> dict[str, Any]:
    attributes: dict[str, Any] = {name: (hint, ...) for name, hint in get_type_hints(Conversation).items()}
    attributes["id"] = (str, Field(pattern=ids.PATTERN))
    model = create_model("Conversation", __config__=ConfigDict(extra="forbid"), **attributes)
    return _untitled(model.model_json_schema()) | {
        "description": "Times are Unix seconds.",
        "examples": [_CONVERSATION],
    }


def _page() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "has_more": {"type": "boolean", "description": "Whether there is more in the direction travelled"},
            "data": {"type": "array", "items": {"$ref": "#/components/schemas/Conversation"}},
        },
        "required": ["has_more", "data"],
        "additionalProperties": False,
    }


def _error() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "type": {"enum": ["invalid_request", "api_error"]},
            "message": {"type": "string", "examples": ["limit: must be an integer between 1 and 100"]},
            "documentation_url": {
                "type": "string",
                "format": "uri",
                "examples": ["https://protocol.chat/docs/errors/invalid_request"],
            },
        },
        "required": ["type", "message", "documentation_url"],
        "additionalProperties": False,
    }


def _oauth2() -> dict[str, Any]:
    scopes = {_READ: "List and retrieve conversations", _WRITE: "Create, update and delete conversations"}
    flow = {"tokenUrl": "https://example.auth.eu-west-1.amazoncognito.com/oauth2/token", "scopes": scopes}
    authorize = {"authorizationUrl": "https://example.auth.eu-west-1.amazoncognito.com/oauth2/authorize"}
    return {
        "type": "oauth2",
        "description": "The sign-in of the deployed stack; its output SignInUrl stands for the host.",
        "flows": {"authorizationCode": authorize | flow, "clientCredentials": flow},
    }


def _bearer() -> dict[str, Any]:
    return {"type": "http", "scheme": "bearer", "description": "An access token that the sign-in gave before."}


def _id() -> dict[str, Any]:
    return {"type": "string", "pattern": ids.PATTERN}


def _untitled(schema: dict[str, Any]) -> dict[str, Any]:
    for attribute in schema["properties"].values():
        attribute.pop("title", None)
    return schema


if __name__ == "__main__":
    json.dump(document(), sys.stdout, indent=2, ensure_ascii=False)
    print()
