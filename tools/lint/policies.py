"""Compares the roles of a transformed template with IAM's table of actions: `python -m tools.lint.policies FILE`.

Runs with the environment of `make lint`, which has policy_sentry and with it the table.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from policy_sentry.querying.actions import get_action_data

_PREFIX = "arn:aws:{}:us-east-1:123456789012:"
_PSEUDO = {"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": "123456789012"}
# ARNs that `Ref` or `Fn::GetAtt` return; of a log group, which ends with ":*", one that it matches.
_ARNS = {
    "AWS::Cognito::UserPool": _PREFIX.format("cognito-idp") + "userpool/id",
    "AWS::DynamoDB::Table": _PREFIX.format("dynamodb") + "table/name",
    "AWS::Events::EventBus": _PREFIX.format("events") + "event-bus/name",
    "AWS::Lambda::Function": _PREFIX.format("lambda") + "function:name",
    "AWS::Lambda::Version": _PREFIX.format("lambda") + "function:name:1",
    "AWS::Logs::LogGroup": _PREFIX.format("logs") + "log-group:name:log-stream:name",
    "AWS::SQS::Queue": _PREFIX.format("sqs") + "name",
    "KmsKeyArn": _PREFIX.format("kms") + "key/name",
    "UserPoolArn": _PREFIX.format("cognito-idp") + "userpool/id",
}
# The table says that these actions do not support resources. AWS's own documentation restricts them to these.
_RESTRICTED = {
    # Policy template DynamoDBStreamReadPolicy of SAM.
    "dynamodb:ListStreams": "/stream/",
    # Example of a hook in SAM's page on gradual deployments.
    "codedeploy:PutLifecycleEventHookExecutionStatus": ":deploymentgroup:",
}


def statements(part: object) -> Iterator[dict[str, Any]]:
    """Yields each statement in *part* of a template, in all branches of conditions."""
    if isinstance(part, dict) and "Effect" in part:
        yield part
    elif isinstance(part, dict | list):
        for element in part.values() if isinstance(part, dict) else part:
            yield from statements(element)


def as_list(value: object) -> list[Any]:
    """Returns *value* as a list, with both branches of a condition."""
    match value:
        case {"Fn::If": [_, *branches]}:
            return branches
    return value if isinstance(value, list) else [value]


def arn(value: object, types: dict[str, str]) -> str:
    """Returns an ARN with the shape of *value*; *types* has the type of each resource."""
    match value:
        case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), "Arn"]}:
            return _ARNS[types.get(name, name)]
        case {"Fn::Sub": str(text)}:
            known = _PSEUDO | {f"{name}.Arn": _ARNS[kind] for name, kind in types.items() if kind in _ARNS}
            return re.sub(r"\$\{([^}]+)\}", lambda found: known.get(found[1], "name"), text)
    return str(value)


def faults(action: str, resource: str) -> Iterator[str]:
    """Yields why IAM would not grant *action* on *resource*."""
    service, name = action.split(":")
    rows = get_action_data(service, name) or {}
    formats = {row["resource_arn_format"] for row in rows.get(service, [])}
    if not formats:
        yield f"{action} does not exist"
    elif resource == "*":
        return
    elif formats == {"*"}:
        if action not in _RESTRICTED or _RESTRICTED[action] not in resource:
            yield f"{action} does not support resources, such as {resource}"
    elif not any(_matches(found, resource) for found in formats - {"*"}):
        yield f"{action} is not an action on {resource}"


def _matches(resource_format: str, resource: str) -> bool:
    # The names of SSM's parameters are paths.
    pattern = re.sub(r"\$\{\w+\}", ".+" if ":parameter/" in resource_format else "[^/]+", resource_format)
    # A final "*" stands for a function, its versions and aliases.
    return any(re.fullmatch(pattern, resource.removesuffix("*") + end) for end in ("", ":1" * resource.endswith("*")))


def main(file: str) -> int:
    """Prints the faults of each role. Returns 1 if there are any."""
    resources = json.loads(Path(file).read_text())["Resources"]
    types = {name: resource["Type"] for name, resource in resources.items()}
    found = [
        f"{role}: {fault}"
        for role, kind in types.items()
        if kind == "AWS::IAM::Role"
        for statement in statements(resources[role]["Properties"].get("Policies", []))
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
        for fault in faults(action, arn(resource, types))
    ]
    print("\n".join(found) or f"policy_sentry: no faults in {list(types.values()).count('AWS::IAM::Role')} roles")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
