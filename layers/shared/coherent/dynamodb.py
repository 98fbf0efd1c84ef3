"""The DynamoDB client of a function, and which of its failures pass by themselves."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotocoreConnectionError

from coherent import client, errors, metrics

if TYPE_CHECKING:
    from botocore.model import OperationModel
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import (
        AttributeValueTypeDef,
        KeysAndAttributesOutputTypeDef,
        KeysAndAttributesTypeDef,
    )

T = TypeVar("T")
P = ParamSpec("P")

_THROTTLED = {
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
    "TransactionInProgressException",
}
# Why one write of a transaction stopped all of it, other than by its own condition.
_CONFLICT = "TransactionConflict"
_THROTTLED_WRITE = {"ProvisionedThroughputExceeded", "ThrottlingError"}
_READS = {"BatchGetItem", "GetItem", "Query"}
_ATTEMPTS = 6
_WAIT_SECONDS = 0.05


def connect() -> "DynamoDBClient":
    """A `client.connect` of which all that its requests cost is counted."""
    connected = client.connect("dynamodb")
    connected.meta.events.register("provide-client-params.dynamodb", _ask_what_it_costs)
    connected.meta.events.register("after-call.dynamodb", _count_what_it_costs)
    return cast("DynamoDBClient", connected)


def _ask_what_it_costs(params: dict[str, Any], **_: object) -> None:
    params["ReturnConsumedCapacity"] = "TOTAL"


def _count_what_it_costs(parsed: Mapping[str, Any], model: "OperationModel", **_: object) -> None:
    consumed = parsed.get("ConsumedCapacity", [])
    units = sum(each["CapacityUnits"] for each in (consumed if isinstance(consumed, list) else [consumed]))
    retries = parsed["ResponseMetadata"].get("RetryAttempts", 0)
    reads = model.name in _READS
    metrics.spend(metrics.Spent(units if reads else 0, 0 if reads else units, retries))


def count_repetition() -> None:
    """Has a repetition counted that is not botocore's."""
    metrics.spend(metrics.Spent(0, 0, 1))


@contextmanager
def availability() -> Iterator[None]:
    """Raises `errors.Unavailable` where DynamoDB throttles, fails or does not answer; other errors pass unchanged."""
    try:
        yield
    except (BotocoreConnectionError, HTTPClientError) as error:
        # It had no answer that could tell how often it was repeated.
        for _ in range(client.ATTEMPTS - 1):
            count_repetition()
        raise errors.Unavailable from error
    except ClientError as error:
        throttled = error.response["Error"]["Code"] in _THROTTLED
        failed = error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
        if throttled or failed:
            raise errors.Unavailable from error
        raise


def written(write: Callable[P, T], *arguments: P.args, **parameters: P.kwargs) -> T:
    """What *write*, a method of the client, answers; called again where it met a transaction at work on the same rows.

    Neither that nor a throttled transaction is repeated by botocore. Raises `errors.Unavailable` if it does not end,
    and as `availability` does. Afterwards `client.is_in_doubt` tells whether an unanswered attempt may have done it.
    """
    client.forget_doubt()
    for attempt in range(1, _ATTEMPTS + 1):
        with availability():
            try:
                return write(*arguments, **parameters)
            except ClientError as error:
                if not _may_pass(error):
                    raise
        if attempt < _ATTEMPTS:
            _wait(attempt)
    raise errors.Unavailable


def batch_read(
    database: "DynamoDBClient", requested: "Mapping[str, KeysAndAttributesTypeDef | KeysAndAttributesOutputTypeDef]"
) -> "Mapping[str, Sequence[dict[str, AttributeValueTypeDef]]]":
    """The rows of each table that BatchGetItem finds, called again for what it returns unprocessed.

    Raises `errors.Unavailable` if that does not end, and as `availability` does.
    """
    found: dict[str, list[dict[str, AttributeValueTypeDef]]] = {table_name: [] for table_name in requested}
    for attempt in range(1, _ATTEMPTS + 1):
        with availability():
            answer = database.batch_get_item(RequestItems=requested)
        for table_name, rows in answer["Responses"].items():
            found[table_name] += rows
        requested = answer["UnprocessedKeys"]
        if not requested:
            return found
        if attempt < _ATTEMPTS:
            _wait(attempt)
    raise errors.Unavailable


def _wait(attempt: int) -> None:
    count_repetition()
    # Those that met once must not meet again: at random, and not by a generator that a snapshot has copied.
    time.sleep(secrets.SystemRandom().uniform(0, _WAIT_SECONDS * 2**attempt))


def _may_pass(error: ClientError) -> bool:
    reasons = _reasons(error)
    conflicts = _CONFLICT in reasons or error.response["Error"]["Code"] == f"{_CONFLICT}Exception"
    return conflicts or bool(reasons & _THROTTLED_WRITE)


def _reasons(error: ClientError) -> set[str]:
    # Some answers are of a transaction, with a reason for each of its writes.
    reasons = error.response.get("CancellationReasons", [])
    return {reason["Code"] for reason in reasons}
