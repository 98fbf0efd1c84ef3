"""What the reference says about attributes, parameters, headers and statuses, with an example of each."""

from typing import Any

from coherent.http import body, etags

CONVERSATION_ID = "8DoZ65wSg7hMp0Jh"
MESSAGE_ID = "8DoZ7Hq2LmX04bTe"

# An attribute means the same wherever it occurs, so it has one example. The reference page fills its forms with them.
EXAMPLES: dict[str, Any] = {
    "Conversation.id": CONVERSATION_ID,
    "Message.id": MESSAGE_ID,
    "Contact.id": "harry",
    "ApiErrorResponse.message": "limit: must be an integer between 1 and 100",
    "contact_id": "harry",
    "group_id": "friends",
    "pinned_message_id": MESSAGE_ID,
    "is_pinned": True,
    "is_muted": False,
    "last_active_at": 1795374120,
    "last_opened_at": 1795374369,
    "created_at": 1795374001,
    "archived_at": 1795460400,
    "conversation_id": CONVERSATION_ID,
    "contact": {"id": "harry"},
    "message": "Merry Christmas, Harry",
    "reaction": "heart",
    "reactions": [{"reaction": "heart", "contact_id": None}],
    "attachments": ["https://files.example.com/tarantula.jpg"],
    "read_at": 1795374369,
    "updated_at": 1795374250,
    "has_more": True,
    "limit": 10,
    "muted": False,
    "archived": False,
    "pinned": True,
    "starting_after": CONVERSATION_ID,
    "ending_before": CONVERSATION_ID,
    "type": "invalid_request",
    "documentation_url": "https://protocol.chat/docs/errors/invalid_request",
}
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
NEW_MESSAGE = {
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
MESSAGE = NEW_MESSAGE | {
    "contact": {"id": "harry"},
    "message": "Keep the change.",
    "attachments": ["https://files.example.com/tarantula.jpg"],
}

EXAMPLES |= {"Conversations.data": [CONVERSATION], "Messages.data": [MESSAGE]}

_STARTING_AFTER = "The id of a {0}: the page begins with the next older {0}. Take it from the last {0} of a page."
_ENDING_BEFORE = (
    "The id of a {0}: the page ends with the next newer {0}. Take it from the first {0} of a page. "
    "Cannot be combined with starting_after."
)
_ATTACHMENTS = "What is attached to the message, usually URLs of files that your app stores."

ATTRIBUTES = {
    "Conversation": {
        "id": "Identifies the conversation. Ids sort by creation time.",
        "contact_id": "Your app's identifier of the contact; null if the conversation is with a group alone.",
        "group_id": "Your app's identifier of the group; null if the conversation is with a contact alone.",
        "pinned_message_id": "The message that the user has pinned in the conversation; null if there is none. "
        "Deleting the message unpins it.",
        "is_pinned": "Whether the user has pinned the conversation. Apps show pinned conversations first; the order of "
        "lists does not change.",
        "is_muted": "Whether the user has muted the conversation. Apps do not notify users of its messages.",
        "last_active_at": "When the latest message was sent or received; null before the first one.",
        "last_opened_at": "When the user last opened the conversation, as reported by an app; null if never. "
        "Unix seconds.",
        "created_at": "When the conversation was created.",
        "archived_at": "When the user archived the conversation; null if it is not archived.",
    },
    "Message": {
        "id": "Identifies the message. Ids sort by creation time.",
        "conversation_id": "The conversation that contains the message.",
        "contact": "The contact who sent the message; null if the user sent it.",
        "message": "The text of the message. Empty if it has attachments only.",
        "reactions": "The reactions of the user and of contacts to the message.",
        "attachments": _ATTACHMENTS,
        "read_at": "When the user read the message, as reported by an app; null if it is unread.",
        "created_at": "When the message was stored.",
        "updated_at": "When text or attachments were last edited; null if never. Reading and reacting do not count as "
        "edits.",
    },
    "Contact": {"id": "Your app's identifier of the contact."},
    "Reaction": {
        "reaction": "The reaction: an emoji or a name such as heart.",
        "contact_id": "Your app's identifier of the contact who reacted; null if the user did.",
    },
    "Conversations": {
        "has_more": "Whether another page follows in the direction of the request.",
        "data": "The conversations of the page, newest first.",
    },
    "Messages": {
        "has_more": "Whether another page follows in the direction of the request.",
        "data": "The messages of the page, newest first.",
    },
    "ApiErrorResponse": {
        "type": "Who has to act: `invalid_request` if the request must change (4xx), `api_error` if the service failed "
        "(5xx).",
        "message": "What is wrong and what would be right, for developers. Names the parameter. May change; do not "
        "parse it.",
        "documentation_url": "A page about this type of error.",
    },
    "ListConversations": {
        "limit": "How many conversations the page has at most.",
        "starting_after": _STARTING_AFTER.format("conversation"),
        "ending_before": _ENDING_BEFORE.format("conversation"),
        "muted": "Lists only muted conversations (true) or only others (false). Leave it out to list both.",
        "archived": "Lists only archived conversations (true) or only others (false). Leave it out to list both.",
        "pinned": "Lists only pinned conversations (true) or only others (false). Leave it out to list both.",
        "group_id": "Lists only conversations of this group.",
    },
    "ListMessages": {
        "limit": "How many messages the page has at most. Pages of very long messages have fewer.",
        "starting_after": _STARTING_AFTER.format("message"),
        "ending_before": _ENDING_BEFORE.format("message"),
        "conversation_id": "Lists only messages of this conversation. Leave it out to list those of all conversations.",
    },
    "CreateConversation": {
        "contact_id": "Your app's identifier of the contact to talk to. Leave it out for a conversation with a group.",
        "group_id": "Your app's identifier of the group to talk in. Leave it out for a conversation with a contact.",
    },
    "UpdateConversation": {
        "pinned_message_id": "Pins this message of the conversation; null unpins.",
        "is_pinned": "Pins the conversation (true) or unpins it (false).",
        "is_muted": "Mutes the conversation (true) or unmutes it (false).",
        "archived_at": "Archives the conversation, with the time at which the user did so; null restores it.",
        "last_opened_at": "Records when the user opened the conversation; null records that the user never did.",
    },
    "CreateMessage": {
        "conversation_id": "The conversation to send the message in.",
        "message": "The text of the message. May be left out if there are attachments.",
        "attachments": _ATTACHMENTS,
    },
    "UpdateMessage": {
        "message": "Replaces the text. Rejected with 403 if a contact sent the message.",
        "reactions": "Replaces all reactions to the message, those of contacts too. Repeated ones are stored once.",
        "attachments": "Replaces all attachments. Rejected with 403 if a contact sent the message.",
        "read_at": "Records when the user read the message; null marks it as unread.",
    },
}

SCHEMAS = {
    "Conversation": "A conversation of the user with a contact, a group, or a contact in a group.",
    "Message": "A message that the user sent or received.",
    "Contact": "A person whom the user talks to.",
    "Reaction": "A reaction to a message.",
    "Conversations": "A page of conversations.",
    "Messages": "A page of messages.",
    "ApiErrorResponse": "The body of every error response.",
    "CreateConversation": "A new conversation. At least one of contact_id and group_id must be given and not be null; "
    "both make a conversation with a contact in a group.",
    "UpdateConversation": "Changes to a conversation, at least one. Attributes that are left out stay as they are.",
    "CreateMessage": "A new message, with a text, attachments or both.",
    "UpdateMessage": "Changes to a message, at least one. Attributes that are left out stay as they are. "
    "A text or an attachment must remain.",
}

RESPONSE_HEADERS = {
    "ETag": ("The version of the resource. Send it in If-Match or If-None-Match.", '"3"'),
    "Idempotent-Replayed": (
        "Present if an earlier request with the same Idempotency-Key created the resource; this request created none.",
        "true",
    ),
    "Link": (
        "The URLs of the next and of the previous page, as far as they exist (RFC 8288). Filters are kept.",
        '<https://api.example.com/v1/{noun}s?limit=10&starting_after={id}>; rel="next"',
    ),
    "Location": ("The URL of the new resource.", "https://api.example.com/v1/{noun}s/{id}"),
    "Retry-After": ("Seconds to wait before the next attempt.", "1"),
    "X-Request-Id": (
        "Identifies the request in the logs of the service. Quote it when you report a problem. Responses of the "
        "firewall have none.",
        "0f5a2c1e-7b7c-4d8e-9a51-2f6f4f3c8d10",
    ),
}
# Each header's meaning, pattern, example.
REQUEST_HEADERS = {
    "Idempotency-Key": (
        "Makes the request safe to repeat for 24 hours: a repeated request with the same key creates nothing and "
        "returns the first resource. Use a new UUID for each new resource.",
        "[ -~]{1,255}",
        "0b9ad1a8-6c5e-4a5f-8f0e-2f3f7c1d9e55",
    ),
    "If-Match": (
        "Applies the change only if the resource still has one of these ETags, so that no concurrent change is lost. "
        "`*` means that it must exist.",
        etags.PATTERN,
        '"3"',
    ),
    "If-None-Match": (
        "The ETags that the client has already. A GET of one of these versions returns 304 without a body; a change "
        "of one is rejected with 412.",
        etags.PATTERN,
        '"3"',
    ),
}

STATUSES = {
    304: "The resource still has one of the ETags in If-None-Match. The response has no body.",
    400: "The request is invalid. The message names every wrong parameter and what would be right.",
    401: "The access token is missing, invalid or expired, or lacks the scope of this call.",
    403: "The firewall blocked the request, if the stack has one.",
    404: "The user has no such {noun}. It may belong to another user.",
    412: "The {noun} does not meet If-Match or If-None-Match: it has changed since the client retrieved it.",
    413: f"The body is longer than {body.MAX_BYTES:,} bytes.",
    415: "The body is neither JSON nor a form, or not in UTF-8.",
    422: "The Idempotency-Key was already used with other attributes.",
    429: "Too many requests.",
    500: "The service failed. The cause is logged with the request's id.",
    503: "The service is temporarily unavailable. A change may or may not have been applied.",
}
