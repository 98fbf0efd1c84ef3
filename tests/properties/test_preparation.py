"""The preparation of the inbox: after any sequence of writes by the earlier and this release, every entry is right."""

import itertools
import time
from typing import ClassVar

import pytest
from coherent import errors
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests import tables
from tests.handlers import list_messages
from tests.release.test_preparation import (
    THIS,
    Release,
    begin,
    begin_preparation,
    check_inbox,
    earlier,
    is_finished,
    sweep,
)
from tests.wire import Wire

__all__ = ["earlier"]

# Mostly the first one: the newest message.
PLACES = st.sampled_from([0, 0, 0, 1, 2, 3])


class _KilledError(BaseException):
    """Lambda stops the sweep."""


def _conversation(place: int) -> str | None:
    return _nth([row["id"]["S"] for row in tables.conversations()], place)


def _nth(found: list[str], place: int) -> str | None:
    return found[place % len(found)] if found else None


def write(release: Release, operation: str, conversation: str | None, message_place: int) -> None:
    """Writes as a user or a contact does, if there is something to write to."""
    if operation == "create" or conversation is None:
        release.call("create_conversation", contact_id="harry")
        return
    messages = list_messages(conversation_id=conversation)
    message = _nth([each["id"] for each in messages], message_place)
    own = _nth([each["id"] for each in messages if each["contact"] is None], message_place)
    if operation == "send":
        release.call("create_message", conversation_id=conversation, message="hello")
    elif operation == "receive":
        release.receive(conversation)
    elif operation == "edit" and own:
        release.call("update_message", own, message=f"changed at {time.time_ns()}")
    elif operation == "delete" and message:
        release.call("delete_message", message)
    elif operation == "pin" and message:
        release.call("update_conversation", conversation, pinned_message_id=message)
    elif operation == "open":
        release.call("update_conversation", conversation, last_opened_at=int(time.time()) * (message_place % 2))
    elif operation == "archive":
        release.call("update_conversation", conversation, archived_at=1)
    elif operation == "delete conversation":
        release.call("delete_conversation", conversation)


OPERATIONS = st.sampled_from(
    [
        "create",
        "send",
        "receive",
        "receive",
        "edit",
        "delete",
        "delete",
        "pin",
        "open",
        "archive",
        "delete conversation",
    ]
)


class Preparation(RuleBasedStateMachine):
    """One user, whose client is served by both releases until the preparation begins, and then by this one."""

    earlier: ClassVar[Release]
    wire: ClassVar[Wire]

    def __init__(self) -> None:
        """Starts with empty tables."""
        super().__init__()
        begin()
        self._is_earlier_gone = False

    @initialize(places=st.lists(st.tuples(OPERATIONS, PLACES, PLACES), min_size=5, max_size=10))
    def use_earlier_release(self, places: list[tuple[str, int, int]]) -> None:
        """Makes conversations and messages, most of them after the first sweep."""
        self.earlier.call("create_conversation", contact_id="harry")
        begin_preparation()
        for operation, place, message_place in places:
            write(self.earlier, operation, _conversation(place), message_place)

    @rule(is_earlier=st.booleans(), operation=OPERATIONS, place=PLACES, message_place=PLACES)
    def write(self, is_earlier: bool, operation: str, place: int, message_place: int) -> None:
        """Writes with one of the releases."""
        release = self.earlier if is_earlier and not self._is_earlier_gone else THIS
        write(release, operation, _conversation(place), message_place)

    @rule(operation=OPERATIONS, place=PLACES, message_place=PLACES)
    def write_during_a_sweep(self, operation: str, place: int, message_place: int) -> None:
        """Writes with this release, and sweeps between its reads and its transaction."""
        self._is_earlier_gone = True
        self.wire.before("TransactWriteItems", sweep)
        write(THIS, operation, _conversation(place), message_place)
        self.wire.fault = None

    @rule(
        writes=st.lists(st.none() | st.tuples(OPERATIONS, PLACES), max_size=20),
        killed_after=st.none() | st.integers(1, 30),
    )
    def prepare(self, writes: list[tuple[str, int] | None], killed_after: int | None) -> None:
        """Sweeps. Before each request for a conversation a client may write to that, and Lambda may stop the sweep."""
        self._is_earlier_gone = True
        left = iter(writes)
        numbers = itertools.count()

        def fault(_request: object) -> None:
            # The conversations that still exist.
            ids = [row["id"]["S"] for row in tables.conversations()]
            conversation = next((id for id in ids if id in str(self.wire.bodies[-1])), None)
            if conversation is None:
                return
            if next(numbers) == killed_after:
                raise _KilledError
            if drawn := next(left, None):
                self.wire.fault = None
                write(THIS, drawn[0], conversation, drawn[1])
                self.wire.fault = fault

        self.wire.fault = fault
        try:
            sweep()
        except (_KilledError, errors.Unavailable):
            pass
        finally:
            self.wire.fault = None

    def teardown(self) -> None:
        """Finishes the preparation, and compares every entry with its conversation and messages."""
        sweep()
        assert is_finished()
        check_inbox()


@pytest.mark.usefixtures("tables", "no_backoff")
def test_every_entry_is_right_after_any_writes_of_both_releases(earlier: Release, wire: Wire) -> None:
    Preparation.earlier, Preparation.wire = earlier, wire
    run_state_machine_as_test(Preparation, settings=settings(max_examples=8, stateful_step_count=20, deadline=None))
