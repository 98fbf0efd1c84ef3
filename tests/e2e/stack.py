"""The stack that the end-to-end tests speak to: built, deployed and served by `python -m local run`."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from local import stack, users
from local.environment import aws_session, emulator_url
from tests.template import ROOT

_START_SECONDS = 150
_STOP_SECONDS = 60
_MOST_SECONDS = 60


class Client:
    """An HTTP client of one user, or of nobody."""

    def __init__(self, api_url: str, token: str | None) -> None:
        """Speaks to *api_url*; with a *token*, as the user it was made for."""
        self.api_url = api_url
        self.token = token or ""
        self._session = requests.Session()
        self._session.trust_env = False
        if token is not None:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def close(self) -> None:
        """Lets go of its connections."""
        self._session.close()

    def send(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """The answer to *method* on *path*, which is below the base URL or a whole URL."""
        url = path if path.startswith("http") else self.api_url + path
        return self._session.request(method, url, timeout=60, **arguments)

    def create(self, **attributes: str) -> dict[str, Any]:
        """A new conversation."""
        answer = self.send("POST", "/conversations", json=attributes)
        assert answer.status_code == 201, answer.text
        conversation: dict[str, Any] = answer.json()
        return conversation

    def send_message(self, conversation: dict[str, Any], message: str = "hello", **more: Any) -> dict[str, Any]:
        """A new message in *conversation*."""
        attributes = {"conversation_id": conversation["id"], "message": message, **more}
        answer = self.send("POST", "/messages", json=attributes)
        assert answer.status_code == 201, answer.text
        sent: dict[str, Any] = answer.json()
        return sent

    def messages(self, **query: object) -> dict[str, Any]:
        """A page of messages."""
        answer = self.send("GET", "/messages", params=query)
        assert answer.status_code == 200, answer.text
        page: dict[str, Any] = answer.json()
        return page

    def update(self, conversation: dict[str, Any], **changes: object) -> dict[str, Any]:
        """*conversation* with *changes* made to it."""
        answer = self.send("PUT", f"/conversations/{conversation['id']}", json=changes)
        assert answer.status_code == 200, answer.text
        updated: dict[str, Any] = answer.json()
        return updated

    def list(self, **query: object) -> dict[str, Any]:
        """A page."""
        answer = self.send("GET", "/conversations", params=query)
        assert answer.status_code == 200, answer.text
        page: dict[str, Any] = answer.json()
        return page


class Stack:
    """A stack that keeps its state in *home* and can be started and stopped."""

    def __init__(self, home: Path) -> None:
        """Knows where; `start` runs it."""
        self.home = home
        self.port = free_port()
        self.api_url = self.docs_url = ""
        self._clients: list[Client] = []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, project: Path = ROOT) -> None:
        """Runs it from *project*, and waits until it says that it is ready."""
        log = self.home / "run.log"
        ready = self.home / "stack.json"
        with log.open("w") as output:
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", "local", "--home", self.home, "run", "--port", str(self.port)],
                cwd=project,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not ready.exists():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        urls = json.loads(ready.read_text())
        self.api_url, self.docs_url = urls["api_url"], urls["docs_url"]

    def stop(self) -> int:
        """Stops it as Ctrl-C does, and returns its exit status."""
        # Else the emulator waits a while for what they may still want.
        for client in self._clients:
            client.close()
        assert self._process
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(_STOP_SECONDS)

    def aws(self, service: str) -> Any:
        """A client of the emulator's root user for *service*."""
        session: Any = aws_session()
        return session.client(service, endpoint_url=emulator_url(self.port))

    def outputs(self) -> dict[str, str]:
        """The outputs of the stack."""
        return stack.outputs(self.port)

    def function(self, logical_id: str) -> str:
        """The name of a deployed function."""
        found = self.aws("cloudformation").describe_stack_resource(StackName=stack.NAME, LogicalResourceId=logical_id)
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    def rows_of(self, conversation: dict[str, Any]) -> list[dict[str, Any]]:
        """The messages of *conversation* that the table holds, purged or not."""
        found = self.aws("dynamodb").scan(
            TableName=self.outputs()["MessagesTableName"],
            FilterExpression="conversation_id = :id",
            ExpressionAttributeValues={":id": {"S": conversation["id"]}},
            ConsistentRead=True,
        )
        listed: list[dict[str, Any]] = found["Items"]
        return listed

    def orders(self) -> list[dict[str, Any]]:
        """The orders to purge."""
        found = self.aws("dynamodb").query(
            TableName=self.outputs()["ConversationsTableName"],
            KeyConditionExpression="user_id = :purge",
            ExpressionAttributeValues={":purge": {"S": "purge"}},
            ConsistentRead=True,
        )
        listed: list[dict[str, Any]] = found["Items"]
        return listed

    def client(self, user: str, *scopes: str) -> Client:
        """A client of *user*, whose token has *scopes* or else all that there are."""
        client = Client(self.api_url, users.token(self.port, user, scopes or users.SCOPES))
        self._clients.append(client)
        return client


def awaited(condition: Callable[[], object]) -> bool:
    """Whether *condition* comes to hold."""
    deadline = time.monotonic() + _MOST_SECONDS
    while not (holds := bool(condition())) and time.monotonic() < deadline:
        time.sleep(0.2)
    return holds


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
