"""A function's client of an AWS service, which gives up before the function is stopped."""

import random
from contextlib import suppress
from typing import TYPE_CHECKING

import botocore.session
from botocore.config import Config

from coherent import deadline, errors

if TYPE_CHECKING:
    from botocore.awsrequest import AWSResponse
    from botocore.client import BaseClient

ATTEMPTS = 3
# Of those since `forget_doubt`, whether one may have been carried out though nobody was told.
_is_in_doubt = [False]
_CONNECT_SECONDS, _READ_SECONDS = 1, 2
# botocore waits up to 1 s after a first throttled attempt and 2 s after a second, and 5 s more where the service asks.
_WAIT_SECONDS = 2 + 5
_LAST_ATTEMPT_SECONDS = _CONNECT_SECONDS + _READ_SECONDS + _WAIT_SECONDS


def connect(service: str) -> "BaseClient":
    """A client for one execution environment, made once at import.

    Each request has three attempts of at most 3 s. None is begun that could outlive the invocation, however many
    requests that makes: it raises `errors.Unavailable` instead, as answers do that end too early each time. The client
    connects with its first request, and has credentials renewed before they expire: nothing that a snapshot of the init
    holds is stale when it is restored.
    """
    # Copies of one snapshot would wait equally long before botocore repeats their requests. Only Lambda has the module.
    with suppress(ImportError):
        from snapshot_restore_py import register_after_restore  # noqa: PLC0415

        register_after_restore(random.seed)
    # boto3's own client is this one; importing boto3 takes 7 % of a cold start.
    client: BaseClient = botocore.session.get_session().create_client(
        service,
        config=Config(
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            # A fixed name and no validation of what our own code sends: together a quarter of a warm call's CPU time.
            user_agent="coherent-conversations",
            parameter_validation=False,
        ),
    )
    client.meta.events.register("before-send", _refuse_what_could_outlive_the_invocation)
    client.meta.events.register("needs-retry", _note_doubt)
    # Its answer counts, which botocore's stubs do not know.
    client.meta.events.register("needs-retry", _repeat_what_is_torn)  # type: ignore[arg-type]
    client.meta.events.register("after-call", _refuse_what_is_torn)
    return client


def forget_doubt() -> None:
    """Has `is_in_doubt` look at what follows only."""
    _is_in_doubt[0] = False


def is_in_doubt() -> bool:
    """Whether a request may have been carried out more often than was answered: an attempt had no answer that says."""
    return _is_in_doubt[0]


def _note_doubt(response: "tuple[AWSResponse, object] | None", **_: object) -> None:
    if response is None or response[0].status_code >= 500 or _is_torn(response[0]):
        _is_in_doubt[0] = True


def _refuse_what_could_outlive_the_invocation(**_: object) -> None:
    if deadline.seconds_left() < _LAST_ATTEMPT_SECONDS:
        raise errors.Unavailable


def _repeat_what_is_torn(response: "tuple[AWSResponse, object] | None", attempts: int, **_: object) -> float | None:
    return 0 if response and _is_torn(response[0]) and attempts < ATTEMPTS else None


def _refuse_what_is_torn(http_response: "AWSResponse", **_: object) -> None:
    if _is_torn(http_response):
        raise errors.Unavailable


def _is_torn(response: "AWSResponse") -> bool:
    """Whether it ended too early. botocore would take it for an answer with nothing in it, as if nothing was found."""
    length = response.headers.get("Content-Length")
    return length is not None and len(response.content) != int(length)
