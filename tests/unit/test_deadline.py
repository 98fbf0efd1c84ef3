"""The deadline of an invocation."""

import contextvars
import math
import threading
from typing import Any

from coherent import deadline

from tests.handlers import Context

of: Any = deadline.of


def test_deadline_is_set_within_an_invocation_only() -> None:
    assert deadline.seconds_left() == math.inf
    with of(Context(60)):
        assert 50 < deadline.seconds_left() <= 60
    assert deadline.seconds_left() == math.inf


def test_deadline_is_known_to_a_thread_that_copies_the_context() -> None:
    left = []
    with of(Context(5)):
        context = contextvars.copy_context()
        thread = threading.Thread(target=lambda: left.append(context.run(deadline.seconds_left)))
        thread.start()
        thread.join()
    assert 4 < left[0] < 5


def test_deadlines_of_two_invocations_at_once_are_independent() -> None:
    left = []

    def invoke() -> None:
        with of(Context(5)):
            left.append(deadline.seconds_left())

    with of(Context(60)):
        thread = threading.Thread(target=invoke)
        thread.start()
        thread.join()
        assert 50 < deadline.seconds_left() <= 60
    assert 4 < left[0] < 5
