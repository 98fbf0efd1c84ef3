"""A short load: every response is the model's, and everything acknowledged is found."""

from tests.load.load import Load
from tests.stack import Stack

FUNCTIONS = {
    f"{verb}_{noun}" for noun in ("conversation", "message") for verb in ("create", "retrieve", "update", "delete")
} | {"list_conversations", "list_messages", "list_inbox", "retrieve_inbox_entry", "update_inbox_entry", "count_unread"}


def test_load_keeps_all_acknowledged_writes(stack: Stack) -> None:
    load = Load(stack, 4)
    # Long enough for each user's first actions: one of each kind.
    load.run(25)
    load.verify()
    assert load.failures == []
    assert load.functions().keys() == FUNCTIONS
    result = load.result()
    assert result["writes"] > 20
    assert result["events"] > 0
