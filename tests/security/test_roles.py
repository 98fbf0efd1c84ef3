"""API5: the roles of the functions allow only what each function needs: simulated."""

import json
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pytest

from tests.grants import (
    BY_ACTIVITY,
    BY_USER,
    CHANGES,
    CODEDEPLOY_GRANTS,
    COMMON_GRANTS,
    CONVERSATIONS,
    DEAD_LETTERS,
    GRANTS,
    HOOK,
    INBOUND,
    KEY_GRANTS,
    MAPPING,
    MASTER_KEY,
    MESSAGES,
    RELEASE_HOOKS,
    WEBHOOKS,
)
from tests.security.attacks import FUNCTION_AUTHORIZATION, RecordAttack
from tests.stack import Stack
from tests.template import OTHERS, named, of_type
from tools.local.environment import REGION

if TYPE_CHECKING:
    from collections.abc import Mapping

ACCOUNT = "123456789012"
SUFFIX = "ExecutionRole"

# Actions and resources by service. Resources are named as in the template; "Other..." is not part of the stack.
ATTEMPTS: dict[str, tuple[list[str], list[str]]] = {
    "dynamodb": (
        [
            *("GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan", "BatchGetItem", "BatchWriteItem"),
            *("ConditionCheckItem", "PartiQLSelect", "PartiQLInsert", "PartiQLUpdate", "PartiQLDelete"),
            *("DescribeTable", "CreateTable", "UpdateTable", "DeleteTable", "ListTables", "TagResource"),
            *("UpdateTimeToLive", "UpdateContinuousBackups", "CreateBackup", "DeleteBackup", "RestoreTableFromBackup"),
            *("RestoreTableToPointInTime", "ExportTableToPointInTime", "ImportTable", "PutResourcePolicy"),
            *(
                "DeleteResourcePolicy",
                "UpdateTableReplicaAutoScaling",
                "UpdateContributorInsights",
                "CreateGlobalTable",
            ),
            *("EnableKinesisStreamingDestination", "GetRecords", "GetShardIterator", "DescribeStream", "ListStreams"),
        ],
        [
            *(CONVERSATIONS, f"{CONVERSATIONS}/index/by_flags", f"{CONVERSATIONS}/index/by_group", *BY_ACTIVITY),
            *(f"{CONVERSATIONS}/stream/2026-11-25T00:00:00.000", MESSAGES, BY_USER, f"{MESSAGES}/stream/2026"),
            *(
                f"{MESSAGES}/index/other",
                "OtherTable.Arn",
                "OtherTable.Arn/index/by_user",
                "OtherTable.Arn/stream/2026",
            ),
            *(CHANGES, f"{CHANGES}/index/by_time", f"{MESSAGES}/backup/1", "*"),
        ],
    ),
    "sqs": (
        [
            *("SendMessage", "ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "PurgeQueue"),
            *("DeleteQueue", "CreateQueue"),
            *("SetQueueAttributes", "GetQueueAttributes", "AddPermission", "StartMessageMoveTask", "ListQueues"),
        ],
        [DEAD_LETTERS, INBOUND, RELEASE_HOOKS, WEBHOOKS, "OtherQueue.Arn", "*"],
    ),
    "lambda": (
        [
            *("InvokeFunction", "InvokeAsync", "InvokeFunctionUrl", "CreateFunction", "DeleteFunction", "GetFunction"),
            *("UpdateFunctionCode", "UpdateFunctionConfiguration", "PublishVersion", "UpdateAlias", "GetAlias"),
            *("AddPermission", "RemovePermission", "CreateFunctionUrlConfig", "AddLayerVersionPermission"),
            *("CreateEventSourceMapping", "UpdateEventSourceMapping", "PutFunctionConcurrency", "GetLayerVersion"),
            *("GetProvisionedConcurrencyConfig", "PutFunctionEventInvokeConfig", "ListFunctions"),
        ],
        [
            *("ListConversations.Arn", "ListConversations.Arn:live", "ListConversations.Version"),
            *("PurgeMessages.Arn", "PurgeMessages.Arn:live", "PurgeMessages.Version", f"{HOOK}.Arn", "Other.Arn", "*"),
            *(MAPPING, f"arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:other"),
        ],
    ),
    "logs": (
        [
            *("CreateLogStream", "PutLogEvents", "CreateLogGroup", "DeleteLogGroup", "DeleteLogStream", "GetLogEvents"),
            *("FilterLogEvents", "StartQuery", "PutRetentionPolicy", "PutSubscriptionFilter", "PutResourcePolicy"),
            *("AssociateKmsKey", "DescribeLogGroups", "CreateExportTask", "PutMetricFilter", "DeleteMetricFilter"),
        ],
        ["FunctionLogs.Arn", "AccessLogs.Arn", "OtherLogs.Arn", "*"],
    ),
    "iam": (
        [
            *("PassRole", "CreateUser", "CreateAccessKey", "CreateRole", "PutRolePolicy", "AttachRolePolicy"),
            *("UpdateAssumeRolePolicy", "CreatePolicyVersion", "DeleteRolePermissionsBoundary", "GetRole", "ListRoles"),
            *("CreateServiceLinkedRole", "PutUserPolicy", "AddUserToGroup", "CreateLoginProfile"),
        ],
        ["*", f"arn:aws:iam::{ACCOUNT}:role/conversations-CountUnread{SUFFIX}", f"arn:aws:iam::{ACCOUNT}:user/other"],
    ),
    "sts": (
        ["AssumeRole", "AssumeRoleWithWebIdentity", "GetFederationToken", "GetSessionToken", "TagSession"],
        ["*", f"arn:aws:iam::{ACCOUNT}:role/Admin"],
    ),
    "cognito-idp": (
        [
            *("AdminCreateUser", "AdminSetUserPassword", "AdminInitiateAuth", "AdminGetUser", "ListUsers"),
            *(
                "ListUserPoolClients",
                "DescribeUserPoolClient",
                "CreateUserPoolClient",
                "UpdateUserPool",
                "DeleteUserPool",
            ),
        ],
        [OTHERS["UserPoolArn"], f"arn:aws:cognito-idp:{REGION}:{ACCOUNT}:userpool/other", "*"],
    ),
    "kms": (
        [
            *("Decrypt", "Encrypt", "GenerateDataKey", "DescribeKey", "ReEncryptFrom", "ReEncryptTo", "CreateGrant"),
            *("PutKeyPolicy", "ScheduleKeyDeletion", "DisableKey", "CreateKey"),
        ],
        [OTHERS["KmsKeyArn"], f"arn:aws:kms:{REGION}:{ACCOUNT}:key/other", "*"],
    ),
    "s3": (
        ["GetObject", "PutObject", "DeleteObject", "ListBucket", "ListAllMyBuckets", "PutBucketPolicy"],
        ["arn:aws:s3:::other", "arn:aws:s3:::other/key", "*"],
    ),
    "secretsmanager": (
        ["GetSecretValue", "ListSecrets", "PutSecretValue"],
        [f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:x", "*"],
    ),
    "ssm": (
        ["GetParameter", "GetParametersByPath", "PutParameter", "DeleteParameter", "SendCommand", "StartSession"],
        [MASTER_KEY, f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/other", "*"],
    ),
    "events": (
        ["PutEvents", "PutRule", "PutTargets", "DeleteRule", "DisableRule", "PutPermission"],
        [f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/delivery", f"arn:aws:events:{REGION}:{ACCOUNT}:rule/x", "*"],
    ),
    "xray": (
        ["PutTelemetryRecords", "PutTraceSegments", "GetTraceSummaries", "BatchGetTraces", "PutEncryptionConfig"],
        ["*"],
    ),
    "codedeploy": (
        [
            *("PutLifecycleEventHookExecutionStatus", "CreateDeployment", "StopDeployment", "UpdateDeploymentGroup"),
            *("DeleteApplication", "RegisterApplicationRevision"),
        ],
        [
            *(
                f"arn:aws:codedeploy:{REGION}:{ACCOUNT}:deploymentgroup:{name}/x"
                for name in ("conversations-ServerlessDeploymentApplication-1", "other")
            ),
            "*",
        ],
    ),
    "cloudwatch": (["DescribeAlarms", "PutMetricData", "PutMetricAlarm", "DeleteAlarms", "DisableAlarmActions"], ["*"]),
    "cloudformation": (["DescribeStacks", "UpdateStack", "DeleteStack", "CreateStack", "GetTemplate"], ["*"]),
    "apigateway": (["GET", "PUT", "POST", "PATCH", "DELETE"], [f"arn:aws:apigateway:{REGION}::/restapis/x", "*"]),
    "execute-api": (["Invoke", "InvalidateCache"], ["*"]),
    "sns": (["Publish", "Subscribe", "DeleteTopic"], ["*"]),
    "ec2": (["RunInstances", "DescribeInstances", "CreateNetworkInterface"], ["*"]),
    "bedrock": (["InvokeModel"], ["*"]),
}
PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::StackName": "conversations",
    "AWS::URLSuffix": "amazonaws.com",
}


def arn_of(name: str) -> str:
    """Returns the ARN of a resource of the template."""
    for pseudo, value in PSEUDO.items():
        name = name.replace(pseudo, value)
    logical, dot, rest = name.partition(".")
    if not dot or name.startswith("arn:"):
        return name
    rest = rest.replace("Version", ":1").removeprefix("Arn")
    if logical.endswith("Table"):
        return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{logical}{rest}"
    if logical.endswith("Logs"):
        return f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{logical}:*"
    if logical.endswith(("Letters", "Queue", "Hooks")):
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{logical}"
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{logical}{rest}"


def with_arns(part: Any) -> Any:
    """Returns *part* of a policy with references resolved to ARNs."""
    if isinstance(part, dict):
        return {
            name: arn_of(named(value)) if _is_reference(value) else with_arns(value) for name, value in part.items()
        }
    if isinstance(part, list):
        return [arn_of(named(element)) if _is_reference(element) else with_arns(element) for element in part]
    return part


def _is_reference(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in ("Ref", "Fn::GetAtt", "Fn::Sub")


def expected_grants(role: str) -> dict[str, set[str]]:
    """Returns the ARN patterns on which *role* may perform each action."""
    grants: Mapping[str, set[str]] = CODEDEPLOY_GRANTS
    if role.endswith(SUFFIX):
        grants = GRANTS[role.removesuffix(SUFFIX)] | COMMON_GRANTS
    return {action: {arn_of(pattern) for pattern in patterns} for action, patterns in grants.items()}


@pytest.mark.parametrize("role", sorted([f"{function}{SUFFIX}" for function in GRANTS] + ["DeploymentRole"]))
def test_simulated_role_allows_only_what_the_function_needs(
    role: str, stack: Stack, record_attack: RecordAttack
) -> None:
    iam, grants = stack.aws("iam"), expected_grants(role)
    policies = of_type("others", "IAM::Role")[role]["Policies"]
    documents = [json.dumps(with_arns(policy["PolicyDocument"])) for policy in policies]
    assert "AWS::" not in "".join(documents)
    attempts, allowed = 0, []
    for service, (names, resources) in ATTEMPTS.items():
        actions = [f"{service}:{name}" for name in names]
        for arn in map(arn_of, resources):
            results = iam.simulate_custom_policy(PolicyInputList=documents, ActionNames=actions, ResourceArns=[arn])
            for action, result in zip(actions, results["EvaluationResults"], strict=True):
                is_allowed = result["EvalDecision"] == "allowed"
                assert is_allowed == any(fnmatchcase(arn, pattern) for pattern in grants.get(action, ())), (action, arn)
                allowed += [action] * is_allowed
                attempts += 1
    # The attempts include every action that the role needs.
    assert set(allowed) == grants.keys()
    # Functions use the customer's KMS key only through DynamoDB and SQS.
    assert not KEY_GRANTS.keys() & set(allowed)
    attack = f"{role}: actions of {len(ATTEMPTS)} services on resources of this stack and of others, simulated"
    record_attack(FUNCTION_AUTHORIZATION, attack, f"denied except for the {len(allowed)} that it needs", attempts)
