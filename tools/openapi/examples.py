"""Examples of resources and attributes. The reference page fills its forms with them."""

from typing import Any

CONVERSATION_ID = "8DoZ65wSg7hMp0Jh"
MESSAGE_ID = "8DoZ7Hq2LmX04bTe"
NEW_CONVERSATION = {
    "id": CONVERSATION_ID,
    "contact_id": "harry",
    "group_id": "friends",
    "pinned_message_id": None,
    "is_pinned": False,
    "is_muted": False,
    "last_active_at": None,
    "last_opened_at": None,
    "created_at": 1795374001,
    "archived_at": None,
}
CONVERSATION = NEW_CONVERSATION | {"is_pinned": True, "last_active_at": 1795374120, "last_opened_at": 1795374369}
NEW_MESSAGE: dict[str, Any] = {
    "id": MESSAGE_ID,
    "conversation_id": CONVERSATION_ID,
    "contact": None,
    "message": "Merry Christmas, Harry",
    "reactions": [],
    "attachments": [],
    "read_at": None,
    "created_at": 1795374120,
    "updated_at": None,
}
ATTACHMENTS = ["https://files.example.com/tarantula.jpg"]
MESSAGE = NEW_MESSAGE | {"contact": {"id": "harry"}, "message": "Keep the change.", "attachments": ATTACHMENTS}
REACTIONS = [{"reaction": "heart", "contact_id": None}]
POSITION = f"1795374120.{CONVERSATION_ID}"
LAST_MESSAGE = {name: MESSAGE[name] for name in ("id", "contact", "message", "created_at")}
ENTRY: dict[str, Any] = {
    "position": POSITION,
    "conversation": CONVERSATION,
    "last_message": LAST_MESSAGE,
    "unread_count": 1,
    "is_unread": True,
    "read_up_to": None,
    "muted_until": None,
    "is_blocked": False,
}
UNREAD_COUNT = {"conversations": 3, "messages": 12, "has_more": False}
WEBHOOK_ID = "8DoZ8Ue1Yd6Kw9Xa"
EVENTS = ["message.created", "message.deleted"]
WEBHOOK: dict[str, Any] = {
    "id": WEBHOOK_ID,
    "url": "https://example.com/webhook",
    "events": EVENTS,
    "is_enabled": True,
    "previous_secret_valid_until": None,
    "created_at": 1795374120,
}
SECRET = {"secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDazfWSP/IK9g="}
PERIOD = {"from": 1795366800, "to": 1795370400}
CHANGE: dict[str, Any] = {
    "number": 18,
    "type": "conversation.updated",
    "id": CONVERSATION_ID,
    "version": 3,
    "object": CONVERSATION,
    "created_at": 1795374369,
}
# The first second of 2100: the reference page sends it, and it must be in the future.
MUTED_UNTIL = 4102444800

# By attribute, which means the same in every schema, or by schema and attribute.
ATTRIBUTES: dict[str, Any] = {
    **CONVERSATION,
    **MESSAGE,
    **ENTRY,
    **UNREAD_COUNT,
    **WEBHOOK,
    **SECRET,
    **PERIOD,
    **{f"Change.{name}": value for name, value in CHANGE.items()},
    "Changes.data": [CHANGE],
    "head": 31,
    "ListChanges.starting_after": 17,
    "webhook_id": WEBHOOK_ID,
    "Webhook.id": WEBHOOK_ID,
    "Webhooks.data": [WEBHOOK],
    "rotate_secret": True,
    "previous_secret_valid_until": 1795460520,
    "Conversation.id": CONVERSATION_ID,
    "Contact.id": "harry",
    "Message.id": MESSAGE_ID,
    "LastMessage.id": MESSAGE_ID,
    "pinned_message_id": MESSAGE_ID,
    "archived_at": 1795460400,
    "message": "Merry Christmas, Harry",
    "LastMessage.message": LAST_MESSAGE["message"],
    "read_up_to": MESSAGE_ID,
    "muted_until": MUTED_UNTIL,
    "reaction": "heart",
    "reactions": REACTIONS,
    "read_at": 1795374369,
    "updated_at": 1795374250,
    "distinct": True,
    "has_more": True,
    "Conversations.data": [CONVERSATION],
    "Messages.data": [MESSAGE],
    "Inbox.data": [ENTRY],
    "limit": 10,
    "muted": False,
    "archived": False,
    "pinned": True,
    "unread": True,
    "for": "everyone",
    "starting_after": CONVERSATION_ID,
    "ending_before": CONVERSATION_ID,
    "ListInbox.starting_after": POSITION,
    "ListInbox.ending_before": POSITION,
    "type": "invalid_request",
    "ApiErrorResponse.message": "limit: must be an integer between 1 and 100",
    "documentation_url": "https://protocol.chat/docs/errors/invalid_request",
}
REQUEST_HEADERS = {
    "Idempotency-Key": "0b9ad1a8-6c5e-4a5f-8f0e-2f3f7c1d9e55",
    "If-Match": '"3"',
    "If-None-Match": '"3"',
}
RESPONSE_HEADERS = {
    "ETag": '"3"',
    "Idempotent-Replayed": "true",
    "Link": '<https://api.example.com/v1/{collection}?limit=10&starting_after={cursor}>; rel="next"',
    "Location": "https://api.example.com/v1/{collection}/{cursor}",
    "Retry-After": "1",
    "X-Request-Id": "0f5a2c1e-7b7c-4d8e-9a51-2f6f4f3c8d10",
}
