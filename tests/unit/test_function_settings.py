"""Each function gets exactly the permissions and the environment that it needs."""

import json
from typing import Any

import pytest

from tests.grants import CODEDEPLOY_GRANTS, COMMON_GRANTS, GRANTS, HOOK, KEY_GRANTS, RELEASED, WILDCARDS
from tests.handlers import FUNCTIONS as HANDLERS
from tests.handlers import call
from tests.template import (
    FUNCTIONS,
    OTHERS,
    SETTINGS,
    TEMPLATE,
    as_list,
    logical_id,
    named,
    of_type,
    whole_stack,
)

MANAGED_POLICIES = {
    # The role is for the logs of all APIs of the account, so AWS's own policy for that purpose fits.
    "ApiGatewayLogsRole": ["arn:AWS::Partition:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"],
}
# All other roles are of functions.
SERVICES = {"ApiGatewayLogsRole": "apigateway.amazonaws.com", "DeploymentRole": "codedeploy.amazonaws.com"}
VARIABLES = {
    "ALLOWED_ORIGIN": OTHERS["AllowedOrigin"],
    "AWS_CA_BUNDLE": "/opt/aws-ca-bundle.pem",
    "AWS_ENDPOINT_URL_DYNAMODB": "",
    "CONVERSATIONS_TABLE_NAME": "ConversationsTable",
    "DOCUMENTATION_URL": OTHERS["DocumentationUrl"],
    "MESSAGES_TABLE_NAME": "MessagesTable",
    "POWERTOOLS_SERVICE_NAME": "AWS::StackName",
    "PUBLIC_URL": OTHERS["PublicUrl"],
}
SENDING: dict[str, object] = {
    "DELIVERY": OTHERS["Delivery"],
    "SEND_LIMIT": int(OTHERS["SendLimit"]),
    "SEND_LIMIT_PER_CONTACT": int(OTHERS["SendLimitPerContact"]),
}
DELIVERING: dict[str, object] = {
    "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER": "",
    "AWS_ENDPOINT_URL_SQS": "",
    "DEAD_LETTERS_URL": "DeadLetters",
    "UNARCHIVE": OTHERS["Unarchive"],
    "USER_POOL_ID": OTHERS["UserPoolArn"].partition("/")[2],
}
WEBHOOKS: dict[str, object] = {
    "AWS_ENDPOINT_URL_LAMBDA": "",
    "AWS_ENDPOINT_URL_SSM": "",
    "WEBHOOK_MAPPING_ID": "DeliverWebhookQueue",
    "WEBHOOK_TARGETS": OTHERS["WebhookTargets"],
}
OWN_VARIABLES: dict[str, dict[str, object]] = {
    HOOK: {
        "AWS_ENDPOINT_URL_SQS": "",
        "RELEASE_HOOKS_URL": "ReleaseHooks",
        **{f"VERSION_{name.upper()}": f"{logical_id(name)}.Version" for name in HANDLERS if logical_id(name) != HOOK},
    },
    "CreateMessage": {"UNARCHIVE": OTHERS["Unarchive"], **SENDING},
    "CreateRedelivery": {
        "AWS_ENDPOINT_URL_SQS": "",
        "CHANGES_TABLE_NAME": "ChangesTable",
        "WEBHOOK_QUEUE_URL": "WebhookQueue",
    },
    "CreateWebhook": WEBHOOKS,
    "DeleteMessage": {"DELIVERY": OTHERS["Delivery"]},
    "DeliverMessages": DELIVERING,
    "DeliverWebhook": {
        "AWS_ENDPOINT_URL_SQS": "",
        "AWS_ENDPOINT_URL_SSM": "",
        "CHANGES_TABLE_NAME": "ChangesTable",
        "DEAD_LETTERS_URL": "DeadLetters",
        "WEBHOOK_QUEUE_URL": "WebhookQueue",
        "WEBHOOK_TARGETS": OTHERS["WebhookTargets"],
    },
    "ListChanges": {"CHANGES_TABLE_NAME": "ChangesTable"},
    "PublishChanges": {
        "AWS_ENDPOINT_URL_EVENTBRIDGE": "",
        "AWS_ENDPOINT_URL_SQS": "",
        "CHANGES_TABLE_NAME": "ChangesTable",
        "DEAD_LETTERS_URL": "DeadLetters",
        "EVENT_BUS_NAME": OTHERS["EventBusName"],
        "WEBHOOK_QUEUE_URL": "WebhookQueue",
    },
    "ReceiveMessage": {
        "AWS_ENDPOINT_URL_SQS": "",
        "DEAD_LETTERS_URL": "DeadLetters",
        "INBOUND_QUEUE_URL": "InboundQueue",
        "UNARCHIVE": OTHERS["Unarchive"],
    },
    # The domain of an existing user pool is not known.
    "RetrieveDocs": {"SIGN_IN_URL": ""},
    "SweepDeliveries": DELIVERING,
    "UpdateMessage": SENDING,
    "UpdateWebhook": WEBHOOKS,
}


def statements(role: Any) -> list[dict[str, Any]]:
    return [statement for policy in role.get("Policies", []) for statement in policy["PolicyDocument"]["Statement"]]


def granted(role: Any) -> dict[str, set[str]]:
    """Returns the resources that a role allows each action on."""
    found: dict[str, set[str]] = {}
    for statement in statements(role):
        for action in as_list(statement["Action"]):
            found.setdefault(action, set()).update(named(as_list(statement["Resource"])))
    return found


def test_each_function_has_its_own_role() -> None:
    used = [named(function["Role"]) for function in of_type("others", "Lambda::Function").values()]
    assert sorted(used) == sorted(f"{function}ExecutionRole.Arn" for function in FUNCTIONS)


@pytest.mark.parametrize("settings", SETTINGS)
def test_role_has_one_service_and_inline_policies_that_only_allow(settings: str) -> None:
    assert not of_type(settings, "IAM::Policy") | of_type(settings, "IAM::ManagedPolicy")
    for name, role in of_type(settings, "IAM::Role").items():
        principal = {"Service": SERVICES.get(name, "lambda.amazonaws.com")}
        assert role["AssumeRolePolicyDocument"]["Statement"] == [
            {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
        ]
        assert named(role.get("ManagedPolicyArns", [])) == MANAGED_POLICIES.get(name, [])
        for statement in statements(role):
            assert statement["Effect"] == "Allow"
            assert statement.keys() - {"Condition"} == {"Effect", "Action", "Resource"}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_function_role_grants_exactly_what_it_needs(function: str) -> None:
    services = {action.partition(":")[0] for action in GRANTS[function]}
    key_grants = KEY_GRANTS if services & {"dynamodb", "sqs"} else {}
    role = of_type("others", "IAM::Role")[f"{function}ExecutionRole"]
    assert granted(role) == GRANTS[function] | COMMON_GRANTS | key_grants


def test_codedeploy_role_grants_only_traffic_shifting_and_the_hook() -> None:
    assert granted(of_type("canary", "IAM::Role")["DeploymentRole"]) == CODEDEPLOY_GRANTS


def test_grants_have_no_wildcard_without_a_reason() -> None:
    for role in of_type("others", "IAM::Role").values():
        for action, resources in granted(role).items():
            assert "*" not in action
            assert "*" not in "".join(resources) or WILDCARDS[action]


def test_key_is_used_only_through_dynamodb_and_sqs() -> None:
    services = [f"{service}.AWS::Region.AWS::URLSuffix" for service in ("dynamodb", "sqs")]
    for role in of_type("others", "IAM::Role").values():
        for statement in statements(role):
            uses_key = any(action.startswith("kms:") for action in as_list(statement["Action"]))
            condition = {"StringEquals": {"kms:ViaService": services}} if uses_key else None
            assert named(statement.get("Condition")) == condition
    for role in of_type("canary", "IAM::Role").values():
        assert not [action for action in granted(role) if action.startswith("kms:")]


def test_functions_are_invoked_by_one_source_through_their_alias() -> None:
    for permission in of_type("others", "Lambda::Permission").values():
        assert permission["Principal"] in {"apigateway.amazonaws.com", "events.amazonaws.com"}
        assert permission["SourceArn"]
        assert named(permission["FunctionName"]).removesuffix("Aliaslive") in RELEASED


@pytest.mark.parametrize("function", FUNCTIONS)
def test_function_gets_exactly_the_environment_it_needs(function: str) -> None:
    variables = named(of_type("others", "Lambda::Function")[function]["Environment"]["Variables"])
    assert variables == VARIABLES | OWN_VARIABLES.get(function, {})


@pytest.mark.parametrize("function", ["DeliverMessages", "SweepDeliveries"])
def test_delivery_looks_for_users_in_the_own_user_pool(function: str) -> None:
    variables = of_type("defaults", "Lambda::Function")[function]["Environment"]["Variables"]
    assert variables["USER_POOL_ID"] == {"Ref": "UserPool"}
    grants = granted(of_type("defaults", "IAM::Role")[f"{function}ExecutionRole"])
    for action in ("ListUserPoolClients", "ListUsers"):
        assert grants[f"cognito-idp:{action}"] == {"UserPool.Arn"}


def test_reference_page_gets_the_sign_in_url_of_its_own_user_pool() -> None:
    variables = of_type("defaults", "Lambda::Function")["RetrieveDocs"]["Environment"]["Variables"]
    assert variables["SIGN_IN_URL"] == TEMPLATE["Outputs"]["SignInUrl"]["Value"]


def test_unit_tests_use_the_default_environment() -> None:
    variables = of_type("defaults", "Lambda::Function")["ListConversations"]["Environment"]["Variables"]
    response = call("list_conversations", query={"limit": ["0"]})
    assert response.headers["Access-Control-Allow-Origin"] == variables["ALLOWED_ORIGIN"]
    assert response.body["documentation_url"].startswith(variables["DOCUMENTATION_URL"])


@pytest.mark.parametrize("settings", SETTINGS)
def test_stack_does_not_read_secrets(settings: str) -> None:
    text = json.dumps(whole_stack(**SETTINGS[settings]))
    assert "ClientSecret" not in text
    assert "{{resolve:" not in text
