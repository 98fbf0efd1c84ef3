"""The `endpoint` decorator: turns a function of a `Request` into a Lambda handler."""

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger

from coherent import deadline, errors, metrics
from coherent.http.request import Request
from coherent.http.response import Response, of_error, proxy_response

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

EXPOSED_HEADERS = "ETag, Idempotent-Replayed, Link, Location, Retry-After, X-Request-Id"

logger = Logger()


def endpoint(
    name: str, *, takes_user: bool = True, takes_query: bool = False, takes_body: bool = False
) -> Callable[[Callable[[Request], Response]], Callable[[dict[str, Any], "LambdaContext"], dict[str, Any]]]:
    """Turns a function of a `Request` into a Lambda handler. *name* is the metric dimension `endpoint`.

    The handler never raises, so Lambda's metric `Errors` counts only timeouts and crashes. An `errors.CoherentError`
    becomes its 4xx or 503. Any other exception is logged with its stack trace and becomes a 500. The handler requires
    an authenticated user unless *takes_user* is False, and rejects a query string or body unless *takes_query* or
    *takes_body* is True.
    """
    meter = metrics.Meter(name)
    common_headers = {
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        "Access-Control-Allow-Origin": os.environ["ALLOWED_ORIGIN"],
        "Access-Control-Expose-Headers": EXPOSED_HEADERS,
    }

    def decorate(handle: Callable[[Request], Response]) -> Callable[[dict[str, Any], "LambdaContext"], dict[str, Any]]:
        @functools.wraps(handle)
        def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
            request = Request(event)
            with meter.measure() as invocation:
                invocation.request_id, invocation.user_id = request.request_id, request.authenticated_user_id
                try:
                    if takes_user:
                        request.require_user()
                    if not takes_query:
                        request.require_no_query()
                    if not takes_body:
                        request.require_no_body()
                    with deadline.within(context):
                        response = handle(request)
                except Exception as error:
                    if isinstance(error, errors.Unavailable):
                        logger.warning("DynamoDB is unavailable", exc_info=True, extra=invocation.details)
                    elif not isinstance(error, errors.CoherentError):
                        logger.exception("Unexpected exception", extra=invocation.details)
                    response = of_error(error)
                    invocation.error = type(error).__name__
                invocation.status = response.status
                return proxy_response(response, {"X-Request-Id": invocation.request_id, **common_headers})

        return handler

    return decorate
