"""Fixtures of all tests: the environment of a function, moto's tables, a build, and a deployed stack with two users."""

import importlib
import io
import os
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# Functions and clients read these at import. Without real credentials no test can reach AWS.
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
    CHANGES_TABLE_NAME="changes",
    EVENT_BUS_NAME="",
    DEAD_LETTERS_URL="https://sqs.eu-west-1.amazonaws.com/123456789012/dead-letters",
    WEBHOOK_TARGETS="public",
)
for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "PUBLIC_URL"):
    os.environ.pop(name, None)

import boto3
import pytest
import trustme
from coherent.storage.dynamodb import Tables
from moto import mock_aws

from tests import receiver, streams, template
from tests import tables as contents
from tests.handlers import FUNCTIONS
from tests.stack import Client, Stack
from tests.webhooks import Webhooks
from tests.wire import Wire
from tools.local import stack as local_stack

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_wire = Wire()
for function in FUNCTIONS:
    # Each function creates its client at import, for its repository, for its tables, or for both.
    elements = vars(importlib.import_module(f"functions.{function}.app")).values()
    clients = {element.client for element in elements if isinstance(element, Tables)}
    for client in clients | {element._client for element in elements if hasattr(element, "_client")}:
        _wire.listen(client)


@pytest.fixture
def wire() -> Iterator[Wire]:
    """Records the DynamoDB requests of the handlers."""
    _wire.reset()
    yield _wire
    _wire.reset()


@pytest.fixture(scope="session")
def _dynamodb() -> Iterator[None]:
    with mock_aws():
        template.create_tables(boto3.client("dynamodb"))
        contents.clear()
        yield


@pytest.fixture
def tables(_dynamodb: "DynamoDBClient") -> Iterator[None]:
    """The tables of `template.yaml` in moto, empty, with an inbox that is prepared."""
    yield
    contents.clear()


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Stops the clock. Calling it moves the clock forward by seconds."""
    now = time.time()

    def move(seconds: int) -> None:
        nonlocal now
        now += seconds
        monkeypatch.setattr("time.time", lambda: now)
        monkeypatch.setattr("time.time_ns", lambda: int(now * 10**9))

    move(0)
    return move


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the built layer and functions, for the emulator's Python version."""
    home = tmp_path_factory.mktemp("built")
    local_stack.build(home)
    return home / "build"


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without a delay."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    monkeypatch.setattr("coherent.storage.dynamodb._WAIT_SECONDS", 0)
    monkeypatch.setattr("coherent.messages.purge._BACKOFF_SECONDS", 0)
    monkeypatch.setattr("coherent.messages.repository._INDEX_WAITS", (0, 0, 0))


@pytest.fixture
def delivery(tables: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Delivers between users, as a stack with `Delivery=internal` and no limits."""
    del tables
    for function in ("create_message", "update_message", "delete_message"):
        monkeypatch.setattr(f"functions.{function}.app.messages._delivers", True)


@pytest.fixture
def queue(_dynamodb: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of the dead-letter queue."""
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName="dead-letters")["QueueUrl"]
    monkeypatch.setenv("DEAD_LETTERS_URL", url)
    yield url
    sqs.delete_queue(QueueUrl=url)


@pytest.fixture(scope="session")
def _webhook_mapping(_dynamodb: object) -> str:
    """The id of a mapping in moto."""
    role = boto3.client("iam").create_role(RoleName="deliver", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    functions, code = boto3.client("lambda"), io.BytesIO()
    zipfile.ZipFile(code, "w").close()
    functions.create_function(FunctionName="deliver", Role=role, Code={"ZipFile": code.getvalue()})
    boto3.client("sqs").create_queue(QueueName="mapped")
    arn = "arn:aws:sqs:eu-west-1:123456789012:mapped"
    return functions.create_event_source_mapping(FunctionName="deliver", EventSourceArn=arn)["UUID"]


@pytest.fixture
def operator(_webhook_mapping: str, tables: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the webhook calls need: the tables, the webhook queue, and its mapping, which is disabled."""
    del tables
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName="webhooks")["QueueUrl"]
    boto3.client("lambda").update_event_source_mapping(UUID=_webhook_mapping, Enabled=False)
    monkeypatch.setenv("WEBHOOK_MAPPING_ID", _webhook_mapping)
    monkeypatch.setenv("WEBHOOK_QUEUE_URL", url)
    yield
    sqs.delete_queue(QueueUrl=url)


@pytest.fixture
def webhooks(operator: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhooks]:
    """A stack without webhooks, whose queue is empty. They may have private addresses."""
    del operator
    monkeypatch.setenv("WEBHOOK_TARGETS", "any")
    webhooks = Webhooks(os.environ["WEBHOOK_QUEUE_URL"])
    with webhooks.recording():
        yield webhooks


@pytest.fixture
def stream_records(tables: object) -> Iterator[None]:
    """The streams of conversations and messages (`tests.streams`)."""
    del tables
    streams.start()
    yield
    streams.stop()


@pytest.fixture
def isolated_transactions(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes transactions of several threads wait for each other: a failed one restores moto's tables as they were."""
    del tables
    backend, lock = contents.backend(), threading.Lock()
    transact = backend.transact_write_items

    def transact_alone(items: list[dict[str, object]]) -> None:
        with lock:
            transact(items)

    monkeypatch.setattr(backend, "transact_write_items", transact_alone)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """The authority that signs the certificates of webhook receivers."""
    return trustme.CA()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[Stack]:
    """The template deployed to the emulator: one stack for all tests of a pytest process."""
    home = tmp_path_factory.mktemp("stack")
    stack = Stack(home, receiver.trust(authority, home))
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def kevin(stack: Stack) -> Iterator[Client]:
    """A user of the deployed stack without conversations."""
    client = stack.client("kevin")
    yield client
    client.delete_conversations()


@pytest.fixture
def harry(stack: Stack) -> Iterator[Client]:
    """A second user without conversations."""
    client = stack.client("harry")
    yield client
    client.delete_conversations()
