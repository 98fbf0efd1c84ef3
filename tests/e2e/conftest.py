"""The stack and two of its users, for the end-to-end tests."""

from collections.abc import Callable, Iterator
from typing import Protocol

import pytest

from tests.stack import Client, Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack of this test run, empty at first, gone afterwards."""
    stack = Stack(tmp_path_factory.mktemp("stack"))
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def kevin(stack: Stack) -> Iterator[Client]:
    """A user who owns nothing yet."""
    yield from _without_conversations(stack.client("kevin"))


@pytest.fixture
def harry(stack: Stack) -> Iterator[Client]:
    """Another one."""
    yield from _without_conversations(stack.client("harry"))


class Attacked(Protocol):
    """Records what an attack came to."""

    def __call__(self, risk: str, attack: str, outcome: str, attempts: int | None = None) -> None:
        """*risk* is of the OWASP API Security Top 10 of 2023; *attempts* says how many there were, if several."""


@pytest.fixture
def attacked(record_property: Callable[[str, object], None]) -> Attacked:
    """Has the report of this run tell of an attack: to be called last, when nothing can fail any more."""

    def record(risk: str, attack: str, outcome: str, attempts: int | None = None) -> None:
        for name, value in (("risk", risk), ("attack", attack), ("outcome", outcome), ("attempts", attempts)):
            if value is not None:
                record_property(name, value)

    return record


def _without_conversations(client: Client) -> Iterator[Client]:
    yield client
    for conversation in client.list(limit=100)["data"]:
        response = client.send("DELETE", f"/conversations/{conversation['id']}")
        assert response.status_code == 204, response.text
