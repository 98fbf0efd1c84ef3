"""The stack that the end-to-end tests speak to: built, deployed and served by `python -m tools.local run`."""

import base64
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from http.client import parse_headers
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from tests.template import ROOT
from tools.local import stack, users
from tools.local.environment import aws_session, emulator_url

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

    @property
    def user_id(self) -> str:
        """Who it is."""
        claims = self.token.split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(claims + "=="))["sub"])

    def close(self) -> None:
        """Lets go of its connections."""
        self._session.close()

    def send(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """The answer to *method* on *path*, which is below the base URL or a whole URL."""
        url = path if path.startswith("http") else self.api_url + path
        return self._session.request(method, url, timeout=60, **arguments)

    def create(self, **attributes: str) -> dict[str, Any]:
        """A new conversation."""
        response = self.send("POST", "/conversations", json=attributes)
        assert response.status_code == 201, response.text
        conversation: dict[str, Any] = response.json()
        return conversation

    def send_message(self, conversation: dict[str, Any], message: str = "hello", **more: Any) -> dict[str, Any]:
        """A new message in *conversation*."""
        attributes = {"conversation_id": conversation["id"], "message": message, **more}
        response = self.send("POST", "/messages", json=attributes)
        assert response.status_code == 201, response.text
        sent: dict[str, Any] = response.json()
        return sent

    def messages(self, **query: object) -> dict[str, Any]:
        """A page of messages."""
        response = self.send("GET", "/messages", params=query)
        assert response.status_code == 200, response.text
        page: dict[str, Any] = response.json()
        return page

    def update(self, conversation: dict[str, Any], **changes: object) -> dict[str, Any]:
        """*conversation* with *changes* made to it."""
        response = self.send("PUT", f"/conversations/{conversation['id']}", json=changes)
        assert response.status_code == 200, response.text
        updated: dict[str, Any] = response.json()
        return updated

    def list(self, **query: object) -> dict[str, Any]:
        """A page."""
        response = self.send("GET", "/conversations", params=query)
        assert response.status_code == 200, response.text
        page: dict[str, Any] = response.json()
        return page


class Stack:
    """A stack that keeps its state in *home* and can be started and stopped."""

    def __init__(self, home: Path) -> None:
        """Knows where; `start` runs it."""
        self.home = home
        self.port = free_port()
        self.api_url = self.docs_url = ""
        self._clients: list[Client] = []
        self._tokens: dict[tuple[str, tuple[str, ...]], str] = {}
        self._of_aws: dict[str, Any] = {}
        self._outputs: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, project: Path = ROOT) -> None:
        """Runs it from *project*, and waits until it says that it is ready."""
        log = self.home / "run.log"
        ready = self.home / "stack.json"
        with log.open("w") as output:
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", "tools.local", "--home", self.home, "run", "--port", str(self.port)],
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
        for client in (*self._clients, *self._of_aws.values()):
            client.close()
        self._of_aws.clear()
        assert self._process
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(_STOP_SECONDS)

    def aws(self, service: str) -> Any:
        """A client of the emulator's root user for *service*."""
        if service not in self._of_aws:
            session: Any = aws_session()
            # Made once: botocore takes longer for it than for a request.
            self._of_aws[service] = session.client(service, endpoint_url=emulator_url(self.port))
        return self._of_aws[service]

    def outputs(self) -> dict[str, str]:
        """The outputs of the stack."""
        if not self._outputs:
            self._outputs = stack.outputs(self.port)
        return self._outputs

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

    def tombstones(self) -> list[dict[str, Any]]:
        """The orders to purge."""
        return self._query(self.outputs()["ConversationsTableName"], "user_id = :id", "purge", ConsistentRead=True)

    def owned(self, client: Client) -> list[dict[str, Any]]:
        """All rows of a user, but for messages that wait to be purged."""
        outputs = self.outputs()
        of_user = "user_id = :id"
        conversations, messages = outputs["ConversationsTableName"], outputs["MessagesTableName"]
        kept = self._query(conversations, of_user, client.user_id, ConsistentRead=True)
        ids = {row["id"]["S"] for row in kept}
        sent = self._query(messages, of_user, client.user_id, IndexName="by_user")
        kept += [row for row in sent if row["conversation_id"]["S"] in ids]
        return kept + self._query(conversations, of_user, f"idempotency#{client.user_id}", ConsistentRead=True)

    def logged(self, since: float) -> list[str]:
        """The lines that functions have written *since* then, without Lambda's own."""
        events = self.aws("logs").filter_log_events(
            logGroupName=self.outputs()["FunctionLogsName"], startTime=int(since * 1000)
        )["events"]
        lines = [event["message"] for event in events]
        return [line for line in lines if not re.match(r"(START|END|REPORT) RequestId: [0-9a-f-]{36}\b", line)]

    def _query(self, table_name: str, condition: str, id: str, **more: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.aws("dynamodb").query(
            TableName=table_name, KeyConditionExpression=condition, ExpressionAttributeValues={":id": {"S": id}}, **more
        )["Items"]
        return found

    def client(self, user: str, *scopes: str) -> Client:
        """A client of *user*, whose token has *scopes* or else all that there are."""
        whose = (user, scopes)
        if whose not in self._tokens:
            self._tokens[whose] = users.token(self.port, user, scopes or users.SCOPES)
        client = Client(self.api_url, self._tokens[whose])
        self._clients.append(client)
        return client


def error(response: requests.Response) -> tuple[int, str]:
    """The status and the message of an error, which has the contract's shape."""
    body = response.json()
    assert list(body) == ["type", "message", "documentation_url"]
    assert body["type"] == "invalid_request"
    assert body["documentation_url"] == "https://protocol.chat/docs/errors/invalid_request"
    assert response.headers["X-Request-Id"]
    return response.status_code, body["message"]


# By which one answer differs from the next.
_OF_ONE = {"date", "x-amz-request-id", "x-amzn-requestid", "x-request-id"}
# What nobody outside is to read.
_OF_INSIDE = re.compile(
    r"traceback|file \"|\.py\b|boto|pydantic|dynamodb|arn:|executionrole|table-|ministack", re.IGNORECASE
)


def rejected(response: requests.Response, *secrets: str) -> tuple[int, str]:
    """As `error`, of an answer that tells nothing of what is inside, nor any of these *secrets*."""
    told = f"{response.headers}{response.text}"
    assert not _OF_INSIDE.search(told), told
    assert not [secret for secret in secrets if secret in told], told
    return error(response)


def seen(response: requests.Response) -> tuple[int, dict[str, str], bytes]:
    """All that a client can tell one answer from another by."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return response.status_code, {name: headers[name] for name in headers.keys() - _OF_ONE}, response.content


def raw(client: Client, line: str, *headers: str, body: bytes = b"", token: str | None = None) -> requests.Response:
    """The one answer to a request of just these bytes, where other clients would put them right or refuse to send them.

    *line* is a method and a path, which like *headers* is Latin-1.
    """
    base = urlsplit(client.api_url)
    method, _, path = line.partition(" ")
    head = [f"{method} {base.path}{path} HTTP/1.1", f"Host: {base.netloc}", "Connection: close"]
    head += [f"Authorization: Bearer {client.token if token is None else token}", *headers]
    with socket.create_connection((str(base.hostname), base.port or 80), timeout=60) as connection:
        connection.sendall("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    # Were it taken for two requests, there would be two answers.
    assert received.count(b"HTTP/1.1 ") == 1, received
    status_line, _, rest = received.partition(b"\r\n")
    fields, _, content = rest.partition(b"\r\n\r\n")
    response = requests.Response()
    response.status_code, response._content = int(status_line.split()[1]), content
    response.headers.update(parse_headers(BytesIO(fields + b"\r\n\r\n")).items())
    return response


def wait_until(condition: Callable[[], object]) -> bool:
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
