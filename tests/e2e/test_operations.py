"""Operations on a stack: other parameters, a release under load, and restoring data."""

import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from samtranslator.yaml_helper import yaml_parse

from tests.stack import Client, Stack, wait_until
from tests.template import FUNCTIONS, ROOT, TEMPLATE
from tools.local import stack as local_stack
from tools.local import users
from tools.local.environment import emulator_url, of_aws_client

OTHER = "other"
# A value that is not the default for each parameter.
SETTINGS = {
    "AlarmEmail": "oncall@example.com",
    "AllowedOrigin": "https://chat.example.com",
    "Architecture": "x86_64",
    "BasePath": "chat",
    "Changes": "false",
    "ConcurrencyAlarm": "80",
    "Delivery": "internal",
    "DocumentationUrl": "https://docs.example.com/errors",
    "DomainName": "api.example.com",
    "EventBusName": "delivery",
    "EventConcurrency": "5",
    "Events": "false",
    "LogDays": "14",
    "MaxReadUnits": "200",
    "MaxWriteUnits": "100",
    "MinimumTls": "1.3",
    "ProtectData": "locked",
    "PublicUrl": "https://proxy.example.com/chat",
    "RecoveryDays": "7",
    "SendLimit": "50",
    "SendLimitPerContact": "20",
    "SetApiGatewayLogsRole": "true",
    "SnapStart": "PublishedVersions",
    "ThrottleBurst": "20",
    "ThrottleRate": "10",
    "Unarchive": "always",
    "WebAcl": "true",
    "WebAclRate": "100",
    "WebhookTargets": "public-any-port",
}
# ARNs of resources that the tests create first.
ARNS = {"CertificateArn", "KmsKeyArn", "UserPoolArn"}
# Settings of the stack's own user pool, which a stack with UserPoolArn does not have.
USER_POOL_SETTINGS = {
    "AccessTokenMinutes": "5",
    "CallbackUrl": "https://chat.example.com/callback",
    "EmailFrom": "no-reply@example.com",
    "RefreshTokenDays": "1",
    "SesIdentityArn": "arn:aws:ses:us-east-1:000000000000:identity/example.com",
}
# The emulator has no CodeDeploy.
NOT_DEPLOYED = {"Canary"}
# Nor does it support this resource of a nested application, which attaches the firewall to the API.
UNSUPPORTED_RESOURCES = {"Firewall": "WebAclAssociation"}


class Other(NamedTuple):
    """A second stack, and the ARNs that its parameters name."""

    outputs: dict[str, str]
    arns: dict[str, str]
    resources: dict[str, str]
    user: Client


@pytest.fixture(scope="module")
def other(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Other]:
    """A stack in which every parameter differs from its default."""
    pool = stack.aws("cognito-idp").create_user_pool(PoolName="other")["UserPool"]
    arns = {
        "CertificateArn": stack.aws("acm").request_certificate(DomainName=SETTINGS["DomainName"])["CertificateArn"],
        "KmsKeyArn": stack.aws("kms").create_key()["KeyMetadata"]["Arn"],
        "UserPoolArn": pool["Arn"],
    }
    home = copy_of_build(stack, tmp_path_factory.mktemp("other"))
    template = yaml_parse((home / "build/template.yaml").read_text())
    for application, resource in UNSUPPORTED_RESOURCES.items():
        nested = home / "build" / application / "template.yaml"
        content = yaml_parse(nested.read_text())
        del content["Resources"][resource]
        nested.write_text(json.dumps(content))
    for name, value in (SETTINGS | arns).items():
        # The emulator transforms the template with the default of each parameter, not its value.
        template["Parameters"][name]["Default"] = value
    (home / "build/template.yaml").write_text(json.dumps(template))
    stack.aws("events").create_event_bus(Name=SETTINGS["EventBusName"])
    local_stack.apply(home, stack.port, OTHER, **SETTINGS, **arns)
    outputs = local_stack.outputs(stack.port, OTHER)
    resources = resources_of(stack, OTHER)
    resources |= resources_of(stack, resources["Monitoring"])
    api_url = f"{emulator_url(stack.port)}/_aws/execute-api/{outputs['ApiId']}/v1"
    user = Client(api_url, stack.foreign_token(pool["Id"]))
    yield Other(outputs, arns, resources, user)
    user.close()


def resources_of(stack: Stack, name: str) -> dict[str, str]:
    """Returns the physical ids of the resources of the stack called *name*."""
    pages = stack.aws("cloudformation").get_paginator("list_stack_resources").paginate(StackName=name)
    listed = [resource for page in pages for resource in page["StackResourceSummaries"]]
    return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in listed}


def copy_of_build(stack: Stack, home: Path) -> Path:
    """Copies the build of *stack* to *home*, where tests may change it."""
    shutil.copytree(stack.home / "build", home / "build")
    return home


def test_settings_cover_every_parameter() -> None:
    covered = SETTINGS.keys() | ARNS | USER_POOL_SETTINGS.keys() | NOT_DEPLOYED
    assert covered == TEMPLATE["Parameters"].keys()
    for name, value in (SETTINGS | USER_POOL_SETTINGS).items():
        assert str(TEMPLATE["Parameters"][name]["Default"]) != value


def test_only_tokens_of_the_configured_user_pool_are_accepted(other: Other, stack: Stack) -> None:
    assert "UserPoolId" not in other.outputs
    conversation = other.user.create(contact_id="harry")
    assert other.user.list()["data"] == [conversation]
    foreign = Client(other.user.api_url, users.token(stack.port, "kevin"))
    assert foreign.send("GET", "/conversations").status_code == 401
    foreign.close()


def test_responses_use_configured_urls_and_origin(other: Other) -> None:
    created = other.user.send("POST", "/conversations", json={"contact_id": "harry"})
    assert created.headers["Location"].startswith(SETTINGS["PublicUrl"])
    assert created.headers["Access-Control-Allow-Origin"] == SETTINGS["AllowedOrigin"]
    rejected = other.user.send("GET", "/conversations?limit=0")
    assert rejected.json()["documentation_url"].startswith(SETTINGS["DocumentationUrl"])
    assert other.outputs["ApiUrl"] == "https://api.example.com/chat"
    assert other.outputs["DocsUrl"] == "https://api.example.com/chat/docs"
    assert other.outputs["DomainTarget"]


def test_stack_without_a_feed_and_events_still_follows_its_streams(other: Other, stack: Stack) -> None:
    assert "ChangesTable" not in other.resources
    response = other.user.send("GET", "/changes")
    assert (response.status_code, response.json()["message"]) == (404, "This service keeps no feed of changes")
    started = time.time()
    other.user.create(contact_id="harry")

    def publications() -> list[Any]:
        events = stack.aws("logs").filter_log_events(
            logGroupName=other.resources["FunctionLogs"], startTime=int(started * 1000)
        )["events"]
        lines = [json.loads(event["message"]) for event in events if '"publish_changes"' in event["message"]]
        return [line for line in lines if line.get("endpoint") == "publish_changes"]

    assert wait_until(publications)
    assert not [line for line in publications() if "error" in line]


def test_tables_are_locked_and_dead_letters_encrypted(other: Other, stack: Stack) -> None:
    # The emulator does not return a table's key, throughput limits or recovery period.
    for name in ("ConversationsTable", "MessagesTable"):
        table = stack.aws("dynamodb").describe_table(TableName=other.resources[name])["Table"]
        assert table["DeletionProtectionEnabled"] is True
    queue = stack.aws("sqs").get_queue_attributes(QueueUrl=other.outputs["DeadLettersUrl"], AttributeNames=["All"])
    assert queue["Attributes"]["KmsMasterKeyId"] == other.arns["KmsKeyArn"]


def test_api_has_configured_domain_firewall_and_limits(other: Other, stack: Stack) -> None:
    api_gateway = stack.aws("apigateway")
    domain = api_gateway.get_domain_name(domainName=SETTINGS["DomainName"])
    assert domain["securityPolicy"] == "SecurityPolicy_TLS13_1_3_2025_09"
    (mapping,) = api_gateway.get_base_path_mappings(domainName=SETTINGS["DomainName"])["items"]
    assert (mapping["basePath"], mapping["restApiId"], mapping["stage"]) == ("chat", other.outputs["ApiId"], "v1")
    settings = api_gateway.get_stage(restApiId=other.outputs["ApiId"], stageName="v1")["methodSettings"]["*/*"]
    assert (settings["throttlingRateLimit"], settings["throttlingBurstLimit"]) == (10, 20)
    (firewall,) = stack.aws("wafv2").list_web_acls(Scope="REGIONAL")["WebACLs"]
    rules = stack.aws("wafv2").get_web_acl(Scope="REGIONAL", Name=firewall["Name"], Id=firewall["Id"])["WebACL"][
        "Rules"
    ]
    assert int(rules[0]["Statement"]["RateBasedStatement"]["Limit"]) == 100


def test_logs_alarms_and_events_use_configured_values(other: Other, stack: Stack) -> None:
    # The emulator does not return the reserved concurrency.
    for name in ("AccessLogs", "FunctionLogs"):
        (group,) = stack.aws("logs").describe_log_groups(logGroupNamePrefix=other.resources[name])["logGroups"]
        assert group["retentionInDays"] == 14
    for topic in ("PagesArn", "NoticesArn"):
        (subscription,) = stack.aws("sns").list_subscriptions_by_topic(TopicArn=other.outputs[topic])["Subscriptions"]
        assert subscription["Endpoint"] == SETTINGS["AlarmEmail"]
    (alarm,) = stack.aws("cloudwatch").describe_alarms(AlarmNames=[other.resources["Concurrency"]])["MetricAlarms"]
    assert alarm["Threshold"] == 80
    assert stack.aws("events").list_rules(EventBusName=SETTINGS["EventBusName"])["Rules"]
    function = stack.aws("lambda").get_function(FunctionName=other.resources["ReceiveMessage"])
    assert function["Configuration"]["Architectures"] == ["x86_64"]
    endpoint = stack.aws("lambda").get_function(FunctionName=other.resources["ListConversations"])
    assert endpoint["Configuration"]["SnapStart"]["ApplyOn"] == "PublishedVersions"


def test_deleting_the_stack_keeps_its_tables(other: Other, stack: Stack) -> None:
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


def test_release_does_not_interrupt_requests(stack: Stack, kevin: Client, harry: Client, tmp_path: Path) -> None:
    home = copy_of_build(stack, tmp_path)
    for function in FUNCTIONS:
        if (home / "build" / function).exists():
            (home / "build" / function / "release.txt").write_text("new")
    before = versions(stack)
    done = threading.Event()
    responses: Counter[tuple[str, int]] = Counter()
    threads = [threading.Thread(target=converse, args=(client, done, responses)) for client in (kevin, harry)]
    for thread in threads:
        thread.start()
    try:
        local_stack.apply(home, stack.port, PublicUrl=stack.api_url, **USER_POOL_SETTINGS)
        local_stack.configure_gateway(stack.port)
        after = versions(stack)
        count = sum(responses.values())
        assert wait_until(lambda: sum(responses.values()) > count + 20)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert all(after[function] > before[function] for function in before)
    assert {status for _, status in responses} == {200, 201, 204}
    assert {call for call, _ in responses} == {"create", "list", "send", "update", "retrieve", "delete"}
    outputs = stack.outputs()
    app = stack.aws("cognito-idp").describe_user_pool_client(
        UserPoolId=outputs["UserPoolId"], ClientId=outputs["AppClientId"]
    )["UserPoolClient"]
    assert [int(app[f"{kind}TokenValidity"]) for kind in ("Access", "Id", "Refresh")] == [5, 5, 1]
    assert app["CallbackURLs"] == [USER_POOL_SETTINGS["CallbackUrl"]]
    pool_id, client_id = outputs["UserPoolId"], outputs["ServiceClientId"]
    service = stack.aws("cognito-idp").describe_user_pool_client(UserPoolId=pool_id, ClientId=client_id)
    assert int(service["UserPoolClient"]["AccessTokenValidity"]) == 5


def versions(stack: Stack, name: str = local_stack.NAME) -> dict[str, int]:
    """Returns the version behind the alias of each function of the stack called *name*."""
    resources = resources_of(stack, name)
    functions = {function: resources[function] for function in FUNCTIONS if function in resources}
    aliases = {
        name: stack.aws("lambda").get_alias(FunctionName=function, Name="live") for name, function in functions.items()
    }
    return {name: int(alias["FunctionVersion"]) for name, alias in aliases.items()}


def converse(client: Client, done: threading.Event, responses: "Counter[tuple[str, int]]") -> None:
    """Calls the API until *done* is set, and counts the *responses* by call and status."""

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


def test_documented_restore_brings_back_a_conversation(stack: Stack, kevin: Client) -> None:
    conversation = kevin.create(contact_id="harry")
    message = kevin.send_message(conversation)
    dynamodb, outputs = stack.aws("dynamodb"), stack.outputs()
    tables = [outputs["ConversationsTableName"], outputs["MessagesTableName"]]
    for table in tables:
        # The emulator ignores this setting in CloudFormation, and restores the current state of a table.
        enabled = {"PointInTimeRecoveryEnabled": True}
        dynamodb.update_continuous_backups(TableName=table, PointInTimeRecoverySpecification=enabled)
        copy = f"{table}-restored"
        dynamodb.restore_table_to_point_in_time(
            SourceTableName=table, TargetTableName=copy, UseLatestRestorableTime=True
        )
        dynamodb.get_waiter("table_exists").wait(TableName=copy)
    assert kevin.send("DELETE", f"/conversations/{conversation['id']}").status_code == 204
    assert wait_until(lambda: not stack.message_rows(conversation))
    (tombstone,) = [
        tombstone for tombstone in stack.tombstones() if tombstone["id"]["S"].endswith(f"#{conversation['id']}")
    ]
    (copy_script,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/restore.md").read_text(), re.DOTALL)
    _, sub, _ = tombstone["id"]["S"].split("#")
    done = subprocess.run(
        [sys.executable, "-c", copy_script, *tables, sub, conversation["id"]],
        env=of_aws_client(stack.port),
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"{tables[0]}: 1 copied, 0 were there\n{tables[1]}: 1 copied, 0 were there\n"
    for table in tables:
        dynamodb.delete_table(TableName=f"{table}-restored")
    stack.make_settled(tombstone)
    stack.aws("lambda").invoke(FunctionName=stack.function_name("SweepPurges"), Payload=b"{}")
    assert conversation["id"] not in str(stack.tombstones())
    assert [found["id"] for found in kevin.list()["data"]] == [conversation["id"]]
    assert kevin.messages(conversation_id=conversation["id"])["data"] == [message]
    assert kevin.send("DELETE", f"/conversations/{conversation['id']}").status_code == 204
