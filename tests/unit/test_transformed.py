"""A stack keeps its data, is limited, watched and released with care, and gives nobody more than they need."""

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from typing import Any, NamedTuple

import pytest

from tests import tables as contents
from tests.handlers import FUNCTIONS as HANDLERS
from tests.handlers import JSON, USER_ENDPOINTS, call, create, list_conversations, send, sweep, update
from tests.template import FUNCTIONS, ROOT, TABLES, TEMPLATE, logical_id, references, resolved, transform
from tests.wire import Wire, error_response

DOMAIN = {"DomainName": "api.example.com", "CertificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/1"}
DEFAULTS: dict[str, str] = {}
# Its own user pool, and a domain with TLS 1.2, are what the next one does not have.
CANARY = {"Canary": "true", "ProtectData": "false", **DOMAIN}
OTHERS = {
    **DOMAIN,
    "AlarmEmail": "oncall@example.com",
    "AllowedOrigin": "https://chat.example.com",
    "BasePath": "chat",
    "Canary": "true",
    "DocumentationUrl": "https://docs.example.com/errors",
    "EventBusName": "delivery",
    "EventConcurrency": "20",
    "KmsKeyArn": "arn:aws:kms:eu-west-1:123456789012:key/1",
    "LogDays": "14",
    "MaxReadUnits": "200",
    "MaxWriteUnits": "100",
    "MinimumTls": "1.3",
    "ProtectData": "false",
    "PublicUrl": "https://proxy.example.com/chat",
    "RecoveryDays": "7",
    "SetApiGatewayLogsRole": "false",
    "ThrottleBurst": "20",
    "ThrottleRate": "10",
    "UserPoolArn": "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/1",
    "WebAcl": "true",
    "WebAclRate": "100",
}
STACKS = {"defaults": DEFAULTS, "canary": CANARY, "others": OTHERS}
HOOK = "ExerciseRelease"
RELEASED = FUNCTIONS.keys() - {HOOK}
ALARMS = [name for name, resource in TEMPLATE["Resources"].items() if resource["Type"] == "AWS::CloudWatch::Alarm"]
GATEWAY_RESPONSES: dict[str, Any] = TEMPLATE["Resources"]["Api"]["Properties"]["GatewayResponses"]
# Namespace, name, and by what the metric is told apart.
Kind = tuple[str, str, frozenset[str]]

ROUTES = {
    ("GET", "/conversations"): ("ListConversations", "conversations/read"),
    ("POST", "/conversations"): ("CreateConversation", "conversations/write"),
    ("GET", "/conversations/{id}"): ("RetrieveConversation", "conversations/read"),
    ("PUT", "/conversations/{id}"): ("UpdateConversation", "conversations/write"),
    ("DELETE", "/conversations/{id}"): ("DeleteConversation", "conversations/write"),
    ("GET", "/messages"): ("ListMessages", "messages/read"),
    ("POST", "/messages"): ("CreateMessage", "messages/write"),
    ("GET", "/messages/{id}"): ("RetrieveMessage", "messages/read"),
    ("PUT", "/messages/{id}"): ("UpdateMessage", "messages/write"),
    ("DELETE", "/messages/{id}"): ("DeleteMessage", "messages/write"),
}
# The reference, which tells how to get a token.
OPEN_ROUTES = {("GET", "/docs"): "RetrieveDocs", ("GET", "/docs/{asset}"): "RetrieveDocs"}

CONVERSATIONS, MESSAGES, DEAD_LETTERS = "ConversationsTable.Arn", "MessagesTable.Arn", "DeadLetters.Arn"
BY_USER = f"{MESSAGES}/index/by_user"
STREAM = f"{CONVERSATIONS}/stream/*"
VERSIONS = {f"{function}.Version" for function in RELEASED}
GROUPS = (
    "arn:AWS::Partition:codedeploy:AWS::Region:AWS::AccountId:deploymentgroup:"
    "AWS::StackName-ServerlessDeploymentApplication-*/*"
)
# By them it deletes what a bad version has left.
LIVE = {"ListConversations.Arn:live", "DeleteConversation.Arn:live"}
GRANTS: dict[str, dict[str, set[str]]] = {
    "CreateConversation": {"dynamodb:PutItem": {CONVERSATIONS}},
    "CreateMessage": {"dynamodb:PutItem": {CONVERSATIONS, MESSAGES}, "dynamodb:UpdateItem": {CONVERSATIONS}},
    "DeleteConversation": {"dynamodb:DeleteItem": {CONVERSATIONS}, "dynamodb:PutItem": {CONVERSATIONS}},
    "DeleteMessage": {
        "dynamodb:BatchGetItem": {CONVERSATIONS, MESSAGES},
        "dynamodb:ConditionCheckItem": {CONVERSATIONS},
        "dynamodb:DeleteItem": {MESSAGES},
        "dynamodb:Query": {BY_USER},
        "dynamodb:UpdateItem": {CONVERSATIONS},
    },
    "ExerciseRelease": {
        "codedeploy:PutLifecycleEventHookExecutionStatus": {GROUPS},
        "lambda:InvokeFunction": VERSIONS | LIVE,
    },
    "ListConversations": {
        "dynamodb:Query": {CONVERSATIONS, f"{CONVERSATIONS}/index/by_flags", f"{CONVERSATIONS}/index/by_group"}
    },
    "ListMessages": {"dynamodb:BatchGetItem": {CONVERSATIONS}, "dynamodb:Query": {MESSAGES, BY_USER}},
    "PurgeMessages": {
        "dynamodb:BatchWriteItem": {MESSAGES},
        "dynamodb:DeleteItem": {CONVERSATIONS},
        "dynamodb:DescribeStream": {STREAM},
        "dynamodb:GetRecords": {STREAM},
        "dynamodb:GetShardIterator": {STREAM},
        # Lambda looks for all four before it makes the mapping.
        "dynamodb:ListStreams": {STREAM},
        "dynamodb:Query": {MESSAGES},
        "sqs:SendMessage": {DEAD_LETTERS},
    },
    "ReceiveMessage": {
        "dynamodb:PutItem": {CONVERSATIONS, MESSAGES},
        "dynamodb:UpdateItem": {CONVERSATIONS},
        "sqs:SendMessage": {DEAD_LETTERS},
    },
    "RetrieveConversation": {"dynamodb:GetItem": {CONVERSATIONS}},
    "RetrieveDocs": {},
    "RetrieveMessage": {"dynamodb:BatchGetItem": {CONVERSATIONS, MESSAGES}, "dynamodb:Query": {BY_USER}},
    "SweepPurges": {
        "dynamodb:BatchWriteItem": {MESSAGES},
        "dynamodb:DeleteItem": {CONVERSATIONS},
        "dynamodb:Query": {CONVERSATIONS, MESSAGES},
    },
    "UpdateConversation": {
        "dynamodb:ConditionCheckItem": {MESSAGES},
        "dynamodb:GetItem": {CONVERSATIONS},
        "dynamodb:UpdateItem": {CONVERSATIONS},
    },
    "UpdateMessage": {
        "dynamodb:BatchGetItem": {CONVERSATIONS, MESSAGES},
        "dynamodb:Query": {BY_USER},
        "dynamodb:UpdateItem": {MESSAGES},
    },
}
OF_ALL = {
    "logs:CreateLogStream": {"FunctionLogs.Arn"},
    "logs:PutLogEvents": {"FunctionLogs.Arn"},
    "xray:PutTelemetryRecords": {"*"},
    "xray:PutTraceSegments": {"*"},
}
KEY_ACTIONS = {"Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey", "ReEncryptFrom", "ReEncryptTo"}
OF_THE_KEY = {f"kms:{action}": {OTHERS["KmsKeyArn"]} for action in KEY_ACTIONS}
OF_CODEDEPLOY = {
    # Lambda asks for an alias by the name of its function: with the alias in the resource, these two are refused.
    "lambda:GetAlias": {f"{function}.Arn" for function in RELEASED},
    "lambda:UpdateAlias": {f"{function}.Arn" for function in RELEASED},
    "lambda:GetProvisionedConcurrencyConfig": {f"{function}.Arn:live" for function in RELEASED},
    "lambda:InvokeFunction": {f"{HOOK}.Arn"},
    "cloudwatch:DescribeAlarms": {"*"},
}
# Why a resource is not named in full.
UNNAMED = {
    "cloudwatch:DescribeAlarms": "AWS's own policy for CodeDeploy has it on all alarms, and it only reads",
    "codedeploy:PutLifecycleEventHookExecutionStatus": "SAM makes the groups, by names that end at random",
    "dynamodb:DescribeStream": "a stream is named after the time at which it was made",
    "dynamodb:GetRecords": "the same",
    "dynamodb:GetShardIterator": "the same",
    "dynamodb:ListStreams": "the same",
    "xray:PutTelemetryRecords": "X-Ray knows no resources",
    "xray:PutTraceSegments": "the same",
}
MANAGED_POLICIES = {
    # AWS's own for this one purpose: the role is for the logs of all APIs of the account, whatever their names.
    "ApiGatewayLogsRole": ["arn:AWS::Partition:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"],
}
# All others are of functions.
SERVICES = {"ApiGatewayLogsRole": "apigateway.amazonaws.com", "DeploymentRole": "codedeploy.amazonaws.com"}

VARIABLES = {
    "ALLOWED_ORIGIN": OTHERS["AllowedOrigin"],
    "AWS_ENDPOINT_URL_DYNAMODB": "",
    "CONVERSATIONS_TABLE_NAME": "ConversationsTable",
    "DOCUMENTATION_URL": OTHERS["DocumentationUrl"],
    "MESSAGES_TABLE_NAME": "MessagesTable",
    "POWERTOOLS_SERVICE_NAME": "AWS::StackName",
    "PUBLIC_URL": OTHERS["PublicUrl"],
}
OWN_VARIABLES = {
    "ExerciseRelease": {
        function.upper(): f"{logical_id(function)}.Version" for function in HANDLERS if logical_id(function) != HOOK
    },
    "ReceiveMessage": {"AWS_ENDPOINT_URL_SQS": "", "DEAD_LETTERS_URL": "DeadLetters"},
}

TLS_1_2, TLS_1_3 = "SecurityPolicy_TLS13_1_2_PFS_PQ_2025_09", "SecurityPolicy_TLS13_1_3_2025_09"
LOGGED = {
    "error.responseType",
    "httpMethod",
    "identity.sourceIp",
    "integrationErrorMessage",
    "requestId",
    "requestTimeEpoch",
    # Unlike the path it has {id} in place of an id.
    "resourcePath",
    "responseLatency",
    "responseLength",
    "status",
    "tlsVersion",
    "wafResponseCode",
    "xrayTraceId",
}
# What AWS's managed rules look for in bodies, by their documentation.
BODY_RULES: dict[str, set[str]] = {
    "AWSManagedRulesAmazonIpReputationList": set(),
    "AWSManagedRulesCommonRuleSet": {
        "CrossSiteScripting_BODY",
        "EC2MetaDataSSRF_BODY",
        "GenericLFI_BODY",
        "GenericRFI_BODY",
        "SizeRestrictions_BODY",
    },
    "AWSManagedRulesKnownBadInputsRuleSet": {"JavaDeserializationRCE_BODY", "Log4JRCE_BODY", "ReactJSRCE_BODY"},
}

# Those of AWS's metrics that are watched or shown, and by what they are told apart, as their documentation has it.
OF_AWS: set[Kind] = {
    ("AWS/ApiGateway", "4XXError", frozenset({"ApiName", "Stage"})),
    ("AWS/ApiGateway", "5XXError", frozenset({"ApiName", "Stage"})),
    ("AWS/ApiGateway", "Latency", frozenset({"ApiName", "Stage"})),
    ("AWS/Lambda", "AsyncEventAge", frozenset({"FunctionName"})),
    ("AWS/Lambda", "DestinationDeliveryFailures", frozenset({"FunctionName"})),
    ("AWS/Lambda", "Errors", frozenset({"FunctionName"})),
    ("AWS/Lambda", "IteratorAge", frozenset({"FunctionName"})),
    # Of all functions in the account and region.
    ("AWS/Lambda", "ConcurrentExecutions", frozenset()),
    ("AWS/Lambda", "Throttles", frozenset()),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", frozenset({"QueueName"})),
}
MEASURED = {
    # The API is named after the stack.
    "ApiName": {"AWS::StackName"},
    "endpoint": set(USER_ENDPOINTS),
    "FunctionName": set(FUNCTIONS),
    "QueueName": {"DeadLetters.QueueName"},
    "service": {"AWS::StackName"},
    "Stage": {"v1", "Apiv1Stage"},
}
# Of nothing else does CloudWatch get no data when all is well.
TOLD_IF_MISSING = {"LatePurges"}
TAKE_BACK = {"PurgeErrors", "ReceiveErrors", "ServerErrors", "SlowRequests", "SweepErrors"}
SHIFTED = r"CodeDeployDefault\.LambdaCanary10Percent(\d+)Minutes"

OUTPUTS = {
    "AccessLogsName": "AccessLogs",
    "AlarmsArn": "Alarms",
    "ApiId": "Api",
    "ConversationsTableName": "ConversationsTable",
    "DeadLettersUrl": "DeadLetters",
    "FunctionLogsName": "FunctionLogs",
    "MessagesTableName": "MessagesTable",
}
OF_OWN_BUS, OF_THEIR_BUS = {"EventBusName": "EventBus"}, {"EventBusName": OTHERS["EventBusName"]}
OF_OWN_POOL = {
    "AppClientId": "AppClient",
    "ServiceClientId": "ServiceClient",
    "SignInUrl": "https://UserPoolDomain.auth.AWS::Region.amazoncognito.com",
    "UserPoolId": "UserPool",
}
OF_AWS_DOMAIN = {
    "ApiUrl": "https://Api.execute-api.AWS::Region.AWS::URLSuffix/v1",
    "DocsUrl": "https://Api.execute-api.AWS::Region.AWS::URLSuffix/v1/docs",
}
OF_DOMAIN = {
    "DomainTarget": "CustomDomain.RegionalDomainName",
    "DomainZone": "CustomDomain.RegionalHostedZoneId",
}
URL, OTHER_URL = (f"https://{DOMAIN['DomainName']}/{base_path}" for base_path in ("v1", OTHERS["BasePath"]))


class Metric(NamedTuple):
    """A metric of CloudWatch."""

    namespace: str
    name: str
    dimensions: dict[str, str]

    @property
    def kind(self) -> Kind:
        """Which one it is, whatever it is of."""
        return self.namespace, self.name, frozenset(self.dimensions)


def of_type(settings: str, kind: str) -> dict[str, Any]:
    """The properties of all resources of a *kind* that a stack with these *settings* has."""
    resources = resolved(**STACKS[settings])["Resources"]
    return {
        name: resource.get("Properties", {})
        for name, resource in resources.items()
        if resource["Type"] == f"AWS::{kind}"
    }


def the_only(settings: str, kind: str) -> Any:
    """The properties of the one resource of a *kind*."""
    (properties,) = of_type(settings, kind).values()
    return properties


def definition(settings: str) -> Any:
    """The API as API Gateway gets it."""
    return the_only(settings, "ApiGateway::RestApi")["Body"]


def named(value: Any) -> Any:
    """*value* with the names of what it refers to, those of versions without the hash that SAM gives them."""
    match value:
        case {"Ref": str(name)}:
            return re.sub(r"Version[0-9a-f]{10}$", ".Version", name)
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return f"{name}.{attribute}"
        case {"Fn::Sub": str(text)}:
            return re.sub(r"\$\{([^}]+)\}", r"\1", text)
        case dict():
            return {name: named(element) for name, element in value.items()}
        case list():
            return [named(element) for element in value]
    return value


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(role: Any) -> list[dict[str, Any]]:
    return [statement for policy in role.get("Policies", []) for statement in policy["PolicyDocument"]["Statement"]]


def granted(role: Any) -> dict[str, set[str]]:
    """On what a role may carry out which action."""
    found: dict[str, set[str]] = {}
    for statement in statements(role):
        for action in listed(statement["Action"]):
            found.setdefault(action, set()).update(named(listed(statement["Resource"])))
    return found


def rejected(text: str) -> tuple[str, str]:
    """The type of an error that is answered for us, and where it points to."""
    # API Gateway puts a message of its own there, in quotes.
    error = json.loads(text.replace("$context.error.messageString", '"message"'))
    assert error.keys() == {"type", "message", "documentation_url"}
    assert error["message"]
    return error["type"], error["documentation_url"]


def watched(alarm: Any) -> Metric:
    """What an alarm is about."""
    dimensions = {dimension["Name"]: named(dimension["Value"]) for dimension in alarm.get("Dimensions", [])}
    return Metric(alarm["Namespace"], named(alarm["MetricName"]), dimensions)


def widgets() -> list[dict[str, Any]]:
    """Those of the dashboard."""
    body = named(the_only("defaults", "CloudWatch::Dashboard")["DashboardBody"])
    found: list[dict[str, Any]] = json.loads(body)["widgets"]
    return found


def shown(widget: dict[str, Any]) -> Iterator[Metric]:
    """The metrics of a widget, in which "." repeats a field of the metric before, and "..." all that are left out."""
    fields: list[str] = []
    for given in widget["properties"].get("metrics", []):
        texts = [text for text in given if isinstance(text, str)]
        if texts[0] == "...":
            texts = [*fields[: len(fields) - len(texts) + 1], *texts[1:]]
        fields = [fields[place] if text == "." else text for place, text in enumerate(texts)]
        namespace, name, *pairs = fields
        yield Metric(namespace, name, dict(zip(pairs[::2], pairs[1::2], strict=True)))


def is_measured(metric: Metric, ours: Iterable[Kind]) -> bool:
    """Whether CloudWatch has data of *metric*, if it makes metrics of *ours* from logs."""
    is_known = metric.kind in OF_AWS or metric.kind in ours
    return is_known and all(value in MEASURED[dimension] for dimension, value in metric.dimensions.items())


@pytest.fixture
def emitted(tables: None, wire: Wire, no_backoff: None, capsys: pytest.CaptureFixture[str]) -> dict[Kind, str | None]:
    """What CloudWatch makes of logs, with units: all that functions write, and what it counts in the access logs."""
    del tables, no_backoff
    create()
    list_conversations()
    sweep()
    call("list_conversations", query={"limit": ["0"]})
    wire.fault = lambda request: error_response(request, 400, "ThrottlingException")
    call("list_conversations")
    units: dict[Kind, str | None] = {}
    for line in capsys.readouterr().out.splitlines():
        for told in json.loads(line)["_aws"]["CloudWatchMetrics"]:
            for metric, dimensions in itertools.product(told["Metrics"], told["Dimensions"]):
                units[told["Namespace"], metric["Name"], frozenset(dimensions)] = metric["Unit"]
    (counted,) = the_only("defaults", "Logs::MetricFilter")["MetricTransformations"]
    units[counted["MetricNamespace"], named(counted["MetricName"]), frozenset()] = None
    return units


# Who may call the API, and what it answers by itself.


def test_a_call_asks_for_a_token_with_its_scope_unless_it_reads_the_reference() -> None:
    asked = {
        (method.upper(), path): (named(operation["x-amazon-apigateway-integration"]["uri"]), operation["security"])
        for path, operations in definition("defaults")["paths"].items()
        for method, operation in operations.items()
        if method != "options"
    }
    uri = "arn:aws:apigateway:AWS::Region:lambda:path/2015-03-31/functions/{}Aliaslive/invocations"
    of_users = {route: (uri.format(name), [{"Cognito": [scope]}]) for route, (name, scope) in ROUTES.items()}
    assert asked == of_users | {route: (uri.format(name), [{"NONE": []}]) for route, name in OPEN_ROUTES.items()}


@pytest.mark.parametrize(("settings", "pool"), [("defaults", "UserPool.Arn"), ("others", OTHERS["UserPoolArn"])])
def test_tokens_are_those_of_one_user_pool(settings: str, pool: str) -> None:
    ((name, scheme),) = definition(settings)["components"]["securitySchemes"].items()
    assert (name, scheme["type"], scheme["in"], scheme["name"]) == ("Cognito", "apiKey", "header", "Authorization")
    authorizer = named(scheme["x-amazon-apigateway-authorizer"])
    assert authorizer == {"type": "cognito_user_pools", "providerARNs": [pool]}


def test_a_browser_may_ask_before_it_has_a_token() -> None:
    body = definition("others")
    assert "security" not in body
    for operations in body["paths"].values():
        preflight = operations["options"]
        assert "security" not in preflight
        integration = preflight["x-amazon-apigateway-integration"]
        assert integration["type"] == "mock"
        (response,) = integration["responses"].values()
        origin = response["responseParameters"]["method.response.header.Access-Control-Allow-Origin"]
        assert origin == f"'{OTHERS['AllowedOrigin']}'"


@pytest.mark.parametrize("response", GATEWAY_RESPONSES, ids=str.lower)
def test_what_api_gateway_answers_by_itself_is_in_the_shape_of_all_errors(response: str) -> None:
    told = definition("others")["x-amazon-apigateway-gateway-responses"][response]
    ((content_type, text),) = told["responseTemplates"].items()
    status = int(told.get("statusCode", 400))
    kind = "api_error" if status >= 500 else "invalid_request"
    assert content_type == "application/json"
    assert rejected(text) == (kind, f"{OTHERS['DocumentationUrl']}/{kind}")
    headers = {name.rpartition(".")[2]: value for name, value in told["responseParameters"].items()}
    assert headers["X-Request-Id"] == "context.requestId"
    assert headers["Access-Control-Allow-Origin"] == f"'{OTHERS['AllowedOrigin']}'"
    assert ("Retry-After" in headers) == (status in {429, 503})
    assert ("WWW-Authenticate" in headers) == (status == 401)


def test_these_are_all_that_it_answers_by_itself() -> None:
    assert {"DEFAULT_4XX", "DEFAULT_5XX"} < GATEWAY_RESPONSES.keys()
    assert definition("others")["x-amazon-apigateway-gateway-responses"].keys() == GATEWAY_RESPONSES.keys()


def test_the_stage_has_the_newest_definition_of_the_api() -> None:
    # SAM deploys the API anew when its definition changes, but looks at it before parameters are replaced by values.
    (api,) = [r for r in transform(**DEFAULTS)["Resources"].values() if r["Type"] == "AWS::ApiGateway::RestApi"]
    changing = {name for name, _ in references(api)} & TEMPLATE["Parameters"].keys()
    assert not changing or TEMPLATE["Resources"]["Api"]["Properties"].get("AlwaysDeploy") is True


# Who may do what in AWS.


def test_each_function_has_a_role_of_its_own() -> None:
    used = [named(function["Role"]) for function in of_type("others", "Lambda::Function").values()]
    assert sorted(used) == sorted(f"{function}ExecutionRole.Arn" for function in FUNCTIONS)


@pytest.mark.parametrize("settings", STACKS)
def test_a_role_is_assumed_by_one_service(settings: str) -> None:
    for name, role in of_type(settings, "IAM::Role").items():
        service = SERVICES.get(name, "lambda.amazonaws.com")
        assert role["AssumeRolePolicyDocument"]["Statement"] == [
            {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        ]


@pytest.mark.parametrize("settings", STACKS)
def test_policies_are_those_of_the_roles_and_only_allow(settings: str) -> None:
    assert not of_type(settings, "IAM::Policy") | of_type(settings, "IAM::ManagedPolicy")
    for name, role in of_type(settings, "IAM::Role").items():
        assert named(role.get("ManagedPolicyArns", [])) == MANAGED_POLICIES.get(name, [])
        for statement in statements(role):
            assert statement["Effect"] == "Allow"
            assert statement.keys() - {"Condition"} == {"Effect", "Action", "Resource"}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_do_only_what_it_does(function: str) -> None:
    services = {action.partition(":")[0] for action in GRANTS[function]}
    of_the_key = OF_THE_KEY if services & {"dynamodb", "sqs"} else {}
    assert granted(of_type("others", "IAM::Role")[f"{function}ExecutionRole"]) == GRANTS[function] | OF_ALL | of_the_key


def test_codedeploy_may_only_shift_the_traffic_of_this_stack_and_call_its_hook() -> None:
    assert granted(of_type("canary", "IAM::Role")["DeploymentRole"]) == OF_CODEDEPLOY


def test_what_is_granted_is_named_in_full_unless_there_is_a_reason() -> None:
    for role in of_type("others", "IAM::Role").values():
        for action, resources in granted(role).items():
            assert "*" not in action
            assert "*" not in "".join(resources) or UNNAMED[action]


def test_a_key_opens_nothing_but_tables_and_queues() -> None:
    services = [f"{service}.AWS::Region.AWS::URLSuffix" for service in ("dynamodb", "sqs")]
    for role in of_type("others", "IAM::Role").values():
        for statement in statements(role):
            is_of_key = any(action.startswith("kms:") for action in listed(statement["Action"]))
            confined = {"StringEquals": {"kms:ViaService": services}} if is_of_key else None
            assert named(statement.get("Condition")) == confined


def test_without_a_key_of_the_teams_nobody_may_use_one() -> None:
    for role in of_type("canary", "IAM::Role").values():
        assert not [action for action in granted(role) if action.startswith("kms:")]


def test_a_function_is_called_by_one_source_and_through_its_alias() -> None:
    for permission in of_type("others", "Lambda::Permission").values():
        assert permission["Principal"] in {"apigateway.amazonaws.com", "events.amazonaws.com"}
        assert permission["SourceArn"]
        assert named(permission["FunctionName"]).removesuffix("Aliaslive") in RELEASED


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_is_told_what_it_has_to_know_and_no_secret(function: str) -> None:
    told = named(of_type("others", "Lambda::Function")[function]["Environment"]["Variables"])
    assert told == VARIABLES | OWN_VARIABLES.get(function, {})


def test_the_environment_of_the_tests_is_that_of_the_functions() -> None:
    told = of_type("defaults", "Lambda::Function")["ListConversations"]["Environment"]["Variables"]
    response = call("list_conversations", query={"limit": ["0"]})
    assert response.headers["Access-Control-Allow-Origin"] == told["ALLOWED_ORIGIN"]
    assert response.body["documentation_url"].startswith(told["DOCUMENTATION_URL"])


@pytest.mark.parametrize("settings", STACKS)
def test_secrets_stay_where_they_are(settings: str) -> None:
    given = json.dumps(resolved(**STACKS[settings]))
    assert "ClientSecret" not in given
    assert "{{resolve:" not in given


# What is kept, and how.


@pytest.mark.parametrize("table", [f"{name.title()}Table" for name in TABLES])
def test_a_table_is_encrypted_recoverable_and_limited(table: str) -> None:
    given, other = (of_type(settings, "DynamoDB::Table")[table] for settings in ("defaults", "others"))
    assert given["BillingMode"] == "PAY_PER_REQUEST"
    recovery = {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 35}
    assert given["PointInTimeRecoverySpecification"] == recovery
    assert other["PointInTimeRecoverySpecification"] == recovery | {"RecoveryPeriodInDays": 7}
    assert given["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS"}
    assert other["SSESpecification"] == given["SSESpecification"] | {"KMSMasterKeyId": OTHERS["KmsKeyArn"]}
    for limited in (given, *given["GlobalSecondaryIndexes"]):
        assert limited["OnDemandThroughput"] == {"MaxReadRequestUnits": 10000, "MaxWriteRequestUnits": 5000}
    for limited in (other, *other["GlobalSecondaryIndexes"]):
        assert limited["OnDemandThroughput"] == {"MaxReadRequestUnits": 200, "MaxWriteRequestUnits": 100}


def test_the_queue_is_encrypted() -> None:
    given, other = (the_only(settings, "SQS::Queue") for settings in ("defaults", "others"))
    assert (given["SqsManagedSseEnabled"], given.get("KmsMasterKeyId")) == (True, None)
    assert (other.get("SqsManagedSseEnabled"), other["KmsMasterKeyId"]) == (None, OTHERS["KmsKeyArn"])


@pytest.mark.parametrize(("settings", "is_protected"), [("defaults", True), ("canary", False)])
def test_what_people_have_said_outlives_the_stack_unless_it_is_one_to_throw_away(
    settings: str, is_protected: bool
) -> None:
    data = {"ConversationsTable", "MessagesTable", "UserPool"}
    # Without them nobody could sign in to the pool that is left.
    signing_in = {"UserPoolDomain", "ResourceServer", "MessagesResourceServer", "AppClient", "ServiceClient"}
    of_people = data | signing_in if is_protected else set()
    # Other APIs of the account use them.
    of_account = {"ApiGatewayAccount", "ApiGatewayLogsRole"}
    for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
        resources = resolved(**STACKS[settings])["Resources"].items()
        assert {name for name, resource in resources if resource.get(policy) == "Retain"} == of_people | of_account
    for table in of_type(settings, "DynamoDB::Table").values():
        assert table["DeletionProtectionEnabled"] is is_protected
    pool = the_only(settings, "Cognito::UserPool")
    assert pool["DeletionProtection"] == ("ACTIVE" if is_protected else "INACTIVE")


def test_only_records_of_idempotency_keys_expire(tables: None) -> None:
    del tables
    found = of_type("defaults", "DynamoDB::Table")
    assert "TimeToLiveSpecification" not in found["MessagesTable"]
    expiry = found["ConversationsTable"]["TimeToLiveSpecification"]
    assert expiry["Enabled"] is True
    conversation = create()
    said = json.dumps({"conversation_id": conversation["id"], "message": "hello"})
    for endpoint, body in (("create_conversation", '{"contact_id": "harry"}'), ("create_message", said)):
        response = call(endpoint, body=body, content_type=JSON, headers={"Idempotency-Key": endpoint})
        assert response.status == 201
    update(conversation, archived_at=1)
    send(conversation)
    call("delete_conversation", id=create()["id"])
    expiring = [row["user_id"]["S"] for row in contents.all_rows() if expiry["AttributeName"] in row]
    assert expiring == ["idempotency#kevin"] * 2


# What is limited, logged and refused.


@pytest.mark.parametrize(("settings", "rate", "burst"), [("defaults", 500, 1000), ("others", 10, 20)])
def test_all_calls_are_limited_and_none_is_logged_with_headers_and_bodies(settings: str, rate: int, burst: int) -> None:
    assert the_only(settings, "ApiGateway::Stage")["MethodSettings"] == [
        {
            "ResourcePath": "/*",
            "HttpMethod": "*",
            "ThrottlingRateLimit": rate,
            "ThrottlingBurstLimit": burst,
            "LoggingLevel": "OFF",
            "DataTraceEnabled": False,
        }
    ]


def test_a_request_is_logged_in_a_line_of_json_without_what_people_say() -> None:
    logging = the_only("defaults", "ApiGateway::Stage")["AccessLogSetting"]
    assert named(logging["DestinationArn"]) == "AccessLogs.Arn"
    assert set(re.findall(r"\$context\.([\w.]+)", logging["Format"])) == LOGGED
    line = re.sub(r"\$context\.[\w.]+", "0", logging["Format"])
    assert "$" not in line
    assert len(line.splitlines()) == 1
    assert len(json.loads(line)) == len(LOGGED)


def test_refused_requests_are_counted_by_what_is_logged_of_them() -> None:
    counting = the_only("defaults", "Logs::MetricFilter")
    assert named(counting["LogGroupName"]) == "AccessLogs"
    asked = re.fullmatch(r"\{ \$\.(\w+) = 429 \}", counting["FilterPattern"])
    assert asked
    assert f'"{asked[1]}": $context.status,' in the_only("defaults", "ApiGateway::Stage")["AccessLogSetting"]["Format"]


@pytest.mark.parametrize(("settings", "days"), [("defaults", 90), ("others", 14)])
def test_what_is_logged_is_kept_for_some_days(settings: str, days: int) -> None:
    groups = of_type(settings, "Logs::LogGroup")
    assert groups == {name: {"RetentionInDays": days} for name in ("AccessLogs", "FunctionLogs")}
    for function in of_type(settings, "Lambda::Function").values():
        assert named(function["LoggingConfig"]) == {"LogGroup": "FunctionLogs"}


def test_all_calls_are_traced() -> None:
    assert the_only("others", "ApiGateway::Stage")["TracingEnabled"] is True
    for function in of_type("others", "Lambda::Function").values():
        assert function["TracingConfig"] == {"Mode": "Active"}


@pytest.mark.parametrize(("settings", "policy"), [("defaults", TLS_1_2), ("canary", TLS_1_2), ("others", TLS_1_3)])
def test_old_versions_of_tls_are_refused(settings: str, policy: str) -> None:
    body = definition(settings)
    assert body["x-amazon-apigateway-security-policy"] == policy
    assert body["x-amazon-apigateway-endpoint-access-mode"] == "BASIC"
    for domain in of_type(settings, "ApiGateway::DomainName").values():
        assert (domain["SecurityPolicy"], domain["EndpointAccessMode"]) == (policy, "BASIC")


@pytest.mark.parametrize(
    ("settings", "reserved"), [("defaults", {}), ("others", {"PurgeMessages": 20, "ReceiveMessage": 20})]
)
def test_functions_behind_events_leave_room_for_users(settings: str, reserved: dict[str, int]) -> None:
    functions = of_type(settings, "Lambda::Function").items()
    setting = "ReservedConcurrentExecutions"
    assert {name: function[setting] for name, function in functions if setting in function} == reserved


def test_a_firewall_stands_before_the_api_only_where_one_is_wanted() -> None:
    for kind in ("WAFv2::WebACL", "WAFv2::WebACLAssociation"):
        assert not of_type("canary", kind)
    assert named(the_only("others", "WAFv2::WebACLAssociation")) == {
        "WebACLArn": "Firewall.Arn",
        "ResourceArn": "arn:AWS::Partition:apigateway:AWS::Region::/restapis/Api/stages/Apiv1Stage",
    }


def test_the_firewall_refuses_who_asks_too_often_and_lets_people_write_what_they_like() -> None:
    firewall = the_only("others", "WAFv2::WebACL")
    assert (firewall["Scope"], firewall["DefaultAction"]) == ("REGIONAL", {"Allow": {}})
    said = {rule["Name"]: rule["Statement"] for rule in firewall["Rules"]}
    assert said["rate"] == {"RateBasedStatement": {"AggregateKeyType": "IP", "EvaluationWindowSec": 300, "Limit": 100}}
    managed = [rule["ManagedRuleGroupStatement"] for rule in said.values() if "ManagedRuleGroupStatement" in rule]
    assert [rule["OverrideAction"] for rule in firewall["Rules"] if "Action" not in rule] == [{"None": {}}] * len(
        managed
    )
    counted = {
        group["Name"]: {
            rule["Name"] for rule in group.get("RuleActionOverrides", []) if rule["ActionToUse"] == {"Count": {}}
        }
        for group in managed
    }
    assert counted == BODY_RULES


def test_the_firewall_keeps_no_tokens() -> None:
    assert the_only("others", "WAFv2::WebACL")["DataProtectionConfig"]["DataProtections"] == [
        {"Field": {"FieldType": "SINGLE_HEADER", "FieldKeys": ["authorization"]}, "Action": "SUBSTITUTION"}
    ]


@pytest.mark.parametrize(("rule", "status"), [("rate", 429), ("size", 413)])
def test_what_the_firewall_answers_is_in_the_shape_of_all_errors(rule: str, status: int) -> None:
    firewall = the_only("others", "WAFv2::WebACL")
    (response,) = [given["Action"]["Block"]["CustomResponse"] for given in firewall["Rules"] if given["Name"] == rule]
    body = firewall["CustomResponseBodies"][response["CustomResponseBodyKey"]]
    assert (response["ResponseCode"], body["ContentType"]) == (status, "APPLICATION_JSON")
    assert rejected(body["Content"]) == ("invalid_request", f"{OTHERS['DocumentationUrl']}/invalid_request")
    headers = {header["Name"]: header["Value"] for header in response.get("ResponseHeaders", [])}
    # Else a page in a browser could not read it.
    assert headers["Access-Control-Allow-Origin"] == OTHERS["AllowedOrigin"]
    assert ("Retry-After" in headers) == (status == 429)


def test_the_api_has_a_domain_of_the_teams_only_where_they_have_one() -> None:
    for kind in ("ApiGateway::DomainName", "ApiGateway::BasePathMapping"):
        assert not of_type("defaults", kind)
    domain = the_only("others", "ApiGateway::DomainName")
    assert (domain["DomainName"], domain["RegionalCertificateArn"]) == (OTHERS["DomainName"], OTHERS["CertificateArn"])
    assert named(the_only("others", "ApiGateway::BasePathMapping")) == {
        "DomainName": "CustomDomain",
        "BasePath": OTHERS["BasePath"],
        "RestApiId": "Api",
        "Stage": "Apiv1Stage",
    }


# What is watched.


@pytest.mark.parametrize("alarm", ALARMS)
def test_an_alarm_is_told_to_people_with_what_to_do_about_it(alarm: str) -> None:
    given = of_type("defaults", "CloudWatch::Alarm")[alarm]
    assert named(given["AlarmActions"]) == named(given["OKActions"]) == ["Alarms"]
    assert given["AlarmDescription"].endswith(f". See docs/operations.md#{alarm.lower()}")
    headings = re.findall(r"^##+ (\S+)$", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    assert headings.count(alarm) == 1


def test_who_is_told_of_alarms_is_a_parameter() -> None:
    assert not of_type("defaults", "SNS::Subscription")
    assert list(of_type("others", "SNS::Topic")) == ["Alarms"]
    told = named(the_only("others", "SNS::Subscription"))
    assert told == {"TopicArn": "Alarms", "Protocol": "email", "Endpoint": OTHERS["AlarmEmail"]}


@pytest.mark.parametrize("alarm", ALARMS)
def test_where_nothing_is_measured_nothing_is_wrong_unless_it_is_measured_all_the_time(alarm: str) -> None:
    given = of_type("defaults", "CloudWatch::Alarm")[alarm]
    is_told = alarm in TOLD_IF_MISSING
    assert given["TreatMissingData"] == ("missing" if is_told else "notBreaching")
    assert named(given.get("InsufficientDataActions", [])) == (["Alarms"] if is_told else [])


def test_alarms_watch_what_is_measured(emitted: dict[Kind, str | None]) -> None:
    for name, alarm in of_type("defaults", "CloudWatch::Alarm").items():
        metric = watched(alarm)
        assert is_measured(metric, emitted), name
        # With no unit it takes whatever there is.
        assert alarm.get("Unit") in {None, emitted.get(metric.kind)}, name
        assert alarm["DatapointsToAlarm"] <= alarm["EvaluationPeriods"], name


def test_metrics_are_of_this_api() -> None:
    assert named(definition("defaults")["info"]["title"]) == "AWS::StackName"
    assert "Name" not in the_only("defaults", "ApiGateway::RestApi")
    assert of_type("defaults", "ApiGateway::Stage")["Apiv1Stage"]["StageName"] == "v1"


def test_the_dashboard_shows_what_is_measured(emitted: dict[Kind, str | None]) -> None:
    assert not [metric for widget in widgets() for metric in shown(widget) if not is_measured(metric, emitted)]


@pytest.mark.parametrize("name", ["Requests", "Latency", "ReadUnits", "WriteUnits"])
def test_the_dashboard_shows_every_endpoint(name: str) -> None:
    metrics = [metric for widget in widgets() for metric in shown(widget) if metric.name == name]
    assert (
        sorted(metric.dimensions["endpoint"] for metric in metrics if "endpoint" in metric.dimensions) == USER_ENDPOINTS
    )


def test_the_dashboard_shows_every_alarm() -> None:
    alarms = [alarm for widget in widgets() for alarm in widget["properties"].get("alarms", [])]
    assert sorted(alarms) == sorted(f"{alarm}.Arn" for alarm in ALARMS)


def test_the_dashboards_widgets_lie_side_by_side() -> None:
    places = Counter(
        (x, y)
        for widget in widgets()
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    )
    assert set(places.values()) == {1}
    assert {x for x, _ in places} == set(range(24))


def test_the_dashboard_is_of_the_stacks_region() -> None:
    regions = [widget["properties"]["region"] for widget in widgets() if widget["type"] == "metric"]
    assert set(regions) == {"AWS::Region"}


# How it is released.


def test_without_canaries_there_is_nothing_that_makes_them() -> None:
    resources = resolved(**DEFAULTS)["Resources"]
    assert not [name for name, resource in resources.items() if resource["Type"].startswith("AWS::CodeDeploy")]
    assert not [name for name, resource in resources.items() if "UpdatePolicy" in resource]
    assert not [name for name in resources if name.startswith((HOOK, "Deployment"))]


@pytest.mark.parametrize("function", sorted(RELEASED))
def test_a_new_version_is_exercised_and_then_has_few_calls_for_a_while(function: str) -> None:
    alias = resolved(**CANARY)["Resources"][f"{function}Aliaslive"]
    assert named(alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]) == {
        "ApplicationName": "ServerlessDeploymentApplication",
        "DeploymentGroupName": f"{function}DeploymentGroup",
        "BeforeAllowTrafficHook": HOOK,
    }
    group = of_type("canary", "CodeDeploy::DeploymentGroup")[f"{function}DeploymentGroup"]
    assert re.fullmatch(SHIFTED, group["DeploymentConfigName"])
    assert named(group["ApplicationName"]) == "ServerlessDeploymentApplication"
    assert named(group["ServiceRoleArn"]) == "DeploymentRole.Arn"


@pytest.mark.parametrize("function", sorted(RELEASED))
def test_a_bad_version_is_taken_back(function: str) -> None:
    group = of_type("canary", "CodeDeploy::DeploymentGroup")[f"{function}DeploymentGroup"]
    rollback, alarms = group["AutoRollbackConfiguration"], group["AlarmConfiguration"]
    assert rollback["Enabled"] is alarms["Enabled"] is True
    assert {"DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"} <= set(rollback["Events"])
    assert {named(alarm["Name"]) for alarm in alarms["Alarms"]} == TAKE_BACK


@pytest.mark.parametrize("alarm", sorted(TAKE_BACK))
def test_an_alarm_that_takes_a_version_back_goes_off_while_few_calls_have_it(alarm: str) -> None:
    given = of_type("canary", "CloudWatch::Alarm")[alarm]
    for group in of_type("canary", "CodeDeploy::DeploymentGroup").values():
        minutes = int(re.sub(SHIFTED, r"\1", group["DeploymentConfigName"]))
        assert given["Period"] * given["DatapointsToAlarm"] < minutes * 60


def test_the_hook_itself_is_released_at_once() -> None:
    assert "UpdatePolicy" not in resolved(**CANARY)["Resources"][f"{HOOK}Aliaslive"]
    assert f"{HOOK}DeploymentGroup" not in of_type("canary", "CodeDeploy::DeploymentGroup")


# What CloudFormation makes of it.


@pytest.mark.parametrize("settings", STACKS)
def test_whatever_is_referred_to_is_there_by_every_combination_of_conditions(settings: str) -> None:
    template = transform(**STACKS[settings])
    resources = template["Resources"]
    for element in (*resources.values(), *template["Outputs"].values()):
        own = {element["Condition"]} if "Condition" in element else set()
        for name, given in references(element):
            # CloudFormation looks for every name, also of what conditions leave out.
            assert name in resources.keys() | template["Parameters"].keys() or name.startswith("AWS::")
            condition = resources.get(name, {}).get("Condition")
            assert condition is None or condition in own | given, f"{name} is not there without {condition}"
        # It waits for nothing that conditions leave out.
        assert set(listed(element.get("DependsOn", []))) <= resources.keys()


@pytest.mark.parametrize("settings", STACKS)
def test_nothing_has_to_be_there_before_itself(settings: str) -> None:
    resources = resolved(**STACKS[settings])["Resources"]
    # What is in an update policy counts: github.com/davidgf/serverless-plugin-canary-deployments/issues/127.
    needed = {
        name: {*listed(resource.get("DependsOn", [])), *(found for found, _ in references(resource))}
        for name, resource in resources.items()
    }
    # Raises an error that names a circle.
    TopologicalSorter({name: found & resources.keys() for name, found in needed.items()}).prepare()


@pytest.mark.parametrize(
    ("settings", "outputs"),
    [
        ("defaults", OF_OWN_BUS | OF_OWN_POOL | OF_AWS_DOMAIN),
        ("canary", OF_OWN_BUS | OF_OWN_POOL | OF_DOMAIN | {"ApiUrl": URL, "DocsUrl": f"{URL}/docs"}),
        ("others", OF_THEIR_BUS | OF_DOMAIN | {"ApiUrl": OTHER_URL, "DocsUrl": f"{OTHER_URL}/docs"}),
    ],
)
def test_a_stack_tells_where_everything_is(settings: str, outputs: dict[str, str]) -> None:
    told = resolved(**STACKS[settings])["Outputs"].items()
    assert {name: named(output["Value"]) for name, output in told} == OUTPUTS | outputs
