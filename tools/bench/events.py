"""The requests that are made: API Gateway events, from the samples in `events/`."""

import json
from typing import Any

from tools.local.environment import ROOT

# The five that every contender answers as well.
ENDPOINTS = (
    "list_conversations",
    "create_conversation",
    "retrieve_conversation",
    "update_conversation",
    "delete_conversation",
)
OF_MESSAGES = ("list_messages", "create_message", "retrieve_message", "update_message", "delete_message")

# JSON, which every framework reads; ours takes forms as well.
_BODIES: dict[str, dict[str, Any]] = {
    "create_conversation": {"contact_id": "harry", "group_id": "friends"},
    "update_conversation": {"is_pinned": True},
    "create_message": {"conversation_id": "8DoZ65wSg7hMp0Jh", "message": "Merry Christmas, you filthy animal!"},
    "update_message": {"read_at": 1_795_374_369},
}


def event(
    endpoint: str, *, query: dict[str, str] | None = None, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """A request to *endpoint* as API Gateway hands it over: plain, but for the *query* and *headers* asked for."""
    made: dict[str, Any] = json.loads((ROOT / f"events/{endpoint}.json").read_text())
    made["queryStringParameters"] = query
    made["multiValueQueryStringParameters"] = {name: [value] for name, value in query.items()} if query else None
    given = dict(headers or {})
    if endpoint in _BODIES:
        made["body"] = json.dumps(_BODIES[endpoint])
        given["Content-Type"] = "application/json"
    for name, value in given.items():
        made["headers"][name] = value
        made["multiValueHeaders"][name] = [value]
    return made
