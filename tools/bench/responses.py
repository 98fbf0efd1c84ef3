"""What DynamoDB answers: rows as the service stores them, in the bytes that come over the wire."""

import json
import zlib
from typing import Any

# The user of the sample events, and what they ask for.
USER_ID = "a4c81448-6021-70d1-5b2f-5c0e1f2d9a11"
CONVERSATION_ID = "xgQQXg3hrtjh7AvZ"
MESSAGE_ID = "8DoZ7Hq2LmX04bTe"

_PAGE = 10


def conversation(id: str = CONVERSATION_ID) -> dict[str, Any]:
    """The row of a conversation that has seen some use."""
    return {
        "user_id": {"S": USER_ID},
        "id": {"S": id},
        "contact_id": {"S": "harry"},
        "group_id": {"S": "friends"},
        "owner_group": {"S": f"{USER_ID}#friends"},
        "is_archived": {"N": "0"},
        "is_pinned": {"N": "1"},
        "is_muted": {"N": "0"},
        "last_active_at": {"N": "1795374400"},
        "last_opened_at": {"N": "1795374420"},
        "created_at": {"N": "1795374369"},
        "version": {"N": "3"},
        "written_by": {"S": "xgQQXh0AcLWc0f3Q"},
    }


def shown(id: str = CONVERSATION_ID) -> dict[str, Any]:
    """The same conversation as clients see it."""
    return {
        "id": id,
        "contact_id": "harry",
        "group_id": "friends",
        "pinned_message_id": None,
        "is_pinned": True,
        "is_muted": False,
        "last_active_at": 1_795_374_400,
        "last_opened_at": 1_795_374_420,
        "created_at": 1_795_374_369,
        "archived_at": None,
    }


def message(id: str = MESSAGE_ID) -> dict[str, Any]:
    """The row of a message that the contact has sent."""
    return {
        "user_conversation": {"S": f"{USER_ID}#{CONVERSATION_ID}"},
        "id": {"S": id},
        "user_id": {"S": USER_ID},
        "conversation_id": {"S": CONVERSATION_ID},
        "contact_id": {"S": "harry"},
        "message": {"S": "Merry Christmas, you filthy animal!"},
        "reactions": {"L": [{"M": {"reaction": {"S": "heart"}, "contact_id": {"NULL": True}}}]},
        "attachments": {"L": []},
        "created_at": {"N": "1795374369"},
        "version": {"N": "1"},
    }


def of_conversations() -> dict[str, bytes]:
    """The answer to each operation that a call on conversations makes; a Query finds ten and no more."""
    row = conversation()
    return _encoded(
        {
            "GetItem": {"Item": row},
            "PutItem": {},
            "UpdateItem": {"Attributes": row},
            "DeleteItem": {},
            "TransactWriteItems": {},
            "Query": _found([conversation(id) for id in page_ids(CONVERSATION_ID)]),
        }
    )


def of_messages(endpoint: str) -> dict[str, bytes]:
    """The answer to each operation that a call of this *endpoint* on messages makes; likewise."""
    row = message()
    read: dict[str, Any] = {"conversations": [{"id": {"S": CONVERSATION_ID}}]}
    if endpoint != "list_messages":
        read["messages"] = [row]
    return _encoded(
        {
            "BatchGetItem": {"Responses": read, "UnprocessedKeys": {}},
            "UpdateItem": {"Attributes": row},
            "TransactWriteItems": {},
            "Query": _found([message(id) for id in page_ids(MESSAGE_ID)]),
        }
    )


def page_ids(like: str) -> list[str]:
    """The ids that a Query finds, newest first: all alike but for their last character."""
    return [f"{like[:-1]}{digit}" for digit in range(_PAGE - 1, -1, -1)]


def headers(content: bytes) -> dict[str, str]:
    """The headers of an answer with that *content*."""
    return {
        "Server": "Server",
        "Date": "Sun, 22 Nov 2026 18:45:20 GMT",
        "Content-Type": "application/x-amz-json-1.0",
        "Content-Length": str(len(content)),
        "Connection": "keep-alive",
        "x-amzn-RequestId": "Q5F0M8S9T2J3V4K6L7N8P9R0A1VV4KQNSO5AEMVJF66Q9ASUAAJG",
        "x-amz-crc32": str(zlib.crc32(content)),
    }


def _found(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Count": len(rows), "Items": rows, "ScannedCount": len(rows)}


def _encoded(responses: dict[str, dict[str, Any]]) -> dict[str, bytes]:
    return {
        operation: json.dumps(response, separators=(",", ":")).encode() for operation, response in responses.items()
    }
