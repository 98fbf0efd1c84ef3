"""The hook of a release, as built, with the deployed stack: the versions that are there, and a wrong one among them."""

from typing import Any

import pytest

from tests import aws
from tests.aws import HOOK, RELEASED
from tests.built.conftest import CALL, run
from tests.handlers import event
from tests.stack import Stack, wait_until
from tests.template import TEMPLATE, logical_id
from tools.local import stack as deployed
from tools.local.environment import emulator_url, of_aws_client


@pytest.fixture(scope="module")
def versions(stack: Stack) -> dict[str, str]:
    """The ARN of each function's version that is live, by the variable that the hook reads it from."""
    described = stack.aws("cloudformation").describe_stack_resources(StackName=deployed.NAME)["StackResources"]
    names = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in described}
    functions = stack.aws("lambda")
    found = {}
    for function in RELEASED:
        alias = functions.get_alias(FunctionName=names[logical_id(function)], Name="live")
        found[function.upper()] = f"{alias['AliasArn'].removesuffix(':live')}:{alias['FunctionVersion']}"
    return found


def reported(stack: Stack, versions: dict[str, str]) -> list[str]:
    """What the hook tells CodeDeploy of these versions."""
    with aws.serving() as (codedeploy, url):
        settings = (
            of_aws_client(stack.port)
            | versions
            | {
                "AWS_ENDPOINT_URL_CODEDEPLOY": url,
                "AWS_ENDPOINT_URL_LAMBDA": emulator_url(stack.port),
                "DOCUMENTATION_URL": TEMPLATE["Parameters"]["DocumentationUrl"]["Default"],
            }
        )
        run(stack.home / "build", HOOK, CALL, event(HOOK), **settings)
    return [told["status"] for told in codedeploy.reported]


def left_behind(stack: Stack, *tables: str) -> list[dict[str, Any]]:
    """The rows of synthetic users."""
    outputs, client = stack.outputs(), stack.aws("dynamodb")
    found: list[dict[str, Any]] = []
    for table in tables:
        found += client.scan(
            TableName=outputs[f"{table}TableName"],
            FilterExpression="begins_with(user_id, :synthetic)",
            ExpressionAttributeValues={":synthetic": {"S": "release-test-"}},
            ConsistentRead=True,
        )["Items"]
    return found


def test_the_versions_that_are_deployed_pass_and_nothing_is_left_behind(stack: Stack, versions: dict[str, str]) -> None:
    assert reported(stack, versions) == ["Succeeded"]
    assert left_behind(stack, "Conversations", "Messages") == []


def test_a_wrong_version_stops_the_release_and_nothing_is_left_behind(stack: Stack, versions: dict[str, str]) -> None:
    assert reported(stack, versions | {"UPDATE_MESSAGE": versions["RETRIEVE_MESSAGE"]}) == ["Failed"]
    assert left_behind(stack, "Conversations") == []
    # With their conversation, by the stream.
    assert wait_until(lambda: left_behind(stack, "Messages") == [])
