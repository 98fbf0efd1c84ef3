"""A stack protects its data, has limits and alarms, and releases in steps. Its parts fit together."""

import json
import re
import tomllib
from graphlib import TopologicalSorter
from typing import Any

import pytest
from coherent.http.endpoint import EXPOSED_HEADERS

from tests import tables as contents
from tests.grants import HOOK, RELEASED
from tests.handlers import JSON, call, create, send, update
from tests.template import (
    NESTED,
    OTHERS,
    ROOT,
    SETTINGS,
    TABLES,
    TEMPLATE,
    as_list,
    named,
    of_type,
    references,
    root_stack,
    the_only,
    transform,
    whole_stack,
)

GATEWAY_RESPONSES: dict[str, Any] = TEMPLATE["Resources"]["Api"]["Properties"]["GatewayResponses"]
TLS_1_2, TLS_1_3 = "SecurityPolicy_TLS13_1_2_PFS_PQ_2025_09", "SecurityPolicy_TLS13_1_3_2025_09"
# None of them contains a header, a body or an id: resourcePath has {id} in place of an id.
LOGGED = {
    *("error.responseType", "httpMethod", "identity.sourceIp", "integrationErrorMessage", "requestId", "resourcePath"),
    *("requestTimeEpoch", "responseLatency", "responseLength", "status", "tlsVersion", "wafResponseCode"),
    "xrayTraceId",
}
# The rules of AWS's groups that inspect bodies, from their documentation.
BODY_RULES: dict[str, set[str]] = {
    "AWSManagedRulesAmazonIpReputationList": set(),
    "AWSManagedRulesCommonRuleSet": {
        *("CrossSiteScripting_BODY", "EC2MetaDataSSRF_BODY", "GenericLFI_BODY", "GenericRFI_BODY"),
        "SizeRestrictions_BODY",
    },
    "AWSManagedRulesKnownBadInputsRuleSet": {"JavaDeserializationRCE_BODY", "Log4JRCE_BODY", "ReactJSRCE_BODY"},
}
ROLLBACK_ALARMS = {
    "ChangeErrors", "PurgeErrors", "ReceiveErrors", "ServerErrors", "SlowRequests", "SweepErrors", "SweepInboxErrors",
}  # fmt: skip
DELIVERY_ALARM = "DeliveryErrors"
# The hook refers to CreateWebhook, CreateWebhook to the mapping of this function, and the mapping to its alias.
AT_ONCE = "DeliverWebhook"
CANARY_CONFIG = r"CodeDeployDefault\.LambdaCanary10Percent(\d+)Minutes"


def definition(settings: str) -> Any:
    """Returns the OpenAPI definition that API Gateway gets."""
    return the_only(settings, "ApiGateway::RestApi")["Body"]


def parse_error(text: str) -> tuple[str, str]:
    """Returns the type and the documentation URL of an error body."""
    # API Gateway replaces the variable with its own message in quotes.
    error = json.loads(text.replace("$context.error.messageString", '"message"'))
    assert error.keys() == {"type", "message", "documentation_url"}
    assert error["message"]
    return error["type"], error["documentation_url"]


# The API and its own responses. test_openapi.py compares its routes and scopes with the contract.


def test_every_method_requires_a_token_except_docs_and_preflight() -> None:
    body = definition("others")
    assert "security" not in body
    for path, operations in body["paths"].items():
        for method, operation in operations.items():
            integration = operation["x-amazon-apigateway-integration"]
            if method == "options":
                assert "security" not in operation
                assert integration["type"] == "mock"
                headers = integration["responses"]["default"]["responseParameters"]
                assert headers["method.response.header.Access-Control-Allow-Origin"] == f"'{OTHERS['AllowedOrigin']}'"
                continue
            resource = path.split("/")[1]
            resource = "conversations" if resource in {"changes", "inbox", "unread"} else resource
            # Webhooks are the operator's, also to read.
            scope = f"{resource}/{'read' if method == 'get' and resource != 'webhooks' else 'write'}"
            expected = {"NONE": []} if resource == "docs" else {"Cognito": [scope]}
            assert operation["security"] == [expected]
            assert re.fullmatch(r"arn:aws:apigateway:\S+/functions/\w+Aliaslive/invocations", named(integration["uri"]))


@pytest.mark.parametrize(("settings", "pool"), [("defaults", "UserPool.Arn"), ("others", OTHERS["UserPoolArn"])])
def test_authorizer_accepts_tokens_of_one_user_pool(settings: str, pool: str) -> None:
    ((name, scheme),) = definition(settings)["components"]["securitySchemes"].items()
    assert (name, scheme["type"], scheme["in"], scheme["name"]) == ("Cognito", "apiKey", "header", "Authorization")
    authorizer = named(scheme["x-amazon-apigateway-authorizer"])
    assert authorizer == {"type": "cognito_user_pools", "providerARNs": [pool]}


@pytest.mark.parametrize("response", GATEWAY_RESPONSES, ids=str.lower)
def test_gateway_response_has_the_shape_of_all_errors(response: str) -> None:
    deployed = definition("others")["x-amazon-apigateway-gateway-responses"][response]
    ((content_type, text),) = deployed["responseTemplates"].items()
    status = int(deployed.get("statusCode", 400))
    kind = "api_error" if status >= 500 else "invalid_request"
    assert content_type == "application/json"
    assert parse_error(text) == (kind, f"{OTHERS['DocumentationUrl']}/{kind}")
    headers = {name.rpartition(".")[2]: value for name, value in deployed["responseParameters"].items()}
    assert headers["X-Request-Id"] == "context.requestId"
    assert headers["Access-Control-Allow-Origin"] == f"'{OTHERS['AllowedOrigin']}'"
    assert headers["Access-Control-Expose-Headers"] == f"'{EXPOSED_HEADERS}'"
    assert ("Retry-After" in headers) == (status in {429, 503})
    assert ("WWW-Authenticate" in headers) == (status == 401)


def test_gateway_responses_cover_all_errors() -> None:
    assert {"DEFAULT_4XX", "DEFAULT_5XX"} < GATEWAY_RESPONSES.keys()
    assert definition("others")["x-amazon-apigateway-gateway-responses"].keys() == GATEWAY_RESPONSES.keys()


def test_stage_is_redeployed_on_every_deployment() -> None:
    # SAM redeploys the API when its definition changes, but compares it before parameters have values.
    (api,) = [r for r in transform()["Resources"].values() if r["Type"] == "AWS::ApiGateway::RestApi"]
    parameters = {name for name, _ in references(api)} & TEMPLATE["Parameters"].keys()
    assert not parameters or TEMPLATE["Resources"]["Api"]["Properties"].get("AlwaysDeploy") is True


# Data.


@pytest.mark.parametrize("table", [f"{name.title()}Table" for name in TABLES])
def test_table_is_encrypted_recoverable_and_limited(table: str) -> None:
    default, other = (of_type(settings, "DynamoDB::Table")[table] for settings in ("defaults", "others"))
    assert default["BillingMode"] == "PAY_PER_REQUEST"
    # AWS owns the default key: requests to any other are billed.
    key = {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": OTHERS["KmsKeyArn"]}
    assert (default.get("SSESpecification"), other["SSESpecification"]) == (None, key)
    for given, days, reads, writes in ((default, 35, 10000, 5000), (other, 7, 200, 100)):
        recovery = {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": days}
        # Changes are copies, and expire.
        assert given.get("PointInTimeRecoverySpecification") == (None if table == "ChangesTable" else recovery)
        for limited in (given, *given.get("GlobalSecondaryIndexes", [])):
            throughput = {"MaxReadRequestUnits": reads, "MaxWriteRequestUnits": writes}
            assert limited["OnDemandThroughput"] == throughput


def test_only_the_rule_of_the_stack_may_send_dead_letters() -> None:
    policy = the_only("defaults", "SQS::QueuePolicy")
    assert named(policy["Queues"]) == ["DeadLetters"]
    assert named(policy["PolicyDocument"]["Statement"]) == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": "DeadLetters.Arn",
            "Condition": {"ArnEquals": {"aws:SourceArn": "ReceiveMessageReceived.Arn"}},
        }
    ]
    with_dead_letters = {
        name
        for name, rule in of_type("defaults", "Events::Rule").items()
        if any("DeadLetterConfig" in target for target in rule["Targets"])
    }
    assert with_dead_letters == {"ReceiveMessageReceived"}


def test_dead_letter_queue_is_encrypted() -> None:
    default, other = (of_type(settings, "SQS::Queue")["DeadLetters"] for settings in ("defaults", "others"))
    assert (default["SqsManagedSseEnabled"], default.get("KmsMasterKeyId")) == (True, None)
    assert (other.get("SqsManagedSseEnabled"), other["KmsMasterKeyId"]) == (None, OTHERS["KmsKeyArn"])


# Users cannot sign in to the pool without them.
SIGN_IN = {
    *("UserPoolDomain", "ResourceServer", "MessagesResourceServer", "WebhooksResourceServer"),
    *("AppClient", "ServiceClient"),
}
DATA = {"ConversationsTable", "MessagesTable", "UserPool"} | SIGN_IN
# Other APIs of the account may use them. Only stacks with SetApiGatewayLogsRole=true have them.
SHARED = {"ApiGatewayAccount", "ApiGatewayLogsRole"}


def policies(attribute: str, **parameters: str) -> dict[str, str]:
    """Returns the resources whose `DeletionPolicy` or `UpdateReplacePolicy` is not to delete them."""
    resources = whole_stack(**parameters)["Resources"].items()
    given = {name: resource[attribute] for name, resource in resources if attribute in resource}
    # SAM generates versions and layers.
    return {name: policy for name, policy in given.items() if policy != "Delete"}


@pytest.mark.parametrize(
    ("protect_data", "outlives_the_stack", "is_locked"),
    [("true", True, False), ("locked", True, True), ("false", False, False)],
)
def test_data_is_protected_as_configured(protect_data: str, outlives_the_stack: bool, is_locked: bool) -> None:
    settings = {"ProtectData": protect_data, "SetApiGatewayLogsRole": "true"}
    resources = whole_stack(**settings)["Resources"]
    data = DATA if outlives_the_stack else set()
    # A first deployment that fails deletes what it created, unless that is locked.
    deletion = dict.fromkeys(data, "RetainExceptOnCreate") | dict.fromkeys(SHARED, "Retain")
    assert policies("DeletionPolicy", **settings) == deletion
    assert policies("UpdateReplacePolicy", **settings) == dict.fromkeys(data | SHARED, "Retain")
    for table in DATA & resources.keys():
        if resources[table]["Type"] == "AWS::DynamoDB::Table":
            assert resources[table]["Properties"]["DeletionProtectionEnabled"] is is_locked
    pool = resources["UserPool"]["Properties"]
    assert pool["DeletionProtection"] == ("ACTIVE" if is_locked else "INACTIVE")


def test_first_deployment_does_not_lock_data() -> None:
    assert TEMPLATE["Parameters"]["ProtectData"]["Default"] == "true"
    environments = tomllib.loads((ROOT / "samconfig.toml").read_text())
    for name in environments.keys() - {"version"}:
        settings = environments[name]["deploy"]["parameters"]
        # CloudFormation cannot update a stack whose first deployment has failed.
        assert settings["on_failure"] == "DELETE"
        assert "ProtectData=locked" not in settings.get("parameter_overrides", [])


def test_account_settings_are_untouched_by_default() -> None:
    assert not of_type("defaults", "ApiGateway::Account")
    assert named(the_only("others", "ApiGateway::Account")) == {"CloudWatchRoleArn": "ApiGatewayLogsRole.Arn"}


@pytest.mark.parametrize("settings", SETTINGS)
def test_names_of_resources_contain_that_of_the_stack(settings: str) -> None:
    # CloudFormation generates unique names for all others. These are names inside another resource, or of a domain.
    unnamed = {"ApiGateway::DomainName", "ApiGateway::Stage", "Cognito::UserPoolResourceServer", "Lambda::Alias"}
    for name, resource in whole_stack(**SETTINGS[settings])["Resources"].items():
        kind = resource["Type"].removeprefix("AWS::")
        names = {"Name", "LayerName", f"{kind.rpartition('::')[2]}Name"} & resource.get("Properties", {}).keys()
        for given in names if kind not in unnamed else ():
            assert "AWS::StackName" in str(resource["Properties"][given]), name
    assert named(the_only(settings, "Lambda::LayerVersion")["LayerName"]) == "AWS::StackName-shared"


# Users.


def test_users_sign_in_with_any_case_of_their_address_and_optional_one_time_passwords() -> None:
    pool = the_only("defaults", "Cognito::UserPool")
    assert (pool["UsernameAttributes"], pool["UsernameConfiguration"]) == (["email"], {"CaseSensitive": False})
    assert (pool["MfaConfiguration"], pool["EnabledMfas"]) == ("OPTIONAL", ["SOFTWARE_TOKEN_MFA"])
    assert pool["Policies"]["PasswordPolicy"]["MinimumLength"] >= 12
    # Users have no phone number.
    assert pool["AccountRecoverySetting"] == {"RecoveryMechanisms": [{"Name": "verified_email", "Priority": 1}]}


def test_sign_up_mail_is_sent_by_ses_if_configured() -> None:
    sender = {name: OTHERS[name] for name in ("EmailFrom", "SesIdentityArn")}
    default, other = (stack["Resources"]["UserPool"]["Properties"] for stack in (whole_stack(), whole_stack(**sender)))
    assert default["EmailConfiguration"] == {"EmailSendingAccount": "COGNITO_DEFAULT"}
    assert other["EmailConfiguration"] == {
        "EmailSendingAccount": "DEVELOPER",
        "From": sender["EmailFrom"],
        "SourceArn": sender["SesIdentityArn"],
    }


def test_resources_of_the_user_pool_are_changed_one_after_another() -> None:
    resources = whole_stack()["Resources"]
    needed = {
        name: set(as_list(resource.get("DependsOn", [])))
        for name, resource in resources.items()
        if resource["Type"].startswith("AWS::Cognito::") and resource["Type"] != "AWS::Cognito::UserPool"
    }
    # A chain has one order only: each depends on the one before.
    order = list(TopologicalSorter(needed).static_order())
    assert [needed[name] for name in order] == [set(), *({name} for name in order[:-1])]


# Rows.


def test_only_idempotency_records_and_deletions_of_messages_expire(tables: None) -> None:
    del tables
    deployed = of_type("defaults", "DynamoDB::Table")
    assert "TimeToLiveSpecification" not in deployed["MessagesTable"]
    expiry = deployed["ConversationsTable"]["TimeToLiveSpecification"]
    assert expiry["Enabled"] is True
    conversation = create()
    message = json.dumps({"conversation_id": conversation["id"], "message": "hello"})
    for endpoint, body in (("create_conversation", '{"contact_id": "harry"}'), ("create_message", message)):
        response = call(endpoint, body=body, content_type=JSON, headers={"Idempotency-Key": endpoint})
        assert response.status == 201
    update(conversation, archived_at=1)
    call("update_inbox_entry", id=conversation["id"], body=f"muted_until={2**32}")
    call("delete_message", id=send(conversation)["id"])
    call("delete_conversation", id=create()["id"])
    expiring = sorted(row["user_id"]["S"] for row in contents.all_rows() if expiry["AttributeName"] in row)
    assert expiring == [f"deleted#kevin#{conversation['id']}", *["idempotency#kevin"] * 2]


# Limits and logs.


@pytest.mark.parametrize(("settings", "rate", "burst"), [("defaults", 500, 1000), ("others", 10, 20)])
def test_stage_limits_all_methods_and_has_no_execution_logs(settings: str, rate: int, burst: int) -> None:
    (method_settings,) = the_only(settings, "ApiGateway::Stage")["MethodSettings"]
    assert (method_settings["ResourcePath"], method_settings["HttpMethod"]) == ("/*", "*")
    assert (method_settings["ThrottlingRateLimit"], method_settings["ThrottlingBurstLimit"]) == (rate, burst)
    # They would contain headers and bodies.
    assert (method_settings["LoggingLevel"], method_settings["DataTraceEnabled"]) == ("OFF", False)


def test_access_log_is_one_json_line_without_private_data() -> None:
    log = the_only("defaults", "ApiGateway::Stage")["AccessLogSetting"]
    assert named(log["DestinationArn"]) == "AccessLogs.Arn"
    assert set(re.findall(r"\$context\.([\w.]+)", log["Format"])) == LOGGED
    line = re.sub(r"\$context\.[\w.]+", "0", log["Format"])
    assert "$" not in line
    assert len(line.splitlines()) == 1
    assert len(json.loads(line)) == len(LOGGED)


def test_metric_filter_counts_429_in_access_logs() -> None:
    metric_filter = the_only("defaults", "Logs::MetricFilter")
    assert named(metric_filter["LogGroupName"]) == "AccessLogs"
    field = re.fullmatch(r"\{ \$\.(\w+) = 429 \}", metric_filter["FilterPattern"])
    assert field
    assert f'"{field[1]}": $context.status,' in the_only("defaults", "ApiGateway::Stage")["AccessLogSetting"]["Format"]


@pytest.mark.parametrize(("settings", "days"), [("defaults", 90), ("others", 14)])
def test_logs_are_retained_and_requests_traced(settings: str, days: int) -> None:
    groups = of_type(settings, "Logs::LogGroup")
    assert groups == {name: {"RetentionInDays": days} for name in ("AccessLogs", "FunctionLogs")}
    assert the_only(settings, "ApiGateway::Stage")["TracingEnabled"] is True
    modes: dict[str, set[str]] = {"Active": set(), "PassThrough": set()}
    for name, function in of_type(settings, "Lambda::Function").items():
        assert named(function["LoggingConfig"]) == {"LogGroup": "FunctionLogs"}
        modes[function["TracingConfig"]["Mode"]].add(name)
    # Traces of functions that run without a request cost more than they run for.
    sweeps = {"SweepDeliveries", "SweepInbox", "SweepPurges"}
    assert modes["PassThrough"] == sweeps | {"DeliverWebhook", "PublishChanges"}


@pytest.mark.parametrize(("settings", "policy"), [("defaults", TLS_1_2), ("canary", TLS_1_2), ("others", TLS_1_3)])
def test_api_and_domain_reject_old_tls_versions(settings: str, policy: str) -> None:
    # Not in the definition: https://github.com/aws/serverless-application-model/issues/3866.
    for given in (the_only(settings, "ApiGateway::RestApi"), *of_type(settings, "ApiGateway::DomainName").values()):
        assert (given["SecurityPolicy"], given["EndpointAccessMode"]) == (policy, "BASIC")


@pytest.mark.parametrize(
    ("settings", "reserved"),
    [
        ("defaults", {}),
        (
            "others",
            dict.fromkeys(
                ["DeliverMessages", "DeliverWebhook", "PublishChanges", "PurgeMessages", "ReceiveMessage"], 20
            ),
        ),
    ],
)
def test_event_functions_have_the_configured_concurrency(settings: str, reserved: dict[str, int]) -> None:
    functions = of_type(settings, "Lambda::Function").items()
    setting = "ReservedConcurrentExecutions"
    assert {name: function[setting] for name, function in functions if setting in function} == reserved


# The firewall.


def test_firewall_exists_only_if_configured() -> None:
    for kind in ("WAFv2::WebACL", "WAFv2::WebACLAssociation"):
        assert not of_type("canary", kind)
    assert named(the_only("others", "WAFv2::WebACLAssociation")) == {
        "WebACLArn": "WebAcl.Arn",
        "ResourceArn": "arn:AWS::Partition:apigateway:AWS::Region::/restapis/Api/stages/Apiv1Stage",
    }


def test_firewall_limits_the_rate_and_only_counts_matches_in_bodies() -> None:
    firewall = the_only("others", "WAFv2::WebACL")
    assert (firewall["Scope"], firewall["DefaultAction"]) == ("REGIONAL", {"Allow": {}})
    rules = {rule["Name"]: rule for rule in firewall["Rules"]}
    rate = rules["rate"]["Statement"]["RateBasedStatement"]
    assert rate == {"AggregateKeyType": "IP", "EvaluationWindowSec": 300, "Limit": 100}
    managed = [rule for rule in rules.values() if "ManagedRuleGroupStatement" in rule["Statement"]]
    assert [rule["OverrideAction"] for rule in managed] == [{"None": {}}] * len(managed)
    groups = [rule["Statement"]["ManagedRuleGroupStatement"] for rule in managed]
    counted = {
        group["Name"]: {
            rule["Name"] for rule in group.get("RuleActionOverrides", []) if rule["ActionToUse"] == {"Count": {}}
        }
        for group in groups
    }
    assert counted == BODY_RULES


def test_firewall_samples_do_not_contain_tokens() -> None:
    assert the_only("others", "WAFv2::WebACL")["DataProtectionConfig"]["DataProtections"] == [
        {"Field": {"FieldType": "SINGLE_HEADER", "FieldKeys": ["authorization"]}, "Action": "SUBSTITUTION"}
    ]


@pytest.mark.parametrize(("rule", "status"), [("rate", 429)])
def test_firewall_response_has_the_shape_of_all_errors(rule: str, status: int) -> None:
    firewall = the_only("others", "WAFv2::WebACL")
    (response,) = [given["Action"]["Block"]["CustomResponse"] for given in firewall["Rules"] if given["Name"] == rule]
    body = firewall["CustomResponseBodies"][response["CustomResponseBodyKey"]]
    assert (response["ResponseCode"], body["ContentType"]) == (status, "APPLICATION_JSON")
    assert parse_error(body["Content"]) == ("invalid_request", f"{OTHERS['DocumentationUrl']}/invalid_request")
    headers = {header["Name"]: header["Value"] for header in response.get("ResponseHeaders", [])}
    assert headers["Access-Control-Allow-Origin"] == OTHERS["AllowedOrigin"]
    assert ("Retry-After" in headers) == (status == 429)


# Releases.


def test_stack_without_canary_has_no_codedeploy_resources() -> None:
    resources = whole_stack()["Resources"]
    assert not [name for name, resource in resources.items() if resource["Type"].startswith("AWS::CodeDeploy")]
    assert not [name for name, resource in resources.items() if "UpdatePolicy" in resource]
    assert not [name for name in resources if name.startswith((HOOK, "Deployment", "ReleaseHooks"))]


@pytest.mark.parametrize("function", [HOOK, AT_ONCE])
def test_function_that_the_hook_needs_is_released_at_once(function: str) -> None:
    assert "UpdatePolicy" not in whole_stack(**SETTINGS["canary"])["Resources"][f"{function}Aliaslive"]


@pytest.mark.parametrize(("settings", "more"), [("canary", set()), ("others", {DELIVERY_ALARM})])
@pytest.mark.parametrize("function", sorted(RELEASED - {AT_ONCE}))
def test_canary_runs_hook_and_rolls_back_on_alarm(function: str, settings: str, more: set[str]) -> None:
    alias = whole_stack(**SETTINGS[settings])["Resources"][f"{function}Aliaslive"]
    assert named(alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]) == {
        "ApplicationName": "ServerlessDeploymentApplication",
        "DeploymentGroupName": f"{function}DeploymentGroup",
        "BeforeAllowTrafficHook": HOOK,
    }
    group = of_type(settings, "CodeDeploy::DeploymentGroup")[f"{function}DeploymentGroup"]
    assert re.fullmatch(CANARY_CONFIG, group["DeploymentConfigName"])
    assert named(group["ApplicationName"]) == "ServerlessDeploymentApplication"
    assert named(group["ServiceRoleArn"]) == "DeploymentRole.Arn"
    rollback, alarms = group["AutoRollbackConfiguration"], group["AlarmConfiguration"]
    assert rollback["Enabled"] is alarms["Enabled"] is True
    assert {"DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"} <= set(rollback["Events"])
    assert {named(alarm["Name"]) for alarm in alarms["Alarms"]} == ROLLBACK_ALARMS | more


@pytest.mark.parametrize("alarm", sorted(ROLLBACK_ALARMS | {DELIVERY_ALARM}))
def test_rollback_alarm_fires_within_the_canary(alarm: str) -> None:
    given = of_type("others", "CloudWatch::Alarm")[alarm]
    for group in of_type("others", "CodeDeploy::DeploymentGroup").values():
        minutes = int(re.sub(CANARY_CONFIG, r"\1", group["DeploymentConfigName"]))
        assert given["Period"] * given["DatapointsToAlarm"] < minutes * 60


# What CloudFormation requires.


@pytest.mark.parametrize("name", [*SETTINGS, *NESTED])
def test_references_exist_whenever_they_are_used(name: str) -> None:
    template = NESTED[name] if name in NESTED else transform(**SETTINGS[name])
    resources = template["Resources"]
    for element in (*resources.values(), *template.get("Outputs", {}).values()):
        own = {element["Condition"]} if "Condition" in element else set()
        for used, conditions in references(element):
            # CloudFormation requires every name, even if conditions remove the reference.
            assert used in resources.keys() | template["Parameters"].keys() or used.startswith("AWS::")
            condition = resources.get(used, {}).get("Condition")
            assert condition is None or condition in own | conditions, f"{used} does not exist without {condition}"
        # It does not wait for what conditions remove.
        assert set(as_list(element.get("DependsOn", []))) <= resources.keys()


@pytest.mark.parametrize("settings", SETTINGS)
def test_template_has_no_circular_dependencies(settings: str) -> None:
    resources = root_stack(**SETTINGS[settings])["Resources"]
    # Update policies count: https://github.com/davidgf/serverless-plugin-canary-deployments/issues/127.
    needed = {
        name: {*as_list(resource.get("DependsOn", [])), *(found for found, _ in references(resource))}
        for name, resource in resources.items()
    }
    # Raises an error that names a cycle.
    TopologicalSorter({name: found & resources.keys() for name, found in needed.items()}).prepare()


@pytest.mark.parametrize("nested", NESTED)
def test_nested_template_gets_its_parameters_and_has_used_outputs(nested: str) -> None:
    application = TEMPLATE["Resources"][nested]["Properties"]
    template = NESTED[nested]
    assert application["Parameters"].keys() == template["Parameters"].keys()
    assert template["Parameters"].keys() <= {name for name, _ in references(template)}
    used = re.findall(rf'"{nested}", "Outputs\.(\w+)"', json.dumps(TEMPLATE))
    assert set(used) == template.get("Outputs", {}).keys()
