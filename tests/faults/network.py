"""The network between the functions and AWS, where each request can meet a fault.

A new kind of fault is a new entry of `FAULTS`. AWS is moto and, for dead letters, a list.
"""

import hashlib
import os
import random
import select
import signal
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tests.server import DynamoDB, Handler, Response, error_response, json_response, listening

_WRITES = {"DeleteItem", "PutItem", "TransactWriteItems", "UpdateItem"}
_BATCHES = {"BatchGetItem", "BatchWriteItem"}
# Both are below the functions' read timeout of 2 s.
_SLOW_SECONDS, _BYTE_SECONDS = 1.5, 0.5
_MAX_SECONDS = 60
BYTE_BY_BYTE = "response byte by byte"
KILLED_AT_RANDOM = "killed at a random moment"


class Exchange(Handler):
    """One connection of a function, and its current request."""

    network: "Network"
    operation: str
    # The id of the function's process.
    environment: int
    request_body: dict[str, Any]

    def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
        """Passes the request to AWS and the response back, unless there is a fault."""
        self.operation = self.headers["X-Amz-Target"].rpartition(".")[2]
        self.environment, self.request_body = int(self.headers["X-Environment"]), self.read_json()
        fault = self.network.route(self.environment).next_fault(self.operation)
        # The function may have been killed or have given up.
        with suppress(ConnectionError):
            fault(self)

    def apply(self) -> Response:
        """Has AWS execute the request, and returns its response."""
        return self.network.apply(self.operation, self.request_body)

    def begin(self, response: Response, headers: Mapping[str, str] | None = None) -> None:
        """Adds DynamoDB's checksum to the headers."""
        super().begin(response, {"x-amz-crc32": str(zlib.crc32(response.content)), **(headers or {})})

    def respond_byte_by_byte(self, response: Response) -> None:
        """Sends one byte after the other, until the function gives up."""
        self.begin(response)
        for byte in response.content:
            self.wfile.write(bytes([byte]))
            if self.has_given_up(_BYTE_SECONDS):
                break
        self.close_connection = True

    def has_given_up(self, seconds: float = _MAX_SECONDS) -> bool:
        """Returns whether the function closes the connection within *seconds*."""
        self.close_connection = bool(select.select([self.connection], [], [], seconds)[0])
        return self.close_connection

    def kill(self) -> None:
        """Kills the function's environment."""
        with suppress(ProcessLookupError):
            os.kill(self.environment, signal.SIGKILL)
        self.close_connection = True


Fault = Callable[[Exchange], object]


def no_fault(exchange: Exchange) -> None:
    """Passes the request to AWS and the response back."""
    exchange.respond(exchange.apply())


@dataclass
class Route:
    """The requests of one environment, and their fault: at request number *at*, and at later ones if *is_lasting*."""

    fault: Fault = no_fault
    at: int = 1
    is_lasting: bool = True
    requests: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next_fault(self, operation: str) -> Fault:
        """Counts a request and returns its fault."""
        with self._lock:
            self.requests.append(operation)
            number = len(self.requests)
        return self.fault if number == self.at or (self.is_lasting and number > self.at) else no_fault


class Network:
    """All connections, with AWS behind them, which executes one request after the other."""

    def __init__(self) -> None:
        self.url = ""
        # Also for every direct access to the tables: moto is not thread-safe.
        self.lock = threading.RLock()
        self.dead_letters: list[str] = []
        self._dynamodb = DynamoDB()
        self._routes: dict[int, Route] = {}
        self._applied: dict[str, Response] = {}

    def route(self, environment: int) -> Route:
        """Returns the route of an environment."""
        return self._routes.setdefault(environment, Route())

    def set(self, environment: int, fault: Fault = no_fault, at: int = 1, *, is_lasting: bool = True) -> Route:
        """Replaces the route of an environment."""
        self._routes[environment] = Route(fault, at, is_lasting)
        return self._routes[environment]

    def apply(self, operation: str, request: dict[str, Any]) -> Response:
        """Executes a request. Like DynamoDB, applies transactions with the same token only once."""
        token = request.get("ClientRequestToken")
        with self.lock:
            if token in self._applied:
                return self._applied[token]
            if operation == "SendMessage":
                return self._send_message(request["MessageBody"])
            done = self._dynamodb.execute(operation, request)
            if token is not None and done.status == 200:
                self._applied[token] = done
            return done

    def _send_message(self, body: str) -> Response:
        self.dead_letters.append(body)
        digest = hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
        return json_response(200, {"MessageId": str(len(self.dead_letters)), "MD5OfMessageBody": digest})


@contextmanager
def connected() -> Iterator[Network]:
    """Yields a network. moto must be active."""
    network = Network()
    with listening(type("_Exchange", (Exchange,), {"network": network})) as network.url:
        yield network


def _applied(fault: Fault) -> Fault:
    """Returns a fault that happens after AWS has executed the request."""

    def apply_first(exchange: Exchange) -> None:
        exchange.apply()
        fault(exchange)

    return apply_first


def _conflict(exchange: Exchange) -> None:
    writes = exchange.request_body.get("TransactItems")
    if exchange.operation not in _WRITES:
        no_fault(exchange)
    elif writes is None:
        exchange.respond(error_response(400, "TransactionConflictException"))
    else:
        reasons = [{"Code": "TransactionConflict", "Message": "because"}, *({"Code": "None"} for _ in writes[1:])]
        exchange.respond(error_response(400, "TransactionCanceledException", CancellationReasons=reasons))


def _leave_unprocessed(exchange: Exchange) -> None:
    requested = exchange.request_body.get("RequestItems", {})
    if exchange.operation == "BatchGetItem":
        exchange.respond(
            json_response(200, {"Responses": {table: [] for table in requested}, "UnprocessedKeys": requested})
        )
    elif exchange.operation == "BatchWriteItem":
        exchange.respond(json_response(200, {"UnprocessedItems": requested}))
    else:
        no_fault(exchange)


def _respond_slowly(exchange: Exchange) -> None:
    applied = exchange.apply()
    if not exchange.has_given_up(_SLOW_SECONDS):
        exchange.respond(applied)


def _kill_at_random(exchange: Exchange) -> None:
    # An invocation takes a few milliseconds.
    threading.Timer(random.uniform(0, 0.03), exchange.kill).start()  # noqa: S311 - not security-sensitive
    no_fault(exchange)


FAULTS: dict[str, Fault] = {
    "throttled": lambda exchange: exchange.respond(error_response(400, "ProvisionedThroughputExceededException")),
    "throttled for 60 s": lambda exchange: exchange.respond(
        error_response(400, "ThrottlingException"), {"x-amz-retry-after": "60000"}
    ),
    "500": lambda exchange: exchange.respond(error_response(500, "InternalServerError")),
    "503 without JSON": lambda exchange: exchange.respond(Response(503, b"<html>Service Unavailable</html>")),
    "connection reset": Exchange.reset,
    "no response": Exchange.has_given_up,
    "truncated response": lambda exchange: exchange.respond(exchange.apply(), is_truncated=True),
    "response lost": _applied(Exchange.reset),
    "applied, no response": _applied(Exchange.has_given_up),
    "slow response": _respond_slowly,
    BYTE_BY_BYTE: lambda exchange: exchange.respond_byte_by_byte(exchange.apply()),
    "conflict": _conflict,
    "batch left unprocessed": _leave_unprocessed,
    "killed before the request": Exchange.kill,
    "killed after the request": _applied(Exchange.kill),
    KILLED_AT_RANDOM: _kill_at_random,
}
# Faults that take seconds, because the function waits.
SLOW_FAULTS = {"throttled for 60 s", "no response", "applied, no response", "slow response"}


def faults_of(operation: str) -> list[str]:
    """Returns the faults that a request for *operation* can meet."""
    impossible = {"throttled", "throttled for 60 s"} if operation == "SendMessage" else set()
    impossible |= set() if operation in _WRITES else {"conflict"}
    impossible |= set() if operation in _BATCHES else {"batch left unprocessed"}
    return [name for name in FAULTS if name not in impossible]
