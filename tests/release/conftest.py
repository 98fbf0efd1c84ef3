"""The release hook with fakes of Lambda and CodeDeploy, and its queue in moto."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient

from tests.fake_lambda import HOOK, FakeLambda, serving, versions
from tests.handlers import Context, event, handler
from tests.template import FUNCTIONS, TEMPLATE, logical_id

SECONDS = FUNCTIONS[logical_id(HOOK)]["Timeout"]


class Killed(BaseException):
    """Lambda ended the invocation."""


class Hooks:
    """The lifecycle hooks that wait in the queue of `template.yaml`, and the invocations that report for them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Begins with release 1."""
        self._sqs: Any = boto3.client("sqs")
        self._monkeypatch = monkeypatch
        # CloudFormation's names of the properties are those of SQS's attributes.
        properties = TEMPLATE["Resources"]["ReleaseHooks"]["Properties"].items()
        attributes = {name: json.dumps(value) for name, value in properties if name != "SqsManagedSseEnabled"}
        self.url: str = self._sqs.create_queue(QueueName="hooks.fifo", Attributes=attributes)["QueueUrl"]
        # moto can give one message to two threads.
        self._one_at_a_time = threading.Lock()
        self._executions = 0
        # The AWS calls of the last delivery.
        self.calls = 0
        self._calls = threading.local()
        make_call = BaseClient._make_api_call  # type: ignore[attr-defined]
        monkeypatch.setattr(BaseClient, "_make_api_call", self._count(make_call))

    def publish(self, number: int) -> None:
        """Makes the hook know version *number* of every function."""
        for name, value in versions(number).items():
            self._monkeypatch.setenv(name, value)

    def invoke(self, execution: str) -> None:
        """Invokes the hook as CodeDeploy does. *execution* is the id of the lifecycle hook's execution."""
        handler(HOOK)(event(HOOK) | {"LifecycleEventHookExecutionId": execution}, Context(SECONDS))

    def receive(self) -> dict[str, Any] | None:
        """Returns the next message that may be delivered."""
        with self._one_at_a_time:
            messages = self._sqs.receive_message(QueueUrl=self.url, AttributeNames=["All"]).get("Messages", [])
        return dict(messages[0]) if messages else None

    def deliver(
        self, message: dict[str, Any] | None = None, seconds: float = SECONDS, kill_before: float | None = None
    ) -> Context:
        """Invokes the hook with *message*, or the next one, as Lambda does. Returns the context of the invocation.

        Kills the hook before its AWS call number *kill_before*, at the latest at its end. SQS then delivers the message
        again, without the visibility timeout.
        """
        message = message or self.receive()
        assert message, "no message may be delivered"
        receipt = {"QueueUrl": self.url, "ReceiptHandle": message["ReceiptHandle"]}
        context = Context(seconds)
        try:
            with self._counted_calls(kill_before):
                handler(HOOK)({"Records": [{"messageId": message["MessageId"], "body": message["Body"]}]}, context)
        except BaseException:
            self._sqs.change_message_visibility(**receipt, VisibilityTimeout=0)
            raise
        self._sqs.delete_message(**receipt)
        return context

    def run(self, seconds: float = SECONDS) -> Context:
        """Invokes the hook for one function, and delivers its message."""
        self._executions += 1
        self.invoke(str(self._executions))
        return self.deliver(seconds=seconds)

    @contextmanager
    def _counted_calls(self, kill_before: float | None) -> Iterator[None]:
        """Counts the AWS calls of this thread, so not those of the functions that the hook invokes."""
        self._calls.count, self._calls.kill_before = 0, kill_before
        try:
            yield
            if kill_before is not None:
                raise Killed
        finally:
            self.calls = self._calls.count
            del self._calls.count

    def _count(self, make_call: Any) -> Any:
        def call(client: Any, operation: str, parameters: Any) -> Any:
            if hasattr(self._calls, "count"):
                self._calls.count += 1
                if self._calls.count == self._calls.kill_before:
                    raise Killed
            return make_call(client, operation, parameters)

        return call


@pytest.fixture
def fake(tables: None, no_backoff: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLambda]:
    """Fakes of Lambda and CodeDeploy. The hook's environment variables contain their URLs."""
    del tables, no_backoff
    monkeypatch.setattr("synthetic_user._INDEX_SECONDS", 0)
    monkeypatch.setattr("synthetic_user._PAUSE_SECONDS", 0)
    with serving() as (fake, url):
        for name, value in fake.environment(url).items():
            monkeypatch.setenv(name, value)
        yield fake


@pytest.fixture
def hooks(fake: FakeLambda, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hooks]:
    """The queue of the hook, empty."""
    del fake
    # moto's, not the fake's.
    monkeypatch.delenv("AWS_ENDPOINT_URL_SQS")
    hooks = Hooks(monkeypatch)
    monkeypatch.setenv("RELEASE_HOOKS_URL", hooks.url)
    yield hooks
    boto3.client("sqs").delete_queue(QueueUrl=hooks.url)
