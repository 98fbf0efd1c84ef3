"""The roles of functions, tried for all that they should not do: simulated from the template, and in practice."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.e2e.conftest import Attacked
from tests.grants import (
    BY_USER,
    CODEDEPLOY_GRANTS,
    COMMON_GRANTS,
    CONVERSATIONS,
    DEAD_LETTERS,
    GRANTS,
    HOOK,
    KEY_GRANTS,
    MESSAGES,
)
from tests.stack import Stack
from tests.template import OTHERS, named, of_type
from tools.local import stack as deployed
from tools.local.environment import REGION, emulator_url

ROLES = "API5:2023 Broken function level authorization"
ACCOUNT = "123456789012"
SUFFIX = "ExecutionRole"
# The emulator has no CodeDeploy, so neither the hook.
DEPLOYED = sorted(GRANTS.keys() - {HOOK})

# What there is to try, and on what. Names as the template has them; "Other" is what somebody else has in the account.
TRIED: dict[str, tuple[list[str], list[str]]] = {
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
            *(CONVERSATIONS, f"{CONVERSATIONS}/index/by_flags", f"{CONVERSATIONS}/index/by_group"),
            *(f"{CONVERSATIONS}/stream/2026-11-25T00:00:00.000", MESSAGES, BY_USER, f"{MESSAGES}/stream/2026"),
            *(
                f"{MESSAGES}/index/other",
                "OtherTable.Arn",
                "OtherTable.Arn/index/by_user",
                "OtherTable.Arn/stream/2026",
            ),
            *(f"{MESSAGES}/backup/1", "*"),
        ],
    ),
    "sqs": (
        [
            *("SendMessage", "ReceiveMessage", "DeleteMessage", "PurgeQueue", "DeleteQueue", "CreateQueue"),
            *("SetQueueAttributes", "GetQueueAttributes", "AddPermission", "StartMessageMoveTask", "ListQueues"),
        ],
        [DEAD_LETTERS, "OtherQueue.Arn", "*"],
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
        ["*", f"arn:aws:iam::{ACCOUNT}:role/conversations-{DEPLOYED[0]}{SUFFIX}", f"arn:aws:iam::{ACCOUNT}:user/other"],
    ),
    "sts": (
        ["AssumeRole", "AssumeRoleWithWebIdentity", "GetFederationToken", "GetSessionToken", "TagSession"],
        ["*", f"arn:aws:iam::{ACCOUNT}:role/Admin"],
    ),
    "cognito-idp": (
        [
            *("AdminCreateUser", "AdminSetUserPassword", "AdminInitiateAuth", "AdminGetUser", "ListUsers"),
            *("DescribeUserPoolClient", "CreateUserPoolClient", "UpdateUserPool", "DeleteUserPool"),
        ],
        [OTHERS["UserPoolArn"], "*"],
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
    "ssm": (["GetParameter", "GetParametersByPath", "PutParameter", "SendCommand", "StartSession"], ["*"]),
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
    """An ARN as the resource would have that the template calls so."""
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
    if logical in ("DeadLetters", "OtherQueue"):
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{logical}"
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{logical}{rest}"


def with_arns(part: Any) -> Any:
    """*part* of a policy as CloudFormation resolves it."""
    if isinstance(part, dict):
        return {name: arn_of(named(value)) if _refers(value) else with_arns(value) for name, value in part.items()}
    if isinstance(part, list):
        return [arn_of(named(element)) if _refers(element) else with_arns(element) for element in part]
    return part


def _refers(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in ("Ref", "Fn::GetAtt", "Fn::Sub")


def expected(role: str) -> dict[str, set[str]]:
    """On what the role of that name may carry out which action, as patterns of ARNs."""
    grants: Mapping[str, set[str]] = CODEDEPLOY_GRANTS
    if role.endswith(SUFFIX):
        grants = GRANTS[role.removesuffix(SUFFIX)] | COMMON_GRANTS
    return {action: {arn_of(pattern) for pattern in patterns} for action, patterns in grants.items()}


@pytest.mark.parametrize("role", sorted([f"{function}{SUFFIX}" for function in GRANTS] + ["DeploymentRole"]))
def test_a_role_may_do_what_its_function_does_and_nothing_else(role: str, stack: Stack, attacked: Attacked) -> None:
    iam, grants = stack.aws("iam"), expected(role)
    policies = of_type("others", "IAM::Role")[role]["Policies"]
    documents = [json.dumps(with_arns(policy["PolicyDocument"])) for policy in policies]
    assert "AWS::" not in "".join(documents)
    tried, allowed = 0, []
    for service, (names, resources) in TRIED.items():
        actions = [f"{service}:{name}" for name in names]
        for arn in map(arn_of, resources):
            results = iam.simulate_custom_policy(PolicyInputList=documents, ActionNames=actions, ResourceArns=[arn])
            for action, result in zip(actions, results["EvaluationResults"], strict=True):
                may = result["EvalDecision"] == "allowed"
                assert may == any(fnmatchcase(arn, pattern) for pattern in grants.get(action, ())), (action, arn)
                allowed += [action] * may
                tried += 1
    # All that it needs was among what was tried.
    assert set(allowed) == grants.keys()
    # The team's own key they use through DynamoDB and SQS alone.
    assert not KEY_GRANTS.keys() & set(allowed)
    attack = f"{role}: actions of {len(TRIED)} services on resources of ours and of others, simulated"
    attacked(ROLES, attack, f"denied but for the {len(allowed)} that it needs", tried)


# In practice: each role's own credentials, at the emulator, which enforces IAM.


class Calls:
    """Clients that can be somebody else at any time."""

    def __init__(self, stack: Stack) -> None:
        """Nobody as yet."""
        session = boto3.Session("nobody", "nobody", "nobody", region_name=REGION)
        self._credentials: Any = session.get_credentials()
        self._session: Any = session
        self._url = emulator_url(stack.port)
        self._clients: dict[str, Any] = {}

    def become(self, given: Mapping[str, str]) -> None:
        """Whoever these credentials of STS or IAM are of."""
        self._credentials.access_key = given["AccessKeyId"]
        self._credentials.secret_key = given["SecretAccessKey"]
        self._credentials.token = given.get("SessionToken")

    def close(self) -> None:
        """Lets go of all connections."""
        for client in self._clients.values():
            client.close()

    def to(self, service: str) -> Any:
        """A client of theirs."""
        if service not in self._clients:
            config = Config(retries={"total_max_attempts": 1})
            self._clients[service] = self._session.client(service, endpoint_url=self._url, config=config)
        return self._clients[service]


class Practice(NamedTuple):
    """What is needed to try roles: clients, the ARN of each function's role, and the names of what is deployed."""

    calls: Calls
    roles: dict[str, str]
    names: dict[str, str]


@pytest.fixture(scope="module")
def practice(stack: Stack) -> Iterator[Practice]:
    """Of the stack as it is deployed."""
    listed = stack.aws("cloudformation").describe_stack_resources(StackName=deployed.NAME)["StackResources"]
    names = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in listed}
    roles = {
        function: stack.aws("iam").get_role(RoleName=names[f"{function}{SUFFIX}"])["Role"]["Arn"]
        for function in DEPLOYED
    }
    with closing(Calls(stack)) as calls:
        yield Practice(calls, roles, names)


ONE = {":one": {"N": "1"}}
EXISTS = {"ConditionExpression": "attribute_exists(id)"}
KEY = {"user_id": {"S": "nobody"}, "id": {"S": "nothing"}}
MESSAGE_KEY = {"user_conversation": {"S": "nobody#nothing"}, "id": {"S": "nothing"}}
# What is tried for each table: the action, and a call that changes nothing where it is let through.
OF_TABLES: dict[str, Callable[[Any, str, dict[str, Any], dict[str, Any]], object]] = {
    "dynamodb:GetItem": lambda client, table, key, _: client.get_item(TableName=table, Key=key),
    "dynamodb:PutItem": lambda client, table, key, exists: client.put_item(TableName=table, Item=key, **exists),
    "dynamodb:UpdateItem": lambda client, table, key, exists: client.update_item(
        TableName=table, Key=key, UpdateExpression="SET version = :one", ExpressionAttributeValues=ONE, **exists
    ),
    "dynamodb:DeleteItem": lambda client, table, key, _: client.delete_item(TableName=table, Key=key),
    "dynamodb:ConditionCheckItem": lambda client, table, key, exists: client.transact_write_items(
        TransactItems=[{"ConditionCheck": {"TableName": table, "Key": key, **exists}}]
    ),
    "dynamodb:Query": lambda client, table, key, _: client.query(
        TableName=table,
        KeyConditionExpression=f"{next(iter(key))} = :nobody",
        ExpressionAttributeValues={":nobody": {"S": "nobody"}},
    ),
    "dynamodb:BatchGetItem": lambda client, table, key, _: client.batch_get_item(RequestItems={table: {"Keys": [key]}}),
    "dynamodb:BatchWriteItem": lambda client, table, key, _: client.batch_write_item(
        RequestItems={table: [{"DeleteRequest": {"Key": key}}]}
    ),
    "dynamodb:Scan": lambda client, table, *_: client.scan(TableName=table),
    "dynamodb:PartiQLSelect": lambda client, table, *_: client.execute_statement(
        Statement=f'SELECT * FROM "{table}"'  # noqa: S608 - no parameter can stand there
    ),
    "dynamodb:PartiQLDelete": lambda client, table, key, _: client.execute_statement(
        Statement=f"DELETE FROM \"{table}\" WHERE {next(iter(key))} = 'x' AND id = 'x'"  # noqa: S608 - likewise
    ),
    "dynamodb:DescribeTable": lambda client, table, *_: client.describe_table(TableName=table),
    "dynamodb:UpdateTable": lambda client, table, *_: client.update_table(
        TableName=table, BillingMode="PAY_PER_REQUEST"
    ),
    "dynamodb:DeleteTable": lambda client, table, *_: client.delete_table(TableName=f"{table}-copy"),
    "dynamodb:CreateBackup": lambda client, table, *_: client.create_backup(TableName=table, BackupName="copy"),
    "dynamodb:DescribeContinuousBackups": lambda client, table, *_: client.describe_continuous_backups(TableName=table),
    "dynamodb:RestoreTableToPointInTime": lambda client, table, *_: client.restore_table_to_point_in_time(
        SourceTableName=f"{table}-copy", TargetTableName="copy", UseLatestRestorableTime=True
    ),
    "dynamodb:TagResource": lambda client, table, *_: client.tag_resource(
        ResourceArn=f"arn:aws:dynamodb:{REGION}:000000000000:table/{table}", Tags=[{"Key": "x", "Value": "x"}]
    ),
}
# What some may on something else: the action, its resource, and a call as above.
OF_SOME: list[tuple[str, str, Callable[[Calls, dict[str, str]], object]]] = [
    *(
        (
            "dynamodb:Query",
            f"{table}.Arn/index/{index}",
            lambda calls, names, table=table, index=index: calls.to("dynamodb").query(
                TableName=names[table],
                IndexName=index,
                KeyConditionExpression="user_id = :nobody",
                ExpressionAttributeValues={":nobody": {"S": "nobody"}},
            ),
        )
        for table, index in (("ConversationsTable", "by_flags"), ("MessagesTable", "by_user"))
    ),
    (
        "sqs:SendMessage",
        DEAD_LETTERS,
        # Without a body it is no letter.
        lambda calls, names: calls.to("sqs").send_message(QueueUrl=names["DeadLetters"], MessageBody=""),
    ),
]
# What nobody may: none of these is in a role.
OF_NOBODY: dict[str, Callable[[Calls, dict[str, str]], object]] = {
    "dynamodb:ListTables": lambda calls, _: calls.to("dynamodb").list_tables(),
    "dynamodb:CreateTable": lambda calls, _: calls.to("dynamodb").create_table(
        TableName="evil",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    ),
    "lambda:InvokeFunction": lambda calls, names: calls.to("lambda").invoke(FunctionName=names["RetrieveDocs"]),
    "lambda:GetFunction": lambda calls, names: calls.to("lambda").get_function(FunctionName=names["PurgeMessages"]),
    "lambda:ListFunctions": lambda calls, _: calls.to("lambda").list_functions(),
    "lambda:UpdateFunctionConfiguration": lambda calls, names: calls.to("lambda").update_function_configuration(
        FunctionName=names["RetrieveDocs"], Description="evil"
    ),
    "lambda:AddPermission": lambda calls, names: calls.to("lambda").add_permission(
        FunctionName=names["RetrieveDocs"], StatementId="evil", Action="lambda:InvokeFunction", Principal="*"
    ),
    "iam:CreateUser": lambda calls, _: calls.to("iam").create_user(UserName="evil"),
    "iam:ListRoles": lambda calls, _: calls.to("iam").list_roles(),
    "iam:PutRolePolicy": lambda calls, names: calls.to("iam").put_role_policy(
        RoleName=names[f"RetrieveDocs{SUFFIX}"], PolicyName="evil", PolicyDocument='{"Version": "2012-10-17"}'
    ),
    "sts:AssumeRole": lambda calls, names: calls.to("sts").assume_role(
        RoleArn=f"arn:aws:iam::000000000000:role/{names[f'PurgeMessages{SUFFIX}']}", RoleSessionName="evil"
    ),
    "sqs:ReceiveMessage": lambda calls, names: calls.to("sqs").receive_message(QueueUrl=names["DeadLetters"]),
    "sqs:GetQueueAttributes": lambda calls, names: calls.to("sqs").get_queue_attributes(QueueUrl=names["DeadLetters"]),
    "logs:FilterLogEvents": lambda calls, names: calls.to("logs").filter_log_events(logGroupName=names["FunctionLogs"]),
    "logs:CreateLogStream": lambda calls, names: calls.to("logs").create_log_stream(
        logGroupName=names["AccessLogs"], logStreamName="evil"
    ),
    "logs:PutRetentionPolicy": lambda calls, names: calls.to("logs").put_retention_policy(
        logGroupName=names["FunctionLogs"], retentionInDays=1
    ),
    "events:PutEvents": lambda calls, names: calls.to("events").put_events(
        Entries=[{"Source": "x", "DetailType": "message.read", "Detail": "{}", "EventBusName": names["EventBus"]}]
    ),
    "cognito-idp:ListUsers": lambda calls, names: calls.to("cognito-idp").list_users(UserPoolId=names["UserPool"]),
    "cognito-idp:DescribeUserPoolClient": lambda calls, names: calls.to("cognito-idp").describe_user_pool_client(
        UserPoolId=names["UserPool"], ClientId=names["ServiceClient"]
    ),
    "cloudformation:DescribeStacks": lambda calls, _: calls.to("cloudformation").describe_stacks(),
    "apigateway:GET": lambda calls, _: calls.to("apigateway").get_rest_apis(),
    "s3:ListAllMyBuckets": lambda calls, _: calls.to("s3").list_buckets(),
    "secretsmanager:ListSecrets": lambda calls, _: calls.to("secretsmanager").list_secrets(),
    "ssm:GetParametersByPath": lambda calls, _: calls.to("ssm").get_parameters_by_path(Path="/"),
    "kms:CreateKey": lambda calls, _: calls.to("kms").create_key(),
    "sns:ListTopics": lambda calls, _: calls.to("sns").list_topics(),
}


def is_refused(call: Callable[..., object], *arguments: object) -> bool:
    """Whether IAM refuses *call*; what else comes of it, such as a condition that fails, means that it did not."""
    try:
        call(*arguments)
    except ClientError as error:
        return error.response["Error"]["Code"].startswith(("AccessDenied", "AuthorizationError"))
    return False


@pytest.mark.parametrize("function", DEPLOYED)
def test_a_functions_own_credentials_are_refused_all_else(
    function: str, stack: Stack, practice: Practice, attacked: Attacked
) -> None:
    calls, roles, names = practice
    # The emulator lets its root user take any role, which AWS never does: there, only Lambda has these credentials.
    taken = stack.aws("sts").assume_role(RoleArn=roles[function], RoleSessionName="function")
    calls.become(taken["Credentials"])
    grants, allowed, tried = GRANTS[function], [], 0
    for resource, key in ((CONVERSATIONS, KEY), (MESSAGES, MESSAGE_KEY)):
        table = names[resource.removesuffix(".Arn")]
        for action, call in OF_TABLES.items():
            may = resource in grants.get(action, ())
            assert is_refused(call, calls.to("dynamodb"), table, key, EXISTS) is not may, (action, resource)
            allowed += [action] * may
            tried += 1
    for action, resource, attempt in OF_SOME:
        may = resource in grants.get(action, ())
        assert is_refused(attempt, calls, names) is not may, (action, resource)
        allowed += [action] * may
        tried += 1
    for action, attempt in OF_NOBODY.items():
        assert is_refused(attempt, calls, names), action
        tried += 1
    outcome = f"AccessDenied but for the {len(allowed)} that it needs"
    attacked(ROLES, f"{function}: AWS called by its role", outcome, tried)


def test_nobody_takes_the_role_of_a_function(stack: Stack, practice: Practice, attacked: Attacked) -> None:
    calls, roles, _ = practice
    iam, name = stack.aws("iam"), "somebody"
    anything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [anything]})
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="anything", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    try:
        calls.become(key)
        assert not is_refused(calls.to("sts").get_caller_identity)
        for function, role in roles.items():
            assert is_refused(lambda arn: calls.to("sts").assume_role(RoleArn=arn, RoleSessionName="x1"), role), (
                function
            )
    finally:
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        iam.delete_user_policy(UserName=name, PolicyName="anything")
        iam.delete_user(UserName=name)
    outcome = "AccessDenied: only Lambda is trusted"
    attacked(ROLES, "the role of each function taken by a user who may do anything", outcome, len(roles))
