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
# What a copy shows of an edit.
CONTENT = ("message", "attachments", "updated_at")
# Arguments of the model's methods that are request headers.
_REQUEST_HEADERS = {"key": "Idempotency-Key", "if_match": "If-Match", "if_none_match": "If-None-Match"}
# How far the service's clock may differ from ours.
_CLOCK_SECONDS = 60

_MAX_UNREAD, _MAX_COUNTED_CONVERSATIONS = 1000, 100
_PREVIEW_CHARACTERS = 100
_MAX_BLOCKED = 1000
# Added to the version of an entry while its contact is blocked.
_BLOCKED_VERSIONS = 10**15

# A conversation, a message or an inbox entry, as the API shows it.
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


NO_CONVERSATION = error(404, "conversation_id: no such conversation")


class Marks(NamedTuple):
    """What the inbox knows of a conversation, besides the conversation and its messages."""

    read_up_to: str | None = None
    is_flagged: bool = False
    muted_until: int | None = None
    # The mute has run out, but no sweep has lifted it: filters still find the conversation muted.
    is_mute_over: bool = False
    # The messages that the conversation ever had.
    message_ids: frozenset[str] = frozenset()

    @property
    def newest(self) -> str | None:
        """The last message that arrived, deleted or not."""
        return max(self.message_ids, default=None)


@dataclass
class Model:
    """The data of one user. Users share nothing, so another user's id is like one that never existed.

    The service chooses ids and times: *new_id* and *now* pass its choice to the model.
    """

    # The base URL of the API, for links.
    url: str = ""
    # Which incoming messages restore archived conversations: those of `unmuted` ones, `always` or `never`.
    unarchive: str = "unmuted"
    conversations: dict[str, Resource] = field(default_factory=dict)
    messages: dict[str, Resource] = field(default_factory=dict)
    marks: dict[str, Marks] = field(default_factory=dict)
    # The newest conversation of each contact and group, deleted or not.
    pairs: dict[tuple[str | None, str | None], str] = field(default_factory=dict)
    # Every conversation and message that ever existed has a version, which each change increments.
    versions: dict[str, int] = field(default_factory=dict)
    # The contacts that the user blocks.
    blocked: frozenset[str] = frozenset()
    deleted_conversations: list[str] = field(default_factory=list)
    deleted_messages: list[str] = field(default_factory=list)
    # The attributes and the response of the first request with each idempotency key.
    first_requests: dict[str, tuple[Resource, Response]] = field(default_factory=dict)

    # Conversations

    def create_conversation(self, body: Mapping[str, Any], new_id: str, now: int, key: str | None = None) -> Response:
        """POST /conversations: creates one, or with `distinct` finds the newest of its contact and group."""
        attributes = {"contact_id": None, "group_id": None, "distinct": False} | dict(body)
        if replay := self._replay(key, attributes):
            return replay
        pair = attributes["contact_id"], attributes["group_id"]
        found = self.conversations.get(self.pairs.get(pair, ""))
        if attributes["distinct"] and found is not None:
            response = Response(200, dict(found), {"ETag": etag(self.versions[found["id"]])})
            if key is not None:
                self.first_requests[key] = (attributes, response)
            return response
        self.pairs[pair] = new_id
        self.conversations[new_id] = {
            "id": new_id,
            "contact_id": attributes["contact_id"],
            "group_id": attributes["group_id"],
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
        return self._page("conversations", [self.conversations[id] for id in self.matching(query)], query)

    def update_conversation(
        self, id: str, body: Mapping[str, Any], if_match: str | None = None, if_none_match: str | None = None
    ) -> Response:
        """PUT /conversations/{id}: changes the attributes in *body*."""
        if rejection := self._reject("conversation", self.conversations, id, if_match, if_none_match):
            return rejection
        pinned = body.get("pinned_message_id")
        if pinned is not None and self.messages.get(pinned, {}).get("conversation_id") != id:
            return error(400, "pinned_message_id: must be the id of a message of this conversation, or null")
        if "is_muted" in body:
            self._mute(id, None)
        return self._change(self.conversations[id], **body)

    def delete_conversation(self, id: str, if_match: str | None = None) -> Response:
        """DELETE /conversations/{id}: deletes its messages too."""
        if rejection := self._reject("conversation", self.conversations, id, if_match):
            return rejection
        for message in self.messages_of(id):
            del self.messages[message["id"]]
            self.deleted_messages.append(message["id"])
        del self.conversations[id]
        self.marks.pop(id, None)
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
            return NO_CONVERSATION
        self._let_mutes_run_out()
        changes: Resource = {"last_active_at": max(now, conversation["last_active_at"] or conversation["created_at"])}
        is_restored = contact_id is None or self.unarchive == "always" or not conversation["is_muted"]
        if is_restored and self.unarchive != "never":
            changes["archived_at"] = None
        self._change(conversation, **changes)
        marks = self.marks_of(conversation["id"])
        self.marks[conversation["id"]] = marks._replace(message_ids=marks.message_ids | {new_id})
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

    def receive_message(
        self, detail: Mapping[str, Any], new_id: str, now: int, event_id: str, new_conversation_id: str = ""
    ) -> bool:
        """The event `message.received`: False if it becomes a dead letter. A duplicate event changes nothing.

        What a blocked contact sends is accepted, and nothing is stored.

        Without its conversation, the message goes to the newest one of the contact and the group, or begins another.
        """
        if detail["contact_id"] in self.blocked:
            return True
        if replay := self._replay(event_id, dict(detail)):
            return replay.status == 201
        id, contact_id = self.conversation_for(detail), detail["contact_id"]
        if id is None:
            names = {"contact_id": contact_id, "group_id": detail.get("group_id")}
            id = self.create_conversation(names, new_conversation_id, now).body["id"]
            self.versions[id] -= 1
        body = {name: detail[name] for name in ("message", "attachments") if name in detail} | {"conversation_id": id}
        self.first_requests[event_id] = dict(detail), self.create_message(body, new_id, now, contact_id=contact_id)
        return True

    def conversation_for(self, detail: Mapping[str, Any]) -> str | None:
        """Returns the id of the conversation of an event `message.received`, or None if it begins one."""
        newest = self.pairs.get((detail["contact_id"], detail.get("group_id")))
        return next((id for id in (detail.get("conversation_id"), newest) if id in self.conversations), None)

    def retrieve_message(self, id: str, if_none_match: str | None = None) -> Response:
        """GET /messages/{id}."""
        return self._retrieve("message", self.messages, id, if_none_match)

    def list_messages(self, query: Mapping[str, str] = {}) -> Response:
        """GET /messages: those of one conversation, or of all."""
        conversation_id = query.get("conversation_id")
        if conversation_id is None:
            return self._page("messages", self.messages.values(), query)
        if conversation_id not in self.conversations:
            return NO_CONVERSATION
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
        return self.change_message(message, changes)

    def change_message(self, message: Resource, changes: Resource) -> Response:
        """Changes a message of the user or of a contact."""
        if "message" in changes and self._newest(message["conversation_id"]) is message:
            # The preview changes.
            self._change(self.conversations[message["conversation_id"]])
        return self._change(message, **changes)

    def delete_message(self, id: str, if_match: str | None = None, query: Mapping[str, str] = {}) -> Response:
        """DELETE /messages/{id}: a pinned message is unpinned. Preview and unread count follow.

        With `for=everyone` it must be the user's own.
        """
        if query and self.messages.get(id, {}).get("contact"):
            return error(404, "id: no such message")
        if rejection := self._reject("message", self.messages, id, if_match):
            return rejection
        message = self.messages[id]
        conversation = self.conversations[message["conversation_id"]]
        is_pinned, is_newest = conversation["pinned_message_id"] == id, self._newest(conversation["id"]) is message
        del self.messages[id]
        self.deleted_messages.append(id)
        if is_pinned:
            conversation["pinned_message_id"] = None
        if is_pinned or is_newest or message["contact"]:
            self._change(conversation)
        return Response(204)

    def messages_of(self, conversation_id: str) -> list[Resource]:
        """Returns the messages of one conversation."""
        return [message for message in self.messages.values() if message["conversation_id"] == conversation_id]

    def _newest(self, conversation_id: str) -> Resource | None:
        return max(self.messages_of(conversation_id), key=lambda message: str(message["id"]), default=None)

    # The inbox

    def list_inbox(self, query: Mapping[str, str] = {}) -> Response:
        """GET /inbox: latest activity first."""
        return self._page("inbox", self._entries(query), query, "position")

    def retrieve_inbox_entry(self, id: str, if_none_match: str | None = None) -> Response:
        """GET /inbox/{conversation_id}."""
        if id not in self.conversations:
            return NO_CONVERSATION
        offset = self._entry_offset(id)
        response = self._retrieve("conversation", self.conversations, id, if_none_match, offset=offset)
        return response._replace(body=self.entry(id)) if response.status == 200 else response

    def update_inbox_entry(
        self,
        id: str,
        body: Mapping[str, Any],
        now: int,
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> Response:
        """PUT /inbox/{conversation_id}: marks a conversation as read or unread, mutes it, or blocks its contact."""
        if id not in self.conversations:
            return NO_CONVERSATION
        offset = self._entry_offset(id)
        if rejection := self._reject("conversation", self.conversations, id, if_match, if_none_match, offset=offset):
            return rejection
        conversation, marks, changes = self.conversations[id], self.marks_of(id), Resource()
        contact_id = conversation["contact_id"]
        if "is_blocked" in body and contact_id is None:
            return error(400, "is_blocked: the conversation has no contact to block")
        if body.get("is_blocked") and len(self.blocked | {contact_id}) > _MAX_BLOCKED:
            return error(400, "is_blocked: must not be true for more than 1,000 contacts")
        if "read_up_to" in body or body.get("is_unread") is False:
            # Without a message, all is read.
            read_up_to = body.get("read_up_to", marks.newest)
            if read_up_to is not None:
                if read_up_to not in marks.message_ids:
                    return error(
                        400, "read_up_to: must be the id of a message of this conversation, or null if nothing is read"
                    )
                changes["last_opened_at"] = max(now, conversation["last_opened_at"] or 0)
            is_flagged = body.get("is_unread", marks.is_flagged and read_up_to is None)
            self.marks[id] = marks._replace(read_up_to=read_up_to, is_flagged=is_flagged)
        elif "is_unread" in body:
            self.marks[id] = marks._replace(is_flagged=True)
        if "muted_until" in body:
            until = body["muted_until"]
            if until is not None or marks.muted_until is not None or marks.is_mute_over:
                self._mute(id, until)
                changes["is_muted"] = until is not None
        if "is_blocked" in body:
            self.blocked = self.blocked | {contact_id} if body["is_blocked"] else self.blocked - {contact_id}
        self._change(conversation, **changes)
        return Response(200, self.entry(id), {"ETag": etag(self.versions[id] + self._entry_offset(id))})

    def count_unread(self, query: Mapping[str, str] = {}) -> Response:
        """GET /unread: the badge, over the first hundred unread conversations."""
        entries = self._entries({"muted": "false", "archived": "false", "unread": "true"} | dict(query))
        counted = sorted(entries, key=lambda entry: str(entry["position"]))[-_MAX_COUNTED_CONVERSATIONS:]
        body = {
            "conversations": len(counted),
            "messages": sum(entry["unread_count"] for entry in counted),
            "has_more": len(entries) > len(counted),
        }
        return Response(200, body)

    def sweep_inbox(self) -> None:
        """The schedule: lifts mutes that have run out, so that filters no longer find them."""
        self._let_mutes_run_out()
        for id, marks in self.marks.items():
            self.marks[id] = marks._replace(is_mute_over=False)

    def entry(self, id: str) -> Resource:
        """Returns the inbox entry of a conversation."""
        conversation, marks, newest = self.conversations[id], self.marks_of(id), self._newest(id)
        unread = [each for each in self.messages_of(id) if each["contact"] and each["id"] > (marks.read_up_to or "")]
        preview = newest and {name: newest[name] for name in ("id", "contact", "message", "created_at")}
        return {
            "position": f"{conversation['last_active_at'] or conversation['created_at']:010}.{id}",
            "conversation": dict(conversation),
            "last_message": preview and preview | {"message": preview["message"][:_PREVIEW_CHARACTERS]},
            "unread_count": min(len(unread), _MAX_UNREAD),
            "is_unread": bool(unread) or marks.is_flagged,
            "read_up_to": marks.read_up_to,
            "muted_until": marks.muted_until,
            "is_blocked": conversation["contact_id"] in self.blocked,
        }

    def marks_of(self, id: str) -> Marks:
        """Returns what the inbox knows of a conversation."""
        return self.marks.get(id, Marks())

    def matching(self, query: Mapping[str, str]) -> list[str]:
        """Returns the ids of the conversations that pass the filters of *query*."""
        self._let_mutes_run_out()
        found = []
        for id, conversation in self.conversations.items():
            stored = conversation | {"is_muted": conversation["is_muted"] or self.marks_of(id).is_mute_over}
            is_unread = query.get("unread") in (None, str(self.entry(id)["is_unread"]).lower())
            if is_unread and matches(stored, query):
                found.append(id)
        return found

    def _entry_offset(self, id: str) -> int:
        """Returns by how much the version of an entry is greater than that of its conversation."""
        return _BLOCKED_VERSIONS if self.conversations[id]["contact_id"] in self.blocked else 0

    def _entries(self, query: Mapping[str, str]) -> list[Resource]:
        return [self.entry(id) for id in self.matching(query)]

    def _let_mutes_run_out(self) -> None:
        """A mute that runs out changes the conversation, and so its version."""
        for id, marks in self.marks.items():
            if marks.muted_until is not None and marks.muted_until <= time.time():
                self.marks[id] = marks._replace(muted_until=None, is_mute_over=True)
                self._change(self.conversations[id], is_muted=False)

    def _mute(self, id: str, until: int | None) -> None:
        """Replaces a timed mute. That counts as two changes, unless one of them, running out, was counted."""
        marks = self.marks_of(id)
        self.versions[id] += not marks.is_mute_over
        self.marks[id] = marks._replace(muted_until=until, is_mute_over=False)

    # Rules of all

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

    def _retrieve(
        self, noun: str, resources: Mapping[str, Resource], id: str, if_none_match: str | None, *, offset: int = 0
    ) -> Response:
        if rejection := self._reject(noun, resources, id, None):
            return rejection
        headers = {"ETag": etag(self.versions[id] + offset)}
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
        *,
        offset: int = 0,
    ) -> Response | None:
        self._let_mutes_run_out()
        if id not in resources:
            return error(404, f"id: no such {noun}")
        tag = etag(self.versions[id] + offset)
        if if_match is not None and not is_named(tag, if_match):
            return error(412, f"If-Match: must name the current ETag; the {noun} has changed, so retrieve it again")
        if if_none_match is not None and is_named(tag, if_none_match):
            return error(412, f"If-None-Match: must not name the current ETag of the {noun}")
        return None

    def _change(self, resource: Resource, **changes: object) -> Response:
        resource.update(changes)
        self.versions[resource["id"]] += 1
        return Response(200, dict(resource), {"ETag": etag(self.versions[resource["id"]])})

    def _page(
        self, path: str, resources: Collection[Resource], query: Mapping[str, str], order: str = "id"
    ) -> Response:
        """The greatest of the attribute *order* first. A cursor is a position: it need not exist any more."""
        limit, after, before = int(query.get("limit", 10)), query.get("starting_after"), query.get("ending_before")
        greatest_first = sorted(resources, key=lambda resource: str(resource[order]), reverse=True)
        if before is not None:
            candidates = [resource for resource in greatest_first if resource[order] > before]
            data = candidates[-limit:]
        else:
            candidates = [resource for resource in greatest_first if after is None or resource[order] < after]
            data = candidates[:limit]
        has_more = len(candidates) > limit
        cursors = {}
        if data and (has_more or before is not None):
            cursors["next"] = {"starting_after": data[-1][order]}
        if data and (has_more if before is not None else after is not None):
            cursors["prev"] = {"ending_before": data[0][order]}
        if not data and (before or after):
            cursors["prev"] = {"ending_before": before or after}
        kept = {name: value for name, value in query.items() if name not in ("starting_after", "ending_before")}
        links = [
            f'<{self.url}/{path}?{urlencode(kept | cursor)}>; rel="{relation}"' for relation, cursor in cursors.items()
        ]
        body = {"has_more": has_more, "data": [dict(resource) for resource in data]}
        return Response(200, body, {"Link": ", ".join(links)} if links else {})


# Delivery between users


class Order(NamedTuple):
    """What must still happen to the other side's copy of a message: it was sent, changed or deleted for everyone."""

    kind: str
    # As its user saw it after that.
    message: Resource
    group_id: str | None


class Copy(NamedTuple):
    """Where and when the service stored the copy of a message."""

    conversation_id: str
    id: str
    arrived_at: int


class Users(dict[str, "Mailbox"]):
    """The mailboxes of the users of one stack, whose messages are delivered to each other when `deliver` is called."""

    def __init__(self, *names: str, url: str = "") -> None:
        super().__init__({name: Mailbox(url=url, name=name, users=self) for name in names})
        # By sender and recipient, and then by message and its version, which is the order in which they apply.
        self.orders: dict[tuple[str, str], dict[tuple[str, int], Order]] = {}
        # The id on the other side of a message that was delivered, by the name of its user and its id.
        self.other_ids: dict[tuple[str, str], str] = {}

    def order(
        self, kind: str, sender: "Mailbox", message: Resource, version: int, changes: Resource | None = None
    ) -> None:
        """Adds an order for the contact, unless the message has none who could have a copy."""
        conversation = sender.conversations[message["conversation_id"]]
        is_copy = message["contact"] is not None
        recipient = message["contact"]["id"] if is_copy else conversation["contact_id"]
        if recipient in (None, sender.name) or (is_copy and (sender.name, message["id"]) not in self.other_ids):
            return
        order = Order(kind, dict(message if changes is None else changes), conversation["group_id"])
        self.orders.setdefault((sender.name, recipient), {})[message["id"], version] = order

    def deliver(self, sender: str, recipient: str, copies: Mapping[str, Copy]) -> None:
        """Applies the orders of a pair. *copies* has the copies that the service stored, by the id of the message."""
        for (id, _), order in sorted(self.orders.pop((sender, recipient), {}).items()):
            # Contacts that are no users get nothing.
            if recipient in self:
                self._apply(order, id, sender, self[recipient], copies)

    def _apply(self, order: Order, id: str, sender: str, mailbox: "Mailbox", copies: Mapping[str, Copy]) -> None:
        copy_id = self.other_ids.get((sender, id), "")
        if order.kind == "deleted":
            # Even if the recipient blocks the sender.
            mailbox.delete_message(copy_id)
        elif sender in mailbox.blocked:
            return
        elif order.kind == "created":
            copy = copies[id]
            detail = {"contact_id": sender, "group_id": order.group_id} | {
                name: order.message[name] for name in ("message", "attachments")
            }
            mailbox.receive_message(detail, copy.id, copy.arrived_at, f"{sender} {id}", copy.conversation_id)
            mailbox.messages[copy.id]["created_at"] = order.message["created_at"]
            self.other_ids |= {(sender, id): copy.id, (mailbox.name, copy.id): id}
        elif copy_id in mailbox.messages:
            mailbox.follow(mailbox.messages[copy_id], order.message, sender)


@dataclass
class Mailbox(Model):
    """The data of a user whose messages are delivered to other users."""

    name: str = ""
    users: Users = field(default_factory=Users)

    def create_message(
        self, body: Mapping[str, Any], new_id: str, now: int, key: str | None = None, contact_id: str | None = None
    ) -> Response:
        """Orders a copy of the user's message."""
        is_first = key is None or key not in self.first_requests
        response = super().create_message(body, new_id, now, key, contact_id)
        if response.status == 201 and is_first and contact_id is None:
            self.users.order("created", self, self.messages[new_id], 1)
        return response

    def update_message(
        self,
        id: str,
        body: Mapping[str, Any],
        now: int,
        if_match: str | None = None,
        if_none_match: str | None = None,
    ) -> Response:
        """Orders a change of the copy if it shows: text, attachments and the user's own reactions."""
        before = dict(self.messages.get(id, {"reactions": []}))
        response = super().update_message(id, body, now, if_match, if_none_match)
        if response.status != 200:
            return response
        is_reaction = _own_reactions(response.body) != _own_reactions(before)
        if body.keys() & {*EDITS, "reactions"}:
            names = CONTENT if any(response.body[name] != before[name] for name in CONTENT) else ()
            changes = {name: response.body[name] for name in (*names, *(["reactions"] if is_reaction else []))}
            self.users.order("changed", self, self.messages[id], self.versions[id], changes)
        return response

    def delete_message(self, id: str, if_match: str | None = None, query: Mapping[str, str] = {}) -> Response:
        """With `for=everyone` orders the deletion of the copy."""
        message = self.messages.get(id)
        response = super().delete_message(id, if_match, query)
        if response.status == 204 and query and message:
            self.users.order("deleted", self, message, self.versions[id] + 1)
        return response

    def follow(self, message: Resource, other: Resource, sender: str) -> None:
        """Changes *message* as *sender* changed *other*, which is the same message on the other side."""
        changes = {name: other[name] for name in CONTENT if name in other and message["contact"] is not None}
        if "reactions" in other:
            kept = [reaction for reaction in message["reactions"] if reaction["contact_id"] != sender]
            changes["reactions"] = kept + [each | {"contact_id": sender} for each in _own_reactions(other)]
        if new := {name: value for name, value in changes.items() if value != message[name]}:
            self.change_message(message, new)


def _own_reactions(message: Resource) -> list[Resource]:
    return [reaction for reaction in message["reactions"] if reaction["contact_id"] is None]


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
    shown = response.body if response.status in (200, 201) else {}
    chosen = _chosen(function, given, shown)
    known = _known(model, given, chosen)
    expected = getattr(model, function)(**given, **chosen)
    assert response == expected, f"{function} {given}: expected {expected}, received {response}"
    is_found = function == "create_conversation" and response.status == 200
    if chosen and shown and not is_found and "Idempotent-Replayed" not in response.headers:
        earliest, latest = time.time() - _CLOCK_SECONDS, max(time.time(), known.time) + _CLOCK_SECONDS
        is_set = function.startswith("create") or chosen["now"]
        assert not is_set or earliest < chosen["now"] < latest, f"{function}: the time is wrong in {response}"
        assert chosen.get("new_id", "~") > known.id, f"{function}: the new id does not sort last in {response}"
    return response


class _Known(NamedTuple):
    """The latest time and the last id of what a request changes or adds to, before the request."""

    time: int
    id: str


def _chosen(function: str, given: Mapping[str, Any], shown: Resource) -> dict[str, Any]:
    """Returns the ids and times that the service chose, as arguments of the model's method."""
    if function.startswith("create"):
        return {"new_id": shown.get("id", ""), "now": shown.get("created_at", 0)}
    if function == "update_message":
        return {"now": shown.get("updated_at", 0) if EDITS & given["body"].keys() else 0}
    if function == "update_inbox_entry":
        is_marked = given["body"].get("read_up_to") or given["body"].get("is_unread") is False
        return {"now": shown["conversation"]["last_opened_at"] or 0 if shown and is_marked else 0}
    return {}


def _known(model: Model, given: Mapping[str, Any], chosen: Mapping[str, Any]) -> _Known:
    id = given.get("id") or given.get("body", {}).get("conversation_id")
    if id in model.conversations:
        conversation, newest = model.conversations[id], model.marks_of(id).newest
        return _Known(max(conversation["last_active_at"] or 0, conversation["last_opened_at"] or 0), newest or "")
    # The clock may have been set back.
    before = [id for id, each in model.conversations.items() if each["created_at"] <= chosen.get("now", 0)]
    return _Known(0, max(before, default=""))
