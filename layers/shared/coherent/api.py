"""The edge: an API Gateway event comes in, a handler answers it, and what goes wrong leaves in the contract's shape."""

# ruff: noqa: E402
import gc

# Imports make hundreds of thousands of objects and next to no garbage; `endpoint`, the end of them, turns it on again.
gc.disable()

import base64
import functools
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar
from urllib.parse import parse_qsl, urlencode

from aws_lambda_powertools import Logger

from coherent import deadline, errors, ids, metrics

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from coherent.parameters import Parameters

    P = TypeVar("P", bound=Parameters)

MAX_BODY_BYTES = 64 * 1024
_MOST_TAGS = 100
_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
# What If-Match and If-None-Match may say.
CONDITION = rf"(?:\*|{_TAG}(?:[ \t]*,[ \t]*{_TAG}){{0,{_MOST_TAGS - 1}}})"

_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
_EXPOSED = "ETag, Idempotent-Replayed, Link, Location, Retry-After, X-Request-Id"
_SHOWN = 64
_IDEMPOTENCY_KEY = re.compile("[ -~]{1,255}")
_TAG_OF_VERSION = re.compile(r'(W/)?"([1-9][0-9]{0,17})"')
_IN_ARRAY = re.compile(r"(?P<name>[^\[\]]+)(?:\[(?P<key>[^\[\]]+)\])?\[\]")

_STATUS = {
    errors.InvalidRequest: 400,
    errors.Unauthenticated: 401,
    errors.PathNotFound: 404,
    errors.NotFound: 404,
    errors.Changed: 412,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.IdempotencyKeyReused: 422,
    errors.Unavailable: 503,
}
_EXTRA_HEADERS = {
    errors.Unauthenticated: {"WWW-Authenticate": "Bearer"},
    errors.Unavailable: {"Retry-After": "1"},
}

logger = Logger()


class Response(NamedTuple):
    """What a handler answers: *body* as JSON, or text of the Content-Type in *headers*; None is no body at all."""

    status: int
    body: Mapping[str, object] | str | None = None
    headers: Mapping[str, str] = {}


class Request:
    """One request. Where a client got something wrong, it raises one of `errors`."""

    def __init__(self, event: Mapping[str, Any]) -> None:
        """Reads an API Gateway proxy event (REST, format 1.0)."""
        self._event = event

    @property
    def user_id(self) -> str:
        """The user who asks. Raises `errors.Unauthenticated` where none is known."""
        return _user_id(self._event)

    def id(self, noun: str) -> str:
        """The id in the path, of a *noun*. What cannot be an id names nothing, so it raises `errors.NotFound`."""
        id = self.path_parameter("id")
        if not ids.is_id(id):
            raise errors.NotFound(noun)
        return str(id)

    @property
    def path(self) -> str:
        """The path as the client gave it, without the stage."""
        return str(self._event.get("path", ""))

    def path_parameter(self, name: str) -> str | None:
        """What stands in the path for *name*; None on a path that has none."""
        return (self._event.get("pathParameters") or {}).get(name)

    @property
    def url(self) -> str:
        """The URL that the client called, without its query."""
        context = self._event["requestContext"]
        if public_url := os.environ.get("PUBLIC_URL"):
            return f"{public_url}{context['resourcePath']}"
        return f"https://{context.get('domainName', 'localhost')}{context['path']}"

    def query(self, model: "type[P]") -> "P":
        """The query as *model*. Raises `errors.InvalidRequest`."""
        return _parse(model, [(name, value) for name, values in self._query.items() for value in values])

    def links(self, found_ids: Sequence[str], *, has_more: bool) -> dict[str, str]:
        """The Link header (RFC 8288) of a page of *found_ids*: the same list before and after them, if there is any."""
        if not found_ids:
            return {}
        backwards = "ending_before" in self._query
        urls = {}
        if has_more or backwards:
            urls["next"] = self._page_url("starting_after", found_ids[-1])
        if has_more if backwards else "starting_after" in self._query:
            urls["prev"] = self._page_url("ending_before", found_ids[0])
        links = ", ".join(f'<{url}>; rel="{relation}"' for relation, url in urls.items())
        return {"Link": links} if links else {}

    def _page_url(self, cursor: str, id: str) -> str:
        kept = {name: values for name, values in self._query.items() if name not in ("starting_after", "ending_before")}
        return f"{self.url}?{urlencode(kept | {cursor: [id]}, doseq=True)}"

    def refuse_strangers(self) -> None:
        """Raises `errors.Unauthenticated` where no user is known."""
        _user_id(self._event)

    def refuse_query(self) -> None:
        """Raises `errors.InvalidRequest` where there is a query, since no parameter is ever ignored."""
        if self._query:
            raise errors.InvalidRequest(
                *(f"{name[:_SHOWN]}: unknown; this call takes no query" for name in self._query)
            )

    def refuse_body(self) -> None:
        """Raises `errors.InvalidRequest` where there is a body, likewise."""
        if self._event.get("body"):
            raise errors.InvalidRequest("body: must be empty; this call takes none")

    def body(self, model: "type[P]") -> "P":
        """The body, JSON or form, as *model*; no body is one without attributes.

        Raises `errors.InvalidRequest`, `errors.BodyTooLarge` or `errors.UnsupportedMediaType`.
        """
        body = self._event.get("body") or ""
        media_type = (self._header("content-type") or "").partition(";")[0].strip().lower()
        if not body:
            return model.parse({}, text=True)
        if media_type not in (_JSON, _FORM):
            raise errors.UnsupportedMediaType(f"Content-Type: must be {_JSON} or {_FORM}")
        text = _text(body, is_base64=bool(self._event.get("isBase64Encoded")))
        if media_type == _JSON:
            return model.parse(_json_object(text), text=False)
        return _parse(model, _form(text))

    @property
    def idempotency_key(self) -> str | None:
        """The key under which the client may repeat this request. Raises `errors.InvalidRequest`."""
        key = self._header("idempotency-key")
        if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
            raise errors.InvalidRequest("Idempotency-Key: must be 1 to 255 printable ASCII characters")
        return key

    @property
    def only_versions(self) -> set[int] | None:
        """The versions that If-Match allows (RFC 9110, 13.1.1); None is any. Raises `errors.InvalidRequest`."""
        if self._header("if-match") is None:
            return None
        tags = self._tags("If-Match")
        # Tags are compared strongly. Version 0 is that of nothing: where no tag is one of ours, nothing must match.
        return None if tags is None else {version for is_weak, version in tags if not is_weak} or {0}

    def has_already(self, version: int) -> bool:
        """Whether the client has *version*, by If-None-Match (RFC 9110, 13.1.2). Raises `errors.InvalidRequest`."""
        if self._header("if-none-match") is None:
            return False
        tags = self._tags("If-None-Match")
        return tags is None or version in {known for _, known in tags}

    def _tags(self, name: str) -> list[tuple[bool, int]] | None:
        # Whether each is weak, and the version it names; None is any version, "*".
        value = (self._header(name.lower()) or "").strip()
        if value == "*":
            return None
        if not re.fullmatch(CONDITION, value):
            raise errors.InvalidRequest(f'{name}: must be * or up to {_MOST_TAGS} ETags, such as "3", "4"')
        return [(bool(weak), int(version)) for weak, version in _TAG_OF_VERSION.findall(value)]

    @property
    def _query(self) -> Mapping[str, list[str]]:
        return self._event.get("multiValueQueryStringParameters") or {}

    def _header(self, name: str) -> str | None:
        headers = self._event.get("multiValueHeaders") or {}
        values = [str(value) for key, values in headers.items() if key.lower() == name for value in values]
        return ", ".join(values) if values else None


def etag(version: int) -> dict[str, str]:
    """The header that names *version* to the client."""
    return {"ETag": f'"{version}"'}


def created(request: Request, resource: Mapping[str, object], version: int, *, is_replay: bool) -> Response:
    """The answer to a POST that made *resource*, or had made it before."""
    headers = {"Location": f"{request.url}/{resource['id']}"} | etag(version)
    if is_replay:
        headers["Idempotent-Replayed"] = "true"
    return Response(201, resource, headers)


def endpoint(
    name: str, *, takes_user: bool = True, takes_query: bool = False, takes_body: bool = False
) -> Callable[[Callable[[Request], Response]], Callable[[dict[str, Any], "LambdaContext"], dict[str, Any]]]:
    """Makes a Lambda handler of a function from `Request` to `Response`, measured as *name*.

    The handler never raises: an `errors.CoherentError` becomes its 4xx or 503, anything else is logged with its stack
    trace and becomes a bare 500. With *takes_user* nobody unknown is let in; without *takes_query* a query is refused,
    without *takes_body* a body. Garbage is collected from now on, without ever again a look at what init made.
    """
    meter = metrics.Meter(name)
    gc.freeze()
    gc.enable()
    of_all = {
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        "Access-Control-Allow-Origin": os.environ["ALLOWED_ORIGIN"],
        "Access-Control-Expose-Headers": _EXPOSED,
    }

    def decorate(handle: Callable[[Request], Response]) -> Callable[[dict[str, Any], "LambdaContext"], dict[str, Any]]:
        @functools.wraps(handle)
        def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
            with meter.call() as call:
                call.request_id, call.user_id = _request_id(event), _known_user(event)
                try:
                    request = Request(event)
                    if takes_user:
                        request.refuse_strangers()
                    if not takes_query:
                        request.refuse_query()
                    if not takes_body:
                        request.refuse_body()
                    with deadline.of(context):
                        response = handle(request)
                except errors.CoherentError as error:
                    if isinstance(error, errors.Unavailable):
                        logger.warning("DynamoDB is unavailable", exc_info=True, extra=call.details)
                    response = _error(_STATUS[type(error)], str(error), _EXTRA_HEADERS.get(type(error), {}))
                    call.error = type(error).__name__
                except Exception as error:
                    logger.exception("Unexpected exception", extra=call.details)
                    response = _error(500, "Something went wrong on our side", {})
                    call.error = type(error).__name__
                call.status = response.status
                return _proxy_response(response, {"X-Request-Id": call.request_id, **of_all})

        return handler

    return decorate


def _proxy_response(response: Response, headers: dict[str, str]) -> dict[str, Any]:
    headers |= response.headers
    if response.body is None:
        return {"statusCode": response.status, "headers": headers, "body": ""}
    if isinstance(response.body, str):
        return {"statusCode": response.status, "headers": headers, "body": response.body}
    headers["Content-Type"] = _JSON
    # The line feed is for those who read it in a terminal.
    return {"statusCode": response.status, "headers": headers, "body": json.dumps(response.body) + "\n"}


def _error(status: int, message: str, headers: Mapping[str, str]) -> Response:
    kind = "invalid_request" if status < 500 else "api_error"
    documentation_url = f"{os.environ['DOCUMENTATION_URL']}/{kind}"
    return Response(status, {"type": kind, "message": message, "documentation_url": documentation_url}, headers)


def _user_id(event: Mapping[str, Any]) -> str:
    user_id = _known_user(event)
    if user_id is None:
        raise errors.Unauthenticated
    return user_id


def _known_user(event: Mapping[str, Any]) -> str | None:
    authorizer = (event.get("requestContext") or {}).get("authorizer")
    claims = authorizer.get("claims") if isinstance(authorizer, dict) else None
    user_id = str((claims.get("sub") if isinstance(claims, dict) else None) or "")
    # These are partitions of ours, which no `sub` of Cognito's names: should one ever do, it is nobody's.
    return None if not user_id or user_id == "purge" or "#" in user_id else user_id


def _request_id(event: Mapping[str, Any]) -> str:
    return str((event.get("requestContext") or {}).get("requestId", ""))


def _text(body: str, *, is_base64: bool) -> str:
    try:
        content = base64.b64decode(body) if is_base64 else body.encode()
        text = content.decode()
    except ValueError:
        raise errors.InvalidRequest("body: must be UTF-8") from None
    if len(content) > MAX_BODY_BYTES:
        raise errors.BodyTooLarge(f"body: must be at most {MAX_BODY_BYTES} bytes")
    return text


def _json_object(text: str) -> dict[str, object]:
    try:
        value = json.loads(text, object_pairs_hook=_each_once, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise errors.InvalidRequest('body: must be well-formed JSON, such as {"is_pinned": true}') from None
    if not isinstance(value, dict):
        raise errors.InvalidRequest('body: must be a JSON object, such as {"is_pinned": true}')
    return value


def _refuse_constant(name: str) -> NoReturn:
    # Python's parser takes NaN and Infinity, which JSON (RFC 8259) does not know.
    raise ValueError(name)


def _form(text: str) -> list[tuple[str, object]]:
    """The attributes in a form: `a=1`, the array `a[]=1&a[]=2`, and the object of arrays `a[x][]=1&a[y][]=2`."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        raise errors.InvalidRequest("body: must be a well-formed form, such as is_pinned=true") from None
    attributes: list[tuple[str, object]] = []
    arrays: dict[str, list[str]] = {}
    objects: dict[str, dict[str, list[str]]] = {}
    for name, value in pairs:
        in_array = _IN_ARRAY.fullmatch(name)
        if not in_array:
            attributes.append((name, value))
        elif in_array["key"] is None:
            arrays.setdefault(in_array["name"], []).append(value)
        else:
            objects.setdefault(in_array["name"], {}).setdefault(in_array["key"], []).append(value)
    return [*attributes, *arrays.items(), *objects.items()]


def _parse(model: "type[P]", pairs: Sequence[tuple[str, object]]) -> "P":
    repeated = _repeated(pairs)
    try:
        parameters = model.parse(dict(pairs), text=True)
    except errors.InvalidRequest as error:
        raise errors.InvalidRequest(*repeated, *error.faults) from None
    if repeated:
        raise errors.InvalidRequest(*repeated)
    return parameters


def _each_once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    if repeated := _repeated(pairs):
        raise errors.InvalidRequest(*repeated)
    return dict(pairs)


def _repeated(pairs: Sequence[tuple[str, object]]) -> list[str]:
    if len(dict(pairs)) == len(pairs):
        return []
    counts = Counter(name for name, _ in pairs)
    return [f"{name[:_SHOWN]}: must be given only once" for name, count in counts.items() if count > 1]
