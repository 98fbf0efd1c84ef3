"""Every function runs from what `sam build` leaves, trimmed as it is."""

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


def test_conversations_are_created_listed_changed_and_deleted() -> None:
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


def test_a_key_creates_once() -> None:
    responses = [
        call("create_conversation", body="contact_id=harry", headers={"Idempotency-Key": "k"}) for _ in range(2)
    ]
    assert responses[0].body == responses[1].body
    assert responses[1].headers["Idempotent-Replayed"] == "true"
    other = call("create_conversation", body="contact_id=hermione", headers={"Idempotency-Key": "k"})
    assert other.status == 422


def test_messages_are_sent_changed_pinned_and_purged() -> None:
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


def test_the_sweep_finishes_an_order_to_purge() -> None:
    conversation = create()
    send(conversation)
    call("delete_conversation", id=conversation["id"])
    tables.age_tombstones()
    sweep()
    assert tables.all_rows() == []


def test_a_received_message_is_stored() -> None:
    conversation = create()
    received = event("receive_message")
    received["detail"] |= {"user_id": "kevin", "conversation_id": conversation["id"]}
    handlers.handler("receive_message")(received, Context(25))
    assert [row["message"]["S"] for row in tables.messages()] == [received["detail"]["message"]]


def test_a_release_is_exercised(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_lambda.serving() as (others, url):
        for name, value in others.environment(url).items():
            monkeypatch.setenv(name, value)
        handlers.handler(fake_lambda.HOOK)(event(fake_lambda.HOOK), Context())
    assert [told["status"] for told in others.reported] == ["Succeeded"]


def test_the_reference_page_has_its_files() -> None:
    for asset in (None, "openapi.json", "start.js", "style.css", "swagger-ui.css", "swagger-ui.js"):
        request = event("retrieve_docs")
        request["pathParameters"] = {"asset": asset} if asset else None
        assert invoke("retrieve_docs", request).status == 200


@pytest.mark.parametrize("endpoint", USER_ENDPOINTS)
def test_nobody_unknown_is_let_in(endpoint: str) -> None:
    request = event(endpoint)
    del request["requestContext"]["authorizer"]
    assert invoke(endpoint, request).status == 401


# Those that read what clients or deliverers say.
WITH_MODELS = {
    "create_conversation",
    "create_message",
    "list_conversations",
    "list_messages",
    "receive_message",
    "update_conversation",
    "update_message",
}
_INIT = """
import gc, json, sys
before = sum(generation["collections"] for generation in gc.get_stats())
import app
after = sum(generation["collections"] for generation in gc.get_stats())
print(json.dumps([after - before, gc.isenabled(), gc.get_freeze_count(), sorted(sys.modules)]))
"""


@pytest.mark.parametrize("function", handlers.FUNCTIONS)
def test_an_init_imports_what_the_function_needs_and_leaves_the_collector_at_work(function: str, built: Path) -> None:
    collections, is_enabled, frozen, modules = run(built, function, _INIT)
    assert is_enabled
    assert ("pydantic" in modules) == (function in WITH_MODELS)
    assert ("botocore.session" in modules) == (function != "retrieve_docs")
    if function in handlers.ENDPOINTS:
        # With the collector at work there are more than a hundred.
        assert collections < 30
        assert frozen > 10_000
