"""What each call took, told in a line that people search and CloudWatch makes metrics of (embedded metric format)."""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from aws_lambda_powertools import Metrics

_UNITS = {"Latency": "Milliseconds", "PurgeAge": "Seconds"}
_encode = json.JSONEncoder(separators=(",", ":")).encode


class Spent(NamedTuple):
    """What one request to DynamoDB cost: units of its capacity, and repetitions by botocore."""

    read_units: float
    write_units: float
    retries: int


# Of the call that is running: an environment has one at a time. Threads add to it, which a list allows.
_spent: list[Spent] = []


def spend(spent: Spent) -> None:
    """Adds to what the running call has used of DynamoDB."""
    _spent.append(spent)


@dataclass
class Call:
    """One call, as far as it is known yet.

    *error* is the name of the exception that ended it, *purge_age* for how many seconds the oldest purge has waited.
    """

    status: int | None = None
    error: str | None = None
    request_id: str = ""
    user_id: str | None = None
    purge_age: float | None = None

    @property
    def details(self) -> Mapping[str, object]:
        """What can be searched but makes no metric. Nobody can tell a user from it, but their calls from others'."""
        known = {"status": self.status, "error": self.error, "request_id": self.request_id, "user": None}
        if self.user_id is not None:
            known["user"] = hashed(self.user_id)
        return {name: value for name, value in known.items() if value}


def hashed(user_id: str) -> str:
    """What stands for a user in logs: the first 16 hexadecimal digits of a SHA-256."""
    return hashlib.sha256(user_id.encode()).hexdigest()[:16]


class Meter:
    """Measures the calls of one function, and tells each in one line when it ends, be it by an exception.

    Metrics are per service (the stack) and per endpoint of it (the function): `Requests`, `InvalidRequest` and
    `ApiError` (the types of the contract's errors), `Latency` in milliseconds, DynamoDB's `ReadUnits` and `WriteUnits`,
    and `Retries` of requests to it.
    """

    def __init__(self, endpoint: str) -> None:
        self._service = os.environ["POWERTOOLS_SERVICE_NAME"]
        self._metrics = Metrics(namespace="CoherentConversations")
        self._metrics.add_dimensions(service=self._service, endpoint=endpoint)

    @contextmanager
    def call(self) -> Iterator[Call]:
        """Measures what runs in the block."""
        call = Call()
        _spent.clear()
        started = time.perf_counter()
        try:
            yield call
        except BaseException as error:
            call.status, call.error = 500, type(error).__name__
            raise
        finally:
            self._tell(call, (time.perf_counter() - started) * 1000)

    def _tell(self, call: Call, milliseconds: float) -> None:
        status = call.status or 0
        counts = {
            "InvalidRequest": int(400 <= status < 500),
            "ApiError": int(status >= 500),
            "ReadUnits": sum(spent.read_units for spent in _spent),
            "WriteUnits": sum(spent.write_units for spent in _spent),
            "Retries": sum(spent.retries for spent in _spent),
        }
        values: dict[str, float] = {"Requests": 1, "Latency": round(milliseconds, 1)}
        # CloudWatch adds up the same without zeros, and bills for each metric that it ever sees.
        values |= {name: count for name, count in counts.items() if count}
        if call.purge_age is not None:
            values["PurgeAge"] = round(call.purge_age)
        # All at once: to add them one by one takes five times as long, a fifth of a call.
        measured = {name: {"Unit": _UNITS.get(name, "Count"), "Value": value} for name, value in values.items()}
        line = self._metrics.serialize_metric_set(measured, {"service": self._service}, dict(call.details))
        print(_encode(line))
