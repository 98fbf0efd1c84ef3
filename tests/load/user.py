"""A user who sends random requests, one at a time, and compares each response with the model."""

import json
import random
import time
import uuid
from typing import Any, NamedTuple

from tests.filters import COMBINATIONS, INBOX_COMBINATIONS
from tests.model import Model, Response, check, etag
from tests.stack import Client, Stack
from tools.local import users

_METHODS = {"list": "GET", "retrieve": "GET", "count": "GET", "create": "POST", "update": "PUT", "delete": "DELETE"}
_PATHS = {"inbox": "inbox", "inbox_entry": "inbox", "unread": "unread"}
# No mute runs out during a load.
_MUTED_UNTIL = 4_000_000_000
_CONTACTS = ("harry", "marv", "kate", "buzz")
# Events sent at once to one conversation, and how long they may take.
_EVENTS, _EVENT_SECONDS, _POLL_SECONDS = 3, 60, 0.2
# How many requests in a hundred name a deleted resource, repeat an idempotency key or have a condition, and how many
# of the latter two are to be rejected.
_DELETED, _REPLAYED, _CONDITIONAL, _REJECTED = 6, 15, 40, 10
# The actions, and how often each is chosen.
_ACTIONS = {
    "list_conversations": 19,
    "list_messages": 14,
    "list_inbox": 14,
    "update_inbox_entry": 10,
    "retrieve_inbox_entry": 5,
    "count_unread": 3,
    "create_message": 19,
    "update_conversation": 12,
    "retrieve_conversation": 9,
    "create_conversation": 8,
    "retrieve_message": 6,
    "update_message": 6,
    "delete_conversation": 4,
    "delete_message": 3,
    "receive_messages": 2,
}


class Request(NamedTuple):
    """A request that was sent: when, to which function, and its response. Status 0 is no response."""

    at: float
    function: str
    status: int
    ms: float
    is_replay: bool


class User:
    """A user of the deployed stack. Raises AssertionError at the first response that is not the model's."""

    def __init__(self, stack: Stack, seed: int) -> None:
        """Chooses requests by *seed*, which is also in the user's name."""
        self.model = Model(stack.api_url)
        self.requests: list[Request] = []
        self.events = 0
        self._stack, self._name = stack, f"load-{seed}"
        self._random = random.Random(seed)  # noqa: S311 - seeded, to reproduce failures
        self.client = Client(stack.api_url, None)
        self._sign_in_at = 0.0
        self._creations: list[tuple[str, dict[str, Any], str]] = []
        # Each action once, and then at random.
        self._first_actions = ["create_conversation", *_ACTIONS]

    def act(self) -> None:
        """Sends one request, or the events of one conversation."""
        if self._first_actions:
            action = self._first_actions.pop(0)
        else:
            (action,) = self._random.choices(list(_ACTIONS), list(_ACTIONS.values()))
        verb, noun = action.removesuffix("s").split("_", 1)
        if not self.model.conversations:
            verb, noun = "create", "conversation"
        elif noun == "message" and not self.model.messages:
            verb = "create"
        getattr(self, f"_{verb}")(noun)

    def verify(self) -> None:
        """Walks all lists to their ends, and looks for what was deleted. Raises AssertionError."""
        for query in INBOX_COMBINATIONS:
            self._walk("list_inbox", query, "position")
        for query in COMBINATIONS:
            self._walk("list_conversations", query)
        for query in [{}, *({"conversation_id": id} for id in self.model.conversations)]:
            self._walk("list_messages", query)
        for id in self.model.deleted_conversations:
            self._check("retrieve_conversation", id=id)
            self._check("list_messages", query={"conversation_id": id})

    def _list(self, noun: str) -> None:
        existing, deleted = self._ids(noun)
        if noun == "inbox":
            existing, deleted = [self.model.entry(id)["position"] for id in existing], []
        cursor = self._random.choice((None, "starting_after", "ending_before"))
        query = {"limit": str(self._random.randint(1, 30))}
        query |= {cursor: self._random.choice([*existing, *deleted])} if cursor else {}
        if noun == "conversation" and self._chance(35):
            query |= self._random.choice(COMBINATIONS)
        elif noun == "inbox" and self._chance(35):
            query |= self._random.choice(INBOX_COMBINATIONS)
        elif noun == "message" and self._chance(65):
            query["conversation_id"] = self._id("conversation")
        self._check("list_inbox" if noun == "inbox" else f"list_{noun}s", query=query)

    def _count(self, _noun: str) -> None:
        self._check("count_unread", query=self._random.choice(({}, {"muted": "true"}, {"group_id": "family"})))

    def _create(self, noun: str) -> None:
        """Creates a resource, or repeats an earlier creation with the same or other attributes."""
        key = str(uuid.uuid4())
        group = self._random.choice((None, "family", "friends"))
        body: dict[str, Any] = {"contact_id": self._random.choice(_CONTACTS), "group_id": group}
        if noun == "message":
            attachments = ["shovel.jpg"] * self._random.randrange(3)
            body = {"conversation_id": self._id("conversation"), "message": key, "attachments": attachments}
        if self._creations and self._chance(_REPLAYED):
            noun, body, key = self._random.choice(self._creations)
            if self._chance(_REJECTED):
                body = body | {"message" if noun == "message" else "contact_id": "another"}
        else:
            self._creations = [*self._creations[-19:], (noun, body, key)]
        self._check(f"create_{noun}", body=body, key=key)

    def _retrieve(self, noun: str) -> None:
        id = self._id(noun)
        self._check(f"retrieve_{noun}", id=id, if_none_match=self._condition(id))

    def _update(self, noun: str) -> None:
        id, now = self._id(noun), int(time.time())
        up_to = self._random.choice([None, *self.model.marks_of(id).message_ids])
        reaction = {"reaction": "heart", "contact_id": self._random.choice((None, *_CONTACTS))}
        pin = self._random.choice([None, *(message["id"] for message in self.model.messages_of(id))])
        changes: dict[str, list[dict[str, Any]]] = {
            "conversation": [
                {"is_pinned": self._chance(50)},
                {"is_muted": self._chance(50), "last_opened_at": now},
                {"archived_at": self._random.choice((None, now))},
                {"pinned_message_id": pin},
            ],
            "inbox_entry": [
                {"read_up_to": up_to},
                {"is_unread": self._chance(50)},
                {"muted_until": self._random.choice((None, _MUTED_UNTIL))},
            ],
            "message": [
                {"read_at": now},
                {"reactions": [reaction] * self._random.randrange(3)},
                {"message": "I made my family disappear.", "attachments": ["tarantula.jpg"]},
            ],
        }
        self._check(f"update_{noun}", id=id, body=self._random.choice(changes[noun]), if_match=self._condition(id))

    def _delete(self, noun: str) -> None:
        id = self._id(noun)
        self._check(f"delete_{noun}", id=id, if_match=self._condition(id))

    def _receive(self, _noun: str) -> None:
        """Has events write to one conversation at the same time, and waits until all of them are stored."""
        id = self._random.choice(list(self.model.conversations))
        sender = {"conversation_id": id, "contact_id": "marv"}
        details = [sender | {"message": f"Keep the change, {uuid.uuid4()}."} for _ in range(_EVENTS)]
        event_ids = self._stack.publish(*({"user_id": self.client.user_id, **detail} for detail in details))
        events = {detail["message"]: (detail, event_id) for detail, event_id in zip(details, event_ids, strict=True)}
        self.events += _EVENTS
        deadline = time.monotonic() + _EVENT_SECONDS
        query = {"conversation_id": id, "limit": "10"}
        received: list[dict[str, Any]] = []
        while len(received) < _EVENTS:
            assert time.monotonic() < deadline, f"{_EVENTS - len(received)} of the events {event_ids} did not arrive"
            time.sleep(_POLL_SECONDS)
            listed = self._send("list_messages", query=query).body["data"]
            received = [message for message in listed if message["id"] not in self.model.versions]
        for message in reversed(received):
            detail, event_id = events.pop(message["message"])
            assert self.model.receive_message(detail, message["id"], message["created_at"], event_id)
        self._check("list_messages", query=query)
        self._check("retrieve_inbox_entry", id=id)

    def _ids(self, noun: str) -> tuple[list[str], list[str]]:
        """Returns the ids of what exists, and of what was deleted."""
        nouns = "messages" if noun == "message" else "conversations"
        return list(getattr(self.model, nouns)), getattr(self.model, f"deleted_{nouns}")

    def _id(self, noun: str) -> str:
        existing, deleted = self._ids(noun)
        return self._random.choice(deleted if deleted and self._chance(_DELETED) else existing)

    def _condition(self, id: str) -> str | None:
        """Returns the resource's ETag, sometimes an old one, or None."""
        version = self.model.versions[id] - self._chance(_REJECTED)
        return etag(version) if self._chance(_CONDITIONAL) else None

    def _chance(self, percent: int) -> bool:
        return self._random.randrange(100) < percent

    def _walk(self, function: str, query: dict[str, str], order: str = "id") -> None:
        page = {"has_more": True}
        query = query | {"limit": "50"}
        while page["has_more"]:
            page = self._check(function, query=query).body
            if page["data"]:
                query["starting_after"] = page["data"][-1][order]

    def _check(self, function: str, **given: Any) -> Response:
        return check(self.model, self._send, function, **given)

    def _send(self, function: str, id: str = "", query: Any = None, body: Any = None, headers: Any = None) -> Response:
        if time.time() > self._sign_in_at:
            self.client.close()
            self.client = Client(self.model.url, users.token(self._stack.port, self._name))
            self._sign_in_at = time.time() + 600
        verb, noun = function.split("_", 1)
        plural = noun.removesuffix("s") + "s"
        path = f"/{_PATHS.get(noun, plural)}{f'/{id}' if id else ''}"
        started, status, received, content = time.perf_counter(), 0, {}, ""
        try:
            response = self.client.send(_METHODS[verb], path, params=query, json=body, headers=headers)
            status, received, content = response.status_code, dict(response.headers), response.text
        finally:
            ms = 1000 * (time.perf_counter() - started)
            self.requests.append(Request(time.time(), function, status, ms, "Idempotent-Replayed" in received))
        is_json = received.get("Content-Type") == "application/json"
        return Response(status, json.loads(content) if content and is_json else content or None, received)
