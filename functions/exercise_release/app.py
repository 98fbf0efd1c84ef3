"""CodeDeploy pre-traffic hook: exercises the new version of every function as a synthetic user."""

import os
import time
from contextlib import closing, suppress

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config
from coherent import ids
from synthetic_user import SyntheticUser, expect, session

USER_ENDPOINTS = [
    *("list_conversations", "create_conversation", "retrieve_conversation", "update_conversation"),
    *("delete_conversation", "list_messages", "create_message", "retrieve_message", "update_message", "delete_message"),
]
# Reserved at the end: two clean-up calls, and three attempts to report to CodeDeploy.
CLEANING_SECONDS = 30
REPORTING_SECONDS = 60

logger = Logger()


def exercise(user: SyntheticUser) -> None:
    """Raises if a version is bad. Each write is followed by a read, so a failure names at most three suspects."""
    rejection = {"type": "invalid_request", "documentation_url": f"{os.environ['DOCUMENTATION_URL']}/invalid_request"}
    user.call("retrieve_docs", 200)
    for endpoint in USER_ENDPOINTS:
        user.call(endpoint, 401, rejection, id=ids.new(time.time_ns()), is_anonymous=True)
    rejected = user.call("create_conversation", 400, rejection, body={"contact_id": 1})
    expect(rejected["message"].startswith("contact_id: must be "), f"response {rejected}")

    contact = {"contact_id": "harry"}
    conversation = user.call("create_conversation", 201, contact, body=contact, key=user.id)
    replayed = conversation | {"Idempotent-Replayed": "true"}
    user.call("create_conversation", 201, replayed, body=contact, key=user.id)
    id = conversation["id"]
    user.await_list("list_conversations", "id", [id])
    user.call("retrieve_conversation", 200, conversation, id=id)
    user.call("update_conversation", 200, {"is_pinned": True}, id=id, body={"is_pinned": True})
    user.await_list("list_conversations", "id", [id], pinned="true")

    sent = {"conversation_id": id, "message": "Merry Christmas, Harry"}
    message = user.call("create_message", 201, sent, body=sent)
    # All messages: this list reads the GSI in which the next calls find the message.
    user.await_list("list_messages", "id", [message["id"]])
    user.call("retrieve_message", 200, message, id=message["id"])
    user.call("update_message", 200, {"read_at": 1}, id=message["id"], body={"read_at": 1})
    user.call("retrieve_message", 200, {"read_at": 1}, id=message["id"])
    received = sent | {"message": "Keep the change", "contact_id": "harry", "user_id": user.id}
    user.invoke("receive_message", {"id": f"{user.id}-received", "detail": received})
    user.await_list("list_messages", "message", [received["message"], sent["message"]], conversation_id=id)

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


def clean_up(user: SyntheticUser) -> None:
    """Deletes the remaining conversations of the user."""
    try:
        for conversation in user.call("list_conversations", 200)["data"]:
            user.call("delete_conversation", 204, id=conversation["id"])
    except Exception:
        logger.exception("A conversation of the synthetic user was not deleted", extra={"user": user.id})


def report(event: dict[str, str], status: str) -> None:
    """Reports *status* to CodeDeploy. Ignores 'already reported', which retries can cause."""
    config = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
    client = session.create_client("codedeploy", config=config)
    with closing(client), suppress(client.exceptions.LifecycleEventAlreadyCompletedException):
        client.put_lifecycle_event_hook_execution_status(
            deploymentId=event["DeploymentId"],
            lifecycleEventHookExecutionId=event["LifecycleEventHookExecutionId"],
            status=status,
        )


def handler(event: dict[str, str], context: LambdaContext) -> None:
    id, seconds = f"release-test-{ids.new(time.time_ns())}", context.get_remaining_time_in_millis() / 1000
    user = SyntheticUser(id, seconds - CLEANING_SECONDS - REPORTING_SECONDS)
    try:
        exercise(user)
    except Exception:
        logger.exception(
            "A new version is bad; suspects are the functions called last", extra={"called": user.called, "user": id}
        )
        # Uses the versions behind the alias `live`, which are known to be good.
        clean_up(SyntheticUser(id, CLEANING_SECONDS, alias="live"))
        report(event, "Failed")
    else:
        report(event, "Succeeded")
