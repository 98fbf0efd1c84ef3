"""The templates as written: keys, versions of functions, retries, sign-in and parameters."""

import json
import re
from typing import Any

import pytest

from tests.template import FUNCTIONS, NESTED, ROOT, TABLES, TEMPLATE, logical_id, references, root_stack, transform
from tools.local import users
from tools.openapi.routes import ROUTES

FLAGS = ["is_archived HASH", "is_pinned HASH", "is_muted HASH"]
KEYS = {
    "conversations": {
        "": ["user_id HASH", "id RANGE"],
        "by_flags": ["user_id HASH", *FLAGS, "id RANGE"],
        "by_group": ["owner_group HASH", *FLAGS, "id RANGE"],
        "by_activity": ["user_id HASH", *FLAGS, "is_unread RANGE", "activity RANGE"],
        "by_group_activity": ["owner_group HASH", *FLAGS, "is_unread RANGE", "activity RANGE"],
    },
    "messages": {
        "": ["user_conversation HASH", "id RANGE"],
        "by_user": ["user_id HASH", "id RANGE"],
    },
    "changes": {"": ["user_id HASH", "number RANGE"], "by_time": ["slot HASH", "created_at RANGE"]},
}
KEY_SCHEMAS = {
    name: [table["KeySchema"], *(index["KeySchema"] for index in table.get("GlobalSecondaryIndexes", []))]
    for name, table in TABLES.items()
}
# The mappings of publish_changes: the stream, and the attribute that only conversations or messages have.
PUBLISHED = {
    "PublishConversationsStream": ("ConversationsTable", {"is_archived": {"N": [{"exists": True}]}}),
    "PublishMessagesStream": ("MessagesTable", {"user_id": {"S": [{"exists": True}]}}),
}
# Properties of a function that its versions do not have.
UNVERSIONED = {
    "DeploymentPreference",
    "Events",
    "EventInvokeConfig",
    "ReservedConcurrentExecutions",
    "VersionDescription",
}


@pytest.mark.parametrize("table", TABLES)
def test_table_has_the_keys_that_queries_need(table: str) -> None:
    indexes = {index["IndexName"]: index for index in TABLES[table].get("GlobalSecondaryIndexes", [])}
    schemas = {"": TABLES[table], **indexes}
    keys = {
        name: [f"{element['AttributeName']} {element['KeyType']}" for element in schema["KeySchema"]]
        for name, schema in schemas.items()
    }
    assert keys == KEYS[table]


@pytest.mark.parametrize("schema", [schema for schemas in KEY_SCHEMAS.values() for schema in schemas])
def test_multi_attribute_key_is_valid(schema: list[Any]) -> None:
    # DynamoDB's rule, which neither moto nor cfn-lint checks.
    kinds = [element["KeyType"] for element in schema]
    partition, sort = kinds.count("HASH"), kinds.count("RANGE")
    assert kinds == ["HASH"] * partition + ["RANGE"] * sort
    assert 1 <= partition <= 4
    assert sort <= 4
    names = [element["AttributeName"] for element in schema]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("table", TABLES)
def test_table_defines_exactly_the_key_attributes(table: str) -> None:
    assert [element["KeyType"] for element in TABLES[table]["KeySchema"]] == ["HASH", "RANGE"]
    assert {schema[-1]["AttributeName"] for schema in KEY_SCHEMAS[table]} <= {"id", "activity", "number", "created_at"}
    defined = [definition["AttributeName"] for definition in TABLES[table]["AttributeDefinitions"]]
    assert sorted(defined) == sorted({element["AttributeName"] for schema in KEY_SCHEMAS[table] for element in schema})


@pytest.mark.parametrize("table", TABLES)
def test_indexes_project_what_queries_return(table: str) -> None:
    # The inbox reads its rows from the table, and the badge sums up the counts.
    count = {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["unread_count"]}
    for index in TABLES[table].get("GlobalSecondaryIndexes", []):
        is_inbox = index["IndexName"].endswith("activity")
        # A redelivery reads the rows too.
        kind = "KEYS_ONLY" if index["IndexName"] == "by_time" else "ALL"
        assert index["Projection"] == (count if is_inbox else {"ProjectionType": kind})


@pytest.mark.parametrize("function", FUNCTIONS)
def test_changed_parameters_publish_a_version_behind_the_alias(function: str) -> None:
    shared = TEMPLATE["Globals"]["Function"]
    assert (shared["AutoPublishAlias"], shared["AutoPublishAliasAllProperties"]) == ("live", True)
    assert TEMPLATE["Resources"]["SharedLayer"]["Properties"]["PublishLambdaVersion"] is True
    mappings = {name: f"{name}Stream" for name in ("PurgeMessages", "DeliverMessages")}
    for name, mapping in [*mappings.items(), *(("PublishChanges", mapping) for mapping in PUBLISHED)]:
        assert TEMPLATE["Resources"][mapping]["Properties"]["FunctionName"] == {"Ref": f"{name}.Alias"}
    # A new value of a parameter publishes a version only if the version's description changes with it. The description
    # must not change with other parameters: CloudFormation fails if there is nothing new to publish.
    settings = {**shared, **FUNCTIONS[function]}
    settings["Environment"] = [shared["Environment"], FUNCTIONS[function].get("Environment")]
    used = parameters([settings[key] for key in settings.keys() - UNVERSIONED])
    assert parameters(settings["VersionDescription"]) == used


def test_edits_of_tags_and_reservations_publish_no_version() -> None:
    # SAM would publish a version, although a version has neither, and CloudFormation would fail:
    # https://github.com/aws/serverless-application-model/issues/3281. It does not look at the value of a parameter.
    shared = TEMPLATE["Globals"]["Function"]
    assert not [function for function in (shared, *FUNCTIONS.values()) if "Tags" in function]
    reserved = [function.get("ReservedConcurrentExecutions") for function in (shared, *FUNCTIONS.values())]
    assert set(map(json.dumps, filter(None, reserved))) == {
        json.dumps({"Fn::If": ["HasEventConcurrency", {"Ref": "EventConcurrency"}, {"Ref": "AWS::NoValue"}]})
    }
    resources = [transform(EventConcurrency=value)["Resources"] for value in ("10", "20")]
    first, second = (
        {name for name, made in all.items() if made["Type"] == "AWS::Lambda::Version"} for all in resources
    )
    assert first == second != set()


def parameters(part: Any) -> set[str]:
    """Returns the parameters that *part* of the template depends on, also by a condition."""
    conditions = [TEMPLATE["Conditions"][name] for name in re.findall(r'"Fn::If": \["(\w+)"', json.dumps(part))]
    return {name for name, _ in references([part, *conditions]) if name in TEMPLATE["Parameters"]}


def test_version_description_has_room_for_the_longest_values() -> None:
    # With the longest name of a region.
    longest = {
        "UserPoolArn": "arn:aws:cognito-idp:ap-southeast-2:123456789012:userpool/ap-southeast-2_a1b2c3d4e",
        "EventBusName": "chat",
    }
    for name in parameters([function["VersionDescription"] for function in FUNCTIONS.values()]) - longest.keys():
        parameter = TEMPLATE["Parameters"][name]
        bounds = {"x" * parameter.get("MaxLength", 0), *parameter.get("AllowedValues", [parameter.get("MaxValue", "")])}
        longest[name] = max(map(str, bounds), key=len)
    resources = root_stack(**longest | {"Delivery": "internal"})["Resources"].values()
    versions = [made["Properties"] for made in resources if made["Type"] == "AWS::Lambda::Version"]
    assert "" not in longest.values()
    assert max(len(version["Description"]) for version in versions) <= 256


def test_snapstart_is_for_user_endpoints_and_off_by_default() -> None:
    assert TEMPLATE["Parameters"]["SnapStart"]["Default"] == "None"
    assert TEMPLATE["Globals"]["Function"]["SnapStart"] == {"ApplyOn": {"Ref": "SnapStart"}}
    without = {name for name, function in FUNCTIONS.items() if function.get("SnapStart") == {"ApplyOn": "None"}}
    of_users = {logical_id(route.endpoint) for route in ROUTES if route.scope not in users.OPERATOR_SCOPES}
    assert without == FUNCTIONS.keys() - of_users
    # Old versions would keep billed snapshots.
    assert TEMPLATE["Globals"]["Function"]["VersionDeletionPolicy"] == "Delete"


def test_stream_sends_only_deleted_conversations_to_the_purge() -> None:
    stream = TEMPLATE["Resources"]["PurgeMessagesStream"]["Properties"]
    (filter_,) = stream["FilterCriteria"]["Filters"]
    assert json.loads(filter_["Pattern"]) == {
        "eventName": ["REMOVE"],
        "dynamodb": {"OldImage": {"is_archived": {"N": [{"exists": True}]}}},
    }


def test_stream_sends_only_new_orders_to_the_delivery() -> None:
    stream = TEMPLATE["Resources"]["DeliverMessagesStream"]["Properties"]
    (filter_,) = stream["FilterCriteria"]["Filters"]
    pattern = json.loads(filter_["Pattern"])
    assert pattern == {
        "eventName": ["INSERT"],
        "dynamodb": {"Keys": {"user_conversation": {"S": [{"prefix": "deliver#"}]}}},
    }
    assert stream["EventSourceArn"] == {"Fn::GetAtt": ["MessagesTable", "StreamArn"]}
    # None is lost: an order that waits is in the table, and the sweep delivers it.
    assert stream["MaximumRetryAttempts"] == 3
    assert "DestinationConfig" not in stream


@pytest.mark.parametrize("mapping", PUBLISHED)
def test_streams_send_only_conversations_and_messages_to_the_publisher(mapping: str) -> None:
    stream, (table, image) = TEMPLATE["Resources"][mapping]["Properties"], PUBLISHED[mapping]
    assert stream["EventSourceArn"] == {"Fn::GetAtt": [table, "StreamArn"]}
    assert [json.loads(filter_["Pattern"]) for filter_ in stream["FilterCriteria"]["Filters"]] == [
        {"eventName": ["INSERT", "MODIFY"], "dynamodb": {"NewImage": image}},
        {"eventName": ["REMOVE"], "dynamodb": {"OldImage": image}},
    ]
    # Nothing is lost before the stream's own 24 hours, and what is lost leaves a dead letter.
    assert (stream["MaximumRetryAttempts"], stream["MaximumRecordAgeInSeconds"]) == (-1, 23 * 60 * 60)
    assert stream["BisectBatchOnFunctionError"] is True
    assert stream["DestinationConfig"] == {"OnFailure": {"Destination": {"Fn::GetAtt": ["DeadLetters", "Arn"]}}}


def test_stream_has_at_most_two_readers() -> None:
    # A third would be throttled.
    mappings = [made["Properties"] for made in TEMPLATE["Resources"].values() if made["Type"].endswith("SourceMapping")]
    sources = [json.dumps(mapping["EventSourceArn"]) for mapping in mappings]
    assert max(map(sources.count, sources)) == 2


@pytest.mark.parametrize("table", ["conversations", "messages"])
def test_stream_has_both_images(table: str) -> None:
    assert TABLES[table]["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}


def test_failed_events_are_retried_then_kept_as_dead_letters() -> None:
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
    # The id of an event is remembered for a day: a later retry would store its message again.
    assert rule["RetryPolicy"]["MaximumEventAgeInSeconds"] + invocation["MaximumEventAgeInSeconds"] < 24 * 60 * 60
    assert resources["DeadLetters"]["Properties"]["MessageRetentionPeriod"] == 14 * 24 * 60 * 60


def test_webhook_queue_keeps_failed_events_and_is_read_one_by_one() -> None:
    resources = TEMPLATE["Resources"]
    mapping, queue = (resources[name]["Properties"] for name in ("DeliverWebhookQueue", "WebhookQueue"))
    # The first webhook enables it: Lambda's requests to an empty queue cost money.
    assert mapping["Enabled"] is False
    assert (mapping["BatchSize"], mapping["FunctionResponseTypes"]) == (1, ["ReportBatchItemFailures"])
    assert mapping["FunctionName"] == {"Ref": "DeliverWebhook.Alias"}
    assert queue["VisibilityTimeout"] == 6 * FUNCTIONS["DeliverWebhook"]["Timeout"]
    # Longer than the three days of the schedule.
    assert queue["MessageRetentionPeriod"] == 14 * 24 * 60 * 60
    assert queue["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": ["DeadLetters", "Arn"]}


def test_purge_and_sweep_have_five_minutes() -> None:
    assert FUNCTIONS["PurgeMessages"]["Timeout"] == FUNCTIONS["SweepPurges"]["Timeout"] == 300
    schedules = [event["Properties"] for event in FUNCTIONS["SweepPurges"]["Events"].values()]
    assert {schedule["Schedule"] for schedule in schedules} == {"rate(5 minutes)"}
    assert [json.loads(schedule["Input"]) for schedule in schedules] == [{"quarter": number} for number in range(4)]


@pytest.mark.parametrize(("delivery", "state"), [("external", "DISABLED"), ("internal", "ENABLED")])
def test_deliveries_are_swept_each_minute_only_with_internal_delivery(delivery: str, state: str) -> None:
    resources = root_stack(Delivery=delivery)["Resources"]
    rule = resources["SweepDeliveriesMinute"]["Properties"]
    assert (rule["ScheduleExpression"], rule["State"]) == ("rate(1 minute)", state)
    # Orders from before a switch to external are still delivered.
    assert "Enabled" not in resources["DeliverMessagesStream"]["Properties"]
    assert (FUNCTIONS["DeliverMessages"]["Timeout"], FUNCTIONS["SweepDeliveries"]["Timeout"]) == (60, 120)


def test_clients_may_request_every_scope_and_users_not_that_of_the_operator() -> None:
    names = ("ResourceServer", "MessagesResourceServer", "WebhooksResourceServer")
    servers = [TEMPLATE["Resources"][name]["Properties"] for name in names]
    scopes = {f"{server['Identifier']}/{scope['ScopeName']}" for server in servers for scope in server["Scopes"]}
    of_users = {"conversations/read", "conversations/write", "messages/read", "messages/write"}
    assert scopes == of_users | {"webhooks/write"}
    for client, allowed in (("AppClient", of_users), ("ServiceClient", scopes)):
        assert set(TEMPLATE["Resources"][client]["Properties"]["AllowedOAuthScopes"]) - {"openid"} == allowed


def test_app_client_has_no_secret_and_service_client_has_one() -> None:
    app = TEMPLATE["Resources"]["AppClient"]["Properties"]
    service = TEMPLATE["Resources"]["ServiceClient"]["Properties"]
    assert (app["AllowedOAuthFlows"], app.get("GenerateSecret", False)) == (["code"], False)
    assert (service["AllowedOAuthFlows"], service["GenerateSecret"]) == (["client_credentials"], True)


@pytest.mark.parametrize("parameter", TEMPLATE["Parameters"])
def test_parameter_has_a_default_is_used_and_documented(parameter: str) -> None:
    declared = TEMPLATE["Parameters"][parameter]
    assert "Default" in declared
    used = {name for name, _ in references({**TEMPLATE, "Parameters": {}})}
    assert parameter in used
    assert f"| `{parameter}` |" in (ROOT / "docs/deploy.md").read_text()


@pytest.mark.parametrize("template", [TEMPLATE, *NESTED.values()], ids=["root", *NESTED])
def test_parameters_are_described_and_contain_no_secrets(template: dict[str, Any]) -> None:
    # Everyone who may read a function's configuration sees its environment variables.
    assert not [name for name, declared in template["Parameters"].items() if declared.get("NoEcho")]
    assert not re.findall(r"(?i)secret|password|credential|private|apikey", " ".join(template["Parameters"]))
    assert all(declared["Description"].endswith(".") for declared in template["Parameters"].values())
