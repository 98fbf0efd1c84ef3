"""One log line per invocation, in CloudWatch's embedded metric format (EMF)."""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NamedTuple

from aws_lambda_powertools import Metrics

_UNITS = {"Latency": "Milliseconds", "PurgeAge": "Seconds", "DeliveryAge": "Seconds"}
_encode = json.JSONEncoder(separators=(",", ":")).encode


class RequestCost(NamedTuple):
    """The capacity units that one request to DynamoDB consumed, and its retries."""

    read_units: float
    write_units: float
    retries: int


@dataclass
class Invocation:
    """The log data of one invocation.

    *error* is the name of the exception that ended it, *purge_age* and *delivery_age* the ages of the oldest tombstone
    and of the oldest delivery order in seconds, *webhook_failures* counts late events that a webhook did
    not accept, *is_idle* says whether a sweep found nothing to do, and *fields* are other log fields.
    """

    status: int | None = None
    error: str | None = None
    request_id: str = ""
    user_id: str | None = None
    purge_age: float | None = None
    delivery_age: float | None = None
    webhook_failures: int = 0
    is_idle: bool = False
    fields: Mapping[str, object] = field(default_factory=dict)
    # Several threads append to it; appending to a list is thread-safe.
    costs: list[RequestCost] = field(default_factory=list)

    @property
    def is_read_only(self) -> bool:
        """Whether no request has written to DynamoDB or was retried."""
        return not any(cost.write_units or cost.retries for cost in self.costs)

    @property
    def details(self) -> Mapping[str, object]:
        """The log fields that are not metrics. User ids are hashed: calls can be grouped, not attributed."""
        known = {"status": self.status, "error": self.error, "request_id": self.request_id, "user": None}
        if self.user_id is not None:
            known["user"] = hashed(self.user_id)
        return {name: value for name, value in (known | dict(self.fields)).items() if value}


_current: ContextVar[Invocation | None] = ContextVar("invocation", default=None)


def add_cost(cost: RequestCost) -> None:
    """Adds *cost* to the running invocation; does nothing outside one."""
    invocation = _current.get()
    if invocation is not None:
        invocation.costs.append(cost)


def hashed(user_id: str) -> str:
    """Returns the first 16 hexadecimal digits of the SHA-256 of *user_id*."""
    return hashlib.sha256(user_id.encode()).hexdigest()[:16]


class Meter:
    """Measures the invocations of one function and writes one log line for each, even after an exception.

    The line of an idle invocation has no metrics: CloudWatch bills each one that it receives, also in an unused stack.

    Metrics have the dimensions `service` (the stack) and `endpoint` (the function): `Requests`, `InvalidRequest` and
    `ApiError` (the error types of the API), `Latency` in milliseconds, DynamoDB's `ReadUnits`, `WriteUnits` and
    `Retries`, `PurgeAge` and `DeliveryAge` in seconds, and `WebhookFailures`.
    """

    def __init__(self, endpoint: str) -> None:
        self._service = os.environ["POWERTOOLS_SERVICE_NAME"]
        self._metrics = Metrics(namespace="CoherentConversations")
        self._metrics.add_dimensions(service=self._service, endpoint=endpoint)

    @contextmanager
    def measure(self) -> Iterator[Invocation]:
        """Measures the block as one invocation."""
        invocation = Invocation()
        token = _current.set(invocation)
        started = time.perf_counter()
        try:
            yield invocation
        except BaseException as error:
            invocation.status, invocation.error = 500, type(error).__name__
            raise
        finally:
            _current.reset(token)
            self._write(invocation, (time.perf_counter() - started) * 1000)

    def _write(self, invocation: Invocation, milliseconds: float) -> None:
        status = invocation.status or 0
        counts = {
            "InvalidRequest": int(400 <= status < 500),
            # The operator starts the preparation by an update, so it is no error that alarms should count.
            "ApiError": int(status >= 500 and invocation.error != "NotPrepared"),
            "ReadUnits": sum(cost.read_units for cost in invocation.costs),
            "WriteUnits": sum(cost.write_units for cost in invocation.costs),
            "Retries": sum(cost.retries for cost in invocation.costs),
            "WebhookFailures": invocation.webhook_failures,
        }
        values: dict[str, float] = {"Requests": 1, "Latency": round(milliseconds, 2)}
        # Zeros are omitted: sums stay the same, and CloudWatch bills only the metrics that it receives.
        values |= {name: count for name, count in counts.items() if count}
        ages = {"PurgeAge": invocation.purge_age, "DeliveryAge": invocation.delivery_age}
        values |= {name: round(age) for name, age in ages.items() if age is not None}
        # One call for all metrics: `add_metric` for each takes five times as long, a fifth of an invocation.
        measured = {name: {"Unit": _UNITS.get(name, "Count"), "Value": value} for name, value in values.items()}
        line: Mapping[str, object]
        line = self._metrics.serialize_metric_set(measured, {"service": self._service}, dict(invocation.details))
        if invocation.is_idle:
            # Without this field, CloudWatch reads no metrics from the line.
            line = {name: value for name, value in line.items() if name != "_aws"}
        print(_encode(line))
