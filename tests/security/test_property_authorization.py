"""API3: clients can neither write nor read internal attributes, and ambiguous parameters are rejected."""

import json
from typing import Any

import pytest

from tests.security.attacks import (
    ABSENT_ID,
    FORM,
    JSON,
    PROPERTY_AUTHORIZATION,
    RecordAttack,
    Victim,
    unchanged,
)
from tests.stack import Client, Stack, leak_free_error, send_raw
from tools.openapi import FILE

# Read-only attributes, attributes of rows, and names that other frameworks honour.
NOT_WRITABLE: dict[str, object] = {
    "id": ABSENT_ID,
    "user_id": "harry",
    "owner_group": "harry#friends",
    "user_conversation": f"harry#{ABSENT_ID}",
    "is_archived": True,
    "version": 1000,
    "created_at": 1,
    "updated_at": 1,
    "last_active_at": 1,
    "expires_at": 1,
    "written_by": ABSENT_ID,
    "made_id": ABSENT_ID,
    "digest": "x",
    "contact": {"id": "harry"},
    "is_admin": True,
    "role": "admin",
    "sub": "harry",
    "scope": "conversations/write",
    "__proto__": {"is_pinned": True},
    "constructor": {"prototype": {"is_pinned": True}},
    "": "x",
    "Is_pinned": True,
    "is_pinned ": True,
}
WRITES: dict[str, tuple[str, str, dict[str, object]]] = {
    "POST /conversations": ("POST", "/conversations", {"contact_id": "marv"}),
    "PUT /conversations": ("PUT", "/conversations/CONVERSATION", {"is_muted": True}),
    "POST /messages": ("POST", "/messages", {"conversation_id": "CONVERSATION", "message": "x"}),
    "PUT /messages": ("PUT", "/messages/MESSAGE", {"message": "x"}),
}


@pytest.mark.parametrize("write", WRITES)
def test_client_cannot_write_internal_attributes(
    write: str, stack: Stack, victim: Victim, record_attack: RecordAttack
) -> None:
    kate, conversation = victim.user, victim.conversation
    method, path, body = WRITES[write]
    path = path.replace("CONVERSATION", conversation["id"]).replace("MESSAGE", conversation["pinned_message_id"])
    if "conversation_id" in body:
        body = body | {"conversation_id": conversation["id"]}
    form = {name: "true" if value is True else str(value) for name, value in body.items()}
    with unchanged(stack, kate):
        for name, value in NOT_WRITABLE.items():
            for given in ({"json": body | {name: value}}, {"data": form | {name: str(value)}}):
                status, message = leak_free_error(kate.send(method, path, **given))
                assert (status, message.startswith(f"{name}: unknown or read-only;")) == (400, True), message
        all_at_once = kate.send(method, path, json=body | NOT_WRITABLE)
        assert leak_free_error(all_at_once)[0] == 400
    outcome = "400 that names the attribute; nothing is written"
    record_attack(
        PROPERTY_AUTHORIZATION, f"mass assignment by {write}, JSON and form", outcome, 2 * len(NOT_WRITABLE) + 1
    )


def test_responses_show_no_internal_attributes(
    stack: Stack, kevin: Client, conversation: dict[str, Any], record_attack: RecordAttack
) -> None:
    schemas = json.loads(FILE.read_text())["components"]["schemas"]
    retrieved = kevin.send("GET", f"/conversations/{conversation['id']}").json()
    message = kevin.send("GET", f"/messages/{conversation['pinned_message_id']}").json()
    for name, resources in (
        ("Conversation", [conversation, *kevin.list()["data"], retrieved]),
        ("Message", [message, *kevin.messages()["data"]]),
    ):
        for resource in resources:
            assert list(resource) == list(schemas[name]["properties"])
    internal = {name for row in stack.user_rows(kevin) for name in row} - conversation.keys() - message.keys()
    assert {"user_id", "owner_group", "user_conversation", "version", "written_by"} <= internal
    outcome = f"none of the {len(internal)} internal ones is shown"
    record_attack(PROPERTY_AUTHORIZATION, "internal attributes of rows in responses", outcome, 5)


# Requests that two parsers could read differently: method and path, content type, body, start of the error message.
AMBIGUOUS: dict[str, tuple[str, str, bytes, str]] = {
    "a parameter twice": ("GET /conversations?limit=1&limit=100", "", b"", "limit: must be given only once"),
    "a parameter twice, once encoded": (
        "GET /conversations?limit=1&%6cimit=100",
        "",
        b"",
        "limit: must be given only once",
    ),
    "an array": ("GET /conversations?limit[]=1", "", b"", "limit[]: unknown"),
    "a map": ("GET /conversations?limit[$gt]=1", "", b"", "limit[$gt]: unknown"),
    "a semicolon": ("GET /conversations?limit=1;limit=100", "", b"", "limit: must be an integer"),
    "full width digits": ("GET /conversations?limit=%EF%BC%91", "", b"", "limit: must be an integer"),
    "upper case": ("GET /conversations?Limit=1", "", b"", "Limit: unknown"),
    "a method override": ("GET /conversations?_method=DELETE", "", b"", "_method: unknown"),
    "a JSONP callback": ("GET /conversations?callback=alert", "", b"", "callback: unknown"),
    "a filter by another user": ("GET /conversations?user_id=harry", "", b"", "user_id: unknown"),
    "both cursors": (
        f"GET /conversations?starting_after={ABSENT_ID}&ending_before={ABSENT_ID}",
        "",
        b"",
        "starting_after, ending_before: only one",
    ),
    "a query on a POST": (
        "POST /conversations?contact_id=a",
        JSON,
        b'{"contact_id": "b"}',
        "contact_id: unknown; this call takes no",
    ),
    "a query on a DELETE": (
        f"DELETE /conversations/{ABSENT_ID}?force=true",
        "",
        b"",
        "force: unknown; this call takes no",
    ),
    "a body of a GET": ("GET /conversations", JSON, b'{"limit": 1}', "body: must be empty"),
    "a body of a DELETE": (f"DELETE /conversations/{ABSENT_ID}", FORM, b"id=x", "body: must be empty"),
    "a JSON name twice": (
        "POST /conversations",
        JSON,
        b'{"contact_id": "a", "contact_id": "b"}',
        "contact_id: must be given only",
    ),
    "a JSON name twice, once escaped": (
        "POST /conversations",
        JSON,
        b'{"contact_id": "a", "contact\\u005fid": "b"}',
        "contact_id: must be given only",
    ),
    "a nested JSON name twice": (
        "POST /conversations",
        JSON,
        b'{"contact_id": {"a": 1, "a": 2}}',
        "a: must be given only once",
    ),
    "a form field twice": (
        "POST /conversations",
        FORM,
        b"contact_id=a&contact_id=b",
        "contact_id: must be given only once",
    ),
    "a form field and an array": (
        "POST /conversations",
        FORM,
        b"contact_id=a&contact_id[]=b",
        "contact_id: must be given only",
    ),
    "an operator": ("POST /conversations", JSON, b'{"contact_id": {"$ne": null}}', "contact_id: must be 1 to 128"),
    "a DynamoDB value": ("POST /conversations", JSON, b'{"contact_id": {"S": "x"}}', "contact_id: must be 1 to 128"),
    "a form as JSON": ("POST /conversations", JSON, b"contact_id=a", "body: must be well-formed JSON"),
    "JSON as a form": ("POST /conversations", FORM, b'{"contact_id": "a"}', "body: looks like JSON"),
    "an array of bodies": ("POST /conversations", JSON, b'[{"contact_id": "a"}]', "body: must be a JSON object"),
    "a lone surrogate": ("POST /conversations", JSON, b'{"contact_id": "\\ud800"}', "contact_id: must be 1 to 128"),
    "a lone surrogate in a name": (
        "POST /conversations",
        JSON,
        b'{"\\ud800": "a"}',
        "parameter names: must be valid Unicode",
    ),
    "NUL": ("POST /conversations", JSON, b'{"contact_id": "a\\u0000b"}', "contact_id: must be 1 to 128"),
    "a line end": ("POST /conversations", FORM, b"contact_id=a%0d%0aX:y", "contact_id: must be 1 to 128"),
    "overlong UTF-8": ("POST /conversations", FORM, b"contact_id=%C0%AF", "body: must be UTF-8"),
    "UTF-16": ("POST /conversations", JSON, '{"contact_id": "a"}'.encode("utf-16"), "body: must be well-formed JSON"),
    "a byte order mark": ("POST /conversations", JSON, b'\xef\xbb\xbf{"contact_id": "a"}', "body: must be well-formed"),
    "NaN": ("POST /conversations", JSON, b'{"contact_id": NaN}', "body: must be well-formed JSON"),
}


@pytest.mark.parametrize("ambiguity", AMBIGUOUS)
def test_ambiguous_parameters_are_rejected(
    ambiguity: str, stack: Stack, kevin: Client, record_attack: RecordAttack
) -> None:
    line, content_type, body, expected = AMBIGUOUS[ambiguity]
    headers = [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"] if body else []
    with unchanged(stack, kevin):
        status, message = leak_free_error(send_raw(kevin, line, *headers, body=body))
    assert (status, message[: len(expected)]) == (400, expected)
    record_attack(PROPERTY_AUTHORIZATION, f"parameter pollution: {ambiguity}", "400 that says what would be right")
