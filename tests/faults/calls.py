"""The calls that meet faults. A new endpoint gets rows in `CALLS`; its method of the model defines their effect."""

import json
from collections.abc import Mapping
from string import Template
from typing import Any, NamedTuple

from tests import handlers
from tests.faults.fixtures import MUTED_UNTIL, Fixture, State, execute

_SECONDS = 1_795_374_369


def http_event(
    function: str,
    user: str,
    *,
    id: str | None = None,
    query: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
    key: str | None = None,
    if_match: str | None = None,
) -> Any:
    """Returns the event of an HTTP request, from arguments as the model takes them."""
    headers = {"Idempotency-Key": key, "If-Match": if_match}
    return handlers.request(
        function,
        user=user,
        id=id,
        query={name: [value] for name, value in query.items()} if query else None,
        body=None if body is None else json.dumps(body),
        content_type=handlers.JSON,
        headers={name: value for name, value in headers.items() if value},
    )


class Call(NamedTuple):
    """A call of *function*, and the arguments of its method of `State`. `$name` stands for an id of the fixture."""

    name: str
    function: str
    given: dict[str, Any]
    # Whether a retry changes nothing if the first attempt succeeded.
    is_idempotent: bool = True

    @property
    def is_http(self) -> bool:
        """Whether it has an HTTP response."""
        return self.function in handlers.ENDPOINTS

    @property
    def is_purge(self) -> bool:
        """Whether it starts from a deleted conversation, and may do its work in part."""
        return self.function in ("purge_messages", "sweep_purges")

    @property
    def is_sweep(self) -> bool:
        """Whether it changes the data of all users."""
        return self.function.startswith("sweep_")

    def event(self, fixture: Fixture) -> Any:
        """Returns the event."""
        given = self._given(fixture)
        if self.function == "purge_messages":
            return handlers.deletions((fixture.user, fixture.ids["conversation"]))
        if self.is_sweep:
            return {}
        if not self.is_http:
            detail = {"user_id": fixture.user, **given.get("detail", {})}
            return handlers.event(self.function) | {"id": given.get("event_id"), "detail": detail}
        return http_event(self.function, fixture.user, **given)

    def apply(self, fixture: Fixture, state: State) -> tuple[int, Any]:
        """Applies the call to *state*. Returns the status and the body of the response; 0 if there is none."""
        response = execute(state, self.function, self._given(fixture), "new 0")
        return (response.status, fixture.normalized(response.body)) if self.is_http else (0, None)

    def _given(self, fixture: Fixture) -> Any:
        return json.loads(Template(json.dumps(self.given)).substitute(fixture.ids, user=fixture.user))


_KATE = {"contact_id": "kate"}
_TEXT = {"conversation_id": "$conversation", "message": "merry christmas"}
_READ = {"read_at": _SECONDS}
_FIRST = {"message": "merry christmas", "contact_id": "marv"}
_RECEIVED = _TEXT | {"contact_id": "harry"}
_CONVERSATION, _MESSAGE = {"id": "$conversation"}, {"id": "$message"}
_IF_UNCHANGED, _IF_MESSAGE_UNCHANGED = {"if_match": '"$version"'}, {"if_match": '"1"'}

CALLS = [
    Call("list all conversations", "list_conversations", {}),
    Call("list by a flag", "list_conversations", {"query": {"archived": "false"}}),
    Call("list a group", "list_conversations", {"query": {"group_id": "friends"}}),
    Call("create a conversation", "create_conversation", {"body": _KATE}, is_idempotent=False),
    Call("create a conversation with a key", "create_conversation", {"body": _KATE, "key": "once"}),
    Call("retrieve a conversation", "retrieve_conversation", _CONVERSATION),
    Call("mute", "update_conversation", _CONVERSATION | {"body": {"is_muted": True}}),
    Call(
        "archive if unchanged",
        "update_conversation",
        _CONVERSATION | {"body": {"archived_at": _SECONDS}} | _IF_UNCHANGED,
    ),
    Call("pin a message", "update_conversation", _CONVERSATION | {"body": {"pinned_message_id": "$message"}}),
    Call("delete a conversation", "delete_conversation", _CONVERSATION),
    Call("delete a conversation if unchanged", "delete_conversation", _CONVERSATION | _IF_UNCHANGED),
    Call("list all messages", "list_messages", {}),
    Call("list the messages of a conversation", "list_messages", {"query": {"conversation_id": "$conversation"}}),
    Call("send a message", "create_message", {"body": _TEXT}, is_idempotent=False),
    Call("send a message with a key", "create_message", {"body": _TEXT, "key": "once"}),
    Call("retrieve a message", "retrieve_message", _MESSAGE),
    Call("mark a message as read", "update_message", _MESSAGE | {"body": _READ}),
    Call("mark a message as read if unchanged", "update_message", _MESSAGE | {"body": _READ} | _IF_MESSAGE_UNCHANGED),
    Call("delete a message", "delete_message", _MESSAGE),
    Call("delete a pinned message", "delete_message", {"id": "$pinned"}),
    Call("receive a message", "receive_message", {"detail": _RECEIVED, "event_id": "$user"}),
    Call(
        "receive a message for the newest conversation",
        "receive_message",
        {"detail": _RECEIVED | {"conversation_id": "0" * 16}, "event_id": "$user"},
    ),
    Call("receive a first message", "receive_message", {"detail": _FIRST, "event_id": "$user"}),
    Call(
        "receive a message without a text", "receive_message", {"detail": _FIRST | {"message": ""}, "event_id": "$user"}
    ),
    Call("list the inbox", "list_inbox", {"query": {"unread": "true", "archived": "false"}}),
    Call(
        "list the inbox of a group",
        "list_inbox",
        {"query": {"unread": "false", "muted": "true", "group_id": "friends"}},
    ),
    Call("count what is unread", "count_unread", {}),
    Call("list changes", "list_changes", {"query": {"starting_after": "0"}}),
    Call("retrieve an inbox entry", "retrieve_inbox_entry", _CONVERSATION),
    Call("read up to a message", "update_inbox_entry", _CONVERSATION | {"body": {"read_up_to": "$message"}}),
    Call("read up to a deleted message", "update_inbox_entry", _CONVERSATION | {"body": {"read_up_to": "$removed"}}),
    Call("read all if unchanged", "update_inbox_entry", _CONVERSATION | {"body": {"is_unread": False}} | _IF_UNCHANGED),
    Call("flag as unread", "update_inbox_entry", _CONVERSATION | {"body": {"is_unread": True}}),
    Call("mute for a time", "update_inbox_entry", _CONVERSATION | {"body": {"muted_until": MUTED_UNTIL}}),
    Call("block the contact", "update_inbox_entry", _CONVERSATION | {"body": {"is_blocked": True}}),
    Call("end a timed mute", "update_inbox_entry", {"id": "$group", "body": {"muted_until": None}}),
    Call("edit the last message", "update_message", {"id": "$last", "body": {"message": "goodbye"}}),
    Call("edit the message before the last", "update_message", {"id": "$pinned", "body": {"message": "here"}}),
    Call("delete the last message", "delete_message", {"id": "$last"}),
    Call("delete a received message", "delete_message", {"id": "$received"}),
    Call("sweep the inbox", "sweep_inbox", {}),
    Call("purge", "purge_messages", {}),
    Call("sweep", "sweep_purges", {}),
]
# Calls of another device that are applied while a request of the call is under way.
CONCURRENT_CHANGES = [
    Call("another device archives", "update_conversation", _CONVERSATION | {"body": {"archived_at": _SECONDS}}),
    Call("another device deletes the conversation", "delete_conversation", _CONVERSATION),
    Call("another device deletes the message", "delete_message", _MESSAGE),
    Call("another device deletes the last message", "delete_message", {"id": "$last"}),
    Call("another device reads all", "update_inbox_entry", _CONVERSATION | {"body": {"is_unread": False}}),
    Call("another device marks the message as read", "update_message", _MESSAGE | {"body": {"read_at": 1}}),
]
