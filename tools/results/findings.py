"""What users were answered, and what was wrong with it."""

import threading
import time
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

# Of a fault: an answer that nothing accounts for, none at all included ...
UNEXPECTED = "unexpected answer"
# ... what was acknowledged and is not there, or not as it was acknowledged ...
LOST = "not found"
# ... what was never acknowledged or is deleted, and is there, or is there twice ...
GHOST = "ghost"
# ... and whatever else the contract says.
WRONG = "wrong"


class Request(NamedTuple):
    """One request: when (Unix seconds), the call, the status of the answer, which None had none of, and how long."""

    at: float
    call: str
    status: int | None
    ms: float


class Fault(NamedTuple):
    """What was wrong: of which kind, when (Unix seconds), in the answer to which call; the status if that is it."""

    kind: str
    at: float
    call: str
    status: int | None
    message: str


class Findings:
    """What all users together met with; they may tell it at the same time."""

    def __init__(self) -> None:
        """Of nobody yet."""
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.counts: Counter[str] = Counter()
        self._told: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def answered(self, call: str, status: int | None, ms: float) -> None:
        """That *call* was answered just now."""
        self.requests.append(Request(time.time(), call, status, ms))

    def count(self, what: str, many: int = 1) -> None:
        """So *many* more of *what*."""
        with self._lock:
            self.counts[what] += many

    def unexpected(self, call: str, status: int | None, message: str) -> None:
        """That nothing accounts for the answer."""
        self.faults.append(Fault(UNEXPECTED, time.time(), call, status, message))

    def wrong(self, kind: str, call: str, ids: Iterable[str], message: str) -> None:
        """That a good answer says what is wrong of *ids*: of each only once, however often it is met with."""
        with self._lock:
            for id in ids:
                if (kind, id) not in self._told:
                    self._told.add((kind, id))
                    self.faults.append(Fault(kind, time.time(), call, None, f"{id}: {message}"))
