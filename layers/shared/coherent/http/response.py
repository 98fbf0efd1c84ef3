"""HTTP responses and the statuses of errors."""

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from coherent import errors
from coherent.http import etags
from coherent.http.body import JSON
from coherent.http.request import Request

_STATUSES = {
    errors.InvalidRequest: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.PathNotFound: 404,
    errors.NotFound: 404,
    errors.NoFeed: 404,
    errors.Gone: 410,
    errors.PreconditionFailed: 412,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.IdempotencyKeyReused: 422,
    errors.TooManyRequests: 429,
    errors.Unavailable: 503,
    errors.NotPrepared: 503,
}
_EXTRA_HEADERS: dict[type[Exception], dict[str, str]] = {
    errors.Unauthenticated: {"WWW-Authenticate": "Bearer"},
    errors.Unavailable: {"Retry-After": "1"},
    errors.NotPrepared: {"Retry-After": "60"},
}


class Response(NamedTuple):
    """A handler's response. *body* is sent as JSON; a string is sent unchanged, and None sends an empty body."""

    status: int
    body: Mapping[str, object] | str | None = None
    headers: Mapping[str, str] = {}


def created(
    request: Request, resource: Mapping[str, object], version: int, *, is_replay: bool, is_found: bool = False
) -> Response:
    """Returns 201 for a new *resource*, or for one that an earlier request with the same key created.

    With *is_found* the resource existed before: 200.
    """
    headers = etags.header(version)
    if not is_found:
        headers["Location"] = f"{request.url.rstrip('/')}/{resource['id']}"
    if is_replay:
        headers["Idempotent-Replayed"] = "true"
    return Response(200 if is_found else 201, resource, headers)


def of_error(error: Exception) -> Response:
    """Returns the response for *error*: 500 unless it is an `errors.CoherentError`."""
    status = _STATUSES.get(type(error), 500)
    message = str(error) if isinstance(error, errors.CoherentError) else "Something went wrong on our side"
    kind = "invalid_request" if status < 500 else "api_error"
    documentation_url = f"{os.environ['DOCUMENTATION_URL']}/{kind}"
    body = {"type": kind, "message": message, "documentation_url": documentation_url}
    headers = _EXTRA_HEADERS.get(type(error), {})
    if isinstance(error, errors.TooManyRequests):
        headers = {"Retry-After": str(error.seconds)}
    return Response(status, body, headers)


def proxy_response(response: Response, headers: Mapping[str, str]) -> dict[str, Any]:
    """Returns *response*, with *headers* added, as API Gateway expects it from a function."""
    sent = {**headers, **response.headers}
    content = response.body or ""
    if not isinstance(content, str):
        sent["Content-Type"] = JSON
        # UTF-8 instead of escapes, which would make some pages too long for Lambda. The line feed is for terminals.
        content = json.dumps(content, ensure_ascii=False) + "\n"
    return {"statusCode": response.status, "headers": sent, "body": content}
