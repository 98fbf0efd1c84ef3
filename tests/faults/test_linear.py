"""The checker of histories accepts what one conversation can respond, and rejects what it cannot."""

import math

import pytest

from tests.faults.linear import Operation, is_linearizable


def update(opened: int, began: float, ended: float, etag: str, match: str | None = None) -> Operation:
    return Operation("update", (opened, None, None), began, ended, 200, (opened, False, None), etag, match)


def retrieve(opened: int | None, began: float, ended: float, etag: str) -> Operation:
    return Operation("retrieve", (), began, ended, 200, (opened, False, None), etag)


def send(text: str, began: float, ended: float = math.inf, status: int = 201) -> Operation:
    return Operation("send", (text,), began, ended, status)


def listed(*texts: str, began: float, ended: float) -> Operation:
    return Operation("list", (), began, ended, 200, frozenset((text, None) for text in texts))


def delete(began: float, ended: float, status: int = 204) -> Operation:
    return Operation("delete", (), began, ended, status)


def delete_message(text: str, began: float, ended: float) -> Operation:
    return Operation("delete message", (text,), began, ended, 204)


UNANSWERED = send("a", 0, status=0)
POSSIBLE = {
    "sequential": [update(1, 0, 1, '"2"'), retrieve(1, 2, 3, '"2"')],
    "concurrent_read_before": [update(1, 0, 3, '"2"'), retrieve(None, 1, 2, '"1"')],
    "concurrent_read_after": [update(1, 0, 3, '"2"'), retrieve(1, 1, 2, '"2"')],
    "unanswered_and_applied": [UNANSWERED, listed("a", began=1, ended=2)],
    "unanswered_and_not_applied": [UNANSWERED, listed(began=1, ended=2)],
    "unanswered_and_applied_later": [UNANSWERED, listed(began=1, ended=2), listed("a", began=3, ended=4)],
    "retry_with_the_same_key": [UNANSWERED, send("a", 1, 2), listed("a", began=3, ended=4)],
    "concurrent_deletions_of_a_message": [send("a", 0, 1), delete_message("a", 2, 5), delete_message("a", 3, 4)],
    "concurrent_deletions": [delete(0, 3), delete(1, 2, 404)],
    "condition_met": [update(1, 0, 1, '"2"'), update(2, 2, 3, '"3"', '"2"')],
}
IMPOSSIBLE = {
    "lost_update": [update(1, 0, 1, '"2"'), retrieve(None, 2, 3, '"1"')],
    "condition_not_met": [update(1, 0, 3, '"2"', '"1"'), update(2, 0, 3, '"3"', '"1"')],
    "stale_etag": [update(1, 0, 1, '"2"'), update(2, 2, 3, '"2"')],
    "lost_message": [send("a", 0, 1), listed(began=2, ended=3)],
    "unanswered_and_lost_later": [UNANSWERED, listed("a", began=1, ended=2), listed(began=3, ended=4)],
    "message_never_sent": [listed("a", began=0, ended=1)],
    "read_after_deletion": [delete(0, 1), retrieve(None, 2, 3, '"1"')],
    "deletion_of_a_message_never_sent": [delete_message("a", 0, 1)],
    "two_deletions_of_a_message": [send("a", 0, 1), delete_message("a", 2, 3), delete_message("a", 4, 5)],
    "two_deletions": [delete(0, 1), delete(2, 3)],
    "send_after_deletion": [delete(0, 1), send("a", 2, 3)],
    "read_before_send": [listed("a", began=0, ended=1), send("a", 2, 3)],
}


@pytest.mark.parametrize("operations", POSSIBLE.values(), ids=POSSIBLE)
def test_possible_history_is_accepted(operations: list[Operation]) -> None:
    assert is_linearizable(operations)


@pytest.mark.parametrize("operations", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_impossible_history_is_rejected(operations: list[Operation]) -> None:
    assert not is_linearizable(operations)
