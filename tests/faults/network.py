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
# Both are below the functions' read timeout of 2 s.
_SLOW_SECONDS, _BYTE_SECONDS = 1.5, 0.5
_MAX_SECONDS = 60


class Exchange(Handler):
    """One connection of a function, and its current request."""

    network: "Network"

    def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
        """Passes the request to AWS and the response back, unless there is a fault."""
        self.operation: str = self.headers["X-Amz-Target"].rpartition(".")[2]
        # The id of the function's process.
        self.environment = int(self.headers["X-Environment"])
        self.request_body: dict[str, Any] = self.read_json()
        # The function may have been killed or have given up.
        with suppress(ConnectionError):
            self.network.next_fault(self.environment, self.operation)(self)

    def apply(self) -> Response:
        """Has AWS execute the request, and returns its response."""
        return self.network.apply(self.operation, self.request_body)

    def begin(self, response: Response, headers: Mapping[str, str] | None = None) -> None:
        """Adds DynamoDB's checksum to the headers."""
        super().begin(response, {"x-amz-crc32": str(zlib.crc32(response.content)), **(headers or {})})

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
    """The requests of one environment. *fault* is injected at request *at*; if *is_lasting*, at all later ones too.

    *second* is injected at the request after it.
    """

    fault: Fault = no_fault
    at: int = 1
    is_lasting: bool = True
    second: Fault = no_fault
    requests: list[str] = field(default_factory=list)


class Network:
    """All connections, with AWS behind them, which executes one request after the other."""

    def __init__(self) -> None:
        self.url = ""
        # Also for direct access to the tables: moto is not thread-safe.
        self.lock = threading.RLock()
        self.routes: dict[int, Route] = {}
        self.dead_letters: list[str] = []
        self._dynamodb = DynamoDB()
        self._transactions: dict[str, Response] = {}

    def next_fault(self, environment: int, operation: str) -> Fault:
        """Counts a request of an environment and returns its fault."""
        with self.lock:
            route = self.routes.setdefault(environment, Route())
            route.requests.append(operation)
            number = len(route.requests)
        if number == route.at or (route.is_lasting and number > route.at):
            return route.fault
        return route.second if number == route.at + 1 else no_fault

    def apply(self, operation: str, request: Mapping[str, Any]) -> Response:
        """Executes a request. Like DynamoDB, applies transactions with the same token only once."""
        with self.lock:
            if operation == "SendMessage":
                self.dead_letters.append(request["MessageBody"])
                digest = hashlib.md5(request["MessageBody"].encode(), usedforsecurity=False).hexdigest()
                return json_response(200, {"MessageId": str(len(self.dead_letters)), "MD5OfMessageBody": digest})
            token = request.get("ClientRequestToken", "")
            response = self._transactions.get(token) or self._dynamodb.execute(operation, request)
            if token and response.status == 200:
                self._transactions[token] = response
            return response


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
    if exchange.operation not in _WRITES:
        no_fault(exchange)
    elif writes := exchange.request_body.get("TransactItems"):
        reasons = [{"Code": "TransactionConflict", "Message": "because"}, *({"Code": "None"} for _ in writes[1:])]
        exchange.respond(error_response(400, "TransactionCanceledException", CancellationReasons=reasons))
    else:
        exchange.respond(error_response(400, "TransactionConflictException"))


def _leave_unprocessed(exchange: Exchange) -> None:
    requested = exchange.request_body.get("RequestItems", {})
    if exchange.operation == "BatchGetItem":
        exchange.respond(json_response(200, {"Responses": dict.fromkeys(requested, ()), "UnprocessedKeys": requested}))
    elif exchange.operation == "BatchWriteItem":
        exchange.respond(json_response(200, {"UnprocessedItems": requested}))
    else:
        no_fault(exchange)


def _respond_slowly(exchange: Exchange) -> None:
    response = exchange.apply()
    if not exchange.has_given_up(_SLOW_SECONDS):
        exchange.respond(response)


def _respond_byte_by_byte(exchange: Exchange) -> None:
    response = exchange.apply()
    exchange.begin(response)
    for byte in response.content:
        exchange.wfile.write(bytes([byte]))
        if exchange.has_given_up(_BYTE_SECONDS):
            return


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
    "response byte by byte": _respond_byte_by_byte,
    "conflict": _conflict,
    "batch left unprocessed": _leave_unprocessed,
    "killed before the request": Exchange.kill,
    "killed after the request": _applied(Exchange.kill),
    "killed at a random moment": _kill_at_random,
}
# Faults after which the function waits for seconds.
SLOW_FAULTS = {"throttled for 60 s", "no response", "applied, no response", "slow response"}


def faults_of(operation: str) -> list[str]:
    """Returns the faults that a request for *operation* can meet."""
    impossible = {"throttled", "throttled for 60 s"} if operation == "SendMessage" else set()
    impossible |= set() if operation in _WRITES else {"conflict"}
    impossible |= set() if operation.startswith("Batch") else {"batch left unprocessed"}
    return [name for name in FAULTS if name not in impossible]
