"""The deadline of an invocation."""

import contextvars
import math
import threading
from typing import Any

from coherent import deadline

from tests.handlers import Context

within: Any = deadline.within


def test_deadline_is_set_only_within_an_invocation() -> None:
    assert deadline.seconds_left() == math.inf
    with within(Context(60)):
        assert 50 < deadline.seconds_left() <= 60
    assert deadline.seconds_left() == math.inf


def test_thread_with_copied_context_knows_the_deadline() -> None:
    left = []
    with within(Context(5)):
        context = contextvars.copy_context()
        thread = threading.Thread(target=lambda: left.append(context.run(deadline.seconds_left)))
        thread.start()
        thread.join()
    assert 4 < left[0] < 5


def test_concurrent_invocations_have_separate_deadlines() -> None:
    left = []

    def invoke() -> None:
        with within(Context(5)):
            left.append(deadline.seconds_left())

    with within(Context(60)):
        thread = threading.Thread(target=invoke)
        thread.start()
        thread.join()
        assert 50 < deadline.seconds_left() <= 60
    assert 4 < left[0] < 5
