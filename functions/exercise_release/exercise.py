"""What a synthetic user does to find out whether the versions of a release are good."""

import json
import os
import time

from aws_lambda_powertools import Logger
from coherent import ids
from coherent.storage import rows
from synthetic_user import BadVersion, SyntheticUser, expect

USER_ENDPOINTS = [
    *("list_conversations", "create_conversation", "retrieve_conversation", "update_conversation"),
    *("delete_conversation", "list_messages", "create_message", "retrieve_message", "update_message", "delete_message"),
    *("list_inbox", "retrieve_inbox_entry", "update_inbox_entry", "count_unread", "list_changes"),
    *("list_webhooks", "create_webhook", "retrieve_webhook", "update_webhook", "delete_webhook", "create_redelivery"),
]
# Only one exercise runs at a time, so its user is constant: it deletes what a killed exercise has left behind.
_USER_ID = "release-test"
# For each of two clean-ups, which make two calls or more.
_CLEANING_SECONDS = 30

logger = Logger()


def are_good(seconds: float) -> bool:
    """Calls every new version and returns whether all are good. Takes at most *seconds*. Leaves no conversation."""
    _clean_up()
    user = SyntheticUser(_USER_ID, seconds - 2 * _CLEANING_SECONDS)
    try:
        _exercise(user)
    except Exception:
        logger.exception("A new version is bad; suspects are the functions called last", extra={"called": user.called})
        _clean_up()
        return False
    return True


def _exercise(user: SyntheticUser) -> None:
    """Raises if a version is bad. Each write is followed by a read, so a failure names at most three suspects."""
    rejection = {"type": "invalid_request", "documentation_url": f"{os.environ['DOCUMENTATION_URL']}/invalid_request"}
    user.call("retrieve_docs", 200)
    for endpoint in USER_ENDPOINTS:
        user.call(endpoint, 401, rejection, id=ids.new(time.time_ns()), is_anonymous=True)
    rejected = user.call("create_conversation", 400, rejection, body={"contact_id": 1})
    expect(rejected["message"].startswith("contact_id: must be "), f"response {rejected}")

    # A new one for each exercise: keys and events are remembered for a day.
    contact, key = {"contact_id": "harry"}, ids.new(time.time_ns())
    conversation = user.call("create_conversation", 201, contact, body=contact, key=key)
    replayed = conversation | {"Idempotent-Replayed": "true"}
    user.call("create_conversation", 201, replayed, body=contact, key=key)
    id = conversation["id"]
    user.await_list("list_conversations", "id", [id])
    user.call("retrieve_conversation", 200, conversation, id=id)
    user.call("update_conversation", 200, {"is_pinned": True}, id=id, body={"is_pinned": True})
    user.await_list("list_conversations", "id", [id], pinned="true")

    _exercise_feed(user, conversation)
    _exercise_webhooks(user, rejection)

    sent = {"conversation_id": id, "message": "Merry Christmas, Harry"}
    message = user.call("create_message", 201, sent, body=sent)
    # All messages: this list reads the GSI in which the next calls find the message.
    user.await_list("list_messages", "id", [message["id"]])
    user.call("retrieve_message", 200, message, id=message["id"])
    user.call("update_message", 200, {"read_at": 1}, id=message["id"], body={"read_at": 1})
    user.call("retrieve_message", 200, {"read_at": 1}, id=message["id"])
    received = sent | {"message": "Keep the change", "contact_id": "harry", "user_id": user.id}
    user.invoke("receive_message", {"id": f"{key}-received", "detail": received})
    user.await_list("list_messages", "message", [received["message"], sent["message"]], conversation_id=id)

    _exercise_inbox(user, id, message["id"])
    pinned = {"pinned_message_id": message["id"]}
    user.call("update_conversation", 200, pinned, id=id, body=pinned)
    user.call("retrieve_conversation", 200, pinned, id=id)
    user.call("delete_message", 204, id=message["id"])
    user.call("retrieve_message", 404, rejection, id=message["id"])
    user.call("retrieve_conversation", 200, {"pinned_message_id": None}, id=id)
    user.call("delete_conversation", 204, id=id)
    user.call("retrieve_conversation", 404, rejection, id=id)
    user.await_list("list_conversations", "id", [])
    user.await_list("list_messages", "id", [])
    removed = {"Keys": {"user_id": {"S": user.id}, "id": {"S": id}}, "SequenceNumber": "1"}
    record = {"eventName": "REMOVE", "eventSource": "aws:dynamodb", "dynamodb": removed}
    response = user.invoke("purge_messages", {"Records": [record]})
    expect(response == {"batchItemFailures": []}, f"response {response}")
    # A sweep ends after 250 s at the latest, well within the hook's timeout.
    response = user.invoke("sweep_purges", {"detail-type": "Scheduled Event", "detail": {}})
    expect(response is None, f"response {response}")
    # An order that was applied before: the delivery looks for the orders of its pair, and finds none.
    order = {"user_conversation": {"S": "deliver#00"}, "id": {"S": f"{'0' * 32}#{message['id']}#0000000001"}}
    record = {"eventName": "INSERT", "eventSource": "aws:dynamodb", "dynamodb": {"Keys": order, "SequenceNumber": "2"}}
    for function, event in {"deliver_messages": {"Records": [record]}, "sweep_deliveries": {}}.items():
        response = user.invoke(function, event)
        expect(response is None, f"response {response}")


def _exercise_feed(user: SyntheticUser, conversation: dict[str, object]) -> None:
    """Publishes the creation of *conversation*, which the stream publishes too, with the same id of the event."""
    try:
        head = str(user.call("list_changes", 200)["head"])
    except BadVersion:
        # With Changes=false.
        user.call("list_changes", 404)
        return
    flags = {"is_archived": False, "is_pinned": False, "is_muted": False}
    known = {name: conversation[name] for name in ("id", "contact_id", "created_at")}
    row = rows.values({"user_id": user.id, "version": 1} | flags | known)
    created = {"ApproximateCreationDateTime": conversation["created_at"], "NewImage": row}
    response = user.invoke("publish_changes", {"Records": [{"eventName": "INSERT", "dynamodb": created}]})
    expect(response is None, f"response {response}")
    found = user.call("list_changes", 200, query={"starting_after": head, "limit": "100"})["data"]
    expect(known["id"] in [change["id"] for change in found], f"changes {found}")


def _exercise_webhooks(user: SyntheticUser, rejection: dict[str, str]) -> None:
    """Makes only writes that are rejected: a webhook would get the events of all users."""
    absent = ids.new(time.time_ns())
    user.call("list_webhooks", 200, {"has_more": False})
    rejected = user.call("create_webhook", 400, rejection, body={"url": "http://example.com"})
    expect("url: must begin with https://" in rejected["message"], f"response {rejected}")
    user.call("retrieve_webhook", 404, rejection, id=absent)
    user.call("update_webhook", 404, rejection, id=absent, body={"is_enabled": False})
    user.call("delete_webhook", 404, rejection, id=absent)
    rejected = user.call("create_redelivery", 400, rejection, id=absent, body={"from": 2, "to": 1})
    expect(rejected["message"].startswith("from: must be less than to"), f"response {rejected}")
    # An event for a webhook that does not exist is dropped.
    attributes = {"SentTimestamp": str(int(time.time() * 1000)), "ApproximateReceiveCount": "1"}
    body = json.dumps({"webhook_id": absent, "event": {"id": "0"}})
    message = {"messageId": "1", "receiptHandle": "1", "body": body, "attributes": attributes}
    response = user.invoke("deliver_webhook", {"Records": [message]})
    expect(response == {"batchItemFailures": []}, f"response {response}")


def _exercise_inbox(user: SyntheticUser, conversation_id: str, read_id: str) -> None:
    response = user.invoke("sweep_inbox", {})
    expect(response is None, f"response {response}")
    try:
        user.call("list_inbox", 200)
    except BadVersion:
        # The rows of an earlier release are being prepared.
        user.call("list_inbox", 503, {"Retry-After": "60"})
        return
    user.await_list("list_inbox", "unread_count", [1], unread="true")
    user.call("retrieve_inbox_entry", 200, {"unread_count": 1, "read_up_to": None}, id=conversation_id)
    marks = {"read_up_to": read_id, "is_unread": True}
    user.call("update_inbox_entry", 200, {"unread_count": 1} | marks, id=conversation_id, body=marks)
    user.call("retrieve_inbox_entry", 200, marks, id=conversation_id)
    user.call("count_unread", 200, {"conversations": 1, "messages": 1, "has_more": False})


def _clean_up() -> None:
    """Deletes the user's conversations, with the versions behind the alias `live`, which are known to be good."""
    try:
        user = SyntheticUser(_USER_ID, _CLEANING_SECONDS, alias="live")
        for conversation in user.call("list_conversations", 200)["data"]:
            user.call("delete_conversation", 204, id=conversation["id"])
    except Exception:
        logger.exception("A conversation of the synthetic user was not deleted", extra={"user": _USER_ID})
