"""The template says what the service needs, and nothing more."""

import json
import re
from typing import Any

import pytest

from tests.handlers import USER_ENDPOINTS
from tests.template import FUNCTIONS, ROOT, TABLES, TEMPLATE, logical_id, references

SCOPES = {"conversations/read", "conversations/write", "messages/read", "messages/write"}
FLAGS = ["is_archived HASH", "is_pinned HASH", "is_muted HASH"]
KEYS = {
    "conversations": {
        "": ["user_id HASH", "id RANGE"],
        "by_flags": ["user_id HASH", *FLAGS, "id RANGE"],
        "by_group": ["owner_group HASH", *FLAGS, "id RANGE"],
    },
    "messages": {
        "": ["user_conversation HASH", "id RANGE"],
        "by_user": ["user_id HASH", "id RANGE"],
    },
}
KEY_SCHEMAS = {
    name: [table["KeySchema"], *(index["KeySchema"] for index in table["GlobalSecondaryIndexes"])]
    for name, table in TABLES.items()
}
# What a function is configured with that is no part of its versions.
OF_NO_VERSION = {
    "DeploymentPreference",
    "Events",
    "EventInvokeConfig",
    "ReservedConcurrentExecutions",
    "VersionDescription",
}


@pytest.mark.parametrize("table", TABLES)
def test_a_table_and_its_indexes_have_the_keys_that_queries_need(table: str) -> None:
    named = {"": TABLES[table], **{index["IndexName"]: index for index in TABLES[table]["GlobalSecondaryIndexes"]}}
    keys = {
        name: [f"{element['AttributeName']} {element['KeyType']}" for element in keyed["KeySchema"]]
        for name, keyed in named.items()
    }
    assert keys == KEYS[table]


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
    described = configured["VersionDescription"]["Fn::Sub"]
    named = {name for name, _ in references([configured[key] for key in configured.keys() - OF_NO_VERSION])}
    assert set(re.findall(r"\$\{(\w+)\}", described)) == named & TEMPLATE["Parameters"].keys()


def test_a_versions_description_has_room_for_the_longest_settings() -> None:
    for function in FUNCTIONS.values():
        longest = str(function["VersionDescription"]["Fn::Sub"])
        for name, parameter in TEMPLATE["Parameters"].items():
            lengths = [
                parameter.get("MaxLength", 0),
                *(len(str(value)) for value in parameter.get("AllowedValues", [])),
            ]
            longest = longest.replace(f"${{{name}}}", "x" * max(lengths))
        assert "$" not in longest
        assert len(longest) <= 256


def test_users_calls_start_from_snapshots_unless_a_parameter_says_otherwise() -> None:
    assert TEMPLATE["Parameters"]["SnapStart"]["Default"] == "PublishedVersions"
    assert TEMPLATE["Globals"]["Function"]["SnapStart"] == {"ApplyOn": {"Ref": "SnapStart"}}
    without = {name for name, function in FUNCTIONS.items() if function.get("SnapStart") == {"ApplyOn": "None"}}
    assert without == FUNCTIONS.keys() - {logical_id(endpoint) for endpoint in USER_ENDPOINTS}
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
    assert offered == SCOPES
    for client in ("AppClient", "ServiceClient"):
        assert set(TEMPLATE["Resources"][client]["Properties"]["AllowedOAuthScopes"]) - {"openid"} == offered


def test_the_app_signs_in_by_code_without_a_secret_and_the_service_by_its_secret() -> None:
    app = TEMPLATE["Resources"]["AppClient"]["Properties"]
    service = TEMPLATE["Resources"]["ServiceClient"]["Properties"]
    assert (app["AllowedOAuthFlows"], app.get("GenerateSecret", False)) == (["code"], False)
    assert (service["AllowedOAuthFlows"], service["GenerateSecret"]) == (["client_credentials"], True)


@pytest.mark.parametrize("parameter", TEMPLATE["Parameters"])
def test_a_parameter_has_a_default_is_used_and_is_told(parameter: str) -> None:
    declared = TEMPLATE["Parameters"][parameter]
    assert "Default" in declared
    assert declared["Description"].endswith(".")
    used = {name for name, _ in references({**TEMPLATE, "Parameters": {}})}
    assert parameter in used
    assert f"| `{parameter}` |" in (ROOT / "README.md").read_text()


def test_no_parameter_is_a_secret() -> None:
    # What a function is configured with can be read by everybody who may look at it.
    assert not [name for name, declared in TEMPLATE["Parameters"].items() if declared.get("NoEcho")]
    named = " ".join(TEMPLATE["Parameters"])
    assert not re.findall(r"(?i)secret|password|credential|private|apikey", named)
