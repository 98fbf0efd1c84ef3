"""The environment of every process that the embedded stack starts: nothing of the developer's own AWS settings."""

import os
from pathlib import Path

import boto3

from tools.local.failure import Failure

ROOT = Path(__file__).resolve().parent.parent.parent
SAM = ROOT / ".tools/sam/bin/sam"
UV = ROOT / ".tools/sam/bin/uv"
MINISTACK_PYTHON = ROOT / ".tools/ministack/bin/python"

HOST = "127.0.0.1"
REGION = "us-east-1"
# The emulator's own root user; it accepts no other before IAM knows one.
CREDENTIALS = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "test")

_DEVELOPERS = dict(os.environ)
_NO_AWS_FILES = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
_NO_PROXY = {"NO_PROXY": "*", "no_proxy": "*"}


def check_tools() -> None:
    """Raises `Failure` where a tool that the embedded stack is made of is missing."""
    for tool in (SAM, UV, MINISTACK_PYTHON):
        if not tool.exists():
            raise Failure(f"{tool} is missing: remove .tools, and `make run` installs it again.")


def emulator_url(port: int) -> str:
    """Where the emulator answers for every AWS service."""
    return f"http://{HOST}:{port}"


def of_build() -> dict[str, str]:
    """The environment of a build: the developer's, proxies included, without what could lead it to AWS."""
    foreign = ("AWS_", "SAM_", "PYTHON", "VIRTUAL_ENV")
    return {name: value for name, value in _DEVELOPERS.items() if not name.startswith(foreign)} | _NO_AWS_FILES


def of_emulator() -> dict[str, str]:
    """The environment of the emulator, which reads dozens of variables: only what every program needs."""
    kept = ("HOME", "LANG", "LC_ALL", "PATH")
    return {name: _DEVELOPERS[name] for name in kept if name in _DEVELOPERS} | CREDENTIALS | _NO_AWS_FILES | _NO_PROXY


def of_aws_client(port: int) -> dict[str, str]:
    """The environment of a program that takes the emulator for AWS."""
    return of_build() | CREDENTIALS | {"AWS_ENDPOINT_URL": emulator_url(port), "AWS_DEFAULT_REGION": REGION} | _NO_PROXY


def aws_session() -> boto3.Session:
    """A session of the emulator's root user, for clients with `emulator_url` as their endpoint."""
    return boto3.Session(CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"], region_name=REGION)
