"""CodeDeploy pre-traffic hook: exercises a release once, and reports the verdict for each of its functions."""

import hashlib
import json
import os
import time
from contextlib import closing
from typing import Any

import exercise
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError
from coherent import deadline
from coherent.storage import client, dynamodb, rows

# Reserved at the end for the verdict and the report to CodeDeploy.
REPORTING_SECONDS = 60
# As long as CodeDeploy waits for a hook.
VERDICT_SECONDS = 60 * 60

logger = Logger()
tables = dynamodb.connect()
sqs: Any = client.connect("sqs")


def verdict(release: str) -> str:
    """Returns the status of *release* for CodeDeploy: as it is recorded, or as an exercise finds it and records it."""
    key = rows.values({"user_id": f"release#{release}", "id": "verdict"})
    now = int(time.time())
    recorded = tables.client.get_item(TableName=tables.conversations, Key=key, ConsistentRead=True).get("Item")
    # TTL deletion may be days late.
    if recorded and int(recorded["expires_at"]["N"]) > now:
        return recorded["status"]["S"]
    status = "Succeeded" if exercise.are_good(deadline.seconds_left() - REPORTING_SECONDS) else "Failed"
    try:
        tables.client.put_item(
            TableName=tables.conversations,
            Item=key | rows.values({"status": status, "expires_at": int(time.time()) + VERDICT_SECONDS}),
            ConditionExpression=f"{rows.IS_NEW} OR expires_at <= :now",
            ExpressionAttributeValues=rows.values({":now": now}),
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except tables.client.exceptions.ConditionalCheckFailedException as error:
        # The first verdict counts. This one was recorded by an attempt without a response, or by another invocation.
        (first,) = rows.conflicting_rows(error)
        status = first["status"]["S"] if first else status
    return status


def report(hook: dict[str, str], status: str) -> None:
    """Reports *status* to CodeDeploy. Raises `errors.Unavailable` if it may be reported again."""
    try:
        codedeploy: Any = client.connect("codedeploy")
        with closing(codedeploy), dynamodb.translate_errors():
            codedeploy.put_lifecycle_event_hook_execution_status(
                deploymentId=hook["DeploymentId"],
                lifecycleEventHookExecutionId=hook["LifecycleEventHookExecutionId"],
                status=status,
            )
    except ClientError:
        # Another report would be rejected too, and meanwhile the other hooks would wait. The deployment was stopped, or
        # this invocation repeats one whose report arrived.
        logger.warning("CodeDeploy rejected a report", exc_info=True, extra={"deployment": hook["DeploymentId"]})


def handler(event: dict[str, Any], context: LambdaContext) -> None:
    versions = sorted(variable for variable in os.environ.items() if variable[0].startswith("VERSION_"))
    release = hashlib.sha256(json.dumps(versions).encode()).hexdigest()
    with deadline.within(context):
        if "Records" not in event:
            # From CodeDeploy, which invokes the hook for all functions of a release at the same time.
            body = json.dumps({"release": release, "hook": event})
            sqs.send_message(QueueUrl=os.environ["RELEASE_HOOKS_URL"], MessageBody=body, MessageGroupId="release")
            return
        for record in event["Records"]:
            waiting = json.loads(record["body"])
            # After a rollback, this invocation does not know the versions of the release that was rolled back.
            report(waiting["hook"], verdict(release) if waiting["release"] == release else "Failed")
