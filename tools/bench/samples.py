"""The sample requests, the rows that DynamoDB responds with, and the responses that clients must get."""

import json
import zlib
from typing import Any

from tools.local.environment import ROOT

# The five endpoints that the baseline and all frameworks implement.
ENDPOINTS = (
    "list_conversations",
    "create_conversation",
    "retrieve_conversation",
    "update_conversation",
    "delete_conversation",
)
# The user and the conversation of the sample events.
USER_ID = "a4c81448-6021-70d1-5b2f-5c0e1f2d9a11"
_CONVERSATION_ID = "xgQQXg3hrtjh7AvZ"

# JSON, which all frameworks parse.
_BODIES: dict[str, dict[str, Any]] = {
    "create_conversation": {"contact_id": "harry", "group_id": "friends"},
    "update_conversation": {"is_pinned": True},
}
_CONVERSATION: dict[str, Any] = {
    "id": _CONVERSATION_ID,
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
_ROW = {
    "user_id": {"S": USER_ID},
    "owner_group": {"S": f"{USER_ID}#friends"},
    **{name: {"S": _CONVERSATION[name]} for name in ("id", "contact_id", "group_id")},
    **{name: {"N": str(_CONVERSATION[name])} for name in ("created_at", "last_active_at", "last_opened_at")},
    **{name: {"N": str(value)} for name, value in (("is_archived", 0), ("is_pinned", 1), ("is_muted", 0))},
    "version": {"N": "3"},
    "written_by": {"S": "xgQQXh0AcLWc0f3Q"},
    "last_message_id": {"S": "xgQQXgqpZIq7cJ1f"},
    "read_up_to": {"S": "xgQQXgqpZIq7cJ1f"},
    "activity": {"S": f"{_CONVERSATION['last_active_at']}.{_CONVERSATION_ID}"},
    **{name: {"N": str(value)} for name, value in (("is_unread", 0), ("unread_count", 0), ("unread_revision", 2))},
    "last_message": {
        "M": {
            "id": {"S": "xgQQXgqpZIq7cJ1f"},
            "contact_id": {"S": "harry"},
            "message": {
                "S": "Merry Christmas, you filthy animal! And a happy New Year. I keep the change; you keep this text."
            },
            "created_at": {"N": str(_CONVERSATION["last_active_at"])},
        }
    },
}


def event(endpoint: str, query: dict[str, str] | None = None) -> dict[str, Any]:
    """Returns a request as API Gateway passes it to a function, made from the sample in `events/`."""
    request: dict[str, Any] = json.loads((ROOT / f"events/{endpoint}.json").read_text())
    request["queryStringParameters"] = query
    request["multiValueQueryStringParameters"] = {name: [value] for name, value in query.items()} if query else None
    if endpoint in _BODIES:
        request["body"] = json.dumps(_BODIES[endpoint])
        request["headers"]["Content-Type"] = "application/json"
        request["multiValueHeaders"]["Content-Type"] = ["application/json"]
    return request


def dynamodb() -> dict[str, tuple[dict[str, str], str]]:
    """Returns the headers and body that DynamoDB responds with, by operation. A Query finds ten rows."""
    page = [_ROW | {"id": {"S": id}} for id in _page_ids()]
    responses: dict[str, dict[str, Any]] = {
        "BatchGetItem": {"Responses": {"conversations": page}, "UnprocessedKeys": {}},
        # The inbox also reads whether it is prepared.
        "GetItem": {"Item": _ROW | {"finished_at": {"N": "1795374369"}}},
        "PutItem": {},
        "UpdateItem": {"Attributes": _ROW},
        "DeleteItem": {},
        "TransactWriteItems": {},
        "Query": {"Count": len(page), "Items": page, "ScannedCount": len(page)},
    }
    encoded = {operation: json.dumps(body, separators=(",", ":")) for operation, body in responses.items()}
    return {operation: (_headers(body), body) for operation, body in encoded.items()}


def is_expected(endpoint: str, response: dict[str, Any]) -> bool:
    """Returns whether *response* is what a client must get."""
    status = {"create_conversation": 201, "delete_conversation": 204}.get(endpoint, 200)
    if response["statusCode"] != status:
        return False
    if status == 204:
        return not response["body"]
    body = json.loads(response["body"])
    expected: dict[str, Any] = _CONVERSATION
    if endpoint == "list_conversations":
        expected = {"has_more": False, "data": [_CONVERSATION | {"id": id} for id in _page_ids()]}
    if endpoint == "list_inbox":
        return {entry["conversation"]["id"] for entry in body["data"]} == set(_page_ids())
    if endpoint == "create_conversation":
        generated = {name: body[name] for name in ("id", "created_at")}
        expected = _CONVERSATION | {"is_pinned": False, "last_active_at": None, "last_opened_at": None} | generated
    return bool(body == expected)


def _page_ids() -> list[str]:
    return [f"{_CONVERSATION_ID[:-1]}{digit}" for digit in "9876543210"]


def _headers(body: str) -> dict[str, str]:
    return {
        "Server": "Server",
        "Date": "Sun, 22 Nov 2026 18:45:20 GMT",
        "Content-Type": "application/x-amz-json-1.0",
        "Content-Length": str(len(body)),
        "Connection": "keep-alive",
        "x-amzn-RequestId": "Q5F0M8S9T2J3V4K6L7N8P9R0A1VV4KQNSO5AEMVJF66Q9ASUAAJG",
        "x-amz-crc32": str(zlib.crc32(body.encode())),
    }
