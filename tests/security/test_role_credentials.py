"""API5: the credentials of each function allow only what it needs. The emulator enforces IAM."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.grants import (
    BUS,
    CHANGES,
    CONVERSATIONS,
    DEAD_LETTERS,
    GRANTS,
    HOOK,
    MASTER_KEY,
    MESSAGES,
    WEBHOOKS,
)
from tests.security.attacks import FUNCTION_AUTHORIZATION, RecordAttack
from tests.stack import Stack
from tests.template import OTHERS
from tools.local import stack as local_stack
from tools.local.environment import REGION, emulator_url

SUFFIX = "ExecutionRole"
# The emulator has no CodeDeploy, so the hook is not deployed.
DEPLOYED = sorted(GRANTS.keys() - {HOOK})


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
