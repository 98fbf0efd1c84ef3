"""Messages of the deployed stack: over HTTP, from events, and purged after a deletion."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from coherent import ids

from tests.stack import Client, Stack, wait_until


@contextmanager
def purge_paused(stack: Stack) -> Iterator[None]:
    """Stops reading the stream of the conversations table."""
    functions = stack.aws("lambda")
    (mapping,) = functions.list_event_source_mappings(FunctionName=stack.function_name("PurgeMessages"))[
        "EventSourceMappings"
    ]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    try:
        yield
    finally:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


def test_message_life_cycle(kevin: Client) -> None:
    conversation = kevin.create(contact_id="harry")
    form = {"conversation_id": conversation["id"], "message": "Merry\nChristmas, härry!", "attachments[]": ["a", "b"]}
    response = kevin.send("POST", "/messages", data=form)
    sent = response.json()
    assert (response.status_code, response.headers["ETag"]) == (201, '"1"')
    assert (sent["message"], sent["attachments"]) == ("Merry\nChristmas, härry!", ["a", "b"])
    assert kevin.send("GET", response.headers["Location"]).json() == sent
    path = f"/messages/{sent['id']}"
    changes = {"reactions[heart][]": ["harry", ""], "read_at": "1790000000"}
    changed = kevin.send("PUT", path, data=changes, headers={"If-Match": '"1"'}).json()
    reactions = [{"reaction": "heart", "contact_id": "harry"}, {"reaction": "heart", "contact_id": None}]
    assert changed == sent | {"reactions": reactions, "read_at": 1790000000, "updated_at": changed["updated_at"]}
    assert kevin.send("PUT", path, json={"message": "x"}, headers={"If-Match": '"1"'}).status_code == 412
    assert kevin.send("GET", path, headers={"If-None-Match": '"2"'}).status_code == 304
    assert kevin.messages() == kevin.messages(conversation_id=conversation["id"])
    assert kevin.messages()["data"] == [changed]
    assert kevin.list()["data"] == [conversation | {"last_active_at": sent["created_at"]}]
    assert kevin.send("DELETE", path).status_code == 204
    assert kevin.send("GET", path).status_code == 404
    assert kevin.messages()["data"] == []


def test_links_page_through_messages(kevin: Client) -> None:
    one, other = kevin.create(contact_id="harry"), kevin.create(contact_id="marv")
    newest_first = [kevin.send_message(conversation)["id"] for conversation in (one, one, other, one)][::-1]
    for query, expected in (
        ("", newest_first),
        (f"&conversation_id={one['id']}", [newest_first[0], *newest_first[2:]]),
    ):
        found: list[str] = []
        url: str | None = f"/messages?limit=2{query}"
        while url and len(found) < 10:
            response = kevin.send("GET", url)
            found += [message["id"] for message in response.json()["data"]]
            url = response.links.get("next", {}).get("url")
        assert found == expected


def test_pinned_message_belongs_to_conversation_until_deleted(kevin: Client) -> None:
    conversation, other = kevin.create(contact_id="harry"), kevin.create(contact_id="marv")
    pinned, foreign = kevin.send_message(conversation), kevin.send_message(other)
    path = f"/conversations/{conversation['id']}"
    rejected = kevin.send("PUT", path, data={"pinned_message_id": foreign["id"]})
    assert rejected.status_code == 400
    assert rejected.json()["message"].startswith("pinned_message_id: must be the id of a message of this conversation")
    assert kevin.update(conversation, pinned_message_id=pinned["id"])["pinned_message_id"] == pinned["id"]
    assert kevin.send("DELETE", f"/messages/{pinned['id']}").status_code == 204
    assert kevin.send("GET", path).json()["pinned_message_id"] is None


def test_users_cannot_see_each_others_messages(kevin: Client, harry: Client) -> None:
    conversation = kevin.create(contact_id="harry")
    sent = kevin.send_message(conversation)
    for method, path, body in (
        ("GET", "/messages/{}", None),
        ("PUT", "/messages/{}", {"message": "mine"}),
        ("DELETE", "/messages/{}", None),
    ):
        foreign, absent = (harry.send(method, path.format(id), json=body) for id in (sent["id"], "xgQQXg3hrtjh7AvZ"))
        assert (foreign.status_code, foreign.json()) == (404, absent.json())
    for id in (conversation["id"], "xgQQXg3hrtjh7AvZ"):
        post = harry.send("POST", "/messages", json={"conversation_id": id, "message": "hello"})
        listed = harry.send("GET", "/messages", params={"conversation_id": id})
        assert {response.json()["message"] for response in (post, listed)} == {"conversation_id: no such conversation"}
        assert (post.status_code, listed.status_code) == (404, 404)
    assert harry.messages()["data"] == []
    assert kevin.messages()["data"] == [sent]


def test_concurrent_idempotent_requests_create_one_message(kevin: Client) -> None:
    body = {"conversation_id": kevin.create(contact_id="harry")["id"], "message": "hello"}

    def post(_: int) -> tuple[int, str]:
        response = kevin.send("POST", "/messages", json=body, headers={"Idempotency-Key": "twins"})
        return response.status_code, response.text

    with ThreadPoolExecutor(4) as threads:
        ((status, text),) = set(threads.map(post, range(8)))
    assert status == 201
    assert kevin.messages()["data"] == [json.loads(text)]


def test_delete_racing_with_sends_leaves_no_messages(stack: Stack, kevin: Client) -> None:
    conversation = kevin.create(contact_id="harry")

    def post(number: int) -> tuple[int, str]:
        if number == 20:
            return kevin.send("DELETE", f"/conversations/{conversation['id']}").status_code, ""
        body = {"conversation_id": conversation["id"], "message": str(number)}
        response = kevin.send("POST", "/messages", json=body)
        return response.status_code, response.json().get("id", "")

    with purge_paused(stack):
        with ThreadPoolExecutor(4) as threads:
            responses = list(threads.map(post, range(40)))
        assert responses[20] == (204, "")
        assert {status for status, _ in responses} == {201, 204, 404}
        stored = {row["id"]["S"] for row in stack.message_rows(conversation)}
        assert stored == {id for status, id in responses if status == 201}
        # Hidden from the user before the purge.
        assert kevin.messages()["data"] == []
    assert wait_until(lambda: stack.message_rows(conversation) == [])


def test_received_message_is_stored_and_invalid_event_becomes_dead_letter(stack: Stack, kevin: Client) -> None:
    conversation = kevin.create(contact_id="harry")
    detail = {"user_id": kevin.user_id, "conversation_id": conversation["id"], "contact_id": "harry", "message": "Hi!"}
    invalid = detail | {"message": "x" * 10_001}
    stack.publish(detail, invalid)
    stack.publish(detail, detail_type="message.read")
    assert wait_until(lambda: kevin.messages()["data"])
    (message,) = kevin.messages()["data"]
    assert (message["contact"], message["message"]) == ({"id": "harry"}, "Hi!")
    (dead_letter,) = stack.take_dead_letters(1)
    assert dead_letter["reason"].startswith("message: must be 1 to 10,000 characters")
    assert dead_letter["event"]["detail"] == invalid
    event = dead_letter["event"] | {"id": "the same", "detail": detail}
    for _ in range(2):
        response = stack.aws("lambda").invoke(
            FunctionName=stack.function_name("ReceiveMessage"), Payload=json.dumps(event)
        )
        assert "FunctionError" not in response
    assert len(kevin.messages()["data"]) == 2


def test_purge_deletes_ten_thousand_messages(stack: Stack, kevin: Client) -> None:
    conversation = kevin.create(contact_id="harry")
    sent = kevin.send_message(conversation)
    (row,) = stack.message_rows(conversation)
    client, table_name = stack.aws("dynamodb"), stack.outputs()["MessagesTableName"]
    rows = [row | {"id": {"S": ids.new(number * 1000)}} for number in range(9_999)]
    for start in range(0, len(rows), 25):
        requests = [{"PutRequest": {"Item": item}} for item in rows[start : start + 25]]
        client.batch_write_item(RequestItems={table_name: requests})
    assert kevin.messages(limit=1)["data"] == [sent]
    assert len(stack.message_rows(conversation)) > 1000
    assert kevin.send("DELETE", f"/conversations/{conversation['id']}").status_code == 204
    assert kevin.messages() == {"has_more": False, "data": []}
    assert wait_until(lambda: stack.message_rows(conversation) == [])


def test_sweep_purges_without_the_stream(stack: Stack, kevin: Client) -> None:
    conversation = kevin.create(contact_id="harry")
    for _ in range(3):
        kevin.send_message(conversation)
    with purge_paused(stack):
        assert kevin.send("DELETE", f"/conversations/{conversation['id']}").status_code == 204
        assert len(stack.message_rows(conversation)) == 3
        # The sweep waits until a tombstone is ten minutes old.
        (tombstone,) = [row for row in stack.tombstones() if conversation["id"] in row["id"]["S"]]
        stack.make_settled(tombstone)
        response = stack.aws("lambda").invoke(FunctionName=stack.function_name("SweepPurges"), Payload="{}")
        assert "FunctionError" not in response
        assert stack.message_rows(conversation) == []
    assert conversation["id"] not in str(stack.tombstones())


@pytest.mark.parametrize("body", [{"message": ""}, {"message": "x" * 10_001}, {"attachments": ["x"] * 33}], ids=str)
def test_invalid_message_is_rejected_without_changes(kevin: Client, body: dict[str, Any]) -> None:
    conversation = kevin.create(contact_id="harry")
    sent = kevin.send_message(conversation)
    before = kevin.send("GET", f"/conversations/{conversation['id']}")
    for method, path, required in (
        ("POST", "/messages", {"conversation_id": conversation["id"], "message": "hi"}),
        ("PUT", f"/messages/{sent['id']}", {}),
    ):
        response = kevin.send(method, path, json=required | body)
        assert response.status_code == 400
        assert response.json()["message"].startswith(f"{next(iter(body))}: must ")
    assert kevin.messages()["data"] == [sent]
    after = kevin.send("GET", f"/conversations/{conversation['id']}")
    assert (after.json(), after.headers["ETag"]) == (before.json(), before.headers["ETag"])
