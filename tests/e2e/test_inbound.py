"""First messages from anybody, through the bus and the FIFO queue, and `distinct`, in the deployed stack."""

import json
from functools import partial
from typing import Any

from tests.stack import Client, Stack, wait_until


def send(stack: Stack, client: Client, contact_id: str, text: str, **more: object) -> None:
    """Sends a message to *client* into the inbound queue."""
    stack.aws("sqs").send_message(
        QueueUrl=stack.outputs()["InboundQueueUrl"],
        MessageBody=json.dumps({"user_id": client.user_id, "contact_id": contact_id, "message": text, **more}),
        MessageGroupId=f"{client.user_id}-{contact_id}",
        MessageDeduplicationId=f"{contact_id}-{text[:50]}",
    )


def with_contact(client: Client, contact_id: str) -> list[dict[str, Any]]:
    """Returns the conversations with *contact_id*."""
    found: list[dict[str, Any]] = client.list(limit="100")["data"]
    return [conversation for conversation in found if conversation["contact_id"] == contact_id]


def texts(client: Client, contact_id: str) -> list[str]:
    """Returns the texts of the newest conversation with *contact_id*, oldest first."""
    conversations = with_contact(client, contact_id)
    if not conversations:
        return []
    messages = client.messages(conversation_id=conversations[0]["id"], limit="100")["data"]
    return [message["message"] for message in reversed(messages)]


def test_messages_of_the_queue_arrive_in_order_and_begin_a_conversation(stack: Stack, kevin: Client) -> None:
    sent = [str(number) for number in range(12)]
    for text in sent:
        send(stack, kevin, "marley", text)
    send(stack, kevin, "marley", "0")
    assert wait_until(lambda: texts(kevin, "marley") == sent)
    (conversation,) = with_contact(kevin, "marley")
    entry = kevin.send("GET", f"/inbox/{conversation['id']}").json()
    assert (entry["unread_count"], entry["last_message"]["message"]) == (12, "11")


def test_first_event_begins_a_conversation_that_distinct_finds(stack: Stack, kevin: Client) -> None:
    for text in ("hello", "hello again"):
        stack.publish({"user_id": kevin.user_id, "contact_id": "bob", "message": text})
        assert wait_until(partial(lambda text: text in texts(kevin, "bob"), text))
    (conversation,) = with_contact(kevin, "bob")
    found = kevin.send("POST", "/conversations", json={"contact_id": "bob", "distinct": True})
    assert (found.status_code, found.json()["id"]) == (200, conversation["id"])
    kevin.send("DELETE", f"/conversations/{conversation['id']}")
    created = kevin.send("POST", "/conversations", json={"contact_id": "bob", "distinct": True})
    assert (created.status_code, created.json()["id"] != conversation["id"]) == (201, True)


def is_empty(stack: Stack) -> bool:
    """Returns whether the inbound queue has no messages, nor any that are being received."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    url = stack.outputs()["InboundQueueUrl"]
    attributes = stack.aws("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return all(attributes[name] == "0" for name in names)


def test_message_of_a_blocked_contact_is_accepted_and_not_delivered(stack: Stack, kevin: Client) -> None:
    conversation, other = kevin.create(contact_id="cliff"), kevin.create(contact_id="cliff", group_id="friends")
    path, other_path = f"/inbox/{conversation['id']}", f"/inbox/{other['id']}"
    blocked = kevin.send("PUT", path, json={"is_blocked": True}, headers={"If-Match": '"1"'})
    assert (blocked.status_code, blocked.headers["ETag"]) == (200, '"1000000000000002"')
    assert [found["is_blocked"] for found in kevin.inbox()["data"]] == [True, True]
    send(stack, kevin, "cliff", "blocked")
    assert wait_until(lambda: is_empty(stack))
    stale = kevin.send("PUT", other_path, json={"is_blocked": False}, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    tag = kevin.send("GET", other_path).headers["ETag"]
    unblocked = kevin.send("PUT", other_path, json={"is_blocked": False}, headers={"If-Match": tag})
    assert (unblocked.status_code, unblocked.json()["is_blocked"]) == (200, False)
    send(stack, kevin, "cliff", "delivered")
    assert wait_until(lambda: kevin.messages()["data"] != [])
    assert [message["message"] for message in kevin.messages()["data"]] == ["delivered"]


def test_malformed_message_of_the_queue_becomes_a_dead_letter(stack: Stack, kevin: Client) -> None:
    send(stack, kevin, "buzz", "x" * 10_001)
    send(stack, kevin, "buzz", "short")
    assert wait_until(lambda: texts(kevin, "buzz") == ["short"])
    (dead_letter,) = stack.take_dead_letters(1)
    assert dead_letter["reason"].startswith("message: must be 1 to 10,000")
    assert dead_letter["event"]["detail"]["contact_id"] == "buzz"
