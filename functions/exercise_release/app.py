"""CodeDeploy's pre-traffic hook: a synthetic user tries the new version of every function before any real one does."""

import os
import time
from contextlib import closing, suppress

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config
from coherent import ids
from coherent.release import SyntheticUser, expect, session

OF_USERS = [
    *("list_conversations", "create_conversation", "retrieve_conversation", "update_conversation"),
    *("delete_conversation", "list_messages", "create_message", "retrieve_message", "update_message", "delete_message"),
]
# What is kept of the hook's time: for two calls that clean up, and for three attempts to tell CodeDeploy.
CLEANING_SECONDS = 30
REPORTING_SECONDS = 60

logger = Logger()


def exercise(user: SyntheticUser) -> None:
    """Raises where a version is bad. A look at its work follows each write, so it is one of the last three called."""
    refusal = {"type": "invalid_request", "documentation_url": f"{os.environ['DOCUMENTATION_URL']}/invalid_request"}
    user.call("retrieve_docs", 200)
    for endpoint in OF_USERS:
        user.call(endpoint, 401, refusal, id=ids.new(time.time_ns()), is_stranger=True)
    refused = user.call("create_conversation", 400, refusal, body={"contact_id": 1})
    expect(refused["message"].startswith("contact_id: must be "), f"it answered {refused}")

    contact = {"contact_id": "harry"}
    conversation = user.call("create_conversation", 201, contact, body=contact, key=user.id)
    replayed = conversation | {"Idempotent-Replayed": "true"}
    user.call("create_conversation", 201, replayed, body=contact, key=user.id)
    id = conversation["id"]
    user.await_list("list_conversations", "id", [id])
    user.call("retrieve_conversation", 200, conversation, id=id)
    user.call("update_conversation", 200, {"is_pinned": True}, id=id, body={"is_pinned": True})
    user.await_list("list_conversations", "id", [id], pinned="true")

    said = {"conversation_id": id, "message": "Merry Christmas, Harry"}
    message = user.call("create_message", 201, said, body=said)
    # Of all the user's, so of the index by which a message is found from now on.
    user.await_list("list_messages", "id", [message["id"]])
    user.call("retrieve_message", 200, message, id=message["id"])
    user.call("update_message", 200, {"read_at": 1}, id=message["id"], body={"read_at": 1})
    user.call("retrieve_message", 200, {"read_at": 1}, id=message["id"])
    heard = said | {"message": "Keep the change", "contact_id": "harry", "user_id": user.id}
    user.invoke("receive_message", {"id": f"{user.id}-received", "detail": heard})
    user.await_list("list_messages", "message", [heard["message"], said["message"]], conversation_id=id)

    pinned = {"pinned_message_id": message["id"]}
    user.call("update_conversation", 200, pinned, id=id, body=pinned)
    user.call("retrieve_conversation", 200, pinned, id=id)
    user.call("delete_message", 204, id=message["id"])
    user.call("retrieve_message", 404, refusal, id=message["id"])
    user.call("retrieve_conversation", 200, {"pinned_message_id": None}, id=id)
    user.call("delete_conversation", 204, id=id)
    user.call("retrieve_conversation", 404, refusal, id=id)
    user.await_list("list_conversations", "id", [])
    user.await_list("list_messages", "id", [])
    removed = {"Keys": {"user_id": {"S": user.id}, "id": {"S": id}}, "SequenceNumber": "1"}
    record = {"eventName": "REMOVE", "eventSource": "aws:dynamodb", "dynamodb": removed}
    answer = user.invoke("purge_messages", {"Records": [record]})
    expect(answer == {"batchItemFailures": []}, f"it answered {answer}")
    # It takes up to 250 s where there is much to delete, and then ends by itself: the hook has the time to see it.
    answer = user.invoke("sweep_purges", {"detail-type": "Scheduled Event", "detail": {}})
    expect(answer is None, f"it answered {answer}")


def clean_up(user: SyntheticUser) -> None:
    """Deletes what conversations the user has left."""
    try:
        for conversation in user.call("list_conversations", 200)["data"]:
            user.call("delete_conversation", 204, id=conversation["id"])
    except Exception:
        logger.exception("A conversation of the synthetic user stays", extra={"user": user.id})


def report(event: dict[str, str], status: str) -> None:
    """Tells CodeDeploy *status*, unless it knows one: botocore and Lambda may both repeat what has been done."""
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
        logger.exception("A new version is bad: one of those called last", extra={"called": user.called, "user": id})
        # By the versions that serve real users, which are known to be good.
        clean_up(SyntheticUser(id, CLEANING_SECONDS, alias="live"))
        report(event, "Failed")
    else:
        report(event, "Succeeded")
