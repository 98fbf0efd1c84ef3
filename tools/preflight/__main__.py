"""Asks an AWS account whether an environment of samconfig.toml can be deployed to it. Changes nothing.

Prints one line per check: `ok`, `note` (it deploys, but read this) or `STOP` (it does not deploy). Exits with 1 after a
STOP. Without permission to ask a service, the line is a note.
"""

import argparse
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tools.lint import transformed

# Lambda keeps this much concurrency for functions without a reservation.
_UNRESERVED = 100
# Lambda accepts this many requests a second for each concurrent execution, in the whole account.
_RATE_PER_EXECUTION = 10
_REQUEST = "aws service-quotas request-service-quota-increase --service-code lambda --quota-code L-B99A9384"
# Where SnapStart for Python was announced in November 2024. AWS has added regions since, which no API lists.
_SNAPSTART = {
    *("ap-northeast-1", "ap-southeast-1", "ap-southeast-2", "eu-central-1", "eu-north-1", "eu-west-1", "us-east-1"),
    *("us-east-2", "us-west-2"),
}


class Environment(NamedTuple):
    """An environment of samconfig.toml: its stack, the values of all parameters, and the account it is deployed to."""

    stack: str
    parameters: dict[str, str]
    session: Any

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3's clients of all services
        """Returns a client that soon gives up."""
        return self.session.client(service, config=Config(connect_timeout=5, retries={"total_max_attempts": 2}))


class Finding(NamedTuple):
    """The result of a check."""

    level: str
    text: str


def main(arguments: list[str]) -> int:
    """Prints the findings for an environment. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.preflight", description=__doc__)
    parser.add_argument("environment", nargs="?", default="production", help="of samconfig.toml")
    parser.add_argument("--config-file", type=Path, default=transformed.ROOT / "samconfig.toml", help="as of sam")
    given = parser.parse_args(arguments)
    environment = _read(given.config_file, given.environment)
    is_stopped = False
    for check in (_account, _concurrency, _regional_services, _snapstart, _logs_role, _mail, _alarms):
        for finding in _findings(check, environment):
            print(f"{finding.level:4}  {finding.text}")
            is_stopped |= finding.level == "STOP"
    return int(is_stopped)


def _read(path: Path, name: str) -> Environment:
    environments = tomllib.loads(path.read_text())
    environments.pop("version", None)
    if name not in environments:
        sys.exit(f"{path.name} has no environment {name}, only {', '.join(environments)}")
    settings = environments[name]["deploy"]["parameters"]
    declared = transformed.load(transformed.TEMPLATE)["Parameters"]
    overrides = dict(override.split("=", 1) for override in settings.get("parameter_overrides", []))
    parameters = {parameter: str(given["Default"]) for parameter, given in declared.items()} | overrides
    session = boto3.Session(profile_name=settings.get("profile"), region_name=settings.get("region"))
    return Environment(settings["stack_name"], parameters, session)


def _findings(check: Callable[[Environment], Iterator[Finding]], environment: Environment) -> Iterator[Finding]:
    try:
        yield from check(environment)
    except ClientError as error:
        yield Finding("note", f"Not checked ({check.__name__.strip('_')}): {error}")


def _account(environment: Environment) -> Iterator[Finding]:
    try:
        account = environment.client("sts").get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"Set AWS credentials and a region first (aws configure): {error}")
    yield Finding("ok", f"{environment.stack} in account {account}, region {environment.session.region_name}")


def _concurrency(environment: Environment) -> Iterator[Finding]:
    limits = environment.client("lambda").get_account_settings()["AccountLimit"]
    quota, parameters = limits["ConcurrentExecutions"], environment.parameters
    rate, possible_rate = int(parameters["ThrottleRate"]), quota * _RATE_PER_EXECUTION
    if rate > possible_rate:
        yield Finding(
            "note",
            f"Lambda's quota of {quota} is {possible_rate} requests a second for the whole account: "
            f"ThrottleRate={possible_rate}, or ask for more: {_REQUEST} --desired-value {max(1000, rate // 10)}",
        )
    else:
        yield Finding("ok", f"Lambda's quota is {quota} concurrent executions, enough for ThrottleRate={rate}")
    alarm = quota * 8 // 10
    yield Finding("ok" if parameters["ConcurrencyAlarm"] == str(alarm) else "note", f"80 %: ConcurrencyAlarm={alarm}")
    functions = ("ReceiveMessage", "PurgeMessages", "DeliverMessages", "PublishChanges", "DeliverWebhook")
    free = limits["UnreservedConcurrentExecutions"] + sum(_reserved(environment, name) for name in functions)
    wanted, possible = int(parameters["EventConcurrency"]), max(0, free - _UNRESERVED) // len(functions)
    yield Finding(
        "STOP" if wanted > possible else "ok",
        f"EventConcurrency={wanted}: up to {possible} is possible, because {_UNRESERVED} must stay unreserved",
    )


def _reserved(environment: Environment, logical_id: str) -> int:
    """Returns what the stack has reserved for a function, or 0 if the stack is new."""
    try:
        resource = environment.client("cloudformation").describe_stack_resource(
            StackName=environment.stack, LogicalResourceId=logical_id
        )["StackResourceDetail"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        return 0
    reserved = environment.client("lambda").get_function_concurrency(FunctionName=resource["PhysicalResourceId"])
    return int(reserved.get("ReservedConcurrentExecutions", 0))


def _regional_services(environment: Environment) -> Iterator[Finding]:
    parameters = environment.parameters
    for service, operation, request, is_used, otherwise in (
        ("cognito-idp", "list_user_pools", {"MaxResults": 1}, not parameters["UserPoolArn"], "set UserPoolArn"),
        ("codedeploy", "list_applications", {}, parameters["Canary"] == "true", "set Canary=false"),
        ("wafv2", "list_web_acls", {"Scope": "REGIONAL"}, parameters["WebAcl"] == "true", "set WebAcl=false"),
    ):
        if not is_used:
            continue
        try:
            getattr(environment.client(service), operation)(**request)
        except ClientError as error:
            yield Finding("note", f"Not checked ({service}): {error}")
        except BotoCoreError as error:
            yield Finding("STOP", f"{service} does not respond in this region; choose another or {otherwise}: {error}")
        else:
            yield Finding("ok", f"{service} responds in this region")


def _snapstart(environment: Environment) -> Iterator[Finding]:
    region = environment.session.region_name
    if environment.parameters["SnapStart"] == "None":
        yield Finding("ok", "SnapStart=None works in every region")
    elif region in _SNAPSTART:
        yield Finding("ok", f"{region} has SnapStart for Python")
    else:
        yield Finding(
            "note", f"No API says whether {region} has SnapStart. If its documentation does not: SnapStart=None"
        )


def _logs_role(environment: Environment) -> Iterator[Finding]:
    role = environment.client("apigateway").get_account().get("cloudwatchRoleArn")
    sets_role = environment.parameters["SetApiGatewayLogsRole"] == "true"
    if role and sets_role:
        yield Finding(
            "note", f"API Gateway's role for logs is {role}. Unless this stack has set it: SetApiGatewayLogsRole=false"
        )
    elif role or sets_role:
        yield Finding("ok", "API Gateway has a role for logs" if role else "The stack sets API Gateway's role for logs")
    else:
        yield Finding("STOP", "API Gateway has no role for logs in this account and region: SetApiGatewayLogsRole=true")


def _mail(environment: Environment) -> Iterator[Finding]:
    if environment.parameters["UserPoolArn"] or environment.parameters.get("SesIdentityArn"):
        yield Finding("ok", "Sign-up mail is not sent by Cognito itself")
    else:
        # A documented limit that no API returns.
        yield Finding(
            "note", "Cognito itself sends about 50 messages a day in an account. For more, set SesIdentityArn"
        )


def _alarms(environment: Environment) -> Iterator[Finding]:
    parameters = environment.parameters
    if parameters["AlarmEmail"]:
        yield Finding("ok", f"{parameters['AlarmEmail']} gets the alarms")
    else:
        is_required = parameters["Canary"] == "true" and parameters["ProtectData"] != "false"
        yield Finding("STOP" if is_required else "note", "Nobody gets the alarms: set AlarmEmail")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
