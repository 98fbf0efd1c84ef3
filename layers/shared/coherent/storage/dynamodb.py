"""The DynamoDB client: consumed capacity, retries and error classification."""

import contextvars
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar, cast

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotocoreConnectionError

from coherent import errors, metrics
from coherent.storage import client

if TYPE_CHECKING:
    from botocore.model import OperationModel
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import (
        AttributeValueTypeDef,
        KeysAndAttributesOutputTypeDef,
        KeysAndAttributesTypeDef,
        QueryInputTypeDef,
        QueryOutputTypeDef,
        TransactWriteItemTypeDef,
    )

T = TypeVar("T")
P = ParamSpec("P")

_THROTTLED = {
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
    # Of Cognito and Lambda.
    "TooManyRequestsException",
    # Of SSM.
    "TooManyUpdates",
    "TransactionInProgressException",
}
_CONFLICT = "TransactionConflict"
# Cancellation reasons that botocore does not retry.
_RETRYABLE_REASONS = {_CONFLICT, "ProvisionedThroughputExceeded", "ThrottlingError"}
_READS = {"BatchGetItem", "GetItem", "Query"}
_ATTEMPTS = 6
_WAIT_SECONDS = 0.05


class Tables(NamedTuple):
    """A DynamoDB client and the names of the stack's tables."""

    client: "DynamoDBClient"
    conversations: str
    messages: str


def connect() -> Tables:
    """Returns the tables that the environment names. The client records what its requests consume."""
    connected = client.connect("dynamodb")
    connected.meta.events.register("provide-client-params.dynamodb", _request_consumed_capacity)
    connected.meta.events.register("after-call.dynamodb", _record_consumed_capacity)
    return Tables(
        cast("DynamoDBClient", connected), os.environ["CONVERSATIONS_TABLE_NAME"], os.environ["MESSAGES_TABLE_NAME"]
    )


def _request_consumed_capacity(params: dict[str, Any], model: "OperationModel", **_: object) -> None:
    if model.name != "DescribeTable":
        params["ReturnConsumedCapacity"] = "TOTAL"


def _record_consumed_capacity(parsed: Mapping[str, Any], model: "OperationModel", **_: object) -> None:
    consumed = parsed.get("ConsumedCapacity", [])
    units = sum(each["CapacityUnits"] for each in (consumed if isinstance(consumed, list) else [consumed]))
    retries = parsed["ResponseMetadata"].get("RetryAttempts", 0)
    is_read = model.name in _READS
    metrics.add_cost(metrics.RequestCost(units if is_read else 0, 0 if is_read else units, retries))


def count_retry() -> None:
    """Counts a retry that this service makes, in addition to those of botocore."""
    metrics.add_cost(metrics.RequestCost(0, 0, 1))


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raises `errors.Unavailable` if DynamoDB throttles, fails or does not respond. Other errors pass unchanged."""
    try:
        yield
    except (BotocoreConnectionError, HTTPClientError) as error:
        # Without a response there is no retry count; botocore has used all its attempts.
        for _ in range(client.ATTEMPTS - 1):
            count_retry()
        raise errors.Unavailable from error
    except ClientError as error:
        throttled = error.response["Error"]["Code"] in _THROTTLED
        failed = error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
        if throttled or failed:
            raise errors.Unavailable from error
        raise


def query_all(
    database: "DynamoDBClient", threads: ThreadPoolExecutor, requests: "Sequence[QueryInputTypeDef]"
) -> "Sequence[QueryOutputTypeDef]":
    """Makes the *requests* in parallel and returns their responses. Raises as `translate_errors` does."""
    with translate_errors():
        if len(requests) == 1:
            return [database.query(**requests[0])]
        running = [
            # Threads do not inherit the context with the invocation's deadline and metrics.
            threads.submit(contextvars.copy_context().run, partial(database.query, **request))
            for request in requests
        ]
        # Waits for all, even if one failed, so that none runs into the next invocation.
        wait(running)
        return [future.result() for future in running]


def retry_conflicts(write: Callable[P, T], *arguments: P.args, **parameters: P.kwargs) -> T:
    """Calls *write*, a method of the client, and retries transaction conflicts, which botocore does not.

    Raises as `translate_errors` does, and `errors.Unavailable` if the conflicts continue. An error is ambiguous if any
    attempt was (`client.is_ambiguous`).
    """
    is_ambiguous = False
    for attempt in range(1, _ATTEMPTS + 1):
        with translate_errors():
            try:
                return write(*arguments, **parameters)
            except ClientError as error:
                is_ambiguous = is_ambiguous or client.is_ambiguous(error)
                if is_ambiguous:
                    client.mark_ambiguous(error)
                if not _is_retryable(error):
                    raise
        if attempt < _ATTEMPTS:
            back_off(attempt)
    raise errors.Unavailable


def transact(database: "DynamoDBClient", writes: "Sequence[TransactWriteItemTypeDef]") -> None:
    """Executes *writes* in one transaction, and retries conflicts.

    All attempts have the same client request token: DynamoDB applies the transaction once, even if its response was
    lost and another request has undone it since. Raises as `retry_conflicts` does.
    """
    token = secrets.token_hex(16)
    retry_conflicts(database.transact_write_items, TransactItems=writes, ClientRequestToken=token)


def batch_read(
    database: "DynamoDBClient", requested: "Mapping[str, KeysAndAttributesTypeDef | KeysAndAttributesOutputTypeDef]"
) -> "Mapping[str, Sequence[dict[str, AttributeValueTypeDef]]]":
    """Returns the rows that BatchGetItem finds in each table. Retries unprocessed keys.

    Raises as `translate_errors` does, and `errors.Unavailable` if keys stay unprocessed.
    """
    found: dict[str, list[dict[str, AttributeValueTypeDef]]] = {table_name: [] for table_name in requested}
    for attempt in range(1, _ATTEMPTS + 1):
        with translate_errors():
            response = database.batch_get_item(RequestItems=requested)
        for table_name, rows in response["Responses"].items():
            found[table_name] += rows
        requested = response["UnprocessedKeys"]
        if not requested:
            return found
        if attempt < _ATTEMPTS:
            back_off(attempt)
    raise errors.Unavailable


def back_off(attempt: int) -> None:
    """Waits at random before the next attempt: up to 0.1 s after *attempt* 1, and twice as long after each other."""
    count_retry()
    # Jitter from the OS: SnapStart copies the state of `random`.
    time.sleep(secrets.SystemRandom().uniform(0, _WAIT_SECONDS * 2**attempt))


def _is_retryable(error: ClientError) -> bool:
    # A cancelled transaction has one reason for each of its writes.
    reasons = {reason["Code"] for reason in error.response.get("CancellationReasons", [])}
    return bool(reasons & _RETRYABLE_REASONS) or error.response["Error"]["Code"] == f"{_CONFLICT}Exception"
