"""The template says what the service needs, and nothing more."""

import json
import re
from typing import Any

import pytest

from tests.template import FUNCTIONS, TABLES, TEMPLATE

GRANTS = {
    "CreateConversation": {"PutItem": {"conversations"}},
    "CreateMessage": {"PutItem": {"conversations", "messages"}, "UpdateItem": {"conversations"}},
    "DeleteConversation": {"DeleteItem": {"conversations"}, "PutItem": {"conversations"}},
    "DeleteMessage": {
        "BatchGetItem": {"conversations", "messages"},
        "ConditionCheckItem": {"conversations"},
        "DeleteItem": {"messages"},
        "Query": {"messages/by_user"},
        "UpdateItem": {"conversations"},
    },
    "ListConversations": {"Query": {"conversations", "conversations/by_flags", "conversations/by_group"}},
    "ListMessages": {"BatchGetItem": {"conversations"}, "Query": {"messages", "messages/by_user"}},
    "PurgeMessages": {
        "BatchWriteItem": {"messages"},
        "DeleteItem": {"conversations"},
        "DescribeStream": {"conversations/stream/*"},
        "GetRecords": {"conversations/stream/*"},
        "GetShardIterator": {"conversations/stream/*"},
        # Lambda looks for all four before it makes the mapping.
        "ListStreams": {"conversations/stream/*"},
        "Query": {"messages"},
        "SendMessage": {"dead letters"},
    },
    "ReceiveMessage": {
        "PutItem": {"conversations", "messages"},
        "SendMessage": {"dead letters"},
        "UpdateItem": {"conversations"},
    },
    "RetrieveConversation": {"GetItem": {"conversations"}},
    "RetrieveMessage": {"BatchGetItem": {"conversations", "messages"}, "Query": {"messages/by_user"}},
    "RetrieveDocs": {},
    "SweepPurges": {
        "BatchWriteItem": {"messages"},
        "DeleteItem": {"conversations"},
        "Query": {"conversations", "messages"},
    },
    "UpdateConversation": {
        "ConditionCheckItem": {"messages"},
        "GetItem": {"conversations"},
        "UpdateItem": {"conversations"},
    },
    "UpdateMessage": {
        "BatchGetItem": {"conversations", "messages"},
        "Query": {"messages/by_user"},
        "UpdateItem": {"messages"},
    },
}
RESOURCES = {
    "ConversationsTable.Arn": "conversations",
    "DeadLetters.Arn": "dead letters",
    "MessagesTable.Arn": "messages",
}
ROUTES = {
    f"{verb}{noun}": (method, f"/{noun.lower().removesuffix('s')}s{path}", f"{noun.lower().removesuffix('s')}s/{scope}")
    for plural in ("Conversations", "Messages")
    for verb, noun, method, path, scope in (
        ("List", plural, "GET", "", "read"),
        ("Create", plural[:-1], "POST", "", "write"),
        ("Retrieve", plural[:-1], "GET", "/{id}", "read"),
        ("Update", plural[:-1], "PUT", "/{id}", "write"),
        ("Delete", plural[:-1], "DELETE", "/{id}", "write"),
    )
}
KEY_SCHEMAS = {
    name: [table["KeySchema"], *(index["KeySchema"] for index in table["GlobalSecondaryIndexes"])]
    for name, table in TABLES.items()
}


@pytest.mark.parametrize("schema", [*KEY_SCHEMAS["conversations"], *KEY_SCHEMAS["messages"]])
def test_a_key_has_one_to_four_partition_attributes_and_then_up_to_four_sort_attributes(schema: list[Any]) -> None:
    # DynamoDB's rule for multi-attribute keys, which neither moto nor cfn-lint knows.
    kinds = [element["KeyType"] for element in schema]
    partition, sort = kinds.count("HASH"), kinds.count("RANGE")
    assert kinds == ["HASH"] * partition + ["RANGE"] * sort
    assert 1 <= partition <= 4
    assert sort <= 4
    names = [element["AttributeName"] for element in schema]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("table", TABLES)
def test_a_tables_own_key_has_one_attribute_of_each_kind(table: str) -> None:
    assert [element["KeyType"] for element in TABLES[table]["KeySchema"]] == ["HASH", "RANGE"]


@pytest.mark.parametrize("table", TABLES)
def test_every_key_sorts_by_id(table: str) -> None:
    assert {schema[-1]["AttributeName"] for schema in KEY_SCHEMAS[table]} == {"id"}


@pytest.mark.parametrize("table", TABLES)
def test_exactly_the_attributes_of_keys_are_defined(table: str) -> None:
    defined = [definition["AttributeName"] for definition in TABLES[table]["AttributeDefinitions"]]
    assert sorted(defined) == sorted({element["AttributeName"] for schema in KEY_SCHEMAS[table] for element in schema})


@pytest.mark.parametrize("table", TABLES)
def test_indexes_hold_whole_rows(table: str) -> None:
    assert all(index["Projection"] == {"ProjectionType": "ALL"} for index in TABLES[table]["GlobalSecondaryIndexes"])


@pytest.mark.parametrize("table", TABLES)
def test_a_table_is_on_demand_encrypted_and_recoverable(table: str) -> None:
    assert TABLES[table]["BillingMode"] == "PAY_PER_REQUEST"
    assert TABLES[table]["SSESpecification"] == {"SSEEnabled": True}
    assert TABLES[table]["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_do_only_what_it_does(function: str) -> None:
    granted: dict[str, set[str]] = {}
    for policy in FUNCTIONS[function].get("Policies", []):
        for statement in policy["Statement"]:
            assert statement.keys() == {"Effect", "Action", "Resource"}
            names = {resource_name(resource) for resource in listed(statement["Resource"])}
            for action in listed(statement["Action"]):
                granted.setdefault(action.partition(":")[2], set()).update(names)
    assert granted == GRANTS[function]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def resource_name(resource: dict[str, Any]) -> str:
    if "Fn::GetAtt" in resource:
        return RESOURCES[".".join(resource["Fn::GetAtt"])]
    table, _, part = str(resource["Fn::Sub"]).partition("/")
    return f"{RESOURCES[table[2:-1]]}/{part.removeprefix('index/')}"


@pytest.mark.parametrize("function", ROUTES)
def test_an_endpoint_answers_one_method_that_asks_for_a_scope(function: str) -> None:
    (event,) = FUNCTIONS[function]["Events"].values()
    route = event["Properties"]
    assert route["Auth"]["Authorizer"] == "Cognito"
    (scope,) = route["Auth"]["AuthorizationScopes"]
    assert (route["Method"], route["Path"], scope) == ROUTES[function]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_callers_follow_each_function_to_its_newest_version(function: str) -> None:
    shared = TEMPLATE["Globals"]["Function"]
    assert (shared["AutoPublishAlias"], shared["AutoPublishAliasAllProperties"]) == ("live", True)
    assert TEMPLATE["Resources"]["SharedLayer"]["Properties"]["PublishLambdaVersion"] is True
    stream = TEMPLATE["Resources"]["PurgeMessagesStream"]["Properties"]
    assert stream["FunctionName"] == {"Ref": "PurgeMessages.Alias"}
    # A version is published for a new value of a parameter only if its description changes too. It must change with no
    # other: CloudFormation fails where there is nothing new to publish.
    configured = {**shared, **FUNCTIONS[function]}
    configured["Environment"] = [shared["Environment"], FUNCTIONS[function].get("Environment")]
    described = str(configured.pop("VersionDescription")["Fn::Sub"])
    for of_others in ("Policies", "Events", "EventInvokeConfig"):
        configured.pop(of_others, None)
    assert set(re.findall(r"\$\{(\w+)\}", described)) == references(configured) & TEMPLATE["Parameters"].keys()


def references(value: Any) -> set[str]:
    """The names that *value* refers to."""
    if isinstance(value, dict):
        named = {str(value["Ref"])} if "Ref" in value else set()
        return named.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_a_versions_description_has_room_for_the_longest_settings() -> None:
    for function in FUNCTIONS.values():
        longest = str(function["VersionDescription"]["Fn::Sub"])
        for name, parameter in TEMPLATE["Parameters"].items():
            lengths = [parameter.get("MaxLength", 0), *map(len, parameter.get("AllowedValues", []))]
            longest = longest.replace(f"${{{name}}}", "x" * max(lengths))
        assert "$" not in longest
        assert len(longest) <= 256


def test_users_calls_start_from_snapshots_unless_a_parameter_says_otherwise() -> None:
    assert TEMPLATE["Parameters"]["SnapStart"]["Default"] == "PublishedVersions"
    assert TEMPLATE["Globals"]["Function"]["SnapStart"] == {"ApplyOn": {"Ref": "SnapStart"}}
    without = {name for name, function in FUNCTIONS.items() if function.get("SnapStart") == {"ApplyOn": "None"}}
    assert without == FUNCTIONS.keys() - ROUTES.keys()
    # Else each version that was ever published would go on costing.
    assert TEMPLATE["Globals"]["Function"]["VersionDeletionPolicy"] == "Delete"


def test_only_deleted_conversations_are_handed_to_the_purge() -> None:
    stream = TEMPLATE["Resources"]["PurgeMessagesStream"]["Properties"]
    (chosen,) = stream["FilterCriteria"]["Filters"]
    assert json.loads(chosen["Pattern"]) == {
        "eventName": ["REMOVE"],
        "dynamodb": {"OldImage": {"is_archived": {"N": [{"exists": True}]}}},
    }
    assert TABLES["conversations"]["StreamSpecification"] == {"StreamViewType": "OLD_IMAGE"}


def test_only_the_reference_is_open_to_everybody() -> None:
    others = {"PurgeMessages", "ReceiveMessage", "SweepPurges"}
    assert FUNCTIONS.keys() - ROUTES.keys() - others == {"RetrieveDocs"}
    routes = [event["Properties"] for event in FUNCTIONS["RetrieveDocs"]["Events"].values()]
    assert [(route["Method"], route["Path"]) for route in routes] == [("GET", "/docs"), ("GET", "/docs/{asset}")]
    assert [route["Auth"] for route in routes] == [{"Authorizer": "NONE"}] * 2


def test_what_fails_is_repeated_a_while_and_then_kept() -> None:
    resources = TEMPLATE["Resources"]
    queue = {"Fn::GetAtt": ["DeadLetters", "Arn"]}
    stream = resources["PurgeMessagesStream"]["Properties"]
    assert stream["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert stream["BisectBatchOnFunctionError"] is True
    assert (stream["MaximumRetryAttempts"], stream["MaximumRecordAgeInSeconds"]) == (5, 3600)
    assert stream["DestinationConfig"] == {"OnFailure": {"Destination": queue}}
    invocation = FUNCTIONS["ReceiveMessage"]["EventInvokeConfig"]
    assert invocation["DestinationConfig"] == {"OnFailure": {"Type": "SQS", "Destination": queue}}
    rule = FUNCTIONS["ReceiveMessage"]["Events"]["Received"]["Properties"]
    assert rule["DeadLetterConfig"] == {"Arn": queue}
    # Else an event that comes again would be stored again: that is how long its id is remembered.
    assert rule["RetryPolicy"]["MaximumEventAgeInSeconds"] + invocation["MaximumEventAgeInSeconds"] < 24 * 60 * 60
    (statement,) = resources["DeadLettersPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert resources["DeadLetters"]["Properties"]["MessageRetentionPeriod"] == 14 * 24 * 60 * 60


def test_a_purge_has_minutes_and_the_sweep_comes_by_as_often() -> None:
    assert FUNCTIONS["PurgeMessages"]["Timeout"] == FUNCTIONS["SweepPurges"]["Timeout"] == 300
    assert FUNCTIONS["SweepPurges"]["Events"]["Every5Minutes"]["Properties"] == {"Schedule": "rate(5 minutes)"}


def test_the_scopes_are_those_of_the_resource_server() -> None:
    servers = [TEMPLATE["Resources"][name]["Properties"] for name in ("ResourceServer", "MessagesResourceServer")]
    offered = {f"{server['Identifier']}/{scope['ScopeName']}" for server in servers for scope in server["Scopes"]}
    assert offered == {scope for _, _, scope in ROUTES.values()}
    for client in ("AppClient", "ServiceClient"):
        assert set(TEMPLATE["Resources"][client]["Properties"]["AllowedOAuthScopes"]) - {"openid"} == offered


def test_the_app_signs_in_by_code_without_a_secret_and_the_service_by_its_secret() -> None:
    app = TEMPLATE["Resources"]["AppClient"]["Properties"]
    service = TEMPLATE["Resources"]["ServiceClient"]["Properties"]
    assert (app["AllowedOAuthFlows"], app.get("GenerateSecret", False)) == (["code"], False)
    assert (service["AllowedOAuthFlows"], service["GenerateSecret"]) == (["client_credentials"], True)


def test_the_environment_of_the_tests_is_that_of_the_functions() -> None:
    variables = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    assert variables.keys() == {
        "CONVERSATIONS_TABLE_NAME",
        "MESSAGES_TABLE_NAME",
        "DOCUMENTATION_URL",
        "PUBLIC_URL",
        "ALLOWED_ORIGIN",
        "POWERTOOLS_SERVICE_NAME",
        "AWS_ENDPOINT_URL_DYNAMODB",
    }
    assert TEMPLATE["Parameters"]["DocumentationUrl"]["Default"] == "https://protocol.chat/docs/errors"
