"""By when the running invocation is stopped, so that nothing is begun which could outlive it."""

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# An environment has one invocation at a time.
_ends_at = [math.inf]


def begin(context: "LambdaContext") -> None:
    """From now on, the running invocation is that of *context*."""
    _ends_at[0] = time.monotonic() + context.get_remaining_time_in_millis() / 1000


def seconds_left() -> float:
    """Until Lambda stops the running invocation; infinite where none has begun."""
    return _ends_at[0] - time.monotonic()
