"""What outlives an invocation is broken off."""

import math
import signal
import threading
import time
from contextlib import suppress
from typing import Any

import pytest
from coherent import deadline, errors

from tests.handlers import Context

of: Any = deadline.of


def test_what_waits_is_broken_off_a_second_before_the_end() -> None:
    started = time.monotonic()
    with pytest.raises(errors.Unavailable), of(Context(1.3)):
        time.sleep(10)
    assert 0.2 < time.monotonic() - started < 1.3


def test_no_library_on_the_way_takes_it_for_a_failure_of_its_own() -> None:
    def wait_and_go_on() -> None:
        with suppress(Exception):
            time.sleep(10)
        raise AssertionError

    with pytest.raises(errors.Unavailable), of(Context(1.05)):
        wait_and_go_on()


def test_after_an_invocation_nothing_is_broken_off_any_more() -> None:
    with of(Context(60)):
        assert 50 < deadline.seconds_left() <= 60
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
