"""The routes of the API: what each call accepts and returns."""

from typing import Any, NamedTuple

from coherent.conversations.models import CreateConversation, ListConversations, UpdateConversation
from coherent.messages.models import CreateMessage, ListMessages, UpdateMessage
from coherent.parameters import Parameters

from tools.openapi.examples import CONVERSATION, CONVERSATION_ID, MESSAGE, NEW_CONVERSATION, NEW_MESSAGE, REACTIONS


class Route(NamedTuple):
    """One call of the API; *endpoint* is the name of its function."""

    method: str
    path: str
    endpoint: str
    summary: str
    description: str
    success: int
    result: str
    example: dict[str, Any] | None = None
    headers: tuple[str, ...] = ()
    query: type[Parameters] | None = None
    body: type[Parameters] | None = None
    body_example: dict[str, Any] | None = None
    # Parameters that cause the 400 of the example; without any, a malformed header causes it.
    invalid: dict[str, Any] | None = None
    request_headers: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()

    @property
    def noun(self) -> str:
        """Returns `conversation` or `message`."""
        return self.path.split("/")[1].removesuffix("s")

    @property
    def scope(self) -> str:
        """Returns the scope that a token needs for this route."""
        return f"{self.noun}s/{'read' if self.method == 'get' else 'write'}"


_CONDITIONS = ("If-Match", "If-None-Match")
_CREATED = ("Location", "ETag", "Idempotent-Replayed")
_EDIT = {"is_pinned": True, "archived_at": None}
_REACTION = {"reactions": REACTIONS, "read_at": 1795374369}
ROUTES = [
    Route("get", "/conversations", "list_conversations", "List conversations, newest first",
          "Lists the user's conversations, newest first, a page at a time. Filters combine with AND.",
          200, "A page of conversations.", {"has_more": True, "data": [CONVERSATION]}, ("Link",),
          query=ListConversations, invalid={"limit": "0"}, errors=(400,)),
    Route("post", "/conversations", "create_conversation", "Create a conversation with a contact, a group, or both",
          "Creates a conversation with a contact, a group, or a contact in a group. Always creates a new one, even if "
          "the user already has a conversation with them.",
          201, "The new conversation.", NEW_CONVERSATION, _CREATED, body=CreateConversation,
          body_example={"contact_id": "harry", "group_id": "friends"}, invalid={},
          request_headers=("Idempotency-Key",), errors=(400, 413, 415, 422)),
    Route("get", "/conversations/{id}", "retrieve_conversation", "Retrieve a conversation",
          "Retrieves one conversation, as it is after every change that the API has confirmed.",
          200, "The conversation.", CONVERSATION, ("ETag",), request_headers=("If-None-Match",),
          errors=(304, 400, 404)),
    Route("put", "/conversations/{id}", "update_conversation", "Pin, mute, archive or mark a conversation as opened",
          "Pins, mutes, archives or restores a conversation, or records that the user opened it. Attributes that are "
          "left out stay as they are.",
          200, "The conversation after the change.", CONVERSATION | _EDIT, ("ETag",), body=UpdateConversation,
          body_example=_EDIT, invalid={"is_pinned": "yes"}, request_headers=_CONDITIONS,
          errors=(400, 404, 412, 413, 415)),
    Route("delete", "/conversations/{id}", "delete_conversation", "Delete a conversation with all its messages",
          "Deletes a conversation and all its messages for good. To hide it, archive it instead.",
          204, "The conversation is deleted.", request_headers=_CONDITIONS, errors=(400, 404, 412)),
    Route("get", "/messages", "list_messages", "List messages of one conversation or of all, newest first",
          "Lists the messages of one conversation or of all, newest first, a page at a time.",
          200, "A page of messages.", {"has_more": True, "data": [MESSAGE]}, ("Link",), query=ListMessages,
          invalid={"limit": "0"}, errors=(400, 404)),
    Route("post", "/messages", "create_message", "Send a message",
          "Sends a message in a conversation, whose `last_active_at` follows.",
          201, "The new message.", NEW_MESSAGE, _CREATED, body=CreateMessage,
          body_example={"conversation_id": CONVERSATION_ID, "message": "Merry Christmas, Harry"},
          invalid={"conversation_id": CONVERSATION_ID, "message": ""}, request_headers=("Idempotency-Key",),
          errors=(400, 404, 413, 415, 422)),
    Route("get", "/messages/{id}", "retrieve_message", "Retrieve a message", "Retrieves one message.",
          200, "The message.", MESSAGE, ("ETag",), request_headers=("If-None-Match",), errors=(304, 400, 404)),
    Route("put", "/messages/{id}", "update_message", "Edit a message, react to it or mark it as read",
          "Marks a message as read, reacts to it, or edits text and attachments of a message that the user sent. "
          "Attributes that are left out stay as they are.",
          200, "The message after the change.", MESSAGE | _REACTION, ("ETag",), body=UpdateMessage,
          body_example=_REACTION, invalid={"read_at": "now"}, request_headers=_CONDITIONS,
          errors=(400, 404, 412, 413, 415)),
    Route("delete", "/messages/{id}", "delete_message", "Delete a message, and unpin it",
          "Deletes a message for good, and unpins it if it was pinned.",
          204, "The message is deleted.", request_headers=_CONDITIONS, errors=(400, 404, 412)),
]  # fmt: skip
