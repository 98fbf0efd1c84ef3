"""The largest responses: Lambda returns at most 6 MB, encoded once more as JSON."""

import json

import pytest
from coherent.messages.models import MAX_ATTACHMENT_BYTES, MAX_ATTACHMENTS, MAX_REACTIONS

from tests import tables
from tests.handlers import ENDPOINTS, JSON, Context, call, create, event, handler, list_messages, request, send

pytestmark = pytest.mark.usefixtures("tables")

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
LAMBDA_BYTES = 6 * 1024 * 1024


def payload_bytes(endpoint: str, query: dict[str, list[str]] | None = None) -> int:
    """Returns the size of the function's response as Python 3.13's runtime encodes it: UTF-8, without escapes."""
    response = handler(endpoint)(request(endpoint, query=query), Context(25))
    assert response["statusCode"] == 200
    return len(json.dumps(response, ensure_ascii=False).encode())


# In UTF-8, and with the characters that JSON escapes.
@pytest.mark.parametrize("character", ["a", "Я", "漢", "🎄", '"', "\\", "\n"])
def test_page_of_long_messages_fits(character: str) -> None:
    attachment = character.strip() * (MAX_ATTACHMENT_BYTES // len(character.encode()))
    attachments = [attachment] * MAX_ATTACHMENTS if attachment else []
    kept, deleted = create(), create()
    for conversation in [*[kept] * 48, *[deleted] * 60, *[kept] * 48]:
        tables.put_message("kevin", conversation["id"], character * 10_000, attachments)
    call("delete_conversation", id=deleted["id"])
    assert payload_bytes("list_messages", {"limit": ["100"]}) < LAMBDA_BYTES
    assert payload_bytes("list_messages", {"limit": ["100"], "ending_before": ["0" * 16]}) < LAMBDA_BYTES
    found: list[str] = []
    cursor: dict[str, str] = {}
    while page := list_messages(**cursor):
        found += [message["id"] for message in page]
        cursor = {"starting_after": found[-1]}
    assert len(set(found)) == len(found) == 96


def test_page_of_long_messages_between_many_deleted_ones_fits() -> None:
    kept, deleted = create(), create()
    for count_of_long, count_of_short in ((1, 60), (13, 88), (13, 0)):
        for _ in range(count_of_long):
            tables.put_message("kevin", kept["id"], '"' * 10_000, ['"' * MAX_ATTACHMENT_BYTES] * MAX_ATTACHMENTS)
        for _ in range(count_of_short):
            tables.put_message("kevin", deleted["id"])
    call("delete_conversation", id=deleted["id"])
    assert payload_bytes("list_messages", {"limit": ["100"]}) < LAMBDA_BYTES
    assert payload_bytes("list_messages", {"limit": ["100"], "ending_before": ["0" * 16]}) < LAMBDA_BYTES


@pytest.mark.parametrize("character", ["🎄", '"', "\\"])
def test_page_of_messages_with_long_reactions_fits(character: str) -> None:
    message = send(create())
    reactions = [
        {"reaction": character * 64, "contact_id": f"{number:02}{character * 126}"} for number in range(MAX_REACTIONS)
    ]
    body = json.dumps({"reactions": reactions})
    assert call("update_message", id=message["id"], body=body, content_type=JSON).status == 200
    (row,) = tables.messages()
    for number in range(99):
        tables.put_rows({"messages": [row | {"id": {"S": f"{number:016}"}}]})
    assert payload_bytes("list_messages", {"limit": ["100"]}) < LAMBDA_BYTES


@pytest.mark.parametrize("character", ["🎄", '"', "\\"])
def test_page_of_conversations_fits(character: str) -> None:
    for _ in range(100):
        create(contact_id=character * 128, group_id=character * 128)
    assert payload_bytes("list_conversations", {"limit": ["100"]}) < LAMBDA_BYTES // 10


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_error_response_fits(endpoint: str) -> None:
    unknown = {f"{number}{'🎄' * 10_000}": ["a"] for number in range(100)}
    given = event(endpoint)
    given["multiValueQueryStringParameters"] = unknown
    response = handler(endpoint)(given, Context(25))
    assert response["statusCode"] in (200, 400)
    assert len(json.dumps(response, ensure_ascii=False).encode()) < LAMBDA_BYTES // 3
