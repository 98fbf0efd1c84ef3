"""Local HTTP servers that stand in for AWS. DynamoDB is moto."""

import json
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import boto3
from botocore import xform_name
from botocore.exceptions import ClientError


class Response(NamedTuple):
    """An HTTP response of AWS."""

    status: int
    content: bytes


class Handler(BaseHTTPRequestHandler):
    """One connection of a client, which can also fail."""

    protocol_version = "HTTP/1.1"

    def read_json(self) -> Any:
        """Reads the body of the request."""
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def begin(self, response: Response, headers: Mapping[str, str] | None = None) -> None:
        """Sends the status line and the headers of *response*."""
        self.send_response(response.status)
        for name, value in ({"Content-Length": str(len(response.content))} | dict(headers or {})).items():
            self.send_header(name, value)
        self.end_headers()

    def respond(
        self, response: Response, headers: Mapping[str, str] | None = None, *, is_truncated: bool = False
    ) -> None:
        """Sends *response*, or half of it before the connection is closed."""
        self.begin(response, headers)
        self.wfile.write(response.content[: len(response.content) // 2] if is_truncated else response.content)
        self.close_connection = self.close_connection or is_truncated

    def reset(self) -> None:
        """Closes the connection with RST."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


class _Listener(ThreadingHTTPServer):
    # If the queue is full, a client waits 1 s before it tries again.
    request_queue_size = 128
    # Otherwise `server_close` waits for connections that are kept open.
    daemon_threads = True
    tls: ssl.SSLContext | None = None

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        if self.tls is not None:
            # The handshake is in the connection's thread, so a client that does not make one delays no other.
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Yields the URL of a server that runs *handler* in a thread for each connection, with *tls* if it is given."""
    listener = _Listener(("127.0.0.1", 0), handler)
    listener.tls = tls
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{listener.server_port}"
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()


class DynamoDB:
    """DynamoDB's HTTP API in front of moto, which must be active."""

    def __init__(self) -> None:
        self._client: Any = boto3.client("dynamodb")

    def execute(self, operation: str, request: Mapping[str, Any]) -> Response:
        """Returns the response to *request*."""
        try:
            return json_response(200, getattr(self._client, xform_name(operation))(**request))
        except ClientError as error:
            details = error.response["Error"]
            return error_response(400, details["Code"], **{**error.response, "message": details["Message"]})


def json_response(status: int, body: Mapping[str, Any]) -> Response:
    """Returns a response with *body* as JSON."""
    kept = {name: value for name, value in body.items() if name not in ("Error", "ResponseMetadata")}
    return Response(status, json.dumps(kept).encode())


def error_response(status: int, code: str, **more: object) -> Response:
    """Returns an error response of DynamoDB."""
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "table conversations of kevin", **more}
    return json_response(status, body)


class Server:
    """The URL and the recorded requests of a running server."""

    def __init__(self, url: str) -> None:
        self.url = url
        # The access key of the credentials that the server issues next, and their lifetime.
        self.access_key, self.seconds = "AKIAFIRST", 3600
        self.connections: list[tuple[str, int]] = []
        self.access_keys: list[str] = []


@contextmanager
def serving() -> Iterator[Server]:
    """Yields a server with DynamoDB and the credentials endpoint of a container."""
    dynamodb = DynamoDB()

    class _Handler(Handler):
        def do_GET(self) -> None:
            expiration = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + server.seconds))
            key = {"AccessKeyId": server.access_key, "SecretAccessKey": "secret", "Token": "token"}
            self.respond(json_response(200, key | {"Expiration": expiration}))

        def do_POST(self) -> None:
            server.connections.append(self.client_address)
            server.access_keys.append(self.headers["Authorization"].partition("Credential=")[2].partition("/")[0])
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            self.respond(dynamodb.execute(operation, self.read_json()))

    with listening(_Handler) as url:
        server = Server(url)
        yield server
