"""Delivery between two users of the deployed stack, who sign in."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.stack import Client, Stack, wait_until

# A message must arrive within this time.
_SECONDS = 5


@pytest.fixture
def conversation(kevin: Client, harry: Client) -> dict[str, Any]:
    """Kevin's conversation with harry."""
    return kevin.create(contact_id=harry.user_id)


def texts(client: Client) -> list[str]:
    return [message["message"] for message in reversed(client.messages(limit=100)["data"])]


def wait_for(expected: Callable[[], object]) -> None:
    """Waits for *expected* to be true."""
    started = time.monotonic()
    assert wait_until(expected)
    assert time.monotonic() - started < _SECONDS


def test_message_is_in_the_other_users_inbox_within_seconds(
    kevin: Client, harry: Client, conversation: dict[str, Any]
) -> None:
    sent = kevin.send_message(conversation, "Keep the change.", attachments=["https://example.com/a.png"])
    wait_for(lambda: harry.inbox()["data"])
    (entry,) = harry.inbox()["data"]
    assert entry["conversation"]["contact_id"] == kevin.user_id
    assert entry["last_message"]["message"] == "Keep the change."
    assert entry["unread_count"] == 1
    (copy,) = harry.messages()["data"]
    same = ("message", "attachments", "created_at")
    assert {name: copy[name] for name in same} == {name: sent[name] for name in same}
    assert copy["contact"] == {"id": kevin.user_id}
    # The reply arrives in the conversation that kevin has begun.
    harry.send_message(entry["conversation"], "you filthy animal")
    wait_for(lambda: len(kevin.messages()["data"]) == 2)
    assert {message["conversation_id"] for message in kevin.messages()["data"]} == {conversation["id"]}


def test_messages_keep_the_order_of_sending(kevin: Client, harry: Client, conversation: dict[str, Any]) -> None:
    sent = [kevin.send_message(conversation, str(number))["message"] for number in range(20)]
    assert wait_until(lambda: len(harry.messages(limit=100)["data"]) == len(sent))
    assert texts(harry) == sent


def test_edits_reactions_and_deletion_for_everyone_follow(
    kevin: Client, harry: Client, conversation: dict[str, Any]
) -> None:
    first, second = kevin.send_message(conversation, "frist"), kevin.send_message(conversation, "second")
    wait_for(lambda: texts(harry) == ["frist", "second"])
    kevin.send("PUT", f"/messages/{first['id']}", json={"message": "first"})
    wait_for(lambda: texts(harry) == ["first", "second"])
    copy = harry.messages()["data"][0]
    harry.send("PUT", f"/messages/{copy['id']}", json={"reactions": [{"reaction": "heart", "contact_id": None}]})
    reaction = {"reaction": "heart", "contact_id": harry.user_id}
    wait_for(lambda: kevin.messages()["data"][0]["reactions"] == [reaction])
    assert kevin.send("DELETE", f"/messages/{second['id']}?for=everyone").status_code == 204
    wait_for(lambda: texts(harry) == ["first"])
    assert texts(kevin) == ["first"]


def test_blocked_sender_gets_the_usual_responses(
    stack: Stack, kevin: Client, harry: Client, conversation: dict[str, Any]
) -> None:
    kevin.send_message(conversation, "before")
    wait_for(lambda: texts(harry) == ["before"])
    (entry,) = harry.inbox()["data"]
    assert harry.mark(entry["conversation"], is_blocked=True)["is_blocked"]
    kevin.send_message(conversation, "while blocked")
    wait_for(lambda: stack.orders() == [])
    harry.mark(entry["conversation"], is_blocked=False)
    kevin.send_message(conversation, "after")
    wait_for(lambda: texts(harry) == ["before", "after"])
    assert texts(kevin) == ["before", "while blocked", "after"]


def test_sweep_delivers_what_the_stream_has_missed(
    stack: Stack, kevin: Client, harry: Client, conversation: dict[str, Any]
) -> None:
    functions = stack.aws("lambda")
    function = stack.function_name("SweepDeliveries")
    kevin.send_message(conversation, "hello")
    response = functions.invoke(FunctionName=function, Qualifier="live", Payload=b"{}")
    assert "FunctionError" not in response
    assert texts(harry) == ["hello"]
