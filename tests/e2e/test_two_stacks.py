"""A second stack in the same account and region: it shares nothing with the first."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.stack import Client, Stack, wait_until
from tools.local import stack as local_stack
from tools.local import users
from tools.local.environment import emulator_url

TWIN = "twin"
# Names inside another resource, which may be the same in both stacks.
INNER_KINDS = {"AWS::ApiGateway::Stage", "AWS::Cognito::UserPoolResourceServer"}


class Twin(NamedTuple):
    """The second stack, and a user of its own user pool."""

    outputs: dict[str, str]
    user: Client


@pytest.fixture(scope="module")
def twin(stack: Stack) -> Iterator[Twin]:
    """A stack of the same build with the same parameters."""
    local_stack.apply(stack.home, stack.port, TWIN)
    outputs = local_stack.outputs(stack.port, TWIN)
    token = users.token(stack.port, "kate", stack_name=TWIN)
    user = Client(f"{emulator_url(stack.port)}/_aws/execute-api/{outputs['ApiId']}/v1", token)
    yield Twin(outputs, user)
    user.close()


def resources(stack: Stack, name: str) -> list[dict[str, Any]]:
    """Returns the resources of the stack called *name* and of its nested stacks."""
    pages = stack.aws("cloudformation").get_paginator("list_stack_resources").paginate(StackName=name)
    found: list[dict[str, Any]] = [each for page in pages for each in page["StackResourceSummaries"]]
    nested = [each for each in found if each["ResourceType"] == "AWS::CloudFormation::Stack"]
    return found + [each for parent in nested for each in resources(stack, parent["PhysicalResourceId"])]


def identifiers(stack: Stack, name: str) -> set[str]:
    """Returns the physical ids of a stack's resources, but not names inside another resource."""
    # Without versions: those of one layer would differ.
    ids = {
        re.sub(r":\d+$", "", each["PhysicalResourceId"])
        for each in resources(stack, name)
        if each["ResourceType"] not in INNER_KINDS
    }
    assert len(ids) > 50
    return ids


def settings(stack: Stack, name: str) -> str:
    """Returns what names resources in a stack: policies, functions, rules, mappings, alarms and dashboard."""
    physical: dict[str, list[str]] = {}
    for each in resources(stack, name):
        physical.setdefault(each["ResourceType"].removeprefix("AWS::"), []).append(each["PhysicalResourceId"])
    iam, events, cloudwatch = (stack.aws(service) for service in ("iam", "events", "cloudwatch"))
    found: list[Any] = []
    for role in physical["IAM::Role"]:
        policies = iam.list_role_policies(RoleName=role)["PolicyNames"]
        found += [iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"] for policy in policies]
    for function in physical["Lambda::Function"]:
        found.append(stack.aws("lambda").get_function(FunctionName=function)["Configuration"])
    for mapping in physical["Lambda::EventSourceMapping"]:
        found.append(stack.aws("lambda").get_event_source_mapping(UUID=mapping))
    for rule in physical["Events::Rule"]:
        bus, _, rule_name = rule.rpartition("|")
        where = {"EventBusName": bus} if bus else {}
        found.append(events.list_targets_by_rule(Rule=rule_name, **where)["Targets"])
    for queue in physical["SQS::Queue"]:
        found.append(stack.aws("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["Policy"])["Attributes"])
    found.append(cloudwatch.describe_alarms(AlarmNames=physical["CloudWatch::Alarm"])["MetricAlarms"])
    found += [
        cloudwatch.get_dashboard(DashboardName=board)["DashboardBody"] for board in physical["CloudWatch::Dashboard"]
    ]
    return json.dumps(found, default=str)


def test_stacks_share_no_resource_and_name_none_of_each_other(stack: Stack, twin: Twin) -> None:
    del twin
    first, second = identifiers(stack, local_stack.NAME), identifiers(stack, TWIN)
    assert not first & second
    of_first, of_second = settings(stack, local_stack.NAME), settings(stack, TWIN)
    # The first stack's bus has the stack's name, which is also a scope.
    assert not [id for id in first - {local_stack.NAME} if re.search(f'{re.escape(id)}["/:]', of_second)]
    assert not [id for id in second if re.search(f'{re.escape(id)}["/:]', of_first)]
    assert f'"POWERTOOLS_SERVICE_NAME": "{TWIN}"' in of_second


def test_stacks_have_their_own_users_data_events_and_logs(stack: Stack, twin: Twin, kevin: Client) -> None:
    conversation = twin.user.create(contact_id="harry")
    assert kevin.list()["data"] == []
    stranger = Client(twin.user.api_url, kevin.token)
    assert stranger.send("GET", "/conversations").status_code == 401
    stranger.close()
    detail = {"user_id": twin.user.user_id, "conversation_id": conversation["id"], "contact_id": "harry"}
    entry = {"Source": "tests", "DetailType": "message.received", "EventBusName": twin.outputs["EventBusName"]}
    stack.aws("events").put_events(Entries=[entry | {"Detail": json.dumps(detail | {"message": "for the twin"})}])
    assert wait_until(lambda: twin.user.messages()["data"])
    assert kevin.messages()["data"] == []
    logged = stack.aws("logs").filter_log_events(logGroupName=twin.outputs["FunctionLogsName"])["events"]
    services = {json.loads(line["message"]).get("service") for line in logged if line["message"].startswith("{")}
    assert services == {TWIN}


def test_deleting_one_stack_leaves_the_other_working(stack: Stack, twin: Twin, kevin: Client) -> None:
    conversation = kevin.create(contact_id="harry")
    cloudformation = stack.aws("cloudformation")
    cloudformation.delete_stack(StackName=TWIN)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=TWIN, WaiterConfig={"Delay": 1})
    tables = stack.aws("dynamodb").list_tables()["TableNames"]
    assert twin.outputs["ConversationsTableName"] not in tables
    message = kevin.send_message(conversation)
    assert kevin.messages()["data"] == [message]
    detail = {"user_id": kevin.user_id, "conversation_id": conversation["id"], "contact_id": "harry"}
    stack.publish(detail | {"message": "still here"})
    assert wait_until(lambda: len(kevin.messages()["data"]) == 2)
