"""Fixtures of the attacks: a recorder for the report, and users to attack."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.security.attacks import RecordAttack, Victim
from tests.stack import Client, Stack


@pytest.fixture
def record_attack(record_property: Callable[[str, object], None]) -> RecordAttack:
    """Adds an attack to the JUnit report, from which `make faults` writes its page."""

    def record(risk: str, attack: str, outcome: str, attempts: int | None = None) -> None:
        for name, value in (("risk", risk), ("attack", attack), ("outcome", outcome), ("attempts", attempts)):
            if value is not None:
                record_property(name, value)

    return record


@pytest.fixture
def conversation(kevin: Client) -> dict[str, Any]:
    """A conversation of kevin with a pinned message."""
    created = kevin.create(contact_id="harry", group_id="friends")
    message = kevin.send_message(created)
    return kevin.update(created, pinned_message_id=message["id"])


@pytest.fixture(scope="module")
def _victim(stack: Stack) -> Iterator[Victim]:
    kate, marv = stack.client("kate"), stack.client("marv")
    conversation, marvs = kate.create(contact_id="marv", group_id="friends"), marv.create(group_id="friends")
    message = kate.send_message(conversation)
    marv.send_message(marvs)
    yield Victim(kate, kate.update(conversation, pinned_message_id=message["id"]), message, marv, marvs)
    for client in (kate, marv):
        client.delete_conversations()


@pytest.fixture
def victim(stack: Stack, _victim: Victim) -> Victim:
    """A user to attack. The tests of a module share it, because none of them may change anything."""
    ids = {row["id"]["S"] for row in stack.user_rows(_victim.user)}
    assert {_victim.conversation["id"], _victim.message["id"]} <= ids, "an earlier attack deleted the victim's rows"
    return _victim
