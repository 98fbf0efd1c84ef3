"""API5: the roles of the functions allow only what each function needs: simulated, and with real credentials."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, NamedTuple

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.grants import (
    BUS,
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
from tools.local import stack as local_stack
from tools.local.environment import REGION, emulator_url

ACCOUNT = "123456789012"
SUFFIX = "ExecutionRole"
# The emulator has no CodeDeploy, so the hook is not deployed.
DEPLOYED = sorted(GRANTS.keys() - {HOOK})

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
        ["*", f"arn:aws:iam::{ACCOUNT}:role/conversations-{DEPLOYED[0]}{SUFFIX}", f"arn:aws:iam::{ACCOUNT}:user/other"],
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


# With the credentials of each role. The emulator enforces IAM.


class AwsClients:
    """AWS clients whose credentials can be changed."""

    def __init__(self, stack: Stack) -> None:
        """Starts with invalid credentials."""
        session = boto3.Session("nobody", "nobody", "nobody", region_name=REGION)
        self._credentials: Any = session.get_credentials()
        self._session: Any = session
        self._url = emulator_url(stack.port)
        self._clients: dict[str, Any] = {}

    def use(self, credentials: Mapping[str, str]) -> None:
        """Uses these credentials of STS or IAM from now on."""
        self._credentials.access_key = credentials["AccessKeyId"]
        self._credentials.secret_key = credentials["SecretAccessKey"]
        self._credentials.token = credentials.get("SessionToken")

    def close(self) -> None:
        """Closes all connections."""
        for client in self._clients.values():
            client.close()

    def to(self, service: str) -> Any:
        """Returns a client for *service*."""
        if service not in self._clients:
            config = Config(retries={"total_max_attempts": 1})
            self._clients[service] = self._session.client(service, endpoint_url=self._url, config=config)
        return self._clients[service]


class Deployed(NamedTuple):
    """AWS clients, the ARN of each function's role, and the names of deployed resources by logical id."""

    clients: AwsClients
    roles: dict[str, str]
    names: dict[str, str]


@pytest.fixture(scope="module")
def deployed(stack: Stack) -> Iterator[Deployed]:
    """The deployed stack, seen with the credentials of its roles."""
    resources = stack.aws("cloudformation").describe_stack_resources(StackName=local_stack.NAME)["StackResources"]
    names = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}
    roles = {
        function: stack.aws("iam").get_role(RoleName=names[f"{function}{SUFFIX}"])["Role"]["Arn"]
        for function in DEPLOYED
    }
    with closing(AwsClients(stack)) as clients:
        yield Deployed(clients, roles, names)


ONE = {":one": {"N": "1"}}
EXISTS = {"ConditionExpression": "attribute_exists(id)"}
KEY = {"user_id": {"S": "nobody"}, "id": {"S": "nothing"}}
MESSAGE_KEY = {"user_conversation": {"S": "nobody#nothing"}, "id": {"S": "nothing"}}
CHANGE_KEY = {"user_id": {"S": "nobody"}, "number": {"N": "0"}}
# Calls for each table. They change nothing when allowed.
TABLE_CALLS: dict[str, Callable[[Any, str, dict[str, Any], dict[str, Any]], object]] = {
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
        Statement=f'SELECT * FROM "{table}"'  # noqa: S608 - PartiQL takes no parameter for a table
    ),
    "dynamodb:PartiQLDelete": lambda client, table, key, _: client.execute_statement(
        Statement=f"DELETE FROM \"{table}\" WHERE {next(iter(key))} = 'x' AND id = 'x'"  # noqa: S608 - as above
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
# Calls that some roles allow: the action, its resource, and the call.
OTHER_CALLS: list[tuple[str, str, Callable[[AwsClients, dict[str, str]], object]]] = [
    *(
        (
            "dynamodb:Query",
            f"{table}.Arn/index/{index}",
            lambda clients, names, table=table, index=index: clients.to("dynamodb").query(
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
        # SQS rejects an empty body.
        lambda clients, names: clients.to("sqs").send_message(QueueUrl=names["DeadLetters"], MessageBody=""),
    ),
    (
        "sqs:SendMessage",
        WEBHOOKS,
        lambda clients, names: clients.to("sqs").send_message(QueueUrl=names["WebhookQueue"], MessageBody=""),
    ),
    (
        "events:PutEvents",
        BUS,
        lambda clients, names: clients.to("events").put_events(
            Entries=[{"Source": "x", "DetailType": "message.read", "Detail": "{}", "EventBusName": names["EventBus"]}]
        ),
    ),
    (
        "ssm:GetParameter",
        MASTER_KEY,
        lambda clients, _: clients.to("ssm").get_parameter(
            Name="/coherent-conversations/conversations/webhook-master-key"
        ),
    ),
    (
        "cognito-idp:ListUserPoolClients",
        OTHERS["UserPoolArn"],
        lambda clients, names: clients.to("cognito-idp").list_user_pool_clients(UserPoolId=names["UserPool"]),
    ),
    (
        "cognito-idp:ListUsers",
        # GRANTS names the existing pool. The deployed stack has its own.
        OTHERS["UserPoolArn"],
        lambda clients, names: clients.to("cognito-idp").list_users(UserPoolId=names["UserPool"]),
    ),
]
# Calls that no role allows.
FORBIDDEN_CALLS: dict[str, Callable[[AwsClients, dict[str, str]], object]] = {
    "dynamodb:ListTables": lambda clients, _: clients.to("dynamodb").list_tables(),
    "dynamodb:CreateTable": lambda clients, _: clients.to("dynamodb").create_table(
        TableName="evil",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    ),
    "lambda:InvokeFunction": lambda clients, names: clients.to("lambda").invoke(FunctionName=names["RetrieveDocs"]),
    "lambda:GetFunction": lambda clients, names: clients.to("lambda").get_function(FunctionName=names["PurgeMessages"]),
    "lambda:ListFunctions": lambda clients, _: clients.to("lambda").list_functions(),
    "lambda:UpdateFunctionConfiguration": lambda clients, names: clients.to("lambda").update_function_configuration(
        FunctionName=names["RetrieveDocs"], Description="evil"
    ),
    "lambda:AddPermission": lambda clients, names: clients.to("lambda").add_permission(
        FunctionName=names["RetrieveDocs"], StatementId="evil", Action="lambda:InvokeFunction", Principal="*"
    ),
    "iam:CreateUser": lambda clients, _: clients.to("iam").create_user(UserName="evil"),
    "iam:ListRoles": lambda clients, _: clients.to("iam").list_roles(),
    "iam:PutRolePolicy": lambda clients, names: clients.to("iam").put_role_policy(
        RoleName=names[f"RetrieveDocs{SUFFIX}"], PolicyName="evil", PolicyDocument='{"Version": "2012-10-17"}'
    ),
    "sts:AssumeRole": lambda clients, names: clients.to("sts").assume_role(
        RoleArn=f"arn:aws:iam::000000000000:role/{names[f'PurgeMessages{SUFFIX}']}", RoleSessionName="evil"
    ),
    "sqs:ReceiveMessage": lambda clients, names: clients.to("sqs").receive_message(QueueUrl=names["DeadLetters"]),
    "sqs:GetQueueAttributes": lambda clients, names: clients.to("sqs").get_queue_attributes(
        QueueUrl=names["DeadLetters"]
    ),
    "logs:FilterLogEvents": lambda clients, names: clients.to("logs").filter_log_events(
        logGroupName=names["FunctionLogs"]
    ),
    "logs:CreateLogStream": lambda clients, names: clients.to("logs").create_log_stream(
        logGroupName=names["AccessLogs"], logStreamName="evil"
    ),
    "logs:PutRetentionPolicy": lambda clients, names: clients.to("logs").put_retention_policy(
        logGroupName=names["FunctionLogs"], retentionInDays=1
    ),
    "cognito-idp:DescribeUserPoolClient": lambda clients, names: clients.to("cognito-idp").describe_user_pool_client(
        UserPoolId=names["UserPool"], ClientId=names["ServiceClient"]
    ),
    "cloudformation:DescribeStacks": lambda clients, _: clients.to("cloudformation").describe_stacks(),
    "apigateway:GET": lambda clients, _: clients.to("apigateway").get_rest_apis(),
    "s3:ListAllMyBuckets": lambda clients, _: clients.to("s3").list_buckets(),
    "secretsmanager:ListSecrets": lambda clients, _: clients.to("secretsmanager").list_secrets(),
    "ssm:GetParametersByPath": lambda clients, _: clients.to("ssm").get_parameters_by_path(Path="/"),
    "kms:CreateKey": lambda clients, _: clients.to("kms").create_key(),
    "sns:ListTopics": lambda clients, _: clients.to("sns").list_topics(),
}


def is_denied(call: Callable[..., object], *arguments: object) -> bool:
    """Returns whether IAM denies *call*. Other errors, such as a failed condition, mean that IAM allowed it."""
    try:
        call(*arguments)
    except ClientError as error:
        return error.response["Error"]["Code"].startswith(("AccessDenied", "AuthorizationError"))
    return False


@pytest.mark.parametrize("function", DEPLOYED)
def test_role_credentials_allow_only_what_the_function_needs(
    function: str, stack: Stack, deployed: Deployed, record_attack: RecordAttack
) -> None:
    clients, roles, names = deployed
    # Only the emulator lets its root user assume any role. On AWS, only Lambda has these credentials.
    session = stack.aws("sts").assume_role(RoleArn=roles[function], RoleSessionName="function")
    clients.use(session["Credentials"])
    grants, allowed, attempts = GRANTS[function], [], 0
    for resource, key in ((CONVERSATIONS, KEY), (MESSAGES, MESSAGE_KEY), (CHANGES, CHANGE_KEY)):
        table = names[resource.removesuffix(".Arn")]
        for action, call in TABLE_CALLS.items():
            is_granted = resource in grants.get(action, ())
            assert is_denied(call, clients.to("dynamodb"), table, key, EXISTS) is not is_granted, (action, resource)
            allowed += [action] * is_granted
            attempts += 1
    for action, resource, other_call in OTHER_CALLS:
        is_granted = resource in grants.get(action, ())
        assert is_denied(other_call, clients, names) is not is_granted, (action, resource)
        allowed += [action] * is_granted
        attempts += 1
    for action, forbidden_call in FORBIDDEN_CALLS.items():
        assert is_denied(forbidden_call, clients, names), action
        attempts += 1
    outcome = f"AccessDenied except for the {len(allowed)} that it needs"
    record_attack(FUNCTION_AUTHORIZATION, f"{function}: AWS called by its role", outcome, attempts)


def test_administrator_cannot_assume_a_function_role(
    stack: Stack, deployed: Deployed, record_attack: RecordAttack
) -> None:
    clients, roles, _ = deployed
    iam, name = stack.aws("iam"), "administrator"
    anything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [anything]})
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="anything", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    try:
        clients.use(key)
        assert not is_denied(clients.to("sts").get_caller_identity)
        for function, role in roles.items():
            assume_role = partial(clients.to("sts").assume_role, RoleArn=role, RoleSessionName="x1")
            assert is_denied(assume_role), function
    finally:
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        iam.delete_user_policy(UserName=name, PolicyName="anything")
        iam.delete_user(UserName=name)
    outcome = "AccessDenied: the roles trust only Lambda"
    record_attack(
        FUNCTION_AUTHORIZATION, "the role of each function assumed by a user with all permissions", outcome, len(roles)
    )
