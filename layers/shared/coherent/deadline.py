"""By when the running invocation has to be over: what could outlive it is not begun, and what does is broken off."""

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from coherent import errors

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# For the answer, which has to be out when Lambda stops the invocation.
_ANSWER_SECONDS = 1


class _Over(BaseException):
    """Time is up. No `except Exception` of a library on the way may take this for a failure of its own."""


# An environment has one invocation at a time.
_ends_at = [math.inf]


@contextmanager
def of(context: "LambdaContext") -> Iterator[None]:
    """Has the block end a second before Lambda stops the invocation of *context*, by `errors.Unavailable`.

    What waits for a network is broken off wherever it is: a client's read timeout is only that of one read, so an
    answer that comes byte by byte would never meet it.
    """
    seconds = context.get_remaining_time_in_millis() / 1000
    _ends_at[0] = time.monotonic() + seconds
    # Lambda calls functions in the main thread. No other can have signals.
    is_main = threading.current_thread() is threading.main_thread()
    if is_main:
        signal.signal(signal.SIGALRM, _break_off)
        # None is set with 0.
        signal.setitimer(signal.ITIMER_REAL, max(seconds - _ANSWER_SECONDS, 0.001))
    try:
        yield
    except _Over:
        raise errors.Unavailable from None
    finally:
        if is_main:
            signal.setitimer(signal.ITIMER_REAL, 0)
        _ends_at[0] = math.inf


def seconds_left() -> float:
    """Until Lambda stops the running invocation; infinite outside of `of`."""
    return _ends_at[0] - time.monotonic()


def _break_off(*_: object) -> NoReturn:
    raise _Over
