"""DynamoDB by moto, and credentials as a container gets them, over HTTP: for functions in processes of their own."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
from botocore import xform_name
from botocore.exceptions import ClientError


class Server:
    """The server, and who came to it."""

    def __init__(self, url: str) -> None:
        """Answers at *url*."""
        self.url = url
        # The access key that the next credentials have, and for how many seconds they are good.
        self.access_key, self.seconds = "AKIAFIRST", 3600
        self.connections: list[tuple[str, int]] = []
        self.access_keys: list[str] = []


@contextmanager
def serving() -> Iterator[Server]:
    """A server for as long as the block lasts. What it is asked for, it asks moto, which has to be at work."""
    dynamodb: Any = boto3.client("dynamodb")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            expiration = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + server.seconds))
            given = {"AccessKeyId": server.access_key, "SecretAccessKey": "secret", "Token": "token"}
            self._answer(200, given | {"Expiration": expiration})

        def do_POST(self) -> None:
            server.connections.append(self.client_address)
            server.access_keys.append(self.headers["Authorization"].partition("Credential=")[2].partition("/")[0])
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                response = getattr(dynamodb, xform_name(operation))(**request)
            except ClientError as error:
                error_response: dict[str, Any] = {**error.response}
                code = f"com.amazonaws.dynamodb.v20120810#{error_response['Error']['Code']}"
                self._answer(400, error_response | {"__type": code, "message": error_response["Error"]["Message"]})
            else:
                self._answer(200, response)

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            content = json.dumps({name: value for name, value in body.items() if name != "ResponseMetadata"}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with listening(Handler) as url:
        server = Server(url)
        yield server


class _Listener(ThreadingHTTPServer):
    # Where a connection finds no place in the queue, its client waits a second for another attempt.
    request_queue_size = 128


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Has *handler* answer at the URL, in a thread for each connection, for as long as the block lasts."""
    listener = _Listener(("127.0.0.1", 0), handler)
    # Else it waits at the end for connections that are kept open.
    listener.daemon_threads = True
    # How often it looks whether it is to end.
    thread = threading.Thread(target=listener.serve_forever, args=[0.02])
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.server_port}"
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()
