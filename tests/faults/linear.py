"""Whether what clients saw of one conversation could have come of calls that were carried out one after the other.

The search is that of Wing and Gong (1993), with Lowe's memory of where it has been (2017). A call that was answered
took effect at one moment between its beginning and its end; one that was not, at any moment after its beginning, or
never.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

_MOST_STEPS = 300_000


@dataclass(frozen=True)
class Operation:
    """A call that began at *began* and was answered with *status*, *shown* and *etag* at *ended*; 0 if it never was.

    *given* is what it asked for, *match* the ETag that it made a condition.
    """

    kind: str
    given: tuple[Any, ...]
    began: float
    ended: float = math.inf
    status: int = 0
    shown: Any = None
    etag: str | None = None
    match: str | None = None
    # Whether something that deletes the same was under way at the same time.
    is_beside: bool = False


@dataclass(frozen=True)
class State:
    """A conversation in the plain model: `messages` are texts and when they were read, `sent` what ever was one.

    The tag is None where nobody was told it; `stale` are those that it had.
    """

    exists: bool = True
    opened: int | None = None
    is_muted: bool = False
    pinned: str | None = None
    messages: frozenset[tuple[str, int | None]] = frozenset()
    sent: frozenset[str] = frozenset()
    etag: str | None = '"1"'
    stale: frozenset[str] = field(default=frozenset())

    @property
    def shown(self) -> tuple[int | None, bool, str | None]:
        """What an answer shows of it."""
        return self.opened, self.is_muted, self.pinned

    def changed(self, etag: str | None, **changes: Any) -> "State":
        """With *changes*, and with a new tag."""
        known = {self.etag} if self.etag else set()
        return replace(self, etag=etag, stale=self.stale | known, **changes)

    def has_tag(self, etag: str) -> bool | None:
        """Whether it has this tag; None where nobody knows."""
        if etag in self.stale:
            return False
        return None if self.etag is None else self.etag == etag

    def read(self, text: str) -> int | None:
        """When the message was read."""
        return dict(self.messages)[text]

    def has(self, text: str) -> bool:
        """Whether there is the message."""
        return any(text == known for known, _ in self.messages)


def could_be(operations: Sequence[Operation]) -> bool:
    """Whether there is an order in which a plain conversation, new at first, answers all *operations* as they were."""
    ordered = sorted(
        (replace(operation, is_beside=_is_beside(operation, operations)) for operation in operations),
        key=lambda operation: operation.began,
    )
    everything = sum(1 << number for number, operation in enumerate(ordered) if operation.status)
    seen: set[tuple[int, State]] = set()
    stack = [(0, State())]
    while stack:
        done, state = stack.pop()
        if done & everything == everything:
            return True
        if (done, state) in seen:
            continue
        seen.add((done, state))
        assert len(seen) < _MOST_STEPS, "The history is too long to be searched"
        waiting = [number for number in range(len(ordered)) if not done >> number & 1]
        # Whatever begins after another has ended, comes after it.
        first_end = min(ordered[number].ended for number in waiting)
        for number in waiting:
            if ordered[number].began <= first_end:
                stack += [(done | 1 << number, after) for after in _carried_out(state, ordered[number])]
    return False


def _is_beside(operation: Operation, others: Sequence[Operation]) -> bool:
    deletions = [other for other in others if other is not operation and other.kind.startswith("delete")]
    return any(
        other.began <= operation.ended and operation.began <= other.ended and other.given in ((), operation.given)
        for other in deletions
    )


def _carried_out(state: State, operation: Operation) -> list[State]:
    """What there may be after *operation*, if it could be answered as it was; nothing if not."""
    allowed = _EFFECTS[operation.kind](state, operation)
    return [after for status, after in allowed if operation.status in (0, status)]


Allowed = list[tuple[int, State]]


def _retrieve(state: State, operation: Operation) -> Allowed:
    if not state.exists:
        return [(404, state)]
    if operation.status == 200 and (state.shown != operation.shown or state.has_tag(str(operation.etag)) is False):
        return []
    # From now on its tag is known.
    return [(200, replace(state, etag=operation.etag or state.etag))]


def _update(state: State, operation: Operation) -> Allowed:
    opened, is_muted, pinned = operation.given
    if not state.exists:
        return [(404, state)]
    is_met = True if operation.match is None else state.has_tag(operation.match)
    allowed: Allowed = [] if is_met else [(412, state)]
    if is_met is False:
        return allowed
    if pinned is not None and not state.has(pinned):
        return [*allowed, (400, state)]
    after = state.changed(
        operation.etag,
        opened=state.opened if opened is None else opened,
        is_muted=state.is_muted if is_muted is None else is_muted,
        pinned=state.pinned if pinned is None else pinned,
    )
    if operation.status != 200 or (after.shown == operation.shown and operation.etag not in after.stale):
        allowed.append((200, after))
    return allowed


def _send(state: State, operation: Operation) -> Allowed:
    (text,) = operation.given
    if text in state.sent:
        # The same key came before.
        return [(201, state)]
    if not state.exists:
        return [(404, state)]
    return [(201, state.changed(None, messages=state.messages | {(text, None)}, sent=state.sent | {text}))]


def _list(state: State, operation: Operation) -> Allowed:
    if not state.exists:
        return [(404, state)]
    return [(200, state)] if operation.status != 200 or state.messages == operation.shown else []


def _mark(state: State, operation: Operation) -> Allowed:
    text, read = operation.given
    if not state.has(text):
        return [(404, state)]
    kept = {message for message in state.messages if message[0] != text}
    return [(200, replace(state, messages=frozenset(kept | {(text, read)})))]


def _delete_message(state: State, operation: Operation) -> Allowed:
    (text,) = operation.given
    if not state.has(text):
        # Who asks while somebody else deletes it has what was asked for.
        return [(404, state), (204, state)] if operation.is_beside else [(404, state)]
    kept = frozenset(message for message in state.messages if message[0] != text)
    if state.pinned == text:
        return [(204, state.changed(None, messages=kept, pinned=None))]
    return [(204, replace(state, messages=kept))]


def _delete(state: State, operation: Operation) -> Allowed:
    if not state.exists:
        return [(404, state)]
    is_met = True if operation.match is None else state.has_tag(operation.match)
    gone = replace(state, exists=False, messages=frozenset())
    return ([] if is_met else [(412, state)]) + ([] if is_met is False else [(204, gone)])


_EFFECTS = {
    "retrieve": _retrieve,
    "update": _update,
    "send": _send,
    "list": _list,
    "mark": _mark,
    "delete message": _delete_message,
    "delete": _delete,
}
