"""The DynamoDB client of a function, and which of its failures pass by themselves."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotocoreConnectionError

from coherent import errors

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_THROTTLED = {
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
}


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
        throttled = error.response["Error"]["Code"] in _THROTTLED
        failed = error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
        if throttled or failed:
            raise errors.Unavailable from error
        raise
