"""The deadline of the running invocation. AWS clients start no request that could outlive it."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

_ends_at: ContextVar[float] = ContextVar("ends_at", default=math.inf)


@contextmanager
def within(context: "LambdaContext") -> Iterator[None]:
    """Sets the deadline to Lambda's timeout for the duration of the block."""
    token = _ends_at.set(time.monotonic() + context.get_remaining_time_in_millis() / 1000)
    try:
        yield
    finally:
        _ends_at.reset(token)


def seconds_left() -> float:
    """Returns the seconds until the deadline; infinity outside an invocation."""
    return _ends_at.get() - time.monotonic()
