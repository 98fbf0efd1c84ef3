"""Short loads: every response is the model's, and everything acknowledged is found and delivered."""

from tests.load.chat import Chat
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


def test_users_who_write_to_each_other_get_every_message_in_order(stack: Stack) -> None:
    chat = Chat(stack, 2)
    chat.run(10)
    result = chat.result()
    assert result["failures"] == []
    assert result["delivered"] == result["sent"] >= 4
