"""AWS clients with bounded retries that respect the invocation's deadline."""

import random
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import botocore.session
from botocore.config import Config

from coherent import deadline, errors

if TYPE_CHECKING:
    from botocore.awsrequest import AWSResponse
    from botocore.client import BaseClient
    from botocore.exceptions import ClientError

ATTEMPTS = 3
# These timeouts are also assumed by the functions' timeouts in template.yaml, tests/faults/network.py,
# tests/unit/test_client.py and docs/architecture.md.
_CONNECT_SECONDS, _READ_SECONDS = 1, 2
# botocore waits up to 1 s after the first throttled attempt and 2 s after the second, plus up to 5 s if the response
# has x-amz-retry-after.
_WAIT_SECONDS = 2 + 5
# The longest that the last two requests of a long invocation can take.
LAST_REQUESTS_SECONDS = 50
_LAST_ATTEMPT_SECONDS = _CONNECT_SECONDS + _READ_SECONDS + _WAIT_SECONDS
_IS_AMBIGUOUS = "IsAmbiguous"
# Declares DynamoDB's items as documents, so botocore passes them through: a Query of 11 rows takes 45 % of the time.
_DATA_PATH = str(Path(__file__).parent / "botocore_data")


def connect(service: str) -> "BaseClient":
    """Returns a client.

    Each request has three attempts of at most 3 s. A request raises `errors.Unavailable` if it could outlive the
    invocation, or if every response was truncated. The client connects with its first request and renews credentials
    before they expire, so a SnapStart snapshot contains nothing that expires.
    """
    # SnapStart copies the state of `random`: without a new seed all restored environments would use the same jitter.
    # Only Lambda has this module.
    with suppress(ImportError):
        from snapshot_restore_py import register_after_restore  # noqa: PLC0415

        register_after_restore(random.seed)
    # boto3's low-level client is the same; importing boto3 takes 7 % of a cold start.
    session = botocore.session.get_session()
    session.set_config_variable("data_path", _DATA_PATH)
    client: BaseClient = session.create_client(
        service,
        config=Config(
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            # A fixed user agent and no client-side validation save a quarter of a warm call's CPU time.
            user_agent="coherent-conversations",
            parameter_validation=False,
        ),
    )
    client.meta.events.register("before-send", _check_deadline)
    client.meta.events.register("needs-retry", _mark_request_ambiguous)
    # botocore uses the handler's return value; botocore-stubs types it as None.
    client.meta.events.register("needs-retry", _retry_truncated)  # type: ignore[arg-type]
    client.meta.events.register("after-call", _reject_truncated)
    client.meta.events.register("after-call", _copy_mark_to_response)
    return client


def is_ambiguous(error: "ClientError") -> bool:
    """Returns whether an earlier attempt of the failed request got no definite response, so AWS may have applied it."""
    return _IS_AMBIGUOUS in error.response["ResponseMetadata"]


def mark_ambiguous(error: "ClientError") -> None:
    """Makes `is_ambiguous` true for *error*."""
    cast("dict[str, Any]", error.response["ResponseMetadata"])[_IS_AMBIGUOUS] = True


def _mark_request_ambiguous(
    response: "tuple[AWSResponse, object] | None", request_dict: dict[str, Any], **_: object
) -> None:
    if response is None or response[0].status_code >= 500 or _is_truncated(response[0]):
        request_dict["context"][_IS_AMBIGUOUS] = True


def _copy_mark_to_response(parsed: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    if _IS_AMBIGUOUS in context:
        parsed["ResponseMetadata"][_IS_AMBIGUOUS] = True


def _check_deadline(**_: object) -> None:
    if deadline.seconds_left() < _LAST_ATTEMPT_SECONDS:
        raise errors.Unavailable


def _retry_truncated(response: "tuple[AWSResponse, object] | None", attempts: int, **_: object) -> float | None:
    return 0 if response and _is_truncated(response[0]) and attempts < ATTEMPTS else None


def _reject_truncated(http_response: "AWSResponse", **_: object) -> None:
    if _is_truncated(http_response):
        raise errors.Unavailable


def _is_truncated(response: "AWSResponse") -> bool:
    """Returns whether the body is shorter than Content-Length. botocore would parse such a body as empty."""
    length = response.headers.get("Content-Length")
    return length is not None and len(response.content) != int(length)
