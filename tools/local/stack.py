"""The stack: the project's template, built by sam and deployed to the emulator."""

import json
import os
import signal
import subprocess
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from tools.local.environment import (
    MINISTACK_PYTHON,
    REGION,
    ROOT,
    SAM,
    UV,
    aws_session,
    emulator_url,
    of_aws_client,
    of_build,
)
from tools.local.failure import Failure

NAME = "conversations"
_SETTINGS = ROOT / "samconfig.toml"
_PARAMETERS: list[str] = tomllib.loads(_SETTINGS.read_text())["local"]["deploy"]["parameters"]["parameter_overrides"]


def running_port(home: Path) -> int:
    """The port of the stack that runs in *home*. Raises `Failure` if none does."""
    try:
        running = json.loads((home / "stack.json").read_text())
    except FileNotFoundError:
        raise Failure("The stack is not running: start it with `make run`.") from None
    return int(urlsplit(running["api_url"]).port or 80)


def outputs(port: int, name: str = NAME) -> dict[str, str]:
    """The outputs of the stack called *name*."""
    cloudformation = aws_session().client("cloudformation", endpoint_url=emulator_url(port))
    (described,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}


def api_id(port: int) -> str:
    """The id of the deployed API."""
    return outputs(port)["ApiId"]


def api_url(port: int) -> str:
    """The base URL of the deployed API. By path, since names below `localhost` do not resolve everywhere."""
    return f"{emulator_url(port)}/_aws/execute-api/{api_id(port)}/v1"


def build(home: Path) -> None:
    """Builds layer and functions for the Python that the emulator runs them with. Raises `Failure`."""
    command: list[str | Path] = ["build", "--build-dir", home / "build", "--cache-dir", home / "cache"]
    path = f"{UV.parent}{os.pathsep}{of_build().get('PATH', '')}"
    _sam(command, of_build() | {"PATH": path, "LAYER_PYTHON": str(MINISTACK_PYTHON)}, home / "build.log")


def deploy(home: Path, port: int) -> None:
    """Creates the stack from what was built, or brings it up to date. Raises `Failure`.

    Behind the emulator the functions cannot see the API's URL, which is known once the API is there: so a new stack is
    deployed twice.
    """
    public_url = ""
    # There is no stack, or one whose first deployment failed.
    with suppress(ClientError, KeyError):
        public_url = api_url(port)
    apply(home, port, PublicUrl=public_url)
    if api_url(port) != public_url:
        apply(home, port, PublicUrl=api_url(port))


def apply(home: Path, port: int, name: str = NAME, **parameters: str) -> None:
    """Creates or updates the stack called *name*: what was built, with these *parameters*. Raises `Failure`."""
    template = home / "build" / "template.yaml"
    command: list[str | Path] = ["deploy", "--template-file", template, "--stack-name", name, "--no-progressbar"]
    # On the command line they take the place of all that the settings have.
    command += ["--parameter-overrides", *_PARAMETERS]
    command += [f"{parameter}={value}" for parameter, value in parameters.items() if value]
    _sam(command, of_aws_client(port), home / "deploy.log")


def _sam(arguments: Sequence[str | Path], environment: dict[str, str], log: Path) -> None:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [SAM, *arguments, "--config-file", _SETTINGS, "--config-env", "local", "--region", REGION],
            cwd=ROOT,
            env=environment | {"SAM_CLI_TELEMETRY": "0", "SAM_CLI_CHECK_FOR_NEWER_VERSION": "0"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        status = process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if status:
        raise Failure(f"`sam {arguments[0]}` failed: {log} says why.")
