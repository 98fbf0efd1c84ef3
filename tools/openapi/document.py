"""The API as an OpenAPI 3.1 document, made from the routes, the models and the texts."""

import tomllib
from pathlib import Path
from typing import Any

from coherent import errors
from coherent.changes.models import ListChanges
from coherent.http import body, etags
from coherent.inbox.models import ListInbox
from coherent.preconditions import Preconditions

from tools.openapi import TEXTS, examples, schemas
from tools.openapi.routes import ROUTES, Route

_PROJECT = Path(__file__).resolve().parent.parent.parent / "pyproject.toml"
_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"
# `retrieve_docs` replaces it with the sign-in of the stack.
_SIGN_IN = "https://auth.example.com"
_SCOPES = {
    f"{noun}/{scope}": description
    for noun, verb in (("conversations", "Create"), ("messages", "Send"))
    for scope, description in (
        ("read", f"List and retrieve {noun}"),
        ("write", f"{verb}, update and delete {noun}"),
    )
}
# Of the operator: no user can sign in with it.
_OPERATORS = {"webhooks/write": "List, create, update and delete webhooks"}
_ERRORS_OF_EVERY_CALL = (401, 403, 429, 500, 503)
# The errors of API Gateway and of the firewall, as in template.yaml, and those that are the same for every call.
_MESSAGES = {
    401: "Authorization: must be 'Bearer ' and a valid access token with the scope of this call",
    403: "The firewall blocked this request",
    410: str(errors.Gone(17, 31)),
    413: f"body: must be at most {body.MAX_BYTES} bytes",
    415: f"Content-Type: must be {_JSON} or {_FORM}",
    422: str(errors.IdempotencyKeyReused()),
    429: "Too many requests; try again in a moment",
    500: "Something went wrong on our side",
    503: str(errors.Unavailable()),
}


def document() -> dict[str, Any]:
    """Returns the whole document."""
    paths: dict[str, Any] = {}
    named = schemas.responses()
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = _operation(route)
        if route.body is not None:
            named[route.body.__name__] = schemas.json_body(route.body)
            named[f"{route.body.__name__}Form"] = schemas.form_body(route.body)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Coherent Conversations",
            "version": tomllib.loads(_PROJECT.read_text())["project"]["version"],
            "description": "A user's conversations with contacts and groups, their messages, the inbox and the "
            "changes; and webhooks. "
            "The access token identifies the user. Times are Unix seconds. Bodies are JSON or forms.",
            "contact": {"name": "Coherent Conversations", "url": "https://protocol.chat/docs"},
        },
        "servers": [
            {
                "url": "https://{host}/{base_path}",
                "description": "A deployed stack: the stack's output ApiUrl.",
                "variables": {
                    "host": {"default": "api.example.com", "description": "The host name in ApiUrl."},
                    "base_path": {"default": "v1", "description": "The path in ApiUrl."},
                },
            }
        ],
        "tags": [{"name": name, "description": description} for name, description in TEXTS["tags"].items()],
        "paths": paths,
        "components": {"schemas": named, "securitySchemes": {"oauth2": _oauth2(), "bearer": _bearer()}},
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.endpoint,
        "summary": route.summary,
        "description": f"{route.description}\n\nThe access token needs the scope `{route.scope}`.",
        "tags": [route.tag],
        "security": [{"oauth2": [route.scope]}, {"bearer": []}],
        "parameters": _parameters(route),
        "responses": {str(route.success): _success(route, route.result, *route.headers)},
    }
    if route.found:
        operation["responses"]["200"] = _success(route, route.found, "ETag")
    if route.body is not None:
        name = route.body.__name__
        form = schemas.form_body(route.body)
        operation["requestBody"] = {
            "required": True,
            "description": f"{form['description']} Sent as JSON or as a form.",
            "content": {
                _JSON: {"schema": schemas.reference(name), "example": route.body_example},
                _FORM: {
                    "schema": schemas.reference(f"{name}Form"),
                    "example": {name: attribute["examples"][0] for name, attribute in form["properties"].items()},
                    **_encoding(form),
                },
            },
        }
    for status in sorted({*route.errors, *_ERRORS_OF_EVERY_CALL}):
        operation["responses"][str(status)] = _failure(route, status)
    return operation


def _encoding(form: dict[str, Any]) -> dict[str, Any]:
    """Returns how a form repeats the names of its arrays. Without it, Swagger UI separates the elements by commas."""
    arrays = {name: {"style": "form", "explode": True} for name in form["properties"] if name.endswith("[]")}
    return {"encoding": arrays} if arrays else {}


def _parameters(route: Route) -> list[dict[str, Any]]:
    # Examples are in the schemas: Swagger UI would fill its form with an example of the parameter itself, and send it.
    parameters: list[dict[str, Any]] = []
    if route.id is not None:
        schema = schemas.ID | {"examples": [_id(route)]}
        description = f"The id of the {route.noun}."
        parameters.append(
            {"name": route.id, "in": "path", "required": True, "schema": schema, "description": description}
        )
    if route.query is not None:
        for name, attribute in schemas.parameters(route.query).items():
            description = attribute.pop("description")
            schema = schemas.without_null(attribute) | {"examples": [schemas.example(route.query.__name__, name)]}
            parameters.append({"name": name, "in": "query", "schema": schema, "description": description})
    for name in route.request_headers:
        pattern = "[ -~]{1,255}" if name == "Idempotency-Key" else etags.PATTERN
        schema = {"type": "string", "examples": [examples.REQUEST_HEADERS[name]], "pattern": f"^{pattern}$"}
        description = TEXTS["request_headers"][name]
        parameters.append({"name": name, "in": "header", "schema": schema, "description": description})
    return parameters


def _success(route: Route, description: str, *headers: str) -> dict[str, Any]:
    response: dict[str, Any] = {"description": description, "headers": _headers(route, *headers)}
    if route.example is None:
        return response
    return response | {"content": {_JSON: {"schema": schemas.reference(route.schema), "example": route.example}}}


def _failure(route: Route, status: int) -> dict[str, Any]:
    description = _description(route, status)
    if status == 304:
        return {"description": description, "headers": _headers(route, "ETag")}
    kind = "api_error" if status >= 500 else "invalid_request"
    url = f"https://protocol.chat/docs/errors/{kind}"
    message = _message(route, status)
    # Where a status has two causes: the messages of both.
    messages: dict[str, str] = {}
    if status == 403 and route.endpoint == "update_message":
        description = (
            "A contact sent the message, so only its reactions and read_at can change; or the firewall blocked the "
            "request."
        )
        messages = {"contact": "message: only the sender of a message can change this", "firewall": message}
    if status == 429 and route.endpoint in ("create_message", "update_message"):
        description += (
            " Or the user sent too many messages, edits and reactions to contacts in a minute, if the stack delivers "
            "between users."
        )
        limit = "At most 120 messages, edits and reactions are accepted in a clock minute; try again in 1 s"
        messages = {"busy": message, "limit": limit}
    if status == 503 and (route.tag == "Inbox" or route.endpoint == "create_conversation"):
        what = "the inbox" if route.tag == "Inbox" else "`distinct`"
        description += f" After an update of the service {what} may take an hour to be ready."
        messages = {"busy": message, "preparing": str(errors.NotPrepared())}
    error = {"type": kind, "message": message, "documentation_url": url}
    content: dict[str, Any] = {"schema": schemas.reference("ApiErrorResponse")}
    if messages:
        content["examples"] = {name: {"value": error | {"message": text}} for name, text in messages.items()}
    else:
        content["example"] = error
    headers = _headers(route, "Retry-After") if status in (429, 503) else _headers(route)
    return {"description": description, "headers": headers, "content": {_JSON: content}}


def _description(route: Route, status: int) -> str:
    if status == 404 and route.noun == "webhook":
        return "The stack has no such webhook."
    if status == 404 and route.endpoint == "list_changes":
        return "The stack keeps no feed of changes."
    _, noun = _missing(route) if status == 404 else ("", route.noun)
    description: str = TEXTS["statuses"][str(status)].format(noun=noun, max_bytes=body.MAX_BYTES)
    if status == 503 and route.method != "get":
        description += " The change may have been applied all the same."
    return description


def _message(route: Route, status: int) -> str:
    """Returns the message of the example of *status*, as the API words it."""
    if status == 404 and route.endpoint == "list_changes":
        return str(errors.NoFeed())
    if status == 404:
        parameter, noun = _missing(route)
        return str(errors.NotFound(noun, parameter))
    if status == 412:
        return str(Preconditions(allowed=frozenset([2])).failure(route.noun, 3))
    if status != 400:
        return _MESSAGES[status]
    try:
        model = route.query or route.body
        if model is None and not route.request_headers:
            return "body: must be empty; this call takes none"
        if model is None:
            etags.parse(route.request_headers[0], "3")
        else:
            model.parse(route.invalid or {}, text=route.query is not None)
    except errors.InvalidRequest as error:
        return str(error)
    raise ValueError(f"{route.endpoint}: the example of a 400 is valid")


def _missing(route: Route) -> tuple[str, str]:
    """Returns the parameter and the noun of a 404."""
    return (route.id, route.noun) if route.id else ("conversation_id", "conversation")


def _headers(route: Route, *names: str) -> dict[str, Any]:
    return {
        name: {
            "description": TEXTS["response_headers"][name],
            "schema": {"type": "string"},
            "example": example.format(collection=route.collection, cursor=_cursor(route)),
        }
        for name, example in examples.RESPONSE_HEADERS.items()
        if name in (*names, "X-Request-Id")
    }


def _id(route: Route) -> str:
    ids = {"conversation": examples.CONVERSATION_ID, "message": examples.MESSAGE_ID, "webhook": examples.WEBHOOK_ID}
    return ids[route.noun]


def _cursor(route: Route) -> str:
    if route.query is ListChanges:
        return str(examples.CHANGE["number"])
    return examples.POSITION if route.query is ListInbox else _id(route)


def _oauth2() -> dict[str, Any]:
    token_url = f"{_SIGN_IN}/oauth2/token"
    return {
        "type": "oauth2",
        "description": "The sign-in of the stack's user pool: the stack's output SignInUrl.",
        "flows": {
            "authorizationCode": {
                "authorizationUrl": f"{_SIGN_IN}/oauth2/authorize",
                "tokenUrl": token_url,
                "scopes": _SCOPES,
            },
            "clientCredentials": {"tokenUrl": token_url, "scopes": _SCOPES | _OPERATORS},
        },
    }


def _bearer() -> dict[str, Any]:
    description = "An access token from the sign-in, with the scope of the call."
    return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": description}
