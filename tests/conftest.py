"""What the tests share: the environment of a function, and DynamoDB by moto with the table of the template."""

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# As Lambda sets it before it imports a function; no test reaches AWS even where moto is not at work.
os.environ.update(
    AWS_ACCESS_KEY_ID="testing",
    AWS_SECRET_ACCESS_KEY="testing",
    AWS_DEFAULT_REGION="eu-west-1",
    AWS_EC2_METADATA_DISABLED="true",
    AWS_CONFIG_FILE=os.devnull,
    AWS_SHARED_CREDENTIALS_FILE=os.devnull,
    ALLOWED_ORIGIN="*",
    DOCUMENTATION_URL="https://protocol.chat/docs/errors",
    POWERTOOLS_SERVICE_NAME="conversations",
    CONVERSATIONS_TABLE_NAME="conversations",
    MESSAGES_TABLE_NAME="messages",
    DEAD_LETTERS_URL="https://sqs.eu-west-1.amazonaws.com/123456789012/dead-letters",
)
for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "PUBLIC_URL"):
    os.environ.pop(name, None)

import boto3
import pytest
from moto import mock_aws
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests import tables as contents
from tests import template
from tests.handlers import FUNCTIONS
from tests.wire import Wire
from tools.local import stack

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Folders whose tests share a stack or a build, and by what name.
SHARING = {"built": "built", "chaos": "built", "e2e": "e2e"}

_wire = Wire()
for function in FUNCTIONS:
    # Each makes one client at import, for its repository.
    module = importlib.import_module(f"functions.{function}.app")
    for repository in vars(module).values():
        if hasattr(repository, "_client"):
            _wire.listen(repository._client)


class BySharing(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Where there are several processes, has one of them run all tests that share something."""

    def _split_scope(self, nodeid: str) -> str:
        return SHARING.get(nodeid.split("/")[1], nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """By ourselves, since groups of xdist 3.8 are unknown to pytest 9.2: it does not take an item's new id."""
    return BySharing(config, log)


@pytest.fixture
def wire() -> Iterator[Wire]:
    """The requests that handlers make to DynamoDB from now on."""
    _wire.reset()
    yield _wire
    _wire.reset()


@pytest.fixture(scope="session")
def _dynamodb() -> Iterator[None]:
    with mock_aws():
        template.create_tables(boto3.client("dynamodb"))
        yield


@pytest.fixture
def tables(_dynamodb: "DynamoDBClient") -> Iterator[None]:
    """The tables of `template.yaml`, empty."""
    yield
    contents.clear()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the layer and the functions, built for the Python that the emulator runs them with."""
    home = tmp_path_factory.mktemp("built")
    stack.build(home)
    return home / "build"


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repetitions that come at once."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    monkeypatch.setattr("coherent.storage.dynamodb._WAIT_SECONDS", 0)
    monkeypatch.setattr("coherent.messages.purge._BACKOFF_SECONDS", 0)
    monkeypatch.setattr("coherent.messages.repository._INDEX_WAITS", (0, 0, 0))
