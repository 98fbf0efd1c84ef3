"""Checks whether the responses for one conversation could come from requests that were executed one after the other.

The search is that of Wing and Gong (1993), with Lowe's cache of visited states (2017). A request with a response took
effect at one moment between its beginning and its end; one without a response, at any moment after its beginning or
never.

The specification is here and not in `tests/model.py`: the search needs immutable states, and ETags that may be unknown.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

_MAX_STATES = 300_000


class Operation(NamedTuple):
    """A request that began at *began*, and its response at *ended*: *status* (0 if there was none), *shown*, *etag*.

    *given* are the request's arguments, *match* is its If-Match.
    """

    kind: str
    given: tuple[Any, ...]
    began: float
    ended: float = math.inf
    status: int = 0
    shown: Any = None
    etag: str | None = None
    match: str | None = None
    # Whether another request, which deletes the same, overlaps it.
    overlaps_deletion: bool = False


@dataclass(frozen=True)
class State:
    """A conversation. `messages` are texts and `read_at`; `sent` are all texts that ever were messages.

    `etag` is None if no response has shown it; `stale` are earlier ETags.
    """

    exists: bool = True
    opened: int | None = None
    is_muted: bool = False
    pinned: str | None = None
    messages: frozenset[tuple[str, int | None]] = frozenset()
    sent: frozenset[str] = frozenset()
    etag: str | None = '"1"'
    stale: frozenset[str] = frozenset()

    @property
    def shown(self) -> tuple[int | None, bool, str | None]:
        """What a response shows."""
        return self.opened, self.is_muted, self.pinned

    def changed(self, etag: str | None, **changes: Any) -> "State":
        """Returns the state after *changes*, with a new ETag."""
        known = {self.etag} if self.etag else set()
        return replace(self, etag=etag, stale=self.stale | known, **changes)

    def matches(self, etag: str | None) -> bool | None:
        """Returns whether If-Match is met; None if that is unknown."""
        if etag is None:
            return True
        if etag in self.stale:
            return False
        return None if self.etag is None else self.etag == etag

    def has(self, text: str) -> bool:
        """Returns whether the message exists."""
        return any(text == known for known, _ in self.messages)


def is_linearizable(operations: Sequence[Operation]) -> bool:
    """Returns whether an order of *operations* on a new conversation explains all responses."""
    ordered = sorted(
        (operation._replace(overlaps_deletion=_overlaps_deletion(operation, operations)) for operation in operations),
        key=lambda operation: operation.began,
    )
    # Sets of operations are bits of a number.
    required = sum(1 << number for number, operation in enumerate(ordered) if operation.status)
    visited: set[tuple[int, State]] = set()
    stack = [(0, State())]
    while stack:
        done, state = stack.pop()
        if done & required == required:
            return True
        if (done, state) in visited:
            continue
        visited.add((done, state))
        assert len(visited) < _MAX_STATES, "The history is too long for the search"
        pending = [number for number in range(len(ordered)) if not done >> number & 1]
        # An operation that begins after another one has ended comes after it.
        first_end = min(ordered[number].ended for number in pending)
        for number in pending:
            if ordered[number].began <= first_end:
                stack += [(done | 1 << number, after) for after in _next_states(state, ordered[number])]
    return False


def _overlaps_deletion(operation: Operation, others: Sequence[Operation]) -> bool:
    deletions = [other for other in others if other is not operation and other.kind.startswith("delete")]
    return any(
        other.began <= operation.ended and operation.began <= other.ended and other.given in ((), operation.given)
        for other in deletions
    )


def _next_states(state: State, operation: Operation) -> list[State]:
    """Returns the possible states after *operation*; none if its response is impossible in *state*."""
    effects = _EFFECTS[operation.kind](state, operation)
    return [after for status, after in effects if operation.status in (0, status)]


# The possible statuses, and the state after each.
Effects = list[tuple[int, State]]


def _retrieve(state: State, operation: Operation) -> Effects:
    if not state.exists:
        return [(404, state)]
    if operation.status == 200 and (state.shown != operation.shown or state.matches(operation.etag) is False):
        return []
    # From now on, the ETag is known.
    return [(200, replace(state, etag=operation.etag or state.etag))]


def _update(state: State, operation: Operation) -> Effects:
    opened, is_muted, pinned = operation.given
    if not state.exists:
        return [(404, state)]
    is_met = state.matches(operation.match)
    effects: Effects = [] if is_met else [(412, state)]
    if is_met is False:
        return effects
    if pinned is not None and not state.has(pinned):
        return [*effects, (400, state)]
    after = state.changed(
        operation.etag,
        opened=state.opened if opened is None else opened,
        is_muted=state.is_muted if is_muted is None else is_muted,
        pinned=state.pinned if pinned is None else pinned,
    )
    if operation.status != 200 or (after.shown == operation.shown and operation.etag not in after.stale):
        effects.append((200, after))
    return effects


def _send(state: State, operation: Operation) -> Effects:
    (text,) = operation.given
    if text in state.sent:
        # A replay: each text has an idempotency key of its own.
        return [(201, state)]
    if not state.exists:
        return [(404, state)]
    return [(201, state.changed(None, messages=state.messages | {(text, None)}, sent=state.sent | {text}))]


def _list(state: State, operation: Operation) -> Effects:
    if not state.exists:
        return [(404, state)]
    return [(200, state)] if operation.status != 200 or state.messages == operation.shown else []


def _mark(state: State, operation: Operation) -> Effects:
    text, read_at = operation.given
    if not state.has(text):
        return [(404, state)]
    others = frozenset(message for message in state.messages if message[0] != text)
    return [(200, replace(state, messages=others | {(text, read_at)}))]


def _delete_message(state: State, operation: Operation) -> Effects:
    (text,) = operation.given
    if not state.has(text):
        # If another request deletes the message at the same time, both may succeed.
        return [(404, state), (204, state)] if operation.overlaps_deletion else [(404, state)]
    others = frozenset(message for message in state.messages if message[0] != text)
    if state.pinned == text:
        return [(204, state.changed(None, messages=others, pinned=None))]
    return [(204, replace(state, messages=others))]


def _delete(state: State, operation: Operation) -> Effects:
    if not state.exists:
        return [(404, state)]
    is_met = state.matches(operation.match)
    gone = replace(state, exists=False, messages=frozenset())
    return ([] if is_met else [(412, state)]) + ([] if is_met is False else [(204, gone)])


_EFFECTS: dict[str, Callable[[State, Operation], Effects]] = {
    "retrieve": _retrieve,
    "update": _update,
    "send": _send,
    "list": _list,
    "mark": _mark,
    "delete message": _delete_message,
    "delete": _delete,
}
