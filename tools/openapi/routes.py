"""The routes of the API: what each call accepts and returns."""

from typing import Any, NamedTuple

from coherent.changes.models import ListChanges
from coherent.conversations.models import CreateConversation, ListConversations, UpdateConversation
from coherent.inbox.models import CountUnread, ListInbox, UpdateInboxEntry
from coherent.messages.models import CreateMessage, DeleteMessage, ListMessages, UpdateMessage
from coherent.parameters import Parameters
from coherent.webhooks.models import CreateRedelivery, CreateWebhook, UpdateWebhook

from tools.openapi.examples import (
    CHANGE,
    CONVERSATION,
    CONVERSATION_ID,
    ENTRY,
    EVENTS,
    MESSAGE,
    MESSAGE_ID,
    MUTED_UNTIL,
    NEW_CONVERSATION,
    NEW_MESSAGE,
    PERIOD,
    REACTIONS,
    SECRET,
    UNREAD_COUNT,
    WEBHOOK,
    WEBHOOK_ID,
)


class Route(NamedTuple):
    """One call of the API; *endpoint* is the name of its function."""

    method: str
    path: str
    endpoint: str
    summary: str
    description: str
    success: int
    result: str
    # The name of the schema of a successful response, if it has a body.
    schema: str = ""
    example: dict[str, Any] | None = None
    headers: tuple[str, ...] = ()
    query: type[Parameters] | None = None
    body: type[Parameters] | None = None
    body_example: dict[str, Any] | None = None
    # Parameters that cause the 400 of the example; without any, a malformed header causes it.
    invalid: dict[str, Any] | None = None
    request_headers: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()
    # What a 200 means where success is another status: the resource existed before.
    found: str = ""

    @property
    def collection(self) -> str:
        """Returns the first segment of the path."""
        return self.path.split("/")[1]

    @property
    def noun(self) -> str:
        """Returns `conversation`, `message` or `webhook`."""
        return {"messages": "message", "webhooks": "webhook"}.get(self.collection, "conversation")

    @property
    def tag(self) -> str:
        """Returns the group that the reference page shows the call in."""
        return self.collection.title() if self.collection in (f"{self.noun}s", "changes") else "Inbox"

    @property
    def id(self) -> str | None:
        """Returns the name of the path parameter, or None if the path has none."""
        return self.path.partition("{")[2].partition("}")[0] or None

    @property
    def scope(self) -> str:
        """Returns the scope that a token needs for this route."""
        return f"{self.noun}s/{'read' if self.method == 'get' and self.noun != 'webhook' else 'write'}"


_CONDITIONS = ("If-Match", "If-None-Match")
_CREATED = ("Location", "ETag", "Idempotent-Replayed")
_EDIT = {"is_pinned": True, "archived_at": None}
_REACTION = {"reactions": REACTIONS, "read_at": 1795374369}
_MARK = {"read_up_to": MESSAGE_ID, "muted_until": MUTED_UNTIL}
_MARKED_ENTRY = (
    ENTRY | _MARK | {"conversation": CONVERSATION | {"is_muted": True}, "unread_count": 0, "is_unread": False}
)
ROUTES = [
    Route("get", "/conversations", "list_conversations", "List conversations, newest first",
          "Lists the user's conversations, newest first, a page at a time. Filters combine with AND.",
          200, "A page of conversations.", "Conversations", {"has_more": True, "data": [CONVERSATION]}, ("Link",),
          query=ListConversations, invalid={"limit": "0"}, errors=(400,)),
    Route("post", "/conversations", "create_conversation", "Create a conversation with a contact, a group, or both",
          "Creates a conversation with a contact, a group, or a contact in a group. Always creates a new one, even if "
          "the user already has a conversation with them, unless `distinct` is true.",
          201, "The new conversation.", "Conversation", NEW_CONVERSATION, _CREATED, body=CreateConversation,
          body_example={"contact_id": "harry", "group_id": "friends"}, invalid={},
          request_headers=("Idempotency-Key",), errors=(400, 413, 415, 422),
          found="With `distinct`: the conversation that exists."),
    Route("get", "/conversations/{id}", "retrieve_conversation", "Retrieve a conversation",
          "Retrieves one conversation, as it is after every change that the API has confirmed.",
          200, "The conversation.", "Conversation", CONVERSATION, ("ETag",), request_headers=("If-None-Match",),
          errors=(304, 400, 404)),
    Route("put", "/conversations/{id}", "update_conversation", "Pin, mute, archive or mark a conversation as opened",
          "Pins, mutes, archives or restores a conversation, or records that the user opened it. Attributes that are "
          "left out stay as they are.",
          200, "The conversation after the change.", "Conversation", CONVERSATION | _EDIT, ("ETag",),
          body=UpdateConversation, body_example=_EDIT, invalid={"is_pinned": "yes"}, request_headers=_CONDITIONS,
          errors=(400, 404, 412, 413, 415)),
    Route("delete", "/conversations/{id}", "delete_conversation", "Delete a conversation with all its messages",
          "Deletes a conversation and all its messages for good. To hide it, archive it instead.",
          204, "The conversation is deleted.", request_headers=_CONDITIONS, errors=(400, 404, 412)),
    Route("get", "/messages", "list_messages", "List messages of one conversation or of all, newest first",
          "Lists the messages of one conversation or of all, newest first, a page at a time.",
          200, "A page of messages.", "Messages", {"has_more": True, "data": [MESSAGE]}, ("Link",), query=ListMessages,
          invalid={"limit": "0"}, errors=(400, 404)),
    Route("post", "/messages", "create_message", "Send a message",
          "Sends a message in a conversation, whose `last_active_at` follows. If the stack delivers between users and "
          "the contact is another user, that user receives it.",
          201, "The new message.", "Message", NEW_MESSAGE, _CREATED, body=CreateMessage,
          body_example={"conversation_id": CONVERSATION_ID, "message": "Merry Christmas, Harry"},
          invalid={"conversation_id": CONVERSATION_ID, "message": ""}, request_headers=("Idempotency-Key",),
          errors=(400, 404, 413, 415, 422)),
    Route("get", "/messages/{id}", "retrieve_message", "Retrieve a message", "Retrieves one message.",
          200, "The message.", "Message", MESSAGE, ("ETag",), request_headers=("If-None-Match",),
          errors=(304, 400, 404)),
    Route("put", "/messages/{id}", "update_message", "Edit a message, react to it or mark it as read",
          "Marks a message as read, reacts to it, or edits text and attachments of a message that the user sent. "
          "Attributes that are left out stay as they are.",
          200, "The message after the change.", "Message", MESSAGE | _REACTION, ("ETag",), body=UpdateMessage,
          body_example=_REACTION, invalid={"read_at": "now"}, request_headers=_CONDITIONS,
          errors=(400, 404, 412, 413, 415)),
    Route("delete", "/messages/{id}", "delete_message", "Delete a message, and unpin it",
          "Deletes a message for good, and unpins it if it was pinned.",
          204, "The message is deleted.", query=DeleteMessage, invalid={"for": "me"}, request_headers=_CONDITIONS,
          errors=(400, 404, 412)),
    Route("get", "/inbox", "list_inbox", "List the inbox, latest activity first",
          "Lists the user's conversations by their last activity, latest first, a page at a time: each with a preview "
          "of its last message and its unread count. Filters combine with AND. The cursor is the position of an entry, "
          "because an entry moves to the top when a message arrives.",
          200, "A page of the inbox.", "Inbox", {"has_more": True, "data": [ENTRY]}, ("Link",),
          query=ListInbox, invalid={"starting_after": CONVERSATION_ID}, errors=(400,)),
    Route("get", "/inbox/{conversation_id}", "retrieve_inbox_entry", "Retrieve the inbox entry of a conversation",
          "Retrieves the inbox entry of one conversation, as it is after every change that the API has confirmed.",
          200, "The inbox entry.", "InboxEntry", ENTRY, ("ETag",), request_headers=("If-None-Match",),
          errors=(304, 400, 404)),
    Route("put", "/inbox/{conversation_id}", "update_inbox_entry", "Mark as read or unread, mute, or block",
          "Marks a conversation as read up to a message, flags it as unread, mutes it until a time, or blocks its "
          "contact. Attributes that are left out stay as they are. `is_unread: false` alone marks everything as read.",
          200, "The inbox entry after the change.", "InboxEntry", _MARKED_ENTRY, ("ETag",), body=UpdateInboxEntry,
          body_example=_MARK, invalid={"muted_until": 0}, request_headers=_CONDITIONS,
          errors=(400, 404, 412, 413, 415)),
    Route("get", "/unread", "count_unread", "Count unread conversations and messages",
          "Counts the unread conversations and their unread messages, for the badge of an app. Looks at the 100 unread "
          "conversations that were active last. Muted and archived conversations do not count unless asked for.",
          200, "The counts.", "UnreadCount", UNREAD_COUNT, query=CountUnread, invalid={"muted": "maybe"},
          errors=(400,)),
    Route("get", "/changes", "list_changes", "List changes, oldest first",
          "Lists what has changed in the user's conversations and messages during the last seven days, oldest first. "
          "The changes of a user are numbered without gaps. Without `starting_after`, only the head is returned: the "
          "number of the last change.",
          200, "A page of changes.", "Changes", {"has_more": True, "data": [CHANGE], "head": 31}, ("Link",),
          query=ListChanges, invalid={"starting_after": "-1"}, errors=(400, 404, 410)),
    Route("get", "/webhooks", "list_webhooks", "List webhooks, newest first",
          "Lists all webhooks of the stack, which are at most 20, newest first.",
          200, "The webhooks.", "Webhooks", {"has_more": False, "data": [WEBHOOK]}, errors=(400,)),
    Route("post", "/webhooks", "create_webhook", "Create a webhook",
          "Creates a webhook: the service sends the events of all users to its URL. The response has the secret that "
          "signs them, which no other call shows again.",
          201, "The new webhook, with its secret.", "Webhook", WEBHOOK | SECRET, _CREATED, body=CreateWebhook,
          body_example={"url": WEBHOOK["url"], "events": EVENTS},
          invalid={"url": "http://example.com/webhook", "events": EVENTS}, request_headers=("Idempotency-Key",),
          errors=(400, 413, 415, 422)),
    Route("get", "/webhooks/{id}", "retrieve_webhook", "Retrieve a webhook", "Retrieves one webhook.",
          200, "The webhook.", "Webhook", WEBHOOK, ("ETag",), request_headers=("If-None-Match",),
          errors=(304, 400, 404)),
    Route("put", "/webhooks/{id}", "update_webhook", "Change a webhook, or rotate its secret",
          "Changes the URL or the events of a webhook, disables or enables it, or rotates its secret. Attributes that "
          "are left out stay as they are. After a rotation, the old secret stays valid for 24 hours.",
          200, "The webhook after the change; after a rotation with the new secret.", "Webhook", WEBHOOK,
          ("ETag",), body=UpdateWebhook, body_example={"is_enabled": True}, invalid={"events": []},
          request_headers=_CONDITIONS, errors=(400, 404, 412, 413, 415)),
    Route("delete", "/webhooks/{id}", "delete_webhook", "Delete a webhook",
          "Deletes a webhook. Events that wait for it are not sent.",
          204, "The webhook is deleted.", request_headers=_CONDITIONS, errors=(400, 404, 412)),
    Route("post", "/webhooks/{id}/redeliveries", "create_redelivery", "Send the events of a period again",
          "Sends the events of a period to a webhook again, with the same ids: of at most a day, within the last seven "
          "days. Repeating the request sends them once more, also with an Idempotency-Key.",
          202, "The period whose events will be sent.", "Redelivery", {"webhook_id": WEBHOOK_ID, **PERIOD},
          body=CreateRedelivery, body_example=PERIOD, invalid=PERIOD | {"to": "now"}, errors=(400, 404, 413, 415)),
]  # fmt: skip
