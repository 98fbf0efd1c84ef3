"""The deployed stack that tests call: HTTP clients, its AWS resources, and checks of responses."""

import json
import os
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
from coherent.storage.tombstones import PARTITIONS, sort_key_at

from tools.local import stack, users
from tools.local.environment import HOST, ROOT, Failure, aws_client

_START_SECONDS, _STOP_SECONDS, _WAIT_SECONDS = 300, 60, 60

# Method and path of every call that needs a token, and the scope it needs.
CALLS = [
    ("GET", "/conversations", "conversations/read"),
    ("POST", "/conversations", "conversations/write"),
    ("GET", "/conversations/xgQQXg3hrtjh7AvZ", "conversations/read"),
    ("PUT", "/conversations/xgQQXg3hrtjh7AvZ", "conversations/write"),
    ("DELETE", "/conversations/xgQQXg3hrtjh7AvZ", "conversations/write"),
    ("GET", "/messages", "messages/read"),
    ("POST", "/messages", "messages/write"),
    ("GET", "/messages/xgQQXg3hrtjh7AvZ", "messages/read"),
    ("PUT", "/messages/xgQQXg3hrtjh7AvZ", "messages/write"),
    ("DELETE", "/messages/xgQQXg3hrtjh7AvZ", "messages/write"),
    ("GET", "/inbox", "conversations/read"),
    ("GET", "/inbox/xgQQXg3hrtjh7AvZ", "conversations/read"),
    ("PUT", "/inbox/xgQQXg3hrtjh7AvZ", "conversations/write"),
    ("GET", "/unread", "conversations/read"),
    ("GET", "/changes", "conversations/read"),
    ("GET", "/webhooks", "webhooks/write"),
    ("POST", "/webhooks", "webhooks/write"),
    ("GET", "/webhooks/xgQQXg3hrtjh7AvZ", "webhooks/write"),
    ("PUT", "/webhooks/xgQQXg3hrtjh7AvZ", "webhooks/write"),
    ("DELETE", "/webhooks/xgQQXg3hrtjh7AvZ", "webhooks/write"),
    ("POST", "/webhooks/xgQQXg3hrtjh7AvZ/redeliveries", "webhooks/write"),
]


class Client:
    """An HTTP client of one user, or without a user."""

    def __init__(self, api_url: str, token: str | None) -> None:
        """Calls *api_url* with *token*, if there is one."""
        self.api_url = api_url
        self.token = token or ""
        self._session = requests.Session()
        self._session.trust_env = False
        if token is not None:
            self._session.headers["Authorization"] = f"Bearer {token}"

    @property
    def user_id(self) -> str:
        """The `sub` of the token."""
        return str(users.claims(self.token)["sub"])

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    def send(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Sends one request; *path* is relative to the base URL, or a full URL."""
        url = path if path.startswith("http") else self.api_url + path
        return self._session.request(method, url, timeout=60, **arguments)

    def create(self, **attributes: str) -> dict[str, Any]:
        """Creates a conversation."""
        return self._call(201, "POST", "/conversations", json=attributes)

    def update(self, conversation: dict[str, Any], **changes: object) -> dict[str, Any]:
        """Updates *conversation* and returns its new state."""
        return self._call(200, "PUT", f"/conversations/{conversation['id']}", json=changes)

    def list(self, **query: object) -> dict[str, Any]:
        """Returns a page of conversations."""
        return self._call(200, "GET", "/conversations", params=query)

    def delete_conversations(self) -> None:
        """Deletes the first hundred conversations of the user."""
        for conversation in self.list(limit=100)["data"]:
            response = self.send("DELETE", f"/conversations/{conversation['id']}")
            assert response.status_code == 204, response.text

    def send_message(self, conversation: dict[str, Any], message: str = "hello", **more: Any) -> dict[str, Any]:
        """Creates a message in *conversation*."""
        attributes = {"conversation_id": conversation["id"], "message": message, **more}
        return self._call(201, "POST", "/messages", json=attributes)

    def messages(self, **query: object) -> dict[str, Any]:
        """Returns a page of messages."""
        return self._call(200, "GET", "/messages", params=query)

    def inbox(self, **query: object) -> dict[str, Any]:
        """Returns a page of the inbox."""
        return self._call(200, "GET", "/inbox", params=query)

    def mark(self, conversation: dict[str, Any], **changes: object) -> dict[str, Any]:
        """Updates the inbox entry of *conversation* and returns it."""
        return self._call(200, "PUT", f"/inbox/{conversation['id']}", json=changes)

    def unread(self, **query: object) -> dict[str, Any]:
        """Returns the badge."""
        return self._call(200, "GET", "/unread", params=query)

    def _call(self, expected: int, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        response = self.send(method, path, **arguments)
        assert response.status_code == expected, response.text
        content: dict[str, Any] = response.json()
        return content


class Stack:
    """A stack of the real template in the emulator, with its state in *home*. It can be started repeatedly."""

    def __init__(self, home: Path, certificates: Path | None = None) -> None:
        """Chooses a port; `start` builds and deploys. Webhooks trust the authorities in *certificates*."""
        self.home = home
        self._variables = dict(os.environ) | ({"SSL_CERT_FILE": str(certificates)} if certificates else {})
        self.api_url = self.docs_url = ""
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[Client] = []
        self._tokens: dict[tuple[str, tuple[str, ...]], str] = {}
        self._aws_clients: dict[str, Any] = {}
        self._outputs: dict[str, str] = {}

    def start(self, project: Path = ROOT) -> None:
        """Builds and deploys the code in *project*. Returns when the stack is ready, or raises `Failure`."""
        log, ready = self.home / "run.log", self.home / "stack.json"
        with log.open("w") as output:
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", "tools.local", "--home", self.home, "run", "--port", str(self.port)],
                cwd=project,
                env=self._variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C must reach this program only: it then stops the stack in order.
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failure(f"The stack did not start:\n{log.read_text()}")
            time.sleep(0.1)
        urls = json.loads(ready.read_text())
        self.api_url, self.docs_url = urls["api_url"], urls["docs_url"]

    def stop(self) -> int | None:
        """Stops the stack as Ctrl-C does. Returns the exit status, or None if it was never started."""
        # The emulator waits for open connections when it stops.
        for client in (*self._clients, *self._aws_clients.values()):
            client.close()
        self._aws_clients.clear()
        # The next start may replace the API.
        self._outputs.clear()
        if self._process is None:
            return None
        self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def aws(self, service: str) -> Any:
        """Returns a client for *service* with the credentials of the emulator's root user."""
        # Cached: creating a client takes botocore longer than a request.
        if service not in self._aws_clients:
            self._aws_clients[service] = aws_client(service, self.port)
        return self._aws_clients[service]

    def outputs(self) -> dict[str, str]:
        """Returns the outputs of the CloudFormation stack."""
        if not self._outputs:
            self._outputs = stack.outputs(self.port)
        return self._outputs

    def function_name(self, logical_id: str) -> str:
        """Returns the name of a deployed function."""
        found = self.aws("cloudformation").describe_stack_resource(StackName=stack.NAME, LogicalResourceId=logical_id)
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    def client(self, user: str, *scopes: str) -> Client:
        """Returns a client of *user* with a token for *scopes*, or for all scopes."""
        if (user, scopes) not in self._tokens:
            self._tokens[user, scopes] = users.token(self.port, user, scopes or users.SCOPES)
        client = Client(self.api_url, self._tokens[user, scopes])
        self._clients.append(client)
        return client

    def operator(self) -> Client:
        """Returns a client of the operator, with a token of the service client for webhooks."""
        if (users.OPERATOR, ()) not in self._tokens:
            self._tokens[users.OPERATOR, ()] = users.operator_token(self.port)
        client = Client(self.api_url, self._tokens[users.OPERATOR, ()])
        self._clients.append(client)
        return client

    def foreign_token(self, pool_id: str) -> str:
        """Returns a token with all scopes from another user pool, after giving that pool the scopes and an app."""
        cognito = self.aws("cognito-idp")
        for server in ("conversations", "messages"):
            scopes = [{"ScopeName": name, "ScopeDescription": name} for name in ("read", "write")]
            cognito.create_resource_server(UserPoolId=pool_id, Identifier=server, Name=server, Scopes=scopes)
        app = cognito.create_user_pool_client(
            UserPoolId=pool_id,
            ClientName="app",
            AllowedOAuthFlowsUserPoolClient=True,
            AllowedOAuthFlows=["code"],
            AllowedOAuthScopes=list(users.SCOPES),
            CallbackURLs=["http://localhost:3000/callback"],
        )["UserPoolClient"]
        return users.sign_in(self.port, pool_id, app["ClientId"], "kate")

    def message_rows(self, conversation: dict[str, Any]) -> list[dict[str, Any]]:
        """Returns the rows of the messages in *conversation*, including those waiting for the purge."""
        found = self.aws("dynamodb").scan(
            TableName=self.outputs()["MessagesTableName"],
            # Without delivery orders, which have no user.
            FilterExpression="conversation_id = :id AND attribute_exists(user_id)",
            ExpressionAttributeValues={":id": {"S": conversation["id"]}},
            ConsistentRead=True,
        )
        rows: list[dict[str, Any]] = found["Items"]
        return rows

    def orders(self) -> list[dict[str, Any]]:
        """Returns the delivery orders that wait."""
        found: list[dict[str, Any]] = self.aws("dynamodb").scan(
            TableName=self.outputs()["MessagesTableName"],
            FilterExpression="begins_with(user_conversation, :orders)",
            ExpressionAttributeValues={":orders": {"S": "deliver#"}},
            ConsistentRead=True,
        )["Items"]
        return found

    def tombstones(self) -> list[dict[str, Any]]:
        """Returns the tombstones of deleted conversations."""
        table_name = self.outputs()["ConversationsTableName"]
        return [row for partition in PARTITIONS for row in self._query(table_name, partition, ConsistentRead=True)]

    def make_settled(self, tombstone: dict[str, Any]) -> None:
        """Makes *tombstone* so old that the next sweep removes it."""
        dynamodb, table_name = self.aws("dynamodb"), self.outputs()["ConversationsTableName"]
        dynamodb.delete_item(TableName=table_name, Key={name: tombstone[name] for name in ("user_id", "id")})
        _, user_conversation = tombstone["id"]["S"].split("#", 1)
        sort_key = f"{sort_key_at(int(time.time()) - 601)}{user_conversation}"
        dynamodb.put_item(TableName=table_name, Item=tombstone | {"id": {"S": sort_key}})

    def user_rows(self, client: Client) -> list[dict[str, Any]]:
        """Returns all rows of a user, except messages waiting for the purge."""
        conversations_table, messages_table = (self.outputs()[f"{n}TableName"] for n in ("Conversations", "Messages"))
        rows = self._query(conversations_table, client.user_id, ConsistentRead=True)
        conversation_ids = {row["id"]["S"] for row in rows}
        messages = self._query(messages_table, client.user_id, IndexName="by_user")
        rows += [row for row in messages if row["conversation_id"]["S"] in conversation_ids]
        return rows + self._query(conversations_table, f"idempotency#{client.user_id}", ConsistentRead=True)

    def publish(self, *details: dict[str, Any], detail_type: str = "message.received") -> list[str]:
        """Publishes an event for each of *details* on the bus of the stack, and returns their ids."""
        entry = {"Source": "tests", "DetailType": detail_type, "EventBusName": self.outputs()["EventBusName"]}
        entries = [entry | {"Detail": json.dumps(detail)} for detail in details]
        response = self.aws("events").put_events(Entries=entries)
        assert response["FailedEntryCount"] == 0
        return [entry["EventId"] for entry in response["Entries"]]

    def take_dead_letters(self, count: int) -> list[dict[str, Any]]:
        """Waits for *count* dead letters and removes them from their queue."""
        queue, url = self.aws("sqs"), self.outputs()["DeadLettersUrl"]
        dead_letters: list[dict[str, Any]] = []

        def receive() -> bool:
            received = queue.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            for dead_letter in received.get("Messages", []):
                dead_letters.append(json.loads(dead_letter["Body"]))
                queue.delete_message(QueueUrl=url, ReceiptHandle=dead_letter["ReceiptHandle"])
            return len(dead_letters) >= count

        assert wait_until(receive), dead_letters
        return dead_letters

    def log_lines(self, since: float) -> list[str]:
        """Returns the lines that functions logged after *since* (Unix seconds), without Lambda's own lines."""
        events = self.aws("logs").filter_log_events(
            logGroupName=self.outputs()["FunctionLogsName"], startTime=int(since * 1000)
        )["events"]
        lines = [event["message"] for event in events]
        return [line for line in lines if not re.match(r"(START|END|REPORT) RequestId: [0-9a-f-]{36}\b", line)]

    def _query(self, table_name: str, user_id: str, **more: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.aws("dynamodb").query(
            TableName=table_name,
            KeyConditionExpression="user_id = :id",
            ExpressionAttributeValues={":id": {"S": user_id}},
            **more,
        )["Items"]
        return rows


def error(response: requests.Response) -> tuple[int, str]:
    """Returns the status and the message of an error response; checks that it has the contract's shape."""
    body = response.json()
    assert list(body) == ["type", "message", "documentation_url"]
    assert body["type"] == "invalid_request"
    assert body["documentation_url"] == "https://protocol.chat/docs/errors/invalid_request"
    assert response.headers["X-Request-Id"]
    return response.status_code, body["message"]


_INTERNALS = re.compile(
    r"traceback|file \"|\.py\b|boto|pydantic|dynamodb|arn:|executionrole|table-|ministack", re.IGNORECASE
)


def leak_free_error(response: requests.Response, *secrets: str) -> tuple[int, str]:
    """Returns what `error` does; checks that the response shows no internals and none of the *secrets*."""
    content = f"{response.headers}{response.text}"
    assert not _INTERNALS.search(content), content
    assert not [secret for secret in secrets if secret in content], content
    return error(response)


# These differ between two responses to the same request.
_VARYING_HEADERS = {"date", "x-amz-request-id", "x-amzn-requestid", "x-request-id"}


def observable(response: requests.Response) -> tuple[int, dict[str, str], bytes]:
    """Returns what a client can compare of two responses: status, headers and body."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return response.status_code, {name: headers[name] for name in headers.keys() - _VARYING_HEADERS}, response.content


def send_raw(
    client: Client, line: str, *headers: str, body: bytes = b"", token: str | None = None
) -> requests.Response:
    """Sends exactly these bytes, which HTTP libraries would correct or reject, and returns the only response.

    *line* is a method and a path. *line* and *headers* are sent as Latin-1.
    """
    base = urlsplit(client.api_url)
    method, _, path = line.partition(" ")
    head = [f"{method} {base.path}{path} HTTP/1.1", f"Host: {base.netloc}", "Connection: close"]
    head += [f"Authorization: Bearer {client.token if token is None else token}", *headers]
    with socket.create_connection((str(base.hostname), base.port or 80), timeout=60) as connection:
        connection.sendall("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.count(b"HTTP/1.1 ") == 1, f"the server saw more than one request: {received!r}"
    status_line, _, rest = received.partition(b"\r\n")
    fields, _, content = rest.partition(b"\r\n\r\n")
    response = requests.Response()
    response.status_code, response._content = int(status_line.split()[1]), content
    response.headers.update(parse_headers(BytesIO(fields + b"\r\n\r\n")).items())
    return response


def free_port() -> int:
    """Returns a port that no process listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], object]) -> bool:
    """Polls *condition* for up to a minute. Returns whether it became true."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while not (is_true := bool(condition())) and time.monotonic() < deadline:
        time.sleep(0.2)
    return is_true
