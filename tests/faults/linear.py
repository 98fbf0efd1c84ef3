"""Checks whether the responses for one conversation could come from requests that were executed one after the other.

The search is that of Wing and Gong (1993), with Lowe's cache of visited states (2017). A request with a response took
effect at one moment between its beginning and its end; one without a response took effect then or never, and its end
may be infinite. `tests/model.py` defines the effects and the responses.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.faults.fixtures import execute
from tests.model import Model, Resource

_MAX_STATES = 300_000


class Operation(NamedTuple):
    """A call of the model's method *function*, which began at *began*, and its response at *ended*.

    *status* is 0 if there was none. The times of the clock in *body* are 0.
    """

    function: str
    given: Mapping[str, Any]
    began: float
    ended: float = math.inf
    status: int = 0
    body: Any = None
    etag: str | None = None

    def overlaps(self, other: "Operation") -> bool:
        """Returns whether both could have been executed at the same time."""
        return self is not other and self.began <= other.ended and other.began <= self.ended


def is_linearizable(conversation: Resource, operations: Sequence[Operation]) -> bool:
    """Returns whether an order of *operations* on a new *conversation* explains all responses."""
    ordered = sorted(operations, key=lambda operation: operation.began)
    ids = {message["message"]: message["id"] for operation in operations for message in _messages(operation)}
    # Sets of operations are bits of a number.
    required = sum(1 << number for number, operation in enumerate(ordered) if operation.status)
    visited: set[tuple[int, str]] = set()
    stack = [(0, Model(conversations={conversation["id"]: conversation}, versions={conversation["id"]: 1}))]
    while stack:
        done, model = stack.pop()
        if done & required == required:
            return True
        state = (done, repr((model.conversations, model.messages, model.versions, sorted(model.marks.items()))))
        if state in visited:
            continue
        visited.add(state)
        assert len(visited) < _MAX_STATES, "The history is too long for the search"
        pending = [number for number in range(len(ordered)) if not done >> number & 1]
        # If one operation begins after another one has ended, it comes after it.
        first_end = min(ordered[number].ended for number in pending if ordered[number].status)
        last_begin = ordered[done.bit_length() - 1].began if done else -math.inf
        for number in pending:
            if ordered[number].began <= first_end and last_begin <= ordered[number].ended:
                after = _copy(model)
                if _could_respond(after, ordered[number], ids, operations):
                    stack.append((done | 1 << number, after))
    return False


def _messages(operation: Operation) -> Iterable[Resource]:
    if operation.function == "create_message" and operation.status == 201:
        return [operation.body]
    if operation.function.endswith("inbox_entry") and operation.status == 200:
        return [operation.body["last_message"]] if operation.body["last_message"] else []
    return operation.body["data"] if operation.function == "list_messages" and operation.status == 200 else []


def _copy(model: Model) -> Model:
    return dataclasses.replace(
        model,
        conversations={id: dict(resource) for id, resource in model.conversations.items()},
        messages={id: dict(resource) for id, resource in model.messages.items()},
        versions=dict(model.versions),
        marks=dict(model.marks),
        first_requests=dict(model.first_requests),
        deleted_conversations=[],
        deleted_messages=[],
    )


def _could_respond(model: Model, operation: Operation, ids: Mapping[str, str], operations: Sequence[Operation]) -> bool:
    """Executes *operation* in *model*, and returns whether its response is possible."""
    text = operation.given.get("detail", operation.given.get("body", {})).get("message", "")
    # An id that no response has shown sorts after the ids of all stored messages.
    unknown = f"{max(model.versions)} {text}"
    if operation.function == "receive_message" and model.conversation_for(operation.given["detail"]) is None:
        # It begins another conversation.
        return True
    response = execute(model, operation.function, operation.given, ids.get(text, unknown))
    if operation.function == "receive_message":
        return True
    if operation.status in (0, response.status):
        shown = (response.body, response.headers.get("ETag"))
        return not operation.status or shown == (operation.body, operation.etag)
    # If another request deletes a message at the same time, both may succeed.
    return (operation.function, operation.status, response.status) == ("delete_message", 204, 404) and any(
        operation.overlaps(other) and other.function.startswith("delete") and _deletes(other, operation)
        for other in operations
    )


def _deletes(deletion: Operation, other: Operation) -> bool:
    return deletion.function == "delete_conversation" or deletion.given == other.given
