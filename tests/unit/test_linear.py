"""The checker of histories accepts what one conversation can respond, and rejects what it cannot."""

import copy
import math
from typing import Any

import pytest

from tests.faults.fixtures import CLOCK
from tests.faults.linear import Operation, is_linearizable
from tests.model import Model, Resource

_model = Model()
CONVERSATION: Resource = copy.deepcopy(_model.create_conversation({"contact_id": "harry"}, "conversation", 0).body)
_BODY = {"conversation_id": "conversation", "message": "hello"}
MESSAGE: Resource = _model.create_message(_BODY, "message", CLOCK).body


def update(opened: int, began: float, ended: float, etag: str, match: str | None = None) -> Operation:
    given: dict[str, Any] = {"id": "conversation", "body": {"last_opened_at": opened}, "if_match": match}
    return Operation("update_conversation", given, began, ended, 200, CONVERSATION | given["body"], etag)


def retrieve(opened: int | None, began: float, ended: float, etag: str) -> Operation:
    shown = CONVERSATION | {"last_opened_at": opened}
    return Operation("retrieve_conversation", {"id": "conversation"}, began, ended, 200, shown, etag)


def send(began: float, ended: float) -> Operation:
    given = {"body": _BODY, "key": "once"}
    return Operation("create_message", given, began, ended, 201, MESSAGE, '"1"')


def listed(*messages: Resource, began: float, ended: float) -> Operation:
    given = {"query": {"conversation_id": "conversation"}}
    return Operation("list_messages", given, began, ended, 200, {"has_more": False, "data": list(messages)})


def delete(began: float, ended: float) -> Operation:
    return Operation("delete_conversation", {"id": "conversation"}, began, ended, 204)


def delete_message(began: float, ended: float) -> Operation:
    return Operation("delete_message", {"id": "message"}, began, ended, 204)


def receive(began: float, ended: float, status: int = 200) -> Operation:
    detail = {"conversation_id": "conversation", "contact_id": "harry", "message": "keep the change"}
    return Operation("receive_message", {"detail": detail, "event_id": "once"}, began, ended, status)


def entry(began: float, ended: float, unread: int, *, version: int, **changes: object) -> Operation:
    """Returns a request for the entry after one event, or its update if there are *changes*."""
    model = Model()
    model.create_conversation({"contact_id": "harry"}, "conversation", 0)
    detail = receive(0, 0).given["detail"]
    model.receive_message(detail, "received", CLOCK, "once")
    shown = model.update_inbox_entry("conversation", changes, CLOCK).body | {"unread_count": unread}
    given: dict[str, Any] = {"id": "conversation"} | ({"body": changes} if changes else {})
    function = "update_inbox_entry" if changes else "retrieve_inbox_entry"
    return Operation(function, given, began, ended, 200, shown, f'"{version}"')


READ = {"read_up_to": "received"}
NOT_FOUND = Model().retrieve_conversation("conversation")
UNANSWERED = Operation("create_message", {"body": _BODY, "key": "once"}, 0, math.inf)
POSSIBLE = {
    "sequential": [update(1, 0, 1, '"2"'), retrieve(1, 2, 3, '"2"')],
    "concurrent_read_before": [update(1, 0, 3, '"2"'), retrieve(None, 1, 2, '"1"')],
    "concurrent_read_after": [update(1, 0, 3, '"2"'), retrieve(1, 1, 2, '"2"')],
    "unanswered_and_applied": [UNANSWERED, listed(MESSAGE, began=1, ended=2)],
    "unanswered_and_not_applied": [UNANSWERED, listed(began=1, ended=2)],
    "unanswered_and_applied_later": [UNANSWERED, listed(began=1, ended=2), listed(MESSAGE, began=3, ended=4)],
    "bounded_and_applied": [UNANSWERED._replace(ended=2), listed(MESSAGE, began=3, ended=4)],
    "bounded_and_not_applied": [UNANSWERED._replace(ended=2), listed(began=3, ended=4)],
    "retry_with_the_same_key": [UNANSWERED, send(1, 2), listed(MESSAGE, began=3, ended=4)],
    "concurrent_deletions_of_a_message": [send(0, 1), delete_message(2, 5), delete_message(3, 4)],
    "concurrent_deletions": [delete(0, 3), delete(1, 2)._replace(status=404, body=NOT_FOUND.body)],
    "condition_met": [update(1, 0, 1, '"2"'), update(2, 2, 3, '"3"', '"2"')],
    "event_counted": [receive(0, 1), entry(2, 3, 1, version=2)],
    "event_of_unknown_outcome_counted": [receive(0, math.inf, 0), entry(2, 3, 1, version=2)],
    "event_read": [receive(0, 1), entry(2, 3, 1, version=2), entry(4, 5, 0, version=3, **READ)],
}
IMPOSSIBLE = {
    "event_not_counted": [receive(0, 1), entry(2, 3, 0, version=2)],
    "event_counted_twice": [receive(0, 1), receive(2, 3), entry(4, 5, 2, version=2)],
    "event_read_and_unread": [receive(0, 1), entry(2, 3, 0, version=3, **READ), entry(4, 5, 1, version=3)],
    "mark_with_a_stale_etag": [receive(0, 1), entry(2, 3, 0, version=2, **READ)],
    "lost_update": [update(1, 0, 1, '"2"'), retrieve(None, 2, 3, '"1"')],
    "condition_not_met": [update(1, 0, 3, '"2"', '"1"'), update(2, 0, 3, '"3"', '"1"')],
    "stale_etag": [update(1, 0, 1, '"2"'), update(2, 2, 3, '"2"')],
    "lost_message": [send(0, 1), listed(began=2, ended=3)],
    "unanswered_and_lost_later": [UNANSWERED, listed(MESSAGE, began=1, ended=2), listed(began=3, ended=4)],
    "bounded_and_applied_later": [
        UNANSWERED._replace(ended=2),
        listed(began=3, ended=4),
        listed(MESSAGE, began=5, ended=6),
    ],
    "message_never_sent": [listed(MESSAGE, began=0, ended=1)],
    "duplicate_message": [send(0, 1), listed(MESSAGE, MESSAGE | {"id": "another"}, began=2, ended=3)],
    "read_after_deletion": [delete(0, 1), retrieve(None, 2, 3, '"1"')],
    "deletion_of_a_message_never_sent": [delete_message(0, 1)],
    "two_deletions_of_a_message": [send(0, 1), delete_message(2, 3), delete_message(4, 5)],
    "two_deletions": [delete(0, 1), delete(2, 3)],
    "send_after_deletion": [delete(0, 1), send(2, 3)],
    "read_before_send": [listed(MESSAGE, began=0, ended=1), send(2, 3)],
}


@pytest.mark.parametrize("operations", POSSIBLE.values(), ids=POSSIBLE)
def test_possible_history_is_accepted(operations: list[Operation]) -> None:
    assert is_linearizable(CONVERSATION, operations)


@pytest.mark.parametrize("operations", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_impossible_history_is_rejected(operations: list[Operation]) -> None:
    assert not is_linearizable(CONVERSATION, operations)
