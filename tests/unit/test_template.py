"""The template says what the service needs, and nothing more."""

from typing import Any

import pytest

from tests.template import FUNCTIONS, TABLE, TEMPLATE

GRANTS = {
    "CreateConversation": {"dynamodb:PutItem": {"table"}},
    "DeleteConversation": {"dynamodb:DeleteItem": {"table"}},
    "ListConversations": {"dynamodb:Query": {"table", "by_flags", "by_group"}},
    "RetrieveConversation": {"dynamodb:GetItem": {"table"}},
    "RetrieveDocs": {},
    "UpdateConversation": {"dynamodb:UpdateItem": {"table"}},
}
ROUTES = {
    "CreateConversation": ("POST", "/conversations", "conversations/write"),
    "DeleteConversation": ("DELETE", "/conversations/{id}", "conversations/write"),
    "ListConversations": ("GET", "/conversations", "conversations/read"),
    "RetrieveConversation": ("GET", "/conversations/{id}", "conversations/read"),
    "UpdateConversation": ("PUT", "/conversations/{id}", "conversations/write"),
}
KEY_SCHEMAS = [TABLE["KeySchema"], *(index["KeySchema"] for index in TABLE["GlobalSecondaryIndexes"])]


@pytest.mark.parametrize("schema", KEY_SCHEMAS, ids=["table", "by_flags", "by_group"])
def test_a_key_has_one_to_four_partition_attributes_and_then_up_to_four_sort_attributes(schema: list[Any]) -> None:
    # DynamoDB's rule for multi-attribute keys, which neither moto nor cfn-lint knows.
    kinds = [element["KeyType"] for element in schema]
    partition, sort = kinds.count("HASH"), kinds.count("RANGE")
    assert kinds == ["HASH"] * partition + ["RANGE"] * sort
    assert 1 <= partition <= 4
    assert sort <= 4
    names = [element["AttributeName"] for element in schema]
    assert len(set(names)) == len(names)


def test_the_tables_own_key_has_one_attribute_of_each_kind() -> None:
    assert [element["KeyType"] for element in TABLE["KeySchema"]] == ["HASH", "RANGE"]


def test_every_key_sorts_by_id() -> None:
    assert {schema[-1]["AttributeName"] for schema in KEY_SCHEMAS} == {"id"}


def test_exactly_the_attributes_of_keys_are_defined() -> None:
    defined = [definition["AttributeName"] for definition in TABLE["AttributeDefinitions"]]
    assert sorted(defined) == sorted({element["AttributeName"] for schema in KEY_SCHEMAS for element in schema})


def test_indexes_hold_whole_conversations() -> None:
    assert [index["Projection"] for index in TABLE["GlobalSecondaryIndexes"]] == [{"ProjectionType": "ALL"}] * 2


def test_the_table_is_on_demand_encrypted_and_recoverable() -> None:
    assert TABLE["BillingMode"] == "PAY_PER_REQUEST"
    assert TABLE["SSESpecification"] == {"SSEEnabled": True}
    assert TABLE["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_do_only_what_it_does(function: str) -> None:
    granted: dict[str, set[str]] = {}
    for policy in FUNCTIONS[function].get("Policies", []):
        for statement in policy["Statement"]:
            assert statement.keys() == {"Effect", "Action", "Resource"}
            resources = statement["Resource"]
            names = {
                resource_name(resource) for resource in (resources if isinstance(resources, list) else [resources])
            }
            granted[statement["Action"]] = names
    assert granted == GRANTS[function]


def resource_name(resource: dict[str, Any]) -> str:
    if resource == {"Fn::GetAtt": ["ConversationsTable", "Arn"]}:
        return "table"
    table, _, index = str(resource["Fn::Sub"]).partition("/index/")
    assert table == "${ConversationsTable.Arn}"
    return index


@pytest.mark.parametrize("function", ROUTES)
def test_a_function_answers_one_method_that_asks_for_a_scope(function: str) -> None:
    (event,) = FUNCTIONS[function]["Events"].values()
    route = event["Properties"]
    assert route["Auth"]["Authorizer"] == "Cognito"
    (scope,) = route["Auth"]["AuthorizationScopes"]
    assert (route["Method"], route["Path"], scope) == ROUTES[function]


def test_only_the_reference_is_open_to_everybody() -> None:
    assert FUNCTIONS.keys() - ROUTES.keys() == {"RetrieveDocs"}
    routes = [event["Properties"] for event in FUNCTIONS["RetrieveDocs"]["Events"].values()]
    assert [(route["Method"], route["Path"]) for route in routes] == [("GET", "/docs"), ("GET", "/docs/{asset}")]
    assert [route["Auth"] for route in routes] == [{"Authorizer": "NONE"}] * 2


def test_the_scopes_are_those_of_the_resource_server() -> None:
    server = TEMPLATE["Resources"]["ResourceServer"]["Properties"]
    offered = {f"{server['Identifier']}/{scope['ScopeName']}" for scope in server["Scopes"]}
    assert offered == {scope for _, _, scope in ROUTES.values()}


def test_the_app_signs_in_by_code_without_a_secret_and_the_service_by_its_secret() -> None:
    app = TEMPLATE["Resources"]["AppClient"]["Properties"]
    service = TEMPLATE["Resources"]["ServiceClient"]["Properties"]
    assert (app["AllowedOAuthFlows"], app.get("GenerateSecret", False)) == (["code"], False)
    assert (service["AllowedOAuthFlows"], service["GenerateSecret"]) == (["client_credentials"], True)


def test_the_environment_of_the_tests_is_that_of_the_functions() -> None:
    variables = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    assert variables.keys() == {
        "TABLE_NAME",
        "DOCUMENTATION_URL",
        "PUBLIC_URL",
        "ALLOWED_ORIGIN",
        "POWERTOOLS_SERVICE_NAME",
        "AWS_ENDPOINT_URL_DYNAMODB",
    }
    assert TEMPLATE["Parameters"]["DocumentationUrl"]["Default"] == "https://protocol.chat/docs/errors"
