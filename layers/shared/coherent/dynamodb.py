"""The DynamoDB client of a function, and which of its failures pass by themselves."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotocoreConnectionError

from coherent import errors

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")
P = ParamSpec("P")

_THROTTLED = {
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
    "TransactionInProgressException",
}
# Why one write of a transaction stopped all of it, other than by its own condition.
_THROTTLED_WRITE = {"ProvisionedThroughputExceeded", "ThrottlingError"}
_MEETINGS = 6
_MEETING_SECONDS = 0.05


def connect() -> "DynamoDBClient":
    """A client for one execution environment, made once at import.

    Three attempts of at most 3 s each, with up to 3 s of backoff between them and 5 s more for each that DynamoDB asks
    for, end before the functions' timeout of 25 s.
    """
    return boto3.client(
        "dynamodb",
        config=Config(
            retries={"mode": "standard", "total_max_attempts": 3},
            connect_timeout=1,
            read_timeout=2,
            # A fixed name and no validation of what our own code sends: together 30 % of a warm call's CPU time.
            user_agent="coherent-conversations",
            parameter_validation=False,
        ),
    )


@contextmanager
def availability() -> Iterator[None]:
    """Raises `errors.Unavailable` where DynamoDB throttles, fails or does not answer; other errors pass unchanged."""
    try:
        yield
    except (BotocoreConnectionError, HTTPClientError) as error:
        raise errors.Unavailable from error
    except ClientError as error:
        throttled = error.response["Error"]["Code"] in _THROTTLED or bool(_reasons(error) & _THROTTLED_WRITE)
        failed = error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
        if throttled or failed:
            raise errors.Unavailable from error
        raise


def written(write: Callable[P, T], *arguments: P.args, **parameters: P.kwargs) -> T:
    """What *write*, a method of the client, answers; called again while a transaction is at work on the same rows.

    That is none of botocore's retries. Raises `errors.Unavailable` if that does not end, and as `availability` does.
    """
    for meetings in range(_MEETINGS):
        with availability():
            try:
                return write(*arguments, **parameters)
            except ClientError as error:
                if not _met_a_transaction(error):
                    raise
        # Those that met once must not meet again: at random, and not by a generator that a snapshot has copied.
        time.sleep(secrets.SystemRandom().uniform(0, _MEETING_SECONDS * 2**meetings))
    raise errors.Unavailable


def _met_a_transaction(error: ClientError) -> bool:
    reasons = _reasons(error)
    met_by_transaction = "TransactionConflict" in reasons and reasons <= {"None", "TransactionConflict"}
    return met_by_transaction or error.response["Error"]["Code"] == "TransactionConflictException"


def _reasons(error: ClientError) -> set[str]:
    # Some answers are of a transaction, with a reason for each of its writes.
    reasons = error.response.get("CancellationReasons", [])
    return {reason["Code"] for reason in reasons}
