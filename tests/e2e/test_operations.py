"""What a team does with its stack: settings of its own, a new release while users are at work, data brought back."""

import json
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
from samtranslator.yaml_helper import yaml_parse

from tests.stack import Client, Stack, wait_until
from tests.template import FUNCTIONS, ROOT, TEMPLATE
from tools.local import gaps, users
from tools.local import stack as local_stack
from tools.local.environment import emulator_url, of_aws_client

OTHER = "other"
# Each parameter but those below, with a value that is not its default.
SETTINGS = {
    "AlarmEmail": "oncall@example.com",
    "AllowedOrigin": "https://chat.example.com",
    "Architecture": "x86_64",
    "BasePath": "chat",
    "ConcurrencyAlarm": "80",
    "DocumentationUrl": "https://docs.example.com/errors",
    "DomainName": "api.example.com",
    "EventBusName": "delivery",
    "EventConcurrency": "5",
    "LogDays": "14",
    "MaxReadUnits": "200",
    "MaxWriteUnits": "100",
    "MinimumTls": "1.3",
    # The default, but the embedded stack's own is false.
    "ProtectData": "true",
    "PublicUrl": "https://proxy.example.com/chat",
    "RecoveryDays": "7",
    "SetApiGatewayLogsRole": "false",
    "SnapStart": "None",
    "ThrottleBurst": "20",
    "ThrottleRate": "10",
    "WebAcl": "true",
    "WebAclRate": "100",
}
# What they name has to be there before.
MADE = {"CertificateArn", "KmsKeyArn", "UserPoolArn"}
# For the stack's own user pool, which the one with another's does not have.
OF_OWN_USER_POOL = {
    "AccessTokenMinutes": "5",
    "CallbackUrl": "https://chat.example.com/callback",
    "RefreshTokenDays": "1",
}
# The emulator has no CodeDeploy.
NOT_DEPLOYED = {"Canary"}
# Nor does it know this resource, which puts the firewall before the API.
NOT_KNOWN = {"Firewall": "WebAclAssociation"}


class Other(NamedTuple):
    """A second stack, and what its settings name."""

    outputs: dict[str, str]
    made: dict[str, str]
    resources: dict[str, str]
    user: Client


@pytest.fixture(scope="module")
def other(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Other]:
    """A stack of which each setting differs from its default."""
    pool = stack.aws("cognito-idp").create_user_pool(PoolName="theirs")["UserPool"]
    made = {
        "CertificateArn": stack.aws("acm").request_certificate(DomainName=SETTINGS["DomainName"])["CertificateArn"],
        "KmsKeyArn": stack.aws("kms").create_key()["KeyMetadata"]["Arn"],
        "UserPoolArn": pool["Arn"],
    }
    home = copy_of_build(stack, tmp_path_factory.mktemp("other"))
    template = yaml_parse((home / "build/template.yaml").read_text())
    for application, resource in NOT_KNOWN.items():
        nested = home / "build" / application / "template.yaml"
        content = yaml_parse(nested.read_text())
        del content["Resources"][resource]
        nested.write_text(json.dumps(content))
    for name, value in (SETTINGS | made).items():
        # The emulator gives SAM the defaults of all parameters, whatever the values are.
        template["Parameters"][name]["Default"] = value
    (home / "build/template.yaml").write_text(json.dumps(template))
    stack.aws("events").create_event_bus(Name=SETTINGS["EventBusName"])
    local_stack.apply(home, stack.port, OTHER, **SETTINGS, **made)
    outputs = local_stack.outputs(stack.port, OTHER)
    resources = resources_of(stack, OTHER)
    resources |= resources_of(stack, resources["Monitoring"])
    api_url = f"{emulator_url(stack.port)}/_aws/execute-api/{outputs['ApiId']}/v1"
    user = Client(api_url, token_of(stack, pool["Id"]))
    yield Other(outputs, made, resources, user)
    user.close()


def resources_of(stack: Stack, name: str) -> dict[str, str]:
    """Returns the physical ids of the resources of the stack called *name*."""
    listed = stack.aws("cloudformation").list_stack_resources(StackName=name)["StackResourceSummaries"]
    return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in listed}


def copy_of_build(stack: Stack, home: Path) -> Path:
    """A *home* with what *stack* was deployed from, to be changed at will."""
    shutil.copytree(stack.home / "build", home / "build")
    return home


def token_of(stack: Stack, pool_id: str, domain: str = "theirs") -> str:
    """A token of a pool that is not the stack's, once it has the scopes and a *domain*."""
    cognito = stack.aws("cognito-idp")
    for server in ("conversations", "messages"):
        scopes = [{"ScopeName": name, "ScopeDescription": name} for name in ("read", "write")]
        cognito.create_resource_server(UserPoolId=pool_id, Identifier=server, Name=server, Scopes=scopes)
    cognito.create_user_pool_domain(UserPoolId=pool_id, Domain=domain)
    client = cognito.create_user_pool_client(
        UserPoolId=pool_id,
        ClientName="app",
        GenerateSecret=True,
        AllowedOAuthFlowsUserPoolClient=True,
        AllowedOAuthFlows=["client_credentials"],
        AllowedOAuthScopes=list(users.SCOPES),
    )["UserPoolClient"]
    response = requests.post(
        f"{emulator_url(stack.port)}/oauth2/token",
        data={"grant_type": "client_credentials", "scope": " ".join(users.SCOPES)},
        auth=(client["ClientId"], client["ClientSecret"]),
        headers={"Host": f"{domain}.auth.us-east-1.amazoncognito.com"},
        timeout=30,
    )
    return str(response.json()["access_token"])


def test_every_parameter_is_deployed_with_another_value_than_its_default() -> None:
    tried = SETTINGS.keys() | MADE | OF_OWN_USER_POOL.keys() | NOT_DEPLOYED
    assert tried == TEMPLATE["Parameters"].keys()
    for name, value in (SETTINGS | OF_OWN_USER_POOL).items():
        if name != "ProtectData":
            assert str(TEMPLATE["Parameters"][name]["Default"]) != value


def test_tokens_of_the_teams_own_user_pool_are_accepted_and_others_are_not(other: Other, stack: Stack) -> None:
    assert "UserPoolId" not in other.outputs
    conversation = other.user.create(contact_id="harry")
    assert other.user.list()["data"] == [conversation]
    stranger = Client(other.user.api_url, users.token(stack.port, "kevin"))
    assert stranger.send("GET", "/conversations").status_code == 401
    stranger.close()


def test_answers_show_the_teams_own_urls_and_origin(other: Other) -> None:
    created = other.user.send("POST", "/conversations", json={"contact_id": "harry"})
    assert created.headers["Location"].startswith(SETTINGS["PublicUrl"])
    assert created.headers["Access-Control-Allow-Origin"] == SETTINGS["AllowedOrigin"]
    rejected = other.user.send("GET", "/conversations?limit=0")
    assert rejected.json()["documentation_url"].startswith(SETTINGS["DocumentationUrl"])
    assert other.outputs["ApiUrl"] == "https://api.example.com/chat"
    assert other.outputs["DocsUrl"] == "https://api.example.com/chat/docs"
    assert other.outputs["DomainTarget"]


def test_tables_are_protected_and_letters_have_the_teams_key(other: Other, stack: Stack) -> None:
    # The emulator does not show a table's key, its limits, nor for how many days it can be restored.
    for name in ("ConversationsTable", "MessagesTable"):
        table = stack.aws("dynamodb").describe_table(TableName=other.resources[name])["Table"]
        assert table["DeletionProtectionEnabled"] is True
    queue = stack.aws("sqs").get_queue_attributes(QueueUrl=other.outputs["DeadLettersUrl"], AttributeNames=["All"])
    assert queue["Attributes"]["KmsMasterKeyId"] == other.made["KmsKeyArn"]


def test_the_api_has_the_teams_domain_firewall_and_limits(other: Other, stack: Stack) -> None:
    gateway = stack.aws("apigateway")
    domain = gateway.get_domain_name(domainName=SETTINGS["DomainName"])
    assert domain["securityPolicy"] == "SecurityPolicy_TLS13_1_3_2025_09"
    (mapping,) = gateway.get_base_path_mappings(domainName=SETTINGS["DomainName"])["items"]
    assert (mapping["basePath"], mapping["restApiId"], mapping["stage"]) == ("chat", other.outputs["ApiId"], "v1")
    settings = gateway.get_stage(restApiId=other.outputs["ApiId"], stageName="v1")["methodSettings"]["*/*"]
    assert (settings["throttlingRateLimit"], settings["throttlingBurstLimit"]) == (10, 20)
    (firewall,) = stack.aws("wafv2").list_web_acls(Scope="REGIONAL")["WebACLs"]
    rules = stack.aws("wafv2").get_web_acl(Scope="REGIONAL", Name=firewall["Name"], Id=firewall["Id"])["WebACL"][
        "Rules"
    ]
    assert int(rules[0]["Statement"]["RateBasedStatement"]["Limit"]) == 100


def test_logs_alarms_and_events_are_the_teams(other: Other, stack: Stack) -> None:
    # The emulator does not show what concurrency is reserved.
    for name in ("AccessLogs", "FunctionLogs"):
        (group,) = stack.aws("logs").describe_log_groups(logGroupNamePrefix=other.resources[name])["logGroups"]
        assert group["retentionInDays"] == 14
    (subscription,) = stack.aws("sns").list_subscriptions_by_topic(TopicArn=other.outputs["AlarmsArn"])["Subscriptions"]
    assert subscription["Endpoint"] == SETTINGS["AlarmEmail"]
    (alarm,) = stack.aws("cloudwatch").describe_alarms(AlarmNames=[other.resources["Concurrency"]])["MetricAlarms"]
    assert alarm["Threshold"] == 80
    assert stack.aws("events").list_rules(EventBusName=SETTINGS["EventBusName"])["Rules"]
    function = stack.aws("lambda").get_function(FunctionName=other.resources["ReceiveMessage"])
    assert function["Configuration"]["Architectures"] == ["x86_64"]
    users_function = stack.aws("lambda").get_function(FunctionName=other.resources["ListConversations"])
    assert users_function["Configuration"]["SnapStart"]["ApplyOn"] == "None"


def test_conversations_outlive_the_stack(other: Other, stack: Stack) -> None:
    other.user.create(contact_id="harry")
    tables = [other.resources["ConversationsTable"], other.resources["MessagesTable"]]
    dynamodb, cloudformation = stack.aws("dynamodb"), stack.aws("cloudformation")
    with pytest.raises(dynamodb.exceptions.ClientError, match="protect"):
        dynamodb.delete_table(TableName=tables[0])
    before = dynamodb.scan(TableName=tables[0])["Items"]
    cloudformation.delete_stack(StackName=OTHER)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=OTHER, WaiterConfig={"Delay": 1})
    assert set(tables) <= set(dynamodb.list_tables()["TableNames"])
    assert dynamodb.scan(TableName=tables[0])["Items"] == before != []


def test_requests_go_on_while_a_new_release_is_deployed(
    stack: Stack, kevin: Client, harry: Client, tmp_path: Path
) -> None:
    home = copy_of_build(stack, tmp_path)
    for function in FUNCTIONS:
        if (home / "build" / function).exists():
            (home / "build" / function / "release.txt").write_text("another one")
    before = versions(stack)
    done = threading.Event()
    responses: Counter[tuple[str, int]] = Counter()
    at_work = [threading.Thread(target=converse, args=(client, done, responses)) for client in (kevin, harry)]
    for thread in at_work:
        thread.start()
    try:
        local_stack.apply(home, stack.port, PublicUrl=stack.api_url, **OF_OWN_USER_POOL)
        gaps.fill(stack.port)
        after = versions(stack)
        answered = sum(responses.values())
        assert wait_until(lambda: sum(responses.values()) > answered + 20)
    finally:
        done.set()
        for thread in at_work:
            thread.join()
    assert all(after[function] > before[function] for function in before)
    assert {status for _, status in responses} == {200, 201, 204}
    assert {call for call, _ in responses} == {"create", "list", "send", "update", "retrieve", "delete"}
    outputs = stack.outputs()
    app = stack.aws("cognito-idp").describe_user_pool_client(
        UserPoolId=outputs["UserPoolId"], ClientId=outputs["AppClientId"]
    )["UserPoolClient"]
    assert [int(app[f"{kind}TokenValidity"]) for kind in ("Access", "Id", "Refresh")] == [5, 5, 1]
    assert app["CallbackURLs"] == [OF_OWN_USER_POOL["CallbackUrl"]]
    pool_id, client_id = outputs["UserPoolId"], outputs["ServiceClientId"]
    service = stack.aws("cognito-idp").describe_user_pool_client(UserPoolId=pool_id, ClientId=client_id)
    assert int(service["UserPoolClient"]["AccessTokenValidity"]) == 5


def versions(stack: Stack) -> dict[str, int]:
    """The version of each function that its callers reach."""
    functions = {name: stack.function(name) for name in FUNCTIONS if name != "ExerciseRelease"}
    aliases = {
        name: stack.aws("lambda").get_alias(FunctionName=function, Name="live") for name, function in functions.items()
    }
    return {name: int(alias["FunctionVersion"]) for name, alias in aliases.items()}


def converse(client: Client, done: threading.Event, responses: "Counter[tuple[str, int]]") -> None:
    """Has conversations until *done*, and counts the *answers*."""

    def call(name: str, method: str, path: str, **body: object) -> dict[str, Any]:
        response = client.send(method, path, **({"json": body} if body else {}))
        responses[name, response.status_code] += 1
        content: dict[str, Any] = response.json() if response.content else {}
        return content

    while not done.is_set():
        conversation = call("create", "POST", "/conversations", contact_id="harry").get("id", "")
        call("send", "POST", "/messages", conversation_id=conversation, message="hello")
        call("update", "PUT", f"/conversations/{conversation}", is_pinned=True)
        call("retrieve", "GET", f"/conversations/{conversation}")
        call("list", "GET", "/conversations")
        call("delete", "DELETE", f"/conversations/{conversation}")


def test_what_was_deleted_is_brought_back_as_the_page_for_operations_says(stack: Stack, kevin: Client) -> None:
    conversation = kevin.create(contact_id="harry")
    message = kevin.send_message(conversation)
    dynamodb, outputs = stack.aws("dynamodb"), stack.outputs()
    tables = [outputs["ConversationsTableName"], outputs["MessagesTableName"]]
    for table in tables:
        # The emulator does not switch it on for CloudFormation, and restores a table as it is now.
        enabled = {"PointInTimeRecoveryEnabled": True}
        dynamodb.update_continuous_backups(TableName=table, PointInTimeRecoverySpecification=enabled)
        copy = f"{table}-restored"
        dynamodb.restore_table_to_point_in_time(
            SourceTableName=table, TargetTableName=copy, UseLatestRestorableTime=True
        )
        dynamodb.get_waiter("table_exists").wait(TableName=copy)
    assert kevin.send("DELETE", f"/conversations/{conversation['id']}").status_code == 204
    assert wait_until(lambda: not stack.rows_of(conversation))
    (tombstone,) = [
        tombstone for tombstone in stack.tombstones() if tombstone["id"]["S"].endswith(f"#{conversation['id']}")
    ]
    dynamodb.delete_item(TableName=tables[0], Key={name: tombstone[name] for name in ("user_id", "id")})

    (copy_rows,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/restore.md").read_text(), re.DOTALL)
    sub = tombstone["id"]["S"].partition("#")[0]
    done = subprocess.run(
        [sys.executable, "-c", copy_rows, *tables, sub, conversation["id"]],
        env=of_aws_client(stack.port),
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"{tables[1]}: 1 copied, 0 were there\n{tables[0]}: 1 copied, 0 were there\n"
    for table in tables:
        dynamodb.delete_table(TableName=f"{table}-restored")
    stack.aws("lambda").invoke(FunctionName=stack.function("SweepPurges"), Payload=b"{}")
    assert [found["id"] for found in kevin.list()["data"]] == [conversation["id"]]
    assert kevin.messages(conversation_id=conversation["id"])["data"] == [message]
    assert kevin.send("DELETE", f"/conversations/{conversation['id']}").status_code == 204
