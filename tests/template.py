"""`template.yaml` and its nested templates: as written, transformed by SAM, and as a stack with given parameters."""

import atexit
import functools
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tools.lint import transformed as lint

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ROOT = lint.ROOT
TEMPLATE = lint.load(lint.TEMPLATE)
# By the logical id of the application in `template.yaml`.
NESTED = {
    name: lint.load(ROOT / resource["Properties"]["Location"])
    for name, resource in TEMPLATE["Resources"].items()
    if resource["Type"] == "AWS::Serverless::Application"
}
FUNCTIONS: dict[str, Any] = {
    name: resource["Properties"]
    for name, resource in TEMPLATE["Resources"].items()
    if resource["Type"] == "AWS::Serverless::Function"
}
TABLES: dict[str, dict[str, Any]] = {
    name: TEMPLATE["Resources"][f"{name.title()}Table"]["Properties"]
    for name in ("conversations", "messages", "changes")
}
DOMAIN = {"DomainName": "api.example.com", "CertificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/1"}
# Values other than the default.
OTHERS = {
    **DOMAIN,
    "AlarmEmail": "oncall@example.com",
    "AllowedOrigin": "https://chat.example.com",
    "BasePath": "chat",
    "Canary": "true",
    "Delivery": "internal",
    "DocumentationUrl": "https://docs.example.com/errors",
    "EmailFrom": "no-reply@example.com",
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
    "SendLimit": "50",
    "SendLimitPerContact": "20",
    "SesIdentityArn": "arn:aws:ses:eu-west-1:123456789012:identity/example.com",
    "SetApiGatewayLogsRole": "true",
    "SnapStart": "PublishedVersions",
    "ThrottleBurst": "20",
    "ThrottleRate": "10",
    "Unarchive": "always",
    "UserPoolArn": "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/eu-west-1_a1b2c3d4e",
    "WebAcl": "true",
    "WebAclRate": "100",
    "WebhookTargets": "public-any-port",
}
# Unlike "others", "canary" creates a user pool and has TLS 1.2 on its domain.
SETTINGS: dict[str, dict[str, str]] = {
    "defaults": {},
    "canary": {"Canary": "true", "ProtectData": "false", "SetApiGatewayLogsRole": "true", **DOMAIN},
    "others": OTHERS,
}
_NO_VALUE = {"Ref": "AWS::NoValue"}


def as_list(value: Any) -> list[Any]:
    """Returns *value* in a list, unless it is one."""
    return value if isinstance(value, list) else [value]


def logical_id(function: str) -> str:
    """Returns the logical id of a function: ListConversations for list_conversations."""
    return "".join(word.title() for word in function.split("_"))


def create_tables(client: "DynamoDBClient") -> None:
    """Creates the tables as CloudFormation would, with the names in the functions' environment."""
    for name, table in TABLES.items():
        # Without throughput limits, which are parameters.
        parts = ("IndexName", "KeySchema", "Projection")
        indexes: Any = [{part: index[part] for part in parts} for index in table.get("GlobalSecondaryIndexes", [])]
        client.create_table(
            TableName=os.environ[f"{name.upper()}_TABLE_NAME"],
            BillingMode=table["BillingMode"],
            AttributeDefinitions=table["AttributeDefinitions"],
            KeySchema=table["KeySchema"],
            **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
        )


@functools.cache
def transform(**parameters: str) -> dict[str, Any]:
    """Returns `template.yaml` after the transform of the SAM that deploys, with these *parameters*."""
    worker = _transformer()
    assert worker.stdin
    assert worker.stdout
    print(json.dumps([f"{name}={value}" for name, value in parameters.items()]), file=worker.stdin, flush=True)
    result: dict[str, Any] = json.loads(worker.stdout.readline())
    return result


@functools.cache
def _transformer() -> subprocess.Popen[str]:
    # In SAM's own environment: its transform excludes the layer's version of Pydantic, which .venv has.
    command = [f"{ROOT}/.tools/sam/bin/python", "-m", "tools.lint.transformed", "-"]
    worker = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    # Ends it by the end of its input.
    atexit.register(worker.communicate)
    return worker


@functools.cache
def root_stack(**parameters: str) -> dict[str, Any]:
    """Returns the resources and outputs of a stack with these *parameters*, without those of nested stacks.

    Conditions are decided and parameters have their values. References to resources and pseudo parameters stay.
    """
    return _resolved(transform(**parameters), parameters)


@functools.cache
def whole_stack(**parameters: str) -> dict[str, Any]:
    """Returns the same with the resources of nested stacks in place of these stacks."""
    stack = {section: dict(elements) for section, elements in root_stack(**parameters).items()}
    outputs: dict[tuple[str, str], Any] = {}
    for name, template in NESTED.items():
        if application := stack["Resources"].pop(name, None):
            nested = _resolved(template, application["Properties"]["Parameters"])
            assert not stack["Resources"].keys() & nested["Resources"].keys()
            stack["Resources"] |= nested["Resources"]
            outputs |= {(name, f"Outputs.{output}"): given["Value"] for output, given in nested["Outputs"].items()}
    result: dict[str, Any] = _with_outputs(stack, outputs)
    return result


def of_type(settings: str, kind: str) -> dict[str, Any]:
    """Returns the properties of all resources of a *kind* in the stack with the parameters of SETTINGS[*settings*]."""
    resources = whole_stack(**SETTINGS[settings])["Resources"]
    return {
        name: resource.get("Properties", {})
        for name, resource in resources.items()
        if resource["Type"] == f"AWS::{kind}"
    }


def the_only(settings: str, kind: str) -> Any:
    """Returns the properties of the only resource of a *kind*."""
    (properties,) = of_type(settings, kind).values()
    return properties


def named(value: Any) -> Any:
    """Returns *value* with names in place of references, and versions without the hash that SAM adds to their names."""
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


def _resolved(template: dict[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, declared in template["Parameters"].items():
        value = parameters[name] if name in parameters else declared["Default"]
        values[name] = int(value) if declared["Type"] == "Number" else value
    conditions: dict[str, bool] = {}
    conditions.update(
        (name, _evaluated(said, values, conditions)) for name, said in template.get("Conditions", {}).items()
    )
    assert set(map(type, conditions.values())) <= {bool}, "a condition uses a function that is not implemented here"
    return {
        section: {
            name: _evaluated(element, values, conditions)
            for name, element in template.get(section, {}).items()
            if "Condition" not in element or conditions[element["Condition"]]
        }
        for section in ("Resources", "Outputs")
    }


def _evaluated(part: Any, values: Mapping[str, Any], conditions: Mapping[str, bool]) -> Any:
    """Returns *part* of a template with parameters and conditions replaced by their values."""
    evaluated = functools.partial(_evaluated, values=values, conditions=conditions)
    result = part
    match part:
        case {"Ref": str(name)} if name in values:
            result = values[name]
        case {"Fn::If": [condition, then, otherwise]}:
            result = evaluated(then if conditions[condition] else otherwise)
        case {"Fn::Equals": [one, other]}:
            # CloudFormation compares numbers as text.
            result = str(evaluated(one)) == str(evaluated(other))
        case {"Fn::Not": [condition]}:
            result = not evaluated(condition)
        case {"Fn::Select": [int(place), {"Fn::Split": [str(delimiter), {"Fn::Sub": str(text)}]}]}:
            result = _substituted(text, values).split(delimiter)[place]
        case {"Fn::Sub": [str(text), dict(names)]}:
            result = _substituted(text, {**values, **evaluated(names)})
        case {"Fn::Sub": str(text)}:
            result = _substituted(text, values)
        case dict():
            found = {name: evaluated(element) for name, element in part.items()}
            result = {name: element for name, element in found.items() if element != _NO_VALUE}
        case list():
            result = [element for element in map(evaluated, part) if element != _NO_VALUE]
    return result


def _substituted(text: str, values: Mapping[str, Any]) -> Any:
    found = re.sub(r"\$\{(\w+)\}", lambda name: _as_text(values.get(name[1], name[0])), text)
    return {"Fn::Sub": found} if "${" in found else found


def _as_text(value: Any) -> str:
    """Returns *value* as `Fn::Sub` takes it. A nested template's parameter may be a reference of its parent."""
    match value:
        case {"Ref": str(name)}:
            return f"${{{name}}}"
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return f"${{{name}.{attribute}}}"
        case {"Fn::Sub": str(text)}:
            return text
    return str(value)


def _with_outputs(part: Any, outputs: Mapping[tuple[str, str], Any]) -> Any:
    """Returns *part* of a template with references to *outputs* of nested stacks replaced by their values."""
    match part:
        case {"Fn::GetAtt": [str(name), str(attribute)]} if (name, attribute) in outputs:
            return outputs[name, attribute]
        case dict():
            return {name: _with_outputs(element, outputs) for name, element in part.items()}
        case list():
            return [_with_outputs(element, outputs) for element in part]
    return part


def references(part: Any, given: frozenset[str] = frozenset()) -> Iterator[tuple[str, frozenset[str]]]:
    """Yields each name that *part* of a template refers to, with the conditions under which it does."""
    match part:
        case {"Fn::If": [condition, then, otherwise]}:
            yield from references(then, given | {condition})
            yield from references(otherwise, given)
            return
        case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), *_]}:
            yield name, given
        case {"Fn::Sub": str(text) | [str(text), *_]}:
            own = part["Fn::Sub"][1] if isinstance(part["Fn::Sub"], list) else {}
            yield from ((name, given) for name in re.findall(r"\$\{([\w:]+)", text) if name not in own)
    if isinstance(part, dict | list):
        for element in part.values() if isinstance(part, dict) else part:
            yield from references(element, given)
