"""Clients of one user who work at the same time, on a network with faults, and record all that they see."""

import json
import math
import random
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, NamedTuple

from tests.faults.calls import http_event
from tests.faults.faulty import FaultyEnvironment
from tests.faults.fixtures import without_times
from tests.faults.linear import Operation
from tests.faults.network import Network
from tests.handlers import event

_LIKELIHOOD = 0.25
# How often a client sends a request with an idempotency key.
_ATTEMPTS = 4
# Sends the events: no client creates a conversation with this contact.
SENDER = "harry"
_WEIGHTS = {
    "open": 20,
    "mute": 10,
    "send": 12,
    "receive": 12,
    "flag": 4,
    "retrieve entry": 15,
    "retrieve": 15,
    "list messages": 12,
    "walk": 6,
    "create": 4,
    "delete": 2,
}
_MESSAGE_WEIGHTS = {"pin": 8, "mark": 8, "edit": 6, "read": 12, "delete message": 6}


class Walk(NamedTuple):
    """A walk through all pages of conversations."""

    began: float
    ended: float
    ids: list[str]


class History:
    """The operations of all clients of a new *user*. *seed* determines what the clients try to do."""

    def __init__(self, network: Network, port: int, user: str, seed: int) -> None:
        self._network, self._port, self.user, self._seed = network, port, user, seed
        self._lock = threading.Lock()
        # By the id of the conversation, also the following ones.
        self.operations: dict[str, list[Operation]] = defaultdict(list)
        self.messages: dict[str, list[str]] = defaultdict(list)
        self.etags: dict[str, str] = {}
        # The conversation as it was created, and when the client knew of it.
        self.created: dict[str, tuple[dict[str, Any], float]] = {}
        self.walks: list[Walk] = []
        # The ids in the responses to each idempotency key, and the keys without a response.
        self.ids: dict[str, set[str]] = defaultdict(set)
        self.unanswered: set[str] = set()
        self.errors: list[str] = []
        self.calls = self.faults = 0

    def run(self, clients: int, steps: int) -> None:
        """Runs all clients at the same time. Finally, reads everything without faults."""
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(lambda number: self._run_client(number, steps), range(clients)))
        with closing(self._client("last", likelihood=0)) as client:
            for id in self.created:
                client.operate(id, "retrieve_inbox_entry", id=id)
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

    def record(self, id: str, operation: Operation) -> None:
        """Records an operation on a conversation."""
        with self._lock:
            self.operations[id].append(operation)
            if operation.etag and operation.function.endswith(("conversation", "inbox_entry")):
                self.etags[id] = operation.etag


class Client:
    """A client with an execution environment of its own."""

    def __init__(self, history: History, environment: FaultyEnvironment, chance: random.Random) -> None:
        self._history, self._environment, self._chance = history, environment, chance
        self.close = environment.close

    def act(self, name: str) -> None:
        """Does something at random. *name* is the key or text of what it creates."""
        history, chance = self._history, self._chance
        ids = sorted(history.created)
        if not ids:
            self.create(name)
            return
        id, number = chance.choice(ids), chance.randrange(1_000_000)
        is_conditional = id in history.etags and chance.random() < 0.5
        condition: dict[str, Any] = {"if_match": history.etags[id]} if is_conditional else {}
        messages = sorted(history.messages[id])
        weights = _WEIGHTS | (_MESSAGE_WEIGHTS if messages else {})
        (action,) = chance.choices(list(weights), list(weights.values()))
        if action in _MESSAGE_WEIGHTS:
            self._act_on_message(action, id, chance.choice(messages), name, condition)
            return
        match action:
            case "open" | "mute":
                changes: dict[str, dict[str, Any]] = {
                    "open": {"last_opened_at": number},
                    "mute": {"is_muted": number % 2 == 0},
                }
                self._update(id, changes[action], condition)
            case "flag":
                self._mark(id, {"is_unread": True}, condition)
            case "send":
                self._send(id, name)
            case "receive":
                self._receive(id, name)
            case "retrieve":
                self.operate(id, "retrieve_conversation", id=id)
            case "retrieve entry":
                self._retrieve_entry(id)
            case "list messages":
                self.list_messages(id)
            case "walk":
                self.walk()
            case "create":
                self.create(name)
            case "delete":
                self.operate(id, "delete_conversation", id=id, **condition)

    def _act_on_message(self, action: str, id: str, message: str, name: str, condition: dict[str, Any]) -> None:
        match action:
            case "pin":
                self._update(id, {"pinned_message_id": message}, condition)
            case "mark":
                self.operate(id, "update_message", id=message, body={"read_at": self._chance.randrange(1_000_000)})
            case "edit":
                self.operate(id, "update_message", id=message, body={"message": f"{name} instead"})
            case "read":
                self._mark(id, {"read_up_to": self._chance.choice([None, message, message])}, condition)
            case "delete message":
                self.operate(id, "delete_message", id=message)

    def create(self, key: str) -> None:
        """Creates a conversation, and retries until there is a response."""
        for _ in range(_ATTEMPTS):
            created = self._call("create_conversation", body={"contact_id": key}, key=key)
            if created.status == 201:
                self._history.ids[key].add(created.body["id"])
                self._history.created.setdefault(created.body["id"], (created.body, created.ended))
                return
        self._history.unanswered.add(key)

    def list_messages(self, id: str) -> None:
        """Lists the messages of a conversation."""
        self.operate(id, "list_messages", query={"conversation_id": id, "limit": "100"})

    def walk(self) -> None:
        """Lists all conversations in small pages. Records nothing if a page has no response."""
        began, ids, query, has_more = time.monotonic(), list[str](), {"limit": "3"}, True
        while has_more:
            page = self._call("list_conversations", query=query)
            if page.status != 200:
                return
            ids += [conversation["id"] for conversation in page.body["data"]]
            has_more = page.body["has_more"]
            query |= {"starting_after": ids[-1]} if ids else {}
        self._history.walks.append(Walk(began, time.monotonic(), ids))

    def _send(self, id: str, text: str) -> None:
        """Sends a message, and retries until there is a response. Each attempt is an operation."""
        for _ in range(_ATTEMPTS):
            sent = self.operate(id, "create_message", body={"conversation_id": id, "message": text}, key=text)
            if sent.status == 201:
                self._history.ids[text].add(sent.body["id"])
                self._history.messages[id].append(sent.body["id"])
            if sent.status:
                return
        self._history.unanswered.add(text)

    def _receive(self, id: str, text: str) -> None:
        """Delivers an event as Lambda does, again if an attempt fails. Each attempt is an operation."""
        detail = {"user_id": self._history.user, "conversation_id": id, "contact_id": SENDER, "message": text}
        given = {"detail": detail, "event_id": text}
        for _ in range(_ATTEMPTS):
            began = time.monotonic()
            result = self._environment.invoke(
                "receive_message", event("receive_message") | {"id": text, "detail": detail}
            )
            ended = math.inf if result.has_failed else time.monotonic()
            self._history.record(id, Operation("receive_message", given, began, ended, 0 if result.has_failed else 200))
            if not result.has_failed:
                return

    def _retrieve_entry(self, id: str) -> None:
        entry = self.operate(id, "retrieve_inbox_entry", id=id)
        if (
            entry.status == 200
            and (last := entry.body["last_message"])
            and last["id"] not in self._history.messages[id]
        ):
            self._history.messages[id].append(last["id"])

    def _mark(self, id: str, body: dict[str, Any], condition: dict[str, Any]) -> None:
        self.operate(id, "update_inbox_entry", id=id, body=body, **condition)

    def _update(self, id: str, body: dict[str, Any], condition: dict[str, Any]) -> None:
        self.operate(id, "update_conversation", id=id, body=body, **condition)

    def operate(self, conversation: str, function: str, **given: Any) -> Operation:
        """Sends a request and records it."""
        operation = self._call(function, **given)
        self._history.record(conversation, operation)
        return operation

    def _call(self, function: str, **given: Any) -> Operation:
        began, given = time.monotonic(), dict(given)
        result = self._environment.invoke(function, http_event(function, self._history.user, **given))
        self._history.calls += 1
        self._history.faults += self._environment.fault is not None
        if result.is_stopped or result.status == 503:
            return Operation(function, given, began)
        if result.status >= 500:
            self._history.errors.append(f"{function}: {result}")
        body = without_times(json.loads(result.response["body"] or "null"))
        etag = result.response["headers"].get("ETag")
        return Operation(function, given, began, time.monotonic(), result.status, body, etag)
