"""What attacks share: names of risks, checks that nothing changed, and a server that must not be called."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Protocol

from tests.stack import Client, Stack

# The OWASP API Security Top 10 of 2023, as the report of `make faults` groups attacks.
OBJECT_AUTHORIZATION = "API1:2023 Broken object level authorization"
AUTHENTICATION = "API2:2023 Broken authentication"
PROPERTY_AUTHORIZATION = "API3:2023 Broken object property level authorization"
RESOURCE_CONSUMPTION = "API4:2023 Unrestricted resource consumption"
FUNCTION_AUTHORIZATION = "API5:2023 Broken function level authorization"
BUSINESS_FLOWS = "API6:2023 Unrestricted access to sensitive business flows"
REQUEST_FORGERY = "API7:2023 Server side request forgery"
MISCONFIGURATION = "API8:2023 Security misconfiguration"
INVENTORY = "API9:2023 Improper inventory management"
UNSAFE_CONSUMPTION = "API10:2023 Unsafe consumption of APIs"

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
ABSENT_ID = "xgQQXg3hrtjh7AvZ"
NO_PATH = (404, "There is no such path, or not with this method")


class RecordAttack(Protocol):
    """Records an attack and its outcome for the report."""

    def __call__(self, risk: str, attack: str, outcome: str, attempts: int | None = None) -> None:
        """Records *attempts* requests, or one. Call it last, when no assertion can fail any more."""


class Victim(NamedTuple):
    """A user with a conversation and a message, and an attacker with a conversation."""

    user: Client
    conversation: dict[str, Any]
    message: dict[str, Any]
    attacker: Client
    attackers_conversation: dict[str, Any]


@contextmanager
def unchanged(stack: Stack, *clients: Client) -> Iterator[None]:
    """Asserts that the rows of these users stay the same, and that the API still serves them."""
    before = [stack.user_rows(client) for client in clients]
    yield
    assert [stack.user_rows(client) for client in clients] == before
    for client in clients:
        client.list()


class _Trap(BaseHTTPRequestHandler):
    """Records the requested paths."""

    paths: list[str]

    def do_GET(self) -> None:
        """Responds with 204."""
        self.paths.append(self.path)
        self.send_response(204)
        self.end_headers()

    def do_POST(self) -> None:
        """Responds with 204."""
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Does not log."""


@contextmanager
def trap() -> Iterator[tuple[str, list[str]]]:
    """Serves a URL that must never be requested. Yields it with the list of requested paths."""
    paths: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Trap", (_Trap,), {"paths": paths}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", paths
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
