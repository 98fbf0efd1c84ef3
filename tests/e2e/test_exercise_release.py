"""The built release hook against the deployed stack: with good versions, and with a bad one."""

from typing import Any

import pytest

from tests.built.conftest import CALL, run
from tests.fake_lambda import HOOK, RELEASED, serving
from tests.handlers import event
from tests.stack import Stack, wait_until
from tests.template import TEMPLATE, logical_id
from tools.local import stack as deployed
from tools.local.environment import emulator_url, of_aws_client


@pytest.fixture(scope="module")
def versions(stack: Stack) -> dict[str, str]:
    """The hook's environment variables: the ARN of each function's live version."""
    described = stack.aws("cloudformation").describe_stack_resources(StackName=deployed.NAME)["StackResources"]
    names = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in described}
    functions = stack.aws("lambda")
    found = {}
    for function in RELEASED:
        alias = functions.get_alias(FunctionName=names[logical_id(function)], Name="live")
        found[f"VERSION_{function.upper()}"] = f"{alias['AliasArn'].removesuffix(':live')}:{alias['FunctionVersion']}"
    return found


def reported(stack: Stack, versions: dict[str, str]) -> list[str]:
    """Returns the statuses that the hook reports to CodeDeploy for *versions*."""
    with serving() as (fake, url):
        settings = (
            of_aws_client(stack.port)
            | versions
            | {
                "AWS_ENDPOINT_URL_CODEDEPLOY": url,
                "AWS_ENDPOINT_URL_DYNAMODB": emulator_url(stack.port),
                "AWS_ENDPOINT_URL_LAMBDA": emulator_url(stack.port),
                "AWS_ENDPOINT_URL_SQS": url,
                "CONVERSATIONS_TABLE_NAME": stack.outputs()["ConversationsTableName"],
                "RELEASE_HOOKS_URL": f"{url}/1/hooks.fifo",
                "DOCUMENTATION_URL": TEMPLATE["Parameters"]["DocumentationUrl"]["Default"],
            }
        )
        run(stack.home / "build", HOOK, CALL, event(HOOK), **settings)
        run(stack.home / "build", HOOK, CALL, {"Records": [{"body": body} for body in fake.sent]}, **settings)
    return fake.statuses


def synthetic_rows(stack: Stack, *tables: str) -> list[dict[str, Any]]:
    """Returns the rows of synthetic users."""
    outputs, client = stack.outputs(), stack.aws("dynamodb")
    found: list[dict[str, Any]] = []
    for table in tables:
        found += client.scan(
            TableName=outputs[f"{table}TableName"],
            FilterExpression="begins_with(user_id, :synthetic)",
            ExpressionAttributeValues={":synthetic": {"S": "release-test"}},
            ConsistentRead=True,
        )["Items"]
    return found


def test_good_versions_pass_and_leave_no_rows(stack: Stack, versions: dict[str, str]) -> None:
    assert reported(stack, versions) == ["Succeeded"]
    assert synthetic_rows(stack, "Conversations", "Messages") == []


def test_bad_version_stops_the_release_and_leaves_no_rows(stack: Stack, versions: dict[str, str]) -> None:
    assert reported(stack, versions | {"VERSION_UPDATE_MESSAGE": versions["VERSION_RETRIEVE_MESSAGE"]}) == ["Failed"]
    assert synthetic_rows(stack, "Conversations") == []
    # The stream purges them after their conversation was deleted.
    assert wait_until(lambda: synthetic_rows(stack, "Messages") == [])
