"""Environment variables of the processes that `make run` starts, without the developer's AWS settings."""

import os
from pathlib import Path
from typing import Any

import boto3

ROOT = Path(__file__).resolve().parent.parent.parent
SAM = ROOT / ".tools/sam/bin/sam"
UV = ROOT / ".tools/sam/bin/uv"
MINISTACK_PYTHON = ROOT / ".tools/ministack/bin/python"

HOST = "127.0.0.1"
REGION = "us-east-1"
# The emulator's root user, the only user at first.
CREDENTIALS = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "test")

_DEVELOPERS = dict(os.environ)
_NO_AWS_FILES = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
_NO_PROXY = {"NO_PROXY": "*", "no_proxy": "*"}


class Failure(Exception):
    """An error that the developer can fix. Only its message is printed: one sentence that says what to do."""


def check_tools() -> None:
    """Raises `Failure` if a tool is missing."""
    for tool in (SAM, UV, MINISTACK_PYTHON):
        if not tool.exists():
            raise Failure(f"{tool} is missing: remove .tools, then `make run` installs it again.")


def of_build() -> dict[str, str]:
    """Returns the environment of a build: the developer's, including proxies, without anything that leads to AWS."""
    prefixes = ("AWS_", "SAM_", "PYTHON", "VIRTUAL_ENV")
    return {name: value for name, value in _DEVELOPERS.items() if not name.startswith(prefixes)} | _NO_AWS_FILES


def of_emulator() -> dict[str, str]:
    """Returns the environment of the emulator, which reads dozens of variables: only what every program needs."""
    # SSL_CERT_FILE: the certificates that webhooks trust.
    needed = ("HOME", "LANG", "LC_ALL", "PATH", "SSL_CERT_FILE")
    return {name: _DEVELOPERS[name] for name in needed if name in _DEVELOPERS} | CREDENTIALS | _NO_AWS_FILES | _NO_PROXY


def of_aws_client(port: int) -> dict[str, str]:
    """Returns the environment of a program that uses the emulator as AWS."""
    return of_build() | CREDENTIALS | {"AWS_ENDPOINT_URL": emulator_url(port), "AWS_DEFAULT_REGION": REGION} | _NO_PROXY


def emulator_url(port: int) -> str:
    """Returns the endpoint of all AWS services in the emulator."""
    return f"http://{HOST}:{port}"


def aws_session() -> boto3.Session:
    """Returns a session of the emulator's root user, for clients with `emulator_url` as their endpoint."""
    return boto3.Session(CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"], region_name=REGION)


def aws_client(service: str, port: int) -> Any:  # noqa: ANN401 - boto3 creates the class at run time
    """Returns a client of the emulator's root user for *service*."""
    session: Any = aws_session()
    return session.client(service, endpoint_url=emulator_url(port))
