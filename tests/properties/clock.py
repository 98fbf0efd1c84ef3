"""A clock that tests set. It stands still, except that no two of its times are the same."""

import itertools

import pytest

NANOSECONDS = 1_000_000_000
_START = 1_800_000_000


class Clock:
    """Replaces `time.time` and `time.time_ns`. A second takes a million readings."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        """Starts at a whole second."""
        self.reset()
        patch.setattr("time.time", lambda: self.time_ns() / NANOSECONDS)
        patch.setattr("time.time_ns", self.time_ns)

    def reset(self) -> None:
        """Starts again."""
        self._seconds, self._readings = _START, itertools.count(0, 1000)

    @property
    def seconds(self) -> int:
        """The current time in Unix seconds."""
        return self._seconds

    def set_forward(self, seconds: int) -> None:
        """Sets the clock forward, or back if *seconds* is negative."""
        self._seconds += seconds

    def time_ns(self) -> int:
        """Returns the time in nanoseconds."""
        return self._seconds * NANOSECONDS + next(self._readings)
