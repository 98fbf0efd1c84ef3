"""What outlives an invocation is broken off."""

import math
import signal
import threading
import time
from typing import Any

import pytest
from coherent import deadline, errors

from tests.handlers import Context

of: Any = deadline.of


def test_what_waits_is_broken_off_a_second_before_the_end() -> None:
    with pytest.raises(errors.Unavailable), of(Context(1.05)):
        time.sleep(10)


def test_after_an_invocation_nothing_is_broken_off_any_more() -> None:
    with of(Context(1.05)):
        assert 1 < deadline.seconds_left() < 1.05
    assert deadline.seconds_left() == math.inf
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.parametrize("seconds", [0, 1])
def test_where_no_time_is_left_nothing_is_done(seconds: float) -> None:
    with pytest.raises(errors.Unavailable), of(Context(seconds)):
        time.sleep(10)


def test_another_thread_than_the_main_one_knows_how_long_it_has() -> None:
    left = []

    def call() -> None:
        with of(Context(5)):
            left.append(deadline.seconds_left())

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert 4 < left[0] < 5
