"""Clients of one user at work at once, behind a network that fails now and then; all they see is written down."""

import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, NamedTuple

from tests.faults.functions import Environment, Result
from tests.faults.linear import Operation
from tests.faults.network import BYTE_BY_BYTE, FAULTS, Network, carry
from tests.handlers import JSON, request

# After these, botocore repeats a write that was done. DynamoDB does it again unless it has a condition or a token.
# A slow one may be too slow on a busy machine.
_REPEATED = {"done, answer lost", "done, no answer", "slow answer", "torn answer"}
# Those that are waited for are rare.
_WEIGHTS = {name: 1 if "no answer" in name or "slow" in name or "told to wait" in name else 10 for name in FAULTS}
_LIKELIHOOD = 0.25
# How often a client sends what was not answered again, with the same key.
_ATTEMPTS = 4


class Walk(NamedTuple):
    """A list of all conversations, page by page, from *began* to *ended*."""

    began: float
    ended: float
    ids: list[str]


class History:
    """What clients of a *user* asked for and saw."""

    def __init__(self, network: Network, port: int, user: str, seed: str) -> None:
        """Nothing yet. What clients ask for follows from *seed*, and from what they have seen of each other."""
        self._network, self._port, self.user, self._seed = network, port, user, seed
        self._one_at_a_time = threading.Lock()
        # By the id of the conversation.
        self.operations: dict[str, list[Operation]] = defaultdict(list)
        self.created: dict[str, tuple[float, float]] = {}
        # When somebody first asked for the deletion, and when somebody was first told that it is done.
        self.deletion_asked: dict[str, float] = {}
        self.deleted: dict[str, float] = {}
        self.walks: list[Walk] = []
        # By the marker that a client gave a conversation, the ids it was told; likewise of messages.
        self.ids_of: dict[str, set[str]] = defaultdict(set)
        self.unanswered: set[str] = set()
        self.texts: dict[str, dict[str, str]] = defaultdict(dict)
        self.etags: dict[str, str] = {}
        self.wrong: list[str] = []
        self.calls = self.faults = 0

    def run(self, clients: int, steps: int) -> None:
        """So many *clients* do so many *steps* each, at once; then everything is looked at, without faults."""
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(lambda number: self._client(number, steps), range(clients)))
        chance = random.Random(0)  # noqa: S311 - which decides nothing where there are no faults
        with closing(Client(self, self._network, self._port, chance, 0.0)) as client:
            for id in self.created:
                client.retrieve(id)
                client.list_messages(id)
            client.walk()

    def _client(self, number: int, steps: int) -> None:
        chance = random.Random(f"{self._seed} {number}")  # noqa: S311 - so that it comes again
        with closing(Client(self, self._network, self._port, chance, _LIKELIHOOD)) as client:
            client.create(f"{number}-first")
            for step in range(steps):
                client.do_something(f"{number}-{step}")

    def note(self, id: str, operation: Operation, *, is_repeated: bool = False) -> None:
        """Writes down an *operation* on a conversation; one that was *repeated* may have been done before its end."""
        with self._one_at_a_time:
            self.operations[id].append(operation)
            if is_repeated:
                unanswered = Operation(operation.kind, operation.given, operation.began, operation.ended)
                self.operations[id] += [unanswered] * 2
            if operation.kind == "delete":
                self.deletion_asked[id] = min(operation.began, self.deletion_asked.get(id, operation.began))
                if operation.status == 204:
                    self.deleted[id] = min(operation.ended, self.deleted.get(id, operation.ended))
            if operation.etag:
                self.etags[id] = operation.etag

    def known(self) -> list[str]:
        """The conversations that clients know of."""
        with self._one_at_a_time:
            return sorted(self.created)


class Client:
    """A client with environments of its own, of which one request in four meets a fault."""

    def __init__(self, history: History, network: Network, port: int, chance: random.Random, likelihood: float) -> None:
        """Has done nothing yet."""
        self._history, self._network, self._chance, self._likelihood = history, network, chance, likelihood
        self._environment = Environment(port)
        self.close = self._environment.close
        self._is_repeated = False

    def do_something(self, name: str) -> None:
        """One thing or another, called *name* where that needs a name."""
        id = self._chance.choice(self._history.known() or [""])
        if not id:
            return self.create(name)
        number = self._chance.randrange(1_000_000)
        match = self._history.etags.get(id) if self._chance.random() < 0.5 else None
        texts = sorted(self._history.texts[id])
        text = self._chance.choice(texts) if texts else ""
        things: dict[str, Callable[[], None]] = {
            "open": lambda: self.update(id, match, last_opened_at=number),
            "mute": lambda: self.update(id, match, is_muted=number % 2 == 0),
            "send": lambda: self.send(id, name),
            "retrieve": lambda: self.retrieve(id),
            "list": lambda: self.list_messages(id),
            "walk": self.walk,
            "create": lambda: self.create(name),
            "delete": lambda: self.delete(id, match),
        }
        weights = [20, 10, 20, 15, 12, 6, 4, 2]
        if text:
            things |= {
                "pin": lambda: self.update(id, match, pinned_message_id=self._history.texts[id][text]),
                "mark": lambda: self.mark(id, text, number),
                "delete message": lambda: self.delete_message(id, text),
            }
            weights += [8, 8, 6]
        (thing,) = self._chance.choices(list(things), weights)
        return things[thing]()

    def create(self, marker: str) -> None:
        """A conversation, asked for with the same key until there is an answer."""
        history = self._history
        for _ in range(_ATTEMPTS):
            began = time.monotonic()
            body, _, status, _ = self._call("create_conversation", body={"contact_id": marker}, key=marker)
            if status == 201:
                history.ids_of[marker].add(body["id"])
                history.created.setdefault(body["id"], (began, time.monotonic()))
                return
        history.unanswered.add(marker)

    def send(self, id: str, text: str) -> None:
        """A message, likewise; each attempt is an operation."""
        for _ in range(_ATTEMPTS):
            began = time.monotonic()
            given = {"conversation_id": id, "message": text}
            body, _, status, ended = self._call("create_message", body=given, key=text)
            self._history.note(id, Operation("send", (text,), began, ended, status))
            if status == 201:
                self._history.ids_of[text].add(body["id"])
                self._history.texts[id][text] = body["id"]
            if status:
                return
        self._history.unanswered.add(text)

    def update(self, id: str, match: str | None, **changes: Any) -> None:
        """A change of the conversation."""
        began = time.monotonic()
        body, etag, status, ended = self._call("update_conversation", id=id, body=changes, match=match)
        pinned = self._text(id, changes.get("pinned_message_id"))
        given = (changes.get("last_opened_at"), changes.get("is_muted"), pinned)
        shown = self._shown(id, body) if status == 200 else None
        operation = Operation("update", given, began, ended, status, shown, etag if status == 200 else None, match)
        self._history.note(id, operation, is_repeated=self._is_repeated and match is None and pinned is None)

    def retrieve(self, id: str) -> None:
        """A look at the conversation."""
        began = time.monotonic()
        body, etag, status, ended = self._call("retrieve_conversation", id=id)
        shown = self._shown(id, body) if status == 200 else None
        self._history.note(id, Operation("retrieve", (), began, ended, status, shown, etag if shown else None))

    def list_messages(self, id: str) -> None:
        """A look at its messages."""
        began = time.monotonic()
        body, _, status, ended = self._call("list_messages", query={"conversation_id": id, "limit": "100"})
        shown = None
        if status == 200:
            found = [message["id"] for message in body["data"]]
            texts = {message["message"] for message in body["data"]}
            if found != sorted(set(found), reverse=True) or len(texts) < len(found):
                self._history.wrong.append(f"Not newest first, or twice: {body}")
            shown = frozenset((message["message"], message["read_at"]) for message in body["data"])
        self._history.note(id, Operation("list", (), began, ended, status, shown))

    def mark(self, id: str, text: str, read_at: int) -> None:
        """That a message was read."""
        began = time.monotonic()
        message_id = self._history.texts[id][text]
        _, _, status, ended = self._call("update_message", id=message_id, body={"read_at": read_at})
        self._history.note(id, Operation("mark", (text, read_at), began, ended, status), is_repeated=self._is_repeated)

    def delete_message(self, id: str, text: str) -> None:
        """A message less."""
        began = time.monotonic()
        _, _, status, ended = self._call("delete_message", id=self._history.texts[id][text])
        self._history.note(id, Operation("delete message", (text,), began, ended, status))

    def delete(self, id: str, match: str | None) -> None:
        """A conversation less."""
        began = time.monotonic()
        _, _, status, ended = self._call("delete_conversation", id=id, match=match)
        self._history.note(id, Operation("delete", (), began, ended, status, match=match))

    def walk(self) -> None:
        """All conversations, in small pages; nothing is noted where a page is not answered."""
        began, ids = time.monotonic(), []
        cursor: dict[str, str] = {}
        has_more = True
        while has_more:
            body, _, status, _ = self._call("list_conversations", query={"limit": "3"} | cursor)
            if status != 200:
                return
            ids += [conversation["id"] for conversation in body["data"]]
            has_more = body["has_more"]
            cursor = {"starting_after": ids[-1]} if ids else {}
        self._history.walks.append(Walk(began, time.monotonic(), ids))

    def _call(
        self,
        endpoint: str,
        *,
        id: str | None = None,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        key: str | None = None,
        match: str | None = None,
    ) -> tuple[Any, str | None, int, float]:
        """Body, tag and status of the answer, and when it came; status 0 at no time where nothing can be told of it."""
        headers = {"Idempotency-Key": key, "If-Match": match}
        event = request(
            endpoint,
            user=self._history.user,
            id=id,
            query={name: [value] for name, value in query.items()} if query else None,
            body=None if body is None else json.dumps(body),
            content_type=JSON,
            headers={name: value for name, value in headers.items() if value is not None},
        )
        result = self._invoke(endpoint, event)
        self._history.calls += 1
        if result.is_stopped or result.status == 503:
            return None, None, 0, float("inf")
        if result.status >= 500:
            self._history.wrong.append(f"{endpoint}: {result}")
        told = json.loads(result.response["body"] or "null")
        return told, result.response["headers"].get("ETag"), result.status, time.monotonic()

    def _invoke(self, endpoint: str, event: Any) -> Result:
        fault = ""
        if self._chance.random() < self._likelihood:
            (fault,) = self._chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
        at, is_lasting = self._chance.randint(1, 3), self._chance.random() < 0.3
        if fault == BYTE_BY_BYTE:
            fault = ""
        self._network.set(self._environment.pid, FAULTS.get(fault, carry), at, is_lasting=is_lasting)
        self._is_repeated = fault in _REPEATED
        self._history.faults += bool(fault)
        result = self._environment.invoke(endpoint, event)
        if fault.startswith("killed"):
            # What is to kill it may not have come yet.
            self._environment.close()
        return result

    def _shown(self, id: str, body: Mapping[str, Any]) -> tuple[int | None, bool, str | None]:
        return body["last_opened_at"], body["is_muted"], self._text(id, body["pinned_message_id"])

    def _text(self, id: str, message_id: str | None) -> str | None:
        """The text of a message."""
        texts = {known: text for text, known in list(self._history.texts[id].items())}
        return None if message_id is None else texts[message_id]
