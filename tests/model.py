"""The plain model of the API: the responses of an ideal service that handles one request after the other.

It can be read as the specification of the API for well-formed requests; the unit tests show how malformed ones are
rejected. A request here is a call of the method named after the function, such as `update_conversation`.
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlencode

DOCUMENTATION_URL = "https://protocol.chat/docs/errors"
# The response headers that the model predicts.
HEADERS = ("ETag", "Idempotent-Replayed", "Link", "Location")
# The attributes that only the sender of a message changes.
EDITS = {"message", "attachments"}
# Arguments of the model's methods that are request headers.
_REQUEST_HEADERS = {"key": "Idempotency-Key", "if_match": "If-Match", "if_none_match": "If-None-Match"}
# How far the service's clock may differ from ours.
_CLOCK_SECONDS = 60

# A conversation or a message, as the API shows it.
Resource = dict[str, Any]


class Response(NamedTuple):
    """A response, with those of its headers that the model predicts."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = {}


def error(status: int, message: str) -> Response:
    """Returns an error response."""
    kind = "invalid_request" if status < 500 else "api_error"
    return Response(status, {"type": kind, "message": message, "documentation_url": f"{DOCUMENTATION_URL}/{kind}"})


@dataclass
class Model:
    """The data of one user. Users share nothing, so another user's id is like one that never existed.

    The service chooses ids and times: *new_id* and *now* pass its choice to the model.
    """

    # The base URL of the API, for links.
    url: str = ""
    conversations: dict[str, Resource] = field(default_factory=dict)
    messages: dict[str, Resource] = field(default_factory=dict)
    # Every conversation and message that ever existed has a version, which each change increments.
    versions: dict[str, int] = field(default_factory=dict)
    deleted_conversations: list[str] = field(default_factory=list)
    deleted_messages: list[str] = field(default_factory=list)
    # The attributes and the response of the first request with each idempotency key.
    first_requests: dict[str, tuple[Resource, Response]] = field(default_factory=dict)

    # Conversations

    def create_conversation(self, body: Mapping[str, Any], new_id: str, now: int, key: str | None = None) -> Response:
        """POST /conversations."""
        attributes = {"contact_id": None, "group_id": None} | dict(body)
        if replay := self._replay(key, attributes):
            return replay
        self.conversations[new_id] = {
            "id": new_id,
            **attributes,
            "pinned_message_id": None,
            "is_pinned": False,
            "is_muted": False,
            "last_active_at": None,
            "last_opened_at": None,
            "created_at": now,
            "archived_at": None,
        }
        return self._created("conversations", self.conversations[new_id], key, attributes)

    def retrieve_conversation(self, id: str, if_none_match: str | None = None) -> Response:
        """GET /conversations/{id}."""
        return self._retrieve("conversation", self.conversations, id, if_none_match)

    def list_conversations(self, query: Mapping[str, str] = {}) -> Response:
        """GET /conversations."""
        found = [conversation for conversation in self.conversations.values() if matches(conversation, query)]
        return self._page("conversations", found, query)

    def update_conversation(
        self, id: str, body: Mapping[str, Any], if_match: str | None = None, if_none_match: str | None = None
    ) -> Response:
        """PUT /conversations/{id}: changes the attributes in *body*."""
        if rejection := self._reject("conversation", self.conversations, id, if_match, if_none_match):
            return rejection
        pinned = body.get("pinned_message_id")
        if pinned is not None and self.messages.get(pinned, {}).get("conversation_id") != id:
            return error(400, "pinned_message_id: must be the id of a message of this conversation, or null")
        return self._change(self.conversations[id], **body)

    def delete_conversation(self, id: str, if_match: str | None = None) -> Response:
        """DELETE /conversations/{id}: deletes its messages too."""
        if rejection := self._reject("conversation", self.conversations, id, if_match):
            return rejection
        for message in self.messages_of(id):
            del self.messages[message["id"]]
            self.deleted_messages.append(message["id"])
        del self.conversations[id]
        self.deleted_conversations.append(id)
        return Response(204)

    # Messages

    def create_message(
        self, body: Mapping[str, Any], new_id: str, now: int, key: str | None = None, contact_id: str | None = None
    ) -> Response:
        """POST /messages: a message of the user, or one from *contact_id*."""
        attributes = {"contact_id": contact_id, "attachments": []} | dict(body)
        if replay := self._replay(key, attributes):
            return replay
        conversation = self.conversations.get(attributes["conversation_id"])
        if conversation is None:
            return error(404, "conversation_id: no such conversation")
        self._change(conversation, last_active_at=max(now, conversation["last_active_at"] or 0))
        self.messages[new_id] = {
            "id": new_id,
            "conversation_id": conversation["id"],
            "contact": {"id": contact_id} if contact_id else None,
            "message": attributes["message"],
            "reactions": [],
            "attachments": attributes["attachments"],
            "read_at": None,
            "created_at": now,
            "updated_at": None,
        }
        return self._created("messages", self.messages[new_id], key, attributes)

    def receive_message(self, detail: Mapping[str, Any], new_id: str, now: int, event_id: str) -> bool:
        """The event `message.received`: False if it becomes a dead letter. A duplicate event changes nothing."""
        body = {name: detail[name] for name in ("conversation_id", "message", "attachments") if name in detail}
        return self.create_message(body, new_id, now, event_id, detail["contact_id"]).status == 201

    def retrieve_message(self, id: str, if_none_match: str | None = None) -> Response:
        """GET /messages/{id}."""
        return self._retrieve("message", self.messages, id, if_none_match)

    def list_messages(self, query: Mapping[str, str] = {}) -> Response:
        """GET /messages: those of one conversation, or of all."""
        conversation_id = query.get("conversation_id")
        if conversation_id is None:
            return self._page("messages", self.messages.values(), query)
        if conversation_id not in self.conversations:
            return error(404, "conversation_id: no such conversation")
        return self._page("messages", self.messages_of(conversation_id), query)

    def update_message(
        self,
        id: str,
        body: Mapping[str, Any],
        now: int,
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> Response:
        """PUT /messages/{id}: changes the attributes in *body*. Only the sender edits text and attachments."""
        edits = sorted(body.keys() & EDITS)
        message = self.messages.get(id, {})
        if edits and message.get("contact"):
            return error(403, f"{', '.join(edits)}: only the sender of a message can change this")
        if rejection := self._reject("message", self.messages, id, if_match, if_none_match):
            return rejection
        changes = dict(body) | ({"updated_at": now} if edits else {})
        if "reactions" in changes:
            # Each pair of reaction and contact once.
            given = changes["reactions"]
            changes["reactions"] = [reaction for place, reaction in enumerate(given) if reaction not in given[:place]]
        changed = message | changes
        if not changed["message"] and not changed["attachments"]:
            return error(400, "message: must not be empty without attachments")
        return self._change(message, **changes)

    def delete_message(self, id: str, if_match: str | None = None) -> Response:
        """DELETE /messages/{id}: a pinned message is unpinned."""
        if rejection := self._reject("message", self.messages, id, if_match):
            return rejection
        conversation = self.conversations[self.messages.pop(id)["conversation_id"]]
        self.deleted_messages.append(id)
        if conversation["pinned_message_id"] == id:
            self._change(conversation, pinned_message_id=None)
        return Response(204)

    def messages_of(self, conversation_id: str) -> list[Resource]:
        """Returns the messages of one conversation."""
        return [message for message in self.messages.values() if message["conversation_id"] == conversation_id]

    # Rules of both

    def _replay(self, key: str | None, attributes: Resource) -> Response | None:
        """A key that was used with the same attributes returns the first response; with others it is an error."""
        if key not in self.first_requests:
            return None
        first_attributes, response = self.first_requests[key]
        if attributes != first_attributes:
            return error(422, "Idempotency-Key: was already used with other attributes; use a new key")
        return response._replace(headers={**response.headers, "Idempotent-Replayed": "true"})

    def _created(self, kind: str, resource: Resource, key: str | None, attributes: Resource) -> Response:
        self.versions[resource["id"]] = 1
        headers = {"ETag": etag(1), "Location": f"{self.url}/{kind}/{resource['id']}"}
        response = Response(201, dict(resource), headers)
        if key is not None:
            self.first_requests[key] = (attributes, response)
        return response

    def _retrieve(self, noun: str, resources: Mapping[str, Resource], id: str, if_none_match: str | None) -> Response:
        if rejection := self._reject(noun, resources, id, None):
            return rejection
        headers = {"ETag": etag(self.versions[id])}
        # If-None-Match compares weakly, If-Match strongly (RFC 9110, 13.1).
        if if_none_match is not None and is_named(headers["ETag"], if_none_match.replace("W/", "")):
            return Response(304, headers=headers)
        return Response(200, dict(resources[id]), headers)

    def _reject(
        self,
        noun: str,
        resources: Mapping[str, Resource],
        id: str,
        if_match: str | None,
        if_none_match: str | None = None,
    ) -> Response | None:
        if id not in resources:
            return error(404, f"id: no such {noun}")
        if if_match is not None and not is_named(etag(self.versions[id]), if_match):
            return error(412, f"If-Match: must name the current ETag; the {noun} has changed, so retrieve it again")
        if if_none_match is not None and is_named(etag(self.versions[id]), if_none_match):
            return error(412, f"If-None-Match: must not name the current ETag of the {noun}")
        return None

    def _change(self, resource: Resource, **changes: object) -> Response:
        resource.update(changes)
        self.versions[resource["id"]] += 1
        return Response(200, dict(resource), {"ETag": etag(self.versions[resource["id"]])})

    def _page(self, kind: str, resources: Collection[Resource], query: Mapping[str, str]) -> Response:
        """Newest first. A cursor is a position: it need not exist any more."""
        limit, after, before = int(query.get("limit", 10)), query.get("starting_after"), query.get("ending_before")
        newest_first = sorted(resources, key=lambda resource: str(resource["id"]), reverse=True)
        if before is not None:
            candidates = [resource for resource in newest_first if resource["id"] > before]
            data = candidates[-limit:]
        else:
            candidates = [resource for resource in newest_first if after is None or resource["id"] < after]
            data = candidates[:limit]
        has_more = len(candidates) > limit
        cursors = {}
        if data and (has_more or before is not None):
            cursors["next"] = {"starting_after": data[-1]["id"]}
        if data and (has_more if before is not None else after is not None):
            cursors["prev"] = {"ending_before": data[0]["id"]}
        if not data and (before or after):
            cursors["prev"] = {"ending_before": before or after}
        kept = {name: value for name, value in query.items() if name not in ("starting_after", "ending_before")}
        links = [
            f'<{self.url}/{kind}?{urlencode(kept | cursor)}>; rel="{relation}"' for relation, cursor in cursors.items()
        ]
        body = {"has_more": has_more, "data": [dict(resource) for resource in data]}
        return Response(200, body, {"Link": ", ".join(links)} if links else {})


def matches(conversation: Resource, query: Mapping[str, str]) -> bool:
    """Returns whether *conversation* passes the filters of *query*. All filters combine with AND."""
    values = {
        "muted": str(conversation["is_muted"]).lower(),
        "archived": str(conversation["archived_at"] is not None).lower(),
        "pinned": str(conversation["is_pinned"]).lower(),
        "group_id": conversation["group_id"],
    }
    return all(query.get(name, value) == value for name, value in values.items())


def etag(version: int) -> str:
    """Returns the ETag of a version."""
    return f'"{version}"'


def is_named(tag: str, header: str) -> bool:
    """Returns whether *header*, `*` or a list of ETags, names *tag*."""
    return header == "*" or tag in [listed.strip() for listed in header.split(",")]


# Comparison of a service with the model


def check(model: Model, send: Callable[..., Any], function: str, **given: Any) -> Response:
    """Sends a request with *send* and returns the response. Raises AssertionError if the model's is another.

    *given* are arguments of the model's method. *send* takes the function, and as keywords those of `id`, `query`,
    `body` and `headers` that are given; its result has the attributes of `Response`.
    """
    headers = {_REQUEST_HEADERS[name]: given[name] for name in _REQUEST_HEADERS if given.get(name) is not None}
    request = {name: given[name] for name in ("id", "query", "body") if name in given}
    response = send(function, **request, headers=headers)
    response = Response(
        response.status, response.body, {name: response.headers[name] for name in HEADERS if name in response.headers}
    )
    chosen: dict[str, Any] = {}
    shown = response.body if response.status in (200, 201) else {}
    newest = max(model.versions, default="")
    sets_time = True
    if function.startswith("create"):
        chosen = {"new_id": shown.get("id", ""), "now": shown.get("created_at", 0)}
    elif function == "update_message":
        chosen = {"now": shown.get("updated_at", 0)}
        sets_time = bool({"message", "attachments"} & set(given["body"]))
    expected = getattr(model, function)(**given, **chosen)
    assert response == expected, f"{function} {given}: expected {expected}, received {response}"
    if chosen and shown and "Idempotent-Replayed" not in response.headers:
        assert not sets_time or abs(chosen["now"] - time.time()) < _CLOCK_SECONDS, (
            f"{function}: the time is wrong in {response}"
        )
        assert chosen.get("new_id", "~") > newest, f"{function}: the new id does not sort last in {response}"
    return response
