"""Many users at once: each gets every answer as it has to be, and finds all that was acknowledged."""

from tests.load.load import Load
from tests.stack import Stack

CALLS = {
    f"{verb}_{noun}" for noun in ("conversation", "message") for verb in ("create", "retrieve", "update", "delete")
} | {"list_conversations", "list_messages"}


def test_all_that_is_acknowledged_to_many_users_is_kept_and_found(stack: Stack) -> None:
    load = Load(stack.port, 4)
    load.run(12)
    load.verify()
    found = load.found()
    assert found["first_faults"] == []
    assert found["calls"].keys() == CALLS
    assert found["writes"] > 20
    assert found["counts"]["events met"] == found["counts"]["events"] > 0
