"""Builds the template with SAM and deploys it to the emulator."""

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from tools.local import environment
from tools.local.environment import MINISTACK_PYTHON, REGION, ROOT, SAM, UV, Failure, aws_client, emulator_url

NAME = "conversations"
_SETTINGS = ROOT / "samconfig.toml"
_PARAMETERS: list[str] = tomllib.loads(_SETTINGS.read_text())["local"]["deploy"]["parameters"]["parameter_overrides"]


def running_port(home: Path) -> int:
    """Returns the port of the stack that runs in *home*. Raises `Failure` if none does."""
    try:
        running = json.loads((home / "stack.json").read_text())
    except FileNotFoundError:
        raise Failure("The stack is not running: start it with `make run`.") from None
    return int(urlsplit(running["api_url"]).port or 80)


def outputs(port: int, name: str = NAME) -> dict[str, str]:
    """Returns the outputs of the stack called *name*."""
    (described,) = aws_client("cloudformation", port).describe_stacks(StackName=name)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}


def api_url(port: int) -> str:
    """Returns the base URL of the deployed API. Its id is in the path: subdomains of `localhost` may not resolve."""
    return f"{emulator_url(port)}/_aws/execute-api/{outputs(port)['ApiId']}/v1"


def build(home: Path, project: Path = ROOT) -> None:
    """Builds the layer and the functions of *project* for the emulator's Python version. Raises `Failure`."""
    variables = environment.of_build()
    variables |= {"PATH": f"{UV.parent}{os.pathsep}{variables.get('PATH', '')}", "LAYER_PYTHON": str(MINISTACK_PYTHON)}
    folders: list[str | Path] = ["--build-dir", home / "build", "--cache-dir", home / "cache"]
    _sam(["build", "--template-file", project / "template.yaml", *folders], variables, home / "build.log")


def deploy(home: Path, port: int) -> None:
    """Creates or updates the stack from the build in *home*. Raises `Failure`."""
    public_url = ""
    # There is no stack yet, or its first deployment failed.
    with suppress(ClientError, KeyError):
        public_url = api_url(port)
    apply(home, port, PublicUrl=public_url)
    # A new stack is deployed twice: the functions need the API's URL, which is known only after the first time.
    if api_url(port) != public_url:
        apply(home, port, PublicUrl=api_url(port))


def apply(home: Path, port: int, name: str = NAME, tags: str = "", **parameters: str) -> None:
    """Creates or updates the stack called *name* from the build, with *parameters* and *tags*. Raises `Failure`."""
    template = home / "build" / "template.yaml"
    command: list[str | Path] = ["deploy", "--template-file", template, "--stack-name", name, "--no-progressbar"]
    # Parameters on the command line replace all those of samconfig.toml.
    command += ["--parameter-overrides", *_PARAMETERS]
    command += [f"{parameter}={value}" for parameter, value in parameters.items() if value]
    command += ["--tags", tags] if tags else []
    _sam(command, environment.of_aws_client(port), home / "deploy.log")


def configure_gateway(port: int) -> None:
    """Copies gateway responses and CORS preflight, which MiniStack ignores in a template, to the emulator's API."""
    cloudformation, gateway = aws_client("cloudformation", port), aws_client("apigateway", port)
    (described,) = cloudformation.describe_stacks(StackName=NAME)["Stacks"]
    parameters = {item["ParameterKey"]: item["ParameterValue"] for item in described["Parameters"]}
    template = cloudformation.get_template(StackName=NAME, TemplateStage="Processed")["TemplateBody"]
    (api,) = [each for each in template["Resources"].values() if each["Type"] == "AWS::ApiGateway::RestApi"]

    def substitute(part: dict[str, Any]) -> Any:  # noqa: ANN401 - any part of a template
        """Resolves `Fn::Sub`."""
        if isinstance(text := part.get("Fn::Sub"), str):
            return re.sub(r"\$\{(\w+)\}", lambda found: parameters.get(found[1], found[0]), text)
        return part

    definition = json.loads(json.dumps(api["Properties"]["Body"]), object_hook=substitute)
    api_id = outputs(port)["ApiId"]
    for response_type, response in definition["x-amazon-apigateway-gateway-responses"].items():
        gateway.put_gateway_response(
            restApiId=api_id,
            responseType=response_type,
            responseParameters=response["responseParameters"],
            responseTemplates=response["responseTemplates"],
            **({"statusCode": str(response["statusCode"])} if "statusCode" in response else {}),
        )
    for resource in gateway.get_resources(restApiId=api_id, limit=500)["items"]:
        if preflight := definition["paths"].get(resource["path"], {}).get("options"):
            gateway.put_integration_response(
                restApiId=api_id,
                resourceId=resource["id"],
                httpMethod="OPTIONS",
                **preflight["x-amazon-apigateway-integration"]["responses"]["default"],
            )
    gateway.create_deployment(restApiId=api_id, stageName="v1")


def allow_batches(port: int) -> None:
    """Allows batches to the functions that send to the webhook queue. AWS derives that from `sqs:SendMessage`."""
    cloudformation, iam, sqs = (aws_client(service, port) for service in ("cloudformation", "iam", "sqs"))
    queue, *roles = (
        cloudformation.describe_stack_resource(StackName=NAME, LogicalResourceId=name)["StackResourceDetail"][
            "PhysicalResourceId"
        ]
        for name in ("WebhookQueue", "PublishChangesExecutionRole", "DeliverWebhookExecutionRole")
    )
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    statement = {"Effect": "Allow", "Action": "sqs:SendMessageBatch", "Resource": attributes["QueueArn"]}
    for role in roles:
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_role_policy(RoleName=role, PolicyName="emulator", PolicyDocument=policy)


def sweep_inbox(port: int) -> None:
    """Invokes `sweep_inbox`, whose first run makes the inbox of a new stack ready. Raises `Failure`.

    Afterwards the emulator invokes it each minute, as the template says.
    """
    resource = aws_client("cloudformation", port).describe_stack_resource(
        StackName=NAME, LogicalResourceId="SweepInbox"
    )
    function = resource["StackResourceDetail"]["PhysicalResourceId"]
    response = aws_client("lambda", port).invoke(FunctionName=function, Qualifier="live", Payload=b"{}")
    if "FunctionError" in response:
        raise Failure(f"The inbox is not ready, because sweep_inbox failed: {response['Payload'].read().decode()}")


def _sam(arguments: Sequence[str | Path], variables: dict[str, str], log: Path) -> None:
    with log.open("wb") as output:
        done = subprocess.run(
            [SAM, *arguments, "--config-file", _SETTINGS, "--config-env", "local", "--region", REGION],
            cwd=ROOT,
            env=variables | {"SAM_CLI_TELEMETRY": "0", "SAM_CLI_CHECK_FOR_NEWER_VERSION": "0"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise Failure(f"`sam {arguments[0]}` failed: see {log}.")
