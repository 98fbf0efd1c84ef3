"""One HTTP request, read from an API Gateway event."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from coherent import errors, ids
from coherent.http import body, etags
from coherent.preconditions import Preconditions

if TYPE_CHECKING:
    from coherent.parameters import Parameters

    P = TypeVar("P", bound=Parameters)

_IDEMPOTENCY_KEY = re.compile("[ -~]{1,255}")


class Request:
    """One request. Its methods raise the exceptions of `errors` if the client made a mistake."""

    def __init__(self, event: Mapping[str, Any]) -> None:
        """Wraps an API Gateway proxy event (REST, format 1.0)."""
        self._event = event

    @property
    def request_id(self) -> str:
        """API Gateway's id of the request; empty if there is none."""
        return str((self._event.get("requestContext") or {}).get("requestId", ""))

    @property
    def authenticated_user_id(self) -> str | None:
        """The `sub` of the access token, or None without an authenticated user."""
        authorizer = (self._event.get("requestContext") or {}).get("authorizer")
        claims = authorizer.get("claims") if isinstance(authorizer, dict) else None
        user_id = str((claims.get("sub") if isinstance(claims, dict) else None) or "")
        # A `sub` of Cognito never equals one of our reserved partition keys: all with a '#', and 'purge' of 0.1.0.
        return None if not user_id or user_id == "purge" or "#" in user_id else user_id

    @property
    def user_id(self) -> str:
        """The `sub` of the access token. Raises `errors.Unauthenticated`."""
        user_id = self.authenticated_user_id
        if user_id is None:
            raise errors.Unauthenticated
        return user_id

    @property
    def path(self) -> str:
        """The path that the client requested, without the stage."""
        return str(self._event.get("path", ""))

    @property
    def url(self) -> str:
        """The URL that the client requested, without its query."""
        context = self._event["requestContext"]
        if public_url := os.environ.get("PUBLIC_URL"):
            return f"{public_url}{context['resourcePath']}"
        return f"https://{context.get('domainName', 'localhost')}{context['path']}"

    def path_parameter(self, name: str) -> str | None:
        """Returns a path parameter, or None if the path has none of that name."""
        return (self._event.get("pathParameters") or {}).get(name)

    def id(self, noun: str, parameter: str = "id") -> str:
        """Returns the path parameter *parameter*. Raises `errors.NotFound` for *noun* if it is no id."""
        id = self.path_parameter(parameter)
        if not ids.is_id(id):
            raise errors.NotFound(noun, parameter)
        return str(id)

    def query(self, model: "type[P]") -> "P":
        """Returns the query string as *model*. Raises `errors.InvalidRequest`."""
        return body.parse_pairs(model, [(name, value) for name, values in self._query.items() for value in values])

    def body(self, model: "type[P]") -> "P":
        """Returns the body as *model*. Raises as `body.parse` does."""
        return body.parse(
            model,
            self._event.get("body") or "",
            self._header("content-type") or "",
            is_base64=bool(self._event.get("isBase64Encoded")),
        )

    def links(self, cursors: Sequence[str], *, has_more: bool) -> dict[str, str]:
        """Returns the Link header (RFC 8288) of a page with these *cursors*: the next and previous page, if they exist.

        An empty page after a cursor links to the page before that cursor, so clients can poll with links.
        """
        is_backwards = "ending_before" in self._query
        cursor = (self._query.get("ending_before") or self._query.get("starting_after") or [""])[0]
        urls = {}
        if cursors and (has_more or is_backwards):
            urls["next"] = self._page_url("starting_after", cursors[-1])
        if cursors and (has_more if is_backwards else cursor):
            urls["prev"] = self._page_url("ending_before", cursors[0])
        elif not cursors and cursor:
            urls["prev"] = self._page_url("ending_before", cursor)
        links = ", ".join(f'<{url}>; rel="{relation}"' for relation, url in urls.items())
        return {"Link": links} if links else {}

    def next_link(self, cursor: str) -> dict[str, str]:
        """Returns the Link header of a page that has only a next one, which starts after *cursor*."""
        return {"Link": f'<{self._page_url("starting_after", cursor)}>; rel="next"'}

    def require_user(self) -> None:
        """Raises `errors.Unauthenticated` if the request has no authenticated user."""
        _ = self.user_id

    def require_no_query(self) -> None:
        """Raises `errors.InvalidRequest` if there is a query string: parameters are never ignored."""
        if self._query:
            shown = [name[: errors.MAX_ECHOED_NAME_LENGTH] for name in self._query]
            raise errors.InvalidRequest(*(f"{name}: unknown; this call takes no query" for name in shown))

    def require_no_body(self) -> None:
        """Raises `errors.InvalidRequest` if there is a body."""
        if self._event.get("body"):
            raise errors.InvalidRequest("body: must be empty; this call takes none")

    @property
    def idempotency_key(self) -> str | None:
        """The Idempotency-Key header, or None. Raises `errors.InvalidRequest`."""
        key = self._header("idempotency-key")
        if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
            raise errors.InvalidRequest("Idempotency-Key: must be 1 to 255 printable ASCII characters")
        return key

    @property
    def preconditions(self) -> Preconditions:
        """What If-Match and If-None-Match require of a write. Raises `errors.InvalidRequest`."""
        match, none_match = self._tags("If-Match"), self._tags("If-None-Match")
        allowed = None
        if match is not None and not match.is_any:
            # If-Match compares strongly. If no ETag is usable, use version 0, which never matches.
            allowed = match.strong or frozenset([0])
        return Preconditions(
            allowed=allowed,
            has_weak_tag=match is not None and bool(match.weak),
            forbidden=none_match.strong | none_match.weak if none_match else frozenset(),
            forbids_any=none_match is not None and none_match.is_any,
        )

    def is_not_modified(self, version: int) -> bool:
        """Returns whether If-None-Match names *version* (RFC 9110, 13.1.2). Raises `errors.InvalidRequest`."""
        tags = self._tags("If-None-Match")
        return tags is not None and (tags.is_any or version in tags.strong | tags.weak)

    def _tags(self, name: str) -> etags.Tags | None:
        value = self._header(name.lower())
        return None if value is None else etags.parse(name, value)

    def _page_url(self, name: str, cursor: str) -> str:
        kept = {key: values for key, values in self._query.items() if key not in ("starting_after", "ending_before")}
        return f"{self.url}?{urlencode(kept | {name: [cursor]}, doseq=True)}"

    @property
    def _query(self) -> Mapping[str, list[str]]:
        return self._event.get("multiValueQueryStringParameters") or {}

    def _header(self, name: str) -> str | None:
        headers = self._event.get("multiValueHeaders") or {}
        values = [str(value) for key, values in headers.items() if key.lower() == name for value in values]
        return ", ".join(values) if values else None
