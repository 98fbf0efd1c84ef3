"""The checker of histories knows what a plain conversation can answer and what it cannot."""

import pytest

from tests.faults.linear import Operation, could_be


def update(opened: int, began: float, ended: float, etag: str, match: str | None = None) -> Operation:
    return Operation("update", (opened, None, None), began, ended, 200, (opened, False, None), etag, match)


def retrieve(opened: int | None, began: float, ended: float, etag: str) -> Operation:
    return Operation("retrieve", (), began, ended, 200, (opened, False, None), etag)


def send(text: str, began: float, ended: float = float("inf"), status: int = 201) -> Operation:
    return Operation("send", (text,), began, ended, status)


def listed(*texts: str, began: float, ended: float) -> Operation:
    return Operation("list", (), began, ended, 200, frozenset((text, None) for text in texts))


def delete(began: float, ended: float, status: int = 204) -> Operation:
    return Operation("delete", (), began, ended, status)


CAN_BE = {
    "one after the other": [update(1, 0, 1, '"2"'), retrieve(1, 2, 3, '"2"')],
    "a look at the same time, before": [update(1, 0, 3, '"2"'), retrieve(None, 1, 2, '"1"')],
    "a look at the same time, after": [update(1, 0, 3, '"2"'), retrieve(1, 1, 2, '"2"')],
    "sent without an answer, and there": [send("a", 0, status=0), listed("a", began=1, ended=2)],
    "sent without an answer, and not there": [send("a", 0, status=0), listed(began=1, ended=2)],
    "sent without an answer, and there later": [
        send("a", 0, status=0),
        listed(began=1, ended=2),
        listed("a", began=3, ended=4),
    ],
    "sent twice by the same key": [send("a", 0, status=0), send("a", 1, 2), listed("a", began=3, ended=4)],
    "a message deleted by both at once": [
        send("a", 0, 1),
        Operation("delete message", ("a",), 2, 5, 204),
        Operation("delete message", ("a",), 3, 4, 204),
    ],
    "of two deletions one": [delete(0, 3), delete(1, 2, 404)],
    "only what had not changed": [update(1, 0, 1, '"2"'), update(2, 2, 3, '"3"', '"2"')],
}
CANNOT_BE = {
    "a lost update": [update(1, 0, 1, '"2"'), retrieve(None, 2, 3, '"1"')],
    "an update of what had changed": [update(1, 0, 3, '"2"', '"1"'), update(2, 0, 3, '"3"', '"1"')],
    "a stale tag for something new": [update(1, 0, 1, '"2"'), update(2, 2, 3, '"2"')],
    "what was there is there no more": [send("a", 0, 1), listed(began=2, ended=3)],
    "what was not there any more is there": [
        send("a", 0, status=0),
        listed("a", began=1, ended=2),
        listed(began=3, ended=4),
    ],
    "a message that nobody sent": [listed("a", began=0, ended=1)],
    "a ghost": [delete(0, 1), retrieve(None, 2, 3, '"1"')],
    "a message deleted that was not there": [
        Operation("delete message", ("a",), 0, 1, 204),
    ],
    "a message deleted twice": [
        send("a", 0, 1),
        Operation("delete message", ("a",), 2, 3, 204),
        Operation("delete message", ("a",), 4, 5, 204),
    ],
    "two deletions": [delete(0, 1), delete(2, 3)],
    "sent into what was deleted": [delete(0, 1), send("a", 2, 3)],
    "seen before it was sent": [listed("a", began=0, ended=1), send("a", 2, 3)],
}


@pytest.mark.parametrize("operations", CAN_BE.values(), ids=[name.replace(" ", "_") for name in CAN_BE])
def test_what_can_be(operations: list[Operation]) -> None:
    assert could_be(operations)


@pytest.mark.parametrize("operations", CANNOT_BE.values(), ids=[name.replace(" ", "_") for name in CANNOT_BE])
def test_what_cannot_be(operations: list[Operation]) -> None:
    assert not could_be(operations)
