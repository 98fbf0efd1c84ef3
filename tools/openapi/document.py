"""`openapi.json`: the API as OpenAPI 3.1, made of the models and one table of routes."""

import copy
import json
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple, get_type_hints

from coherent import ids
from coherent.conversations.models import CreateConversation, ListConversations, UpdateConversation
from coherent.conversations.repository import Conversation
from coherent.http import body, etags
from coherent.messages.models import CreateMessage, ListMessages, Reaction, UpdateMessage
from coherent.messages.repository import Message
from coherent.parameters import Changes, Parameters
from pydantic import BaseModel, ConfigDict, Field, create_model

_ID = "8DoZ65wSg7hMp0Jh"
_CONVERSATION = {
    "id": _ID,
    "contact_id": "harry",
    "group_id": "friends",
    "pinned_message_id": None,
    "is_pinned": True,
    "is_muted": False,
    "last_active_at": 1795374120,
    "last_opened_at": 1795374369,
    "created_at": 1795374001,
    "archived_at": None,
}
_MESSAGE = {
    "id": "8DoZ7Hq2LmX04bTe",
    "conversation_id": _ID,
    "contact": {"id": "harry"},
    "message": "Keep the change.",
    "reactions": [{"reaction": "heart", "contact_id": None}],
    "attachments": ["https://files.example.com/tarantula.jpg"],
    "read_at": 1795374369,
    "created_at": 1795374120,
    "updated_at": 1795374369,
}
_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"


class Contact(BaseModel):
    """Somebody else than the user."""

    model_config = ConfigDict(extra="forbid")

    id: str


class Route(NamedTuple):
    """One call: what it takes and what it answers."""

    method: str
    path: str
    endpoint: str
    summary: str
    success: int
    headers: tuple[str, ...] = ()
    query: type[Parameters] | None = None
    body: type[Parameters] | None = None
    body_example: dict[str, Any] | None = None
    request_headers: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()


ROUTES = [
    Route("get", "/conversations", "list_conversations", "List conversations, newest first", 200,
          headers=("Link",), query=ListConversations, errors=(400,)),
    Route("post", "/conversations", "create_conversation", "Start a conversation with a contact, a group or both", 201,
          headers=("Location", "ETag", "Idempotent-Replayed"), body=CreateConversation,
          body_example={"contact_id": "harry", "group_id": "friends"}, request_headers=("Idempotency-Key",),
          errors=(400, 413, 415, 422)),
    Route("get", "/conversations/{id}", "retrieve_conversation", "Retrieve a conversation", 200,
          headers=("ETag",), request_headers=("If-None-Match",), errors=(304, 400, 404)),
    Route("put", "/conversations/{id}", "update_conversation",
          "Pin, mute, archive or mark as opened; what is absent stays as it is", 200, headers=("ETag",),
          body=UpdateConversation, body_example={"is_pinned": True, "archived_at": None},
          request_headers=("If-Match",), errors=(400, 404, 412, 413, 415)),
    Route("delete", "/conversations/{id}", "delete_conversation",
          "Delete a conversation for good, with all its messages", 204,
          request_headers=("If-Match",), errors=(400, 404, 412)),
    Route("get", "/messages", "list_messages", "List the messages of a conversation, or all, newest first", 200,
          headers=("Link",), query=ListMessages, errors=(400, 404)),
    Route("post", "/messages", "create_message", "Send a message", 201,
          headers=("Location", "ETag", "Idempotent-Replayed"), body=CreateMessage,
          body_example={"conversation_id": _ID, "message": "Merry Christmas!", "attachments": []},
          request_headers=("Idempotency-Key",), errors=(400, 404, 413, 415, 422)),
    Route("get", "/messages/{id}", "retrieve_message", "Retrieve a message", 200,
          headers=("ETag",), request_headers=("If-None-Match",), errors=(304, 400, 404)),
    Route("put", "/messages/{id}", "update_message",
          "Edit, react, attach or mark as read; what is absent stays as it is", 200, headers=("ETag",),
          body=UpdateMessage,
          body_example={"reactions": [{"reaction": "heart", "contact_id": None}], "read_at": 1795374369},
          request_headers=("If-Match",), errors=(400, 404, 412, 413, 415)),
    Route("delete", "/messages/{id}", "delete_message", "Delete a message for good, and unpin it", 204,
          request_headers=("If-Match",), errors=(400, 404, 412)),
]  # fmt: skip
_SCOPES = {
    f"{noun}/{scope}": description
    for noun, verb in (("conversations", "Create"), ("messages", "Send"))
    for scope, description in (
        ("read", f"List and retrieve {noun}"),
        ("write", f"{verb}, update and delete {noun}"),
    )
}

_EVERYWHERE = (401, 429, 500, 503)
_MEANINGS = {
    304: "The client has it already, as If-None-Match says",
    400: "A parameter is wrong; the message names it and says what would be right",
    401: "No token, a bad or expired one, or one without the scope",
    404: "The user has no such conversation or message",
    412: "It has changed since, so If-Match fails",
    413: f"The body is longer than {body.MAX_BYTES} bytes",
    415: "The body is neither JSON nor a form",
    422: "The idempotency key was used with other attributes",
    429: "Too many requests",
    500: "Our fault",
    503: "The service is busy",
}
_RESPONSE_HEADERS = {
    "ETag": ("Names this state of it", '"3"'),
    "Idempotent-Replayed": ("`true` where this is the answer to an earlier request with the same key", "true"),
    "Link": (
        "The next and the previous page (RFC 8288)",
        f'<https://…?starting_after={_ID}>; rel="next"',
    ),
    "Location": ("Where it is", f"https://…/v1/conversations/{_ID}"),
    "Retry-After": ("Seconds to wait", "1"),
    "X-Request-Id": ("Names this request in our logs", "0f5a2c1e-7b7c-4d8e-9a51-2f6f4f3c8d10"),
}
_REQUEST_HEADERS = {
    "Idempotency-Key": ("Makes the request safe to repeat for 24 hours", "[ -~]{1,255}", "order-4711"),
    "If-Match": ("Only if it is in one of these states", etags.PATTERN, '"3"'),
    "If-None-Match": ("Only if it is in none of these states", etags.PATTERN, '"3"'),
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
            "description": "A user's conversations with contacts and groups, and the messages in them. The user is the "
            "one of the access token.",
        },
        "servers": [{"url": "..", "description": "The API, as seen from its /docs/openapi.json"}],
        "paths": paths,
        "components": {
            "schemas": {
                "Conversation": _resource(Conversation, _CONVERSATION),
                "Conversations": _page("Conversation"),
                "Message": _resource(Message, _MESSAGE, contact=Contact | None, reactions=list[Reaction]),
                "Messages": _page("Message"),
                "Error": _error(),
            },
            "securitySchemes": {"oauth2": _oauth2(), "bearer": _bearer()},
        },
    }


def scope_of(route: Route) -> str:
    """The scope that a token must have for *route*."""
    return f"{_noun(route)}/{'read' if route.method == 'get' else 'write'}"


def _noun(route: Route) -> str:
    return route.path.split("/")[1]


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.endpoint,
        "summary": route.summary,
        "tags": [_noun(route).title()],
        "security": [{"oauth2": [scope_of(route)]}, {"bearer": [scope_of(route)]}],
        "parameters": _parameters(route),
        "responses": {str(route.success): _success(route)},
    }
    if route.body is not None:
        schema, example = _body(route.body), dict(route.body_example or {})
        of_form = {
            name: "" if value is None else value for name, value in example.items() if not isinstance(value, list)
        }
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
    response: dict[str, Any] = {"description": route.summary, "headers": _headers(*route.headers)}
    noun = _noun(route)
    name = noun.title().removesuffix("s")
    example: Any = {"conversations": _CONVERSATION, "messages": _MESSAGE}[noun]
    if route.query is not None:
        name, example = noun.title(), {"has_more": False, "data": [example]}
    elif route.success == 204:
        return response
    schema = {"$ref": f"#/components/schemas/{name}"}
    return response | {"content": {_JSON: {"schema": schema, "example": example}}}


def _failure(status: int) -> dict[str, Any]:
    if status == 304:
        return {"description": _MEANINGS[status], "headers": _headers("ETag")}
    headers = _headers("Retry-After") if status in (429, 503) else _headers()
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": _MEANINGS[status], "headers": headers, "content": {_JSON: {"schema": schema}}}


def _headers(*names: str) -> dict[str, Any]:
    return {
        name: {"description": description, "schema": {"type": "string"}, "example": example}
        for name, (description, example) in _RESPONSE_HEADERS.items()
        if name in (*names, "X-Request-Id")
    }


def _body(model: type[Parameters]) -> dict[str, Any]:
    schema: dict[str, Any] = _inlined(model.model_json_schema())
    for given in schema["properties"].values():
        # An attribute that is absent is not set to anything.
        given.pop("default", None)
        given.pop("title", None)
    del schema["title"]
    if model is CreateConversation:
        name = {"type": "string", "minLength": 1}
        schema["anyOf"] = [{"required": [one], "properties": {one: name}} for one in schema["properties"]]
    elif issubclass(model, Changes):
        schema["minProperties"] = 1
    return schema


def _as_form(schema: dict[str, Any]) -> dict[str, Any]:
    """The same *schema* where null is written as nothing, and arrays of strings as `name[]=1&name[]=2`.

    That of objects, `reactions[heart][]=harry`, is more than a schema can say.
    """
    form = copy.deepcopy(schema)
    form["properties"] = {}
    for name, given in copy.deepcopy(schema["properties"]).items():
        if "anyOf" in given:
            empty = {"type": "string", "maxLength": 0}
            given["anyOf"] = [empty if kind == {"type": "null"} else kind for kind in given["anyOf"]]
        if given.get("type") != "array":
            form["properties"][name] = given
        elif given["items"]["type"] == "string":
            # An array without elements is not there at all.
            form["properties"][f"{name}[]"] = given | {"minItems": 1}
    return form


def _inlined(schema: Any, definitions: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - any part of a schema
    """*schema* with its definitions in place of the references to them, which would not be found in a document."""
    if isinstance(schema, list):
        return [_inlined(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    definitions = schema.get("$defs", {}) if definitions is None else definitions
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {name: _inlined(part, definitions) for name, part in schema.items() if name != "$defs"}


def _resource(shown: type, example: dict[str, Any], **parts: Any) -> dict[str, Any]:  # noqa: ANN401 - types
    """The schema of what answers show; *parts* are the types of attributes that are more than a value."""
    attributes: dict[str, Any] = {name: (parts.get(name, hint), ...) for name, hint in get_type_hints(shown).items()}
    attributes["id"] = (str, Field(pattern=ids.PATTERN))
    model = create_model(shown.__name__, __config__=ConfigDict(extra="forbid"), **attributes)
    schema: dict[str, Any] = _inlined(_untitled(model.model_json_schema()))
    return schema | {
        "description": "Times are Unix seconds.",
        "examples": [example],
    }


def _page(name: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "has_more": {"type": "boolean", "description": "Whether there is more in the direction travelled"},
            "data": {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}},
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
    flow = {"tokenUrl": "https://example.auth.eu-west-1.amazoncognito.com/oauth2/token", "scopes": _SCOPES}
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
