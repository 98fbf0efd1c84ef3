"""The built functions with the trimmed layer."""

import json
from pathlib import Path

import pytest

from tests import fake_lambda, handlers, tables
from tests.built.conftest import run
from tests.handlers import (
    JSON,
    USER_ENDPOINTS,
    Context,
    call,
    create,
    event,
    invoke,
    list_conversations,
    purge,
    send,
    sweep,
    update,
)

pytestmark = pytest.mark.usefixtures("functions")


@pytest.mark.parametrize("function", handlers.FUNCTIONS)
def test_function_starts_with_the_layer_alone(function: str, built: Path) -> None:
    run(built, function, "import app\nprint('null')")


def test_conversations_can_be_used() -> None:
    conversation = create(contact_id="harry", group_id="friends")
    assert call("retrieve_conversation", id=conversation["id"]).body == conversation
    muted = update(conversation, is_muted=True, archived_at=1_790_000_000)
    assert muted == conversation | {"is_muted": True, "archived_at": 1_790_000_000}
    assert list_conversations() == list_conversations(muted="true") == list_conversations(group_id="friends") == [muted]
    assert list_conversations(muted="false") == []
    rejected = call("update_conversation", id=conversation["id"], body="is_muted=false", headers={"If-Match": '"1"'})
    assert (rejected.status, rejected.message[:8]) == (412, "If-Match")
    assert call("delete_conversation", id=conversation["id"]).status == 204
    assert call("retrieve_conversation", id=conversation["id"]).status == 404


def test_idempotency_key_creates_once() -> None:
    responses = [
        call("create_conversation", body="contact_id=harry", headers={"Idempotency-Key": "k"}) for _ in range(2)
    ]
    assert responses[0].body == responses[1].body
    assert responses[1].headers["Idempotent-Replayed"] == "true"
    other = call("create_conversation", body="contact_id=hermione", headers={"Idempotency-Key": "k"})
    assert other.status == 422


def test_messages_can_be_used_and_purged() -> None:
    conversation = create()
    sent = send(conversation, "hello ☃", attachments=["https://example.com/a.png"])
    assert call("retrieve_message", id=sent["id"]).body == sent
    reactions = [{"reaction": "heart", "contact_id": "harry"}, {"reaction": "heart", "contact_id": None}]
    body = json.dumps({"reactions": reactions})
    changed = call("update_message", id=sent["id"], body=body, content_type=JSON)
    assert changed.body["reactions"] == reactions
    assert call("list_messages").body == {"has_more": False, "data": [changed.body]}
    assert update(conversation, pinned_message_id=sent["id"])["pinned_message_id"] == sent["id"]
    assert call("delete_message", id=sent["id"]).status == 204
    assert call("retrieve_conversation", id=conversation["id"]).body["pinned_message_id"] is None
    send(conversation)
    assert call("delete_conversation", id=conversation["id"]).status == 204
    assert purge(("kevin", conversation["id"])) == []
    assert tables.messages() == []


def test_sweep_finishes_a_purge() -> None:
    conversation = create()
    send(conversation)
    call("delete_conversation", id=conversation["id"])
    tables.age_tombstones()
    sweep()
    assert tables.lasting_partitions() == {"pair#kevin"}


def test_received_message_is_stored() -> None:
    conversation = create()
    received = event("receive_message")
    received["detail"] |= {"user_id": "kevin", "conversation_id": conversation["id"]}
    handlers.handler("receive_message")(received, Context(25))
    assert [row["message"]["S"] for row in tables.messages()] == [received["detail"]["message"]]


def test_release_hook_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_lambda.serving() as (fake, url):
        for name, value in fake.environment(url).items():
            monkeypatch.setenv(name, value)
        hook = handlers.handler(fake_lambda.HOOK)
        hook(event(fake_lambda.HOOK), Context())
        hook({"Records": [{"body": body} for body in fake.sent]}, Context())
    assert fake.statuses == ["Succeeded"]


def test_reference_page_has_its_files() -> None:
    for asset in (None, "openapi.json", "start.js", "style.css", "swagger-ui.css", "swagger-ui.js"):
        request = event("retrieve_docs")
        request["pathParameters"] = {"asset": asset} if asset else None
        assert invoke("retrieve_docs", request).status == 200


@pytest.mark.parametrize("endpoint", USER_ENDPOINTS)
def test_request_without_a_user_returns_401(endpoint: str) -> None:
    request = event(endpoint)
    del request["requestContext"]["authorizer"]
    assert invoke(endpoint, request).status == 401


# The functions that validate a body, a query or an event.
WITH_MODELS = {
    "count_unread",
    "create_conversation",
    "create_message",
    "create_redelivery",
    "create_webhook",
    "delete_message",
    "deliver_messages",
    "list_changes",
    "list_conversations",
    "list_inbox",
    "list_messages",
    "receive_message",
    "sweep_deliveries",
    "update_conversation",
    "update_inbox_entry",
    "update_message",
    "update_webhook",
}
_MODULES = """
import json, sys
import app
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize("function", handlers.FUNCTIONS)
def test_init_imports_only_what_the_function_needs(function: str, built: Path) -> None:
    modules = run(built, function, _MODULES)
    assert ("pydantic" in modules) == (function in WITH_MODELS)
    assert ("botocore.session" in modules) == (function != "retrieve_docs")
