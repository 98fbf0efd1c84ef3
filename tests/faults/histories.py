"""Clients of one user who work at the same time, on a network with faults, and record all that they see."""

import json
import math
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, NamedTuple

from tests.faults.calls import http_event
from tests.faults.environments import FaultyEnvironment
from tests.faults.linear import Operation
from tests.faults.network import Network

# After these faults, botocore retries a write that was applied. DynamoDB applies it again, unless it has a condition
# or a token. A slow response may be too slow on a busy machine.
_APPLIED_AGAIN = {"response lost", "applied, no response", "slow response", "truncated response"}
_LIKELIHOOD = 0.25
# How often a client sends a request with an idempotency key.
_ATTEMPTS = 4
_WEIGHTS = {
    "open": 20,
    "mute": 10,
    "send": 20,
    "retrieve": 15,
    "list messages": 12,
    "walk": 6,
    "create": 4,
    "delete": 2,
    "pin": 8,
    "mark": 8,
    "delete message": 6,
}


class Walk(NamedTuple):
    """A walk through all pages of conversations."""

    began: float
    ended: float
    ids: list[str]


class Reply(NamedTuple):
    """A response, and when it came; status 0 if it is unknown whether the request was executed."""

    status: int = 0
    body: Any = None
    etag: str | None = None
    ended: float = math.inf


class History:
    """The operations of all clients of a new *user*. *seed* determines what clients try to do."""

    def __init__(self, network: Network, port: int, user: str, seed: int) -> None:
        self._network, self._port, self.user, self._seed = network, port, user, seed
        self._lock = threading.Lock()
        # By conversation id.
        self.operations: dict[str, list[Operation]] = defaultdict(list)
        # The times of the first 201, the first DELETE and the first 204, by conversation id.
        self.created: dict[str, float] = {}
        self.deletion_began: dict[str, float] = {}
        self.deleted: dict[str, float] = {}
        self.walks: list[Walk] = []
        # The ids in the responses to each idempotency key, and the keys that got no response.
        self.ids: dict[str, set[str]] = defaultdict(set)
        self.unknown: set[str] = set()
        # The ids of messages by conversation and text.
        self.messages: dict[str, dict[str, str]] = defaultdict(dict)
        self.etags: dict[str, str] = {}
        self.errors: list[str] = []
        self.calls = self.faults = 0

    def run(self, clients: int, steps: int) -> None:
        """Runs all clients at the same time. Finally, reads everything without faults."""
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(lambda number: self._run_client(number, steps), range(clients)))
        with closing(self._client("last", likelihood=0)) as client:
            for id in self.created:
                client.retrieve(id)
                client.list_messages(id)
            client.walk()

    def _run_client(self, number: int, steps: int) -> None:
        with closing(self._client(str(number), _LIKELIHOOD)) as client:
            client.create(f"{number}-first")
            for step in range(steps):
                client.act(f"{number}-{step}")

    def _client(self, name: str, likelihood: float) -> "Client":
        chance = random.Random(f"{self._seed} {name}")  # noqa: S311 - repeatable
        return Client(self, FaultyEnvironment(self._port, self._network, chance, likelihood), chance)

    def record(self, id: str, operation: Operation, *, may_be_applied_again: bool = False) -> None:
        """Records an operation on a conversation. botocore may have applied it up to twice before its end."""
        with self._lock:
            self.operations[id].append(operation)
            if may_be_applied_again:
                self.operations[id] += [operation._replace(status=0, shown=None, etag=None, match=None)] * 2
            if operation.kind == "delete":
                self.deletion_began[id] = min(operation.began, self.deletion_began.get(id, math.inf))
                if operation.status == 204:
                    self.deleted[id] = min(operation.ended, self.deleted.get(id, math.inf))
            if operation.etag:
                self.etags[id] = operation.etag


class Client:
    """A client with an execution environment of its own."""

    def __init__(self, history: History, environment: FaultyEnvironment, chance: random.Random) -> None:
        self._history, self._environment, self._chance = history, environment, chance
        self.close = environment.close

    def act(self, name: str) -> None:
        """Does something at random. *name* becomes the key or text of what it creates."""
        history, chance = self._history, self._chance
        ids = sorted(history.created)
        if not ids:
            self.create(name)
            return
        id, number = chance.choice(ids), chance.randrange(1_000_000)
        match = history.etags.get(id) if chance.random() < 0.5 else None
        actions: dict[str, Callable[[], object]] = {
            "open": lambda: self.update(id, match, last_opened_at=number),
            "mute": lambda: self.update(id, match, is_muted=number % 2 == 0),
            "send": lambda: self.send(id, name),
            "retrieve": lambda: self.retrieve(id),
            "list messages": lambda: self.list_messages(id),
            "walk": self.walk,
            "create": lambda: self.create(name),
            "delete": lambda: self._operate(id, "delete", (), "delete_conversation", id=id, if_match=match),
        }
        if texts := sorted(history.messages[id]):
            text = chance.choice(texts)
            message = history.messages[id][text]
            actions |= {
                "pin": lambda: self.update(id, match, pinned_message_id=message),
                "mark": lambda: self._operate(
                    id, "mark", (text, number), "update_message", True, id=message, body={"read_at": number}
                ),
                "delete message": lambda: self._operate(id, "delete message", (text,), "delete_message", id=message),
            }
        (action,) = chance.choices(list(actions), [_WEIGHTS[name] for name in actions])
        actions[action]()

    def create(self, key: str) -> None:
        """Creates a conversation, and retries until there is a response."""
        for _ in range(_ATTEMPTS):
            reply = self._call("create_conversation", body={"contact_id": key}, key=key)
            if reply.status == 201:
                self._history.ids[key].add(reply.body["id"])
                self._history.created.setdefault(reply.body["id"], reply.ended)
                return
        self._history.unknown.add(key)

    def send(self, id: str, text: str) -> None:
        """Sends a message, and retries until there is a response. Each attempt is an operation."""
        body = {"conversation_id": id, "message": text}
        for _ in range(_ATTEMPTS):
            reply = self._operate(id, "send", (text,), "create_message", body=body, key=text)
            if reply.status == 201:
                self._history.ids[text].add(reply.body["id"])
                self._history.messages[id][text] = reply.body["id"]
            if reply.status:
                return
        self._history.unknown.add(text)

    def update(self, id: str, match: str | None, **changes: Any) -> None:
        """Updates a conversation."""
        pinned = self._text(id, changes.get("pinned_message_id"))
        given = (changes.get("last_opened_at"), changes.get("is_muted"), pinned)
        is_unconditional = match is None and pinned is None
        self._operate(id, "update", given, "update_conversation", is_unconditional, id=id, body=changes, if_match=match)

    def retrieve(self, id: str) -> None:
        """Retrieves a conversation."""
        self._operate(id, "retrieve", (), "retrieve_conversation", id=id)

    def list_messages(self, id: str) -> None:
        """Lists the messages of a conversation."""
        self._operate(id, "list", (), "list_messages", query={"conversation_id": id, "limit": "100"})

    def walk(self) -> None:
        """Lists all conversations in small pages. Records nothing if a page has no response."""
        began, ids, cursor, has_more = time.monotonic(), list[str](), dict[str, str](), True
        while has_more:
            reply = self._call("list_conversations", query={"limit": "3"} | cursor)
            if reply.status != 200:
                return
            ids += [conversation["id"] for conversation in reply.body["data"]]
            has_more = reply.body["has_more"]
            cursor = {"starting_after": ids[-1]} if ids else {}
        self._history.walks.append(Walk(began, time.monotonic(), ids))

    def _operate(
        self,
        id: str,
        kind: str,
        given: tuple[Any, ...],
        endpoint: str,
        is_unconditional: bool = False,
        /,
        **request: Any,
    ) -> Reply:
        """Sends a request and records it as an operation. botocore may apply an unconditional one again."""
        began = time.monotonic()
        reply = self._call(endpoint, **request)
        shown: Any = None
        etag = None
        if reply.status == 200 and kind in ("retrieve", "update"):
            shown, etag = self._shown(id, reply.body), reply.etag
        elif reply.status == 200 and kind == "list":
            shown = self._listed(reply.body["data"])
        operation = Operation(kind, given, began, reply.ended, reply.status, shown, etag, request.get("if_match"))
        is_applied_again = is_unconditional and self._environment.fault in _APPLIED_AGAIN
        self._history.record(id, operation, may_be_applied_again=is_applied_again)
        return reply

    def _call(self, endpoint: str, **given: Any) -> Reply:
        result = self._environment.invoke(endpoint, http_event(endpoint, self._history.user, **given))
        self._history.calls += 1
        self._history.faults += self._environment.fault is not None
        if result.is_stopped or result.status == 503:
            return Reply()
        if result.status >= 500:
            self._history.errors.append(f"{endpoint}: {result}")
        body = json.loads(result.response["body"] or "null")
        return Reply(result.status, body, result.response["headers"].get("ETag"), time.monotonic())

    def _shown(self, id: str, body: Mapping[str, Any]) -> tuple[int | None, bool, str | None]:
        return body["last_opened_at"], body["is_muted"], self._text(id, body["pinned_message_id"])

    def _listed(self, messages: Sequence[Mapping[str, Any]]) -> frozenset[tuple[str, int | None]]:
        ids, texts = [message["id"] for message in messages], {message["message"] for message in messages}
        if ids != sorted(set(ids), reverse=True) or len(texts) < len(ids):
            self._history.errors.append(f"Not newest first, or a duplicate: {messages}")
        return frozenset((message["message"], message["read_at"]) for message in messages)

    def _text(self, id: str, message_id: str | None) -> str | None:
        texts = {known: text for text, known in list(self._history.messages[id].items())}
        return None if message_id is None else texts[message_id]
