"""The routes of the API: what each call accepts and returns."""

from typing import Any, NamedTuple

from coherent.conversations.models import CreateConversation, ListConversations, UpdateConversation
from coherent.messages.models import CreateMessage, ListMessages, UpdateMessage
from coherent.parameters import Parameters

EXAMPLE_ID = "8DoZ65wSg7hMp0Jh"
EXAMPLE_CONVERSATION = {
    "id": EXAMPLE_ID,
    "contact_id": "harry",
    "group_id": "friends",
    "pinned_message_id": None,
    "is_pinned": True,
    "is_muted": False,
    "last_active_at": 1795374120,
    "last_opened_at": 1795374369,
    "created_at": 1795374001,
    "archived_at": None,
}
EXAMPLE_MESSAGE = {
    "id": "8DoZ7Hq2LmX04bTe",
    "conversation_id": EXAMPLE_ID,
    "contact": {"id": "harry"},
    "message": "Keep the change.",
    "reactions": [{"reaction": "heart", "contact_id": None}],
    "attachments": ["https://files.example.com/tarantula.jpg"],
    "read_at": 1795374369,
    "created_at": 1795374120,
    "updated_at": 1795374369,
}


class Route(NamedTuple):
    """One call of the API; *endpoint* is the name of its function."""

    method: str
    path: str
    endpoint: str
    summary: str
    success: int
    headers: tuple[str, ...] = ()
    query: type[Parameters] | None = None
    body: type[Parameters] | None = None
    body_example: dict[str, Any] | None = None
    request_headers: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()

    @property
    def noun(self) -> str:
        """Returns `conversations` or `messages`."""
        return self.path.split("/")[1]

    @property
    def scope(self) -> str:
        """Returns the scope that a token needs for this route."""
        return f"{self.noun}/{'read' if self.method == 'get' else 'write'}"


ROUTES = [
    Route("get", "/conversations", "list_conversations", "List conversations, newest first", 200,
          headers=("Link",), query=ListConversations, errors=(400,)),
    Route("post", "/conversations", "create_conversation", "Start a conversation with a contact, a group or both", 201,
          headers=("Location", "ETag", "Idempotent-Replayed"), body=CreateConversation,
          body_example={"contact_id": "harry", "group_id": "friends"}, request_headers=("Idempotency-Key",),
          errors=(400, 413, 415, 422)),
    Route("get", "/conversations/{id}", "retrieve_conversation", "Retrieve a conversation", 200,
          headers=("ETag",), request_headers=("If-None-Match",), errors=(304, 400, 404)),
    Route("put", "/conversations/{id}", "update_conversation",
          "Pin, mute, archive or mark as opened; absent attributes stay unchanged", 200, headers=("ETag",),
          body=UpdateConversation, body_example={"is_pinned": True, "archived_at": None},
          request_headers=("If-Match",), errors=(400, 404, 412, 413, 415)),
    Route("delete", "/conversations/{id}", "delete_conversation",
          "Delete a conversation permanently, with all its messages", 204,
          request_headers=("If-Match",), errors=(400, 404, 412)),
    Route("get", "/messages", "list_messages", "List messages, of one conversation or all, newest first", 200,
          headers=("Link",), query=ListMessages, errors=(400, 404)),
    Route("post", "/messages", "create_message", "Send a message", 201,
          headers=("Location", "ETag", "Idempotent-Replayed"), body=CreateMessage,
          body_example={"conversation_id": EXAMPLE_ID, "message": "Merry Christmas!", "attachments": []},
          request_headers=("Idempotency-Key",), errors=(400, 404, 413, 415, 422)),
    Route("get", "/messages/{id}", "retrieve_message", "Retrieve a message", 200,
          headers=("ETag",), request_headers=("If-None-Match",), errors=(304, 400, 404)),
    Route("put", "/messages/{id}", "update_message",
          "Edit, react, attach or mark as read; absent attributes stay unchanged", 200, headers=("ETag",),
          body=UpdateMessage,
          body_example={"reactions": [{"reaction": "heart", "contact_id": None}], "read_at": 1795374369},
          request_headers=("If-Match",), errors=(400, 404, 412, 413, 415)),
    Route("delete", "/messages/{id}", "delete_message", "Delete a message permanently, and unpin it", 204,
          request_headers=("If-Match",), errors=(400, 404, 412)),
]  # fmt: skip
