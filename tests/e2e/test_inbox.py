"""The inbox of the deployed stack over HTTP."""

import itertools
import time
from functools import partial
from typing import Any

import pytest

from tests.model import matches
from tests.stack import Client, Stack, error, wait_until

ENTRY = [
    "position",
    "conversation",
    "last_message",
    "unread_count",
    "is_unread",
    "read_up_to",
    "muted_until",
    "is_blocked",
]
FLAGS = ("archived", "pinned", "muted", "unread")
FILTERS = [
    {name: value for name, value in zip((*FLAGS, "group_id"), values, strict=True) if value}
    for values in itertools.product(*[(None, "true", "false")] * 4, (None, "friends"))
]


def receive(stack: Stack, client: Client, conversation: dict[str, Any], *texts: str) -> list[dict[str, Any]]:
    """Delivers a message of harry for each of *texts*, one after the other. Returns all messages, newest first."""
    messages: list[dict[str, Any]] = []

    def is_stored(text: str) -> bool:
        messages[:] = client.messages(conversation_id=conversation["id"])["data"]
        return bool(messages) and messages[0]["message"] == text

    for text in texts:
        detail = {"user_id": client.user_id, "conversation_id": conversation["id"], "contact_id": "harry"}
        stack.publish(detail | {"message": text})
        assert wait_until(partial(is_stored, text))
    return messages


def sweep(stack: Stack) -> None:
    """Invokes `sweep_inbox` with its own role."""
    response = stack.aws("lambda").invoke(FunctionName=stack.function_name("SweepInbox"), Payload=b"{}")
    assert "FunctionError" not in response, response["Payload"].read()


def test_entry_follows_messages_marks_and_deletions(stack: Stack, kevin: Client) -> None:
    conversation = kevin.create(contact_id="harry", group_id="friends")
    other = kevin.create(contact_id="marv")
    path = f"/inbox/{conversation['id']}"
    assert [entry["conversation"]["id"] for entry in kevin.inbox()["data"]] == [other["id"], conversation["id"]]
    sent = kevin.send_message(conversation, "x" * 200)
    second, first, _ = receive(stack, kevin, conversation, "first", "second")

    retrieved = kevin.send("GET", path)
    entry = retrieved.json()
    assert list(entry) == ENTRY
    assert entry["conversation"] == kevin.send("GET", f"/conversations/{conversation['id']}").json()
    assert entry["position"] == f"{entry['conversation']['last_active_at']}.{conversation['id']}"
    preview = {name: second[name] for name in ("id", "contact", "message", "created_at")}
    assert (entry["last_message"], entry["unread_count"], entry["is_unread"]) == (preview, 2, True)
    # Both conversations can have been active in the same second; then the id decides.
    positions = [listed["position"] for listed in kevin.inbox()["data"]]
    assert (positions, entry in kevin.inbox()["data"]) == (sorted(positions, reverse=True), True)
    assert kevin.send("GET", path, headers={"If-None-Match": retrieved.headers["ETag"]}).status_code == 304

    marked = kevin.send("PUT", path, data={"read_up_to": first["id"]}, headers={"If-Match": retrieved.headers["ETag"]})
    assert (marked.status_code, marked.json()["unread_count"], marked.json()["read_up_to"]) == (200, 1, first["id"])
    assert kevin.unread() == {"conversations": 1, "messages": 1, "has_more": False}
    stale = kevin.send("PUT", path, data={"is_unread": "false"}, headers={"If-Match": retrieved.headers["ETag"]})
    assert error(stale)[0] == 412
    for message in (second, first):
        assert kevin.send("DELETE", f"/messages/{message['id']}").status_code == 204
    entry = kevin.send("GET", path).json()
    assert (entry["unread_count"], entry["is_unread"]) == (0, False)
    assert entry["last_message"]["message"] == "x" * 100
    assert kevin.send("PUT", f"/messages/{sent['id']}", json={"message": "edited"}).status_code == 200
    assert kevin.send("GET", path).json()["last_message"]["message"] == "edited"
    # A deleted message may still be marked.
    assert kevin.mark(conversation, read_up_to=second["id"])["read_up_to"] == second["id"]
    assert kevin.mark(conversation, is_unread=True)["is_unread"] is True
    assert kevin.unread() == {"conversations": 1, "messages": 0, "has_more": False}
    assert kevin.mark(conversation, is_unread=False)["is_unread"] is False
    assert kevin.unread() == {"conversations": 0, "messages": 0, "has_more": False}


def test_every_filter_combination_lists_matching_entries(kevin: Client) -> None:
    conversations: list[tuple[dict[str, Any], bool]] = []
    for archived_at, is_pinned, is_muted, is_unread in itertools.product((None, 1_790_000_000), *[(False, True)] * 3):
        # Every second combination with a group: all of them would take twice as long.
        group = {"group_id": "friends"} if len(conversations) % 2 else {}
        conversation = kevin.create(contact_id="harry", **group)
        changes = {"archived_at": archived_at, "is_pinned": is_pinned, "is_muted": is_muted}
        conversations.append((kevin.update(conversation, **changes), bool(is_unread)))
        if is_unread:
            kevin.mark(conversation, is_unread=True)
    for query in FILTERS:
        others = {name: value for name, value in query.items() if name != "unread"}
        expected = [
            conversation["id"]
            for conversation, is_unread in reversed(conversations)
            if matches(conversation, others) and query.get("unread") in (None, str(is_unread).lower())
        ]
        found = kevin.inbox(limit=100, **query)
        assert (found["has_more"], [entry["conversation"]["id"] for entry in found["data"]]) == (False, expected), query


def test_links_page_in_both_directions_while_a_conversation_moves(kevin: Client) -> None:
    conversations = [kevin.create(contact_id="harry", group_id="friends") for _ in range(5)]
    latest_first = [conversation["id"] for conversation in reversed(conversations)]

    def ids(response: Any) -> list[str]:
        return [entry["conversation"]["id"] for entry in response.json()["data"]]

    first = kevin.send("GET", "/inbox?limit=2&group_id=friends&muted=false")
    second = kevin.send("GET", first.links["next"]["url"])
    assert (ids(first), ids(second)) == (latest_first[:2], latest_first[2:4])
    # The last one moves to the top: the walk down has passed that place, and a walk up meets it there.
    assert wait_until(lambda: time.time() >= conversations[-1]["created_at"] + 1)
    kevin.send_message(conversations[0])
    third = kevin.send("GET", second.links["next"]["url"])
    assert (ids(third), third.json()["has_more"]) == ([], False)
    assert ids(kevin.send("GET", third.links["prev"]["url"])) == latest_first[1:3]
    position = first.json()["data"][0]["position"]
    above = kevin.send("GET", f"/inbox?limit=2&group_id=friends&muted=false&ending_before={position}")
    assert ids(above) == [conversations[0]["id"]]
    assert kevin.inbox()["data"][0]["conversation"]["id"] == conversations[0]["id"]


def test_timed_mute_ends_by_itself(stack: Stack, kevin: Client) -> None:
    conversation = kevin.create(contact_id="harry")
    path = f"/inbox/{conversation['id']}"
    until = int(time.time()) + 2
    muted = kevin.send("PUT", path, data={"muted_until": str(until)})
    assert (muted.json()["conversation"]["is_muted"], muted.json()["muted_until"]) == (True, until)
    assert [entry["conversation"]["id"] for entry in kevin.inbox(muted="true")["data"]] == [conversation["id"]]
    assert wait_until(lambda: time.time() >= until)
    ended = kevin.send("GET", path)
    assert (ended.json()["conversation"]["is_muted"], ended.json()["muted_until"]) == (False, None)
    assert ended.headers["ETag"] != muted.headers["ETag"]
    sweep(stack)
    assert kevin.inbox(muted="true")["data"] == []
    assert kevin.inbox(muted="false")["data"] == [ended.json()]
    assert kevin.send("GET", path).headers["ETag"] == ended.headers["ETag"]


def test_message_of_a_contact_restores_an_archived_conversation_unless_muted(stack: Stack, kevin: Client) -> None:
    archived = {"archived_at": 1_790_000_000}
    muted, other = kevin.create(contact_id="harry"), kevin.create(contact_id="harry")
    kevin.update(muted, is_muted=True, **archived)
    kevin.update(other, **archived)
    for conversation in (muted, other):
        receive(stack, kevin, conversation, "Keep the change.")
    assert [entry["conversation"]["id"] for entry in kevin.inbox(archived="true")["data"]] == [muted["id"]]
    assert [entry["conversation"]["id"] for entry in kevin.inbox(archived="false")["data"]] == [other["id"]]
    # The badge counts neither archived nor muted conversations unless asked.
    assert kevin.unread() == {"conversations": 1, "messages": 1, "has_more": False}
    assert kevin.unread(archived="true", muted="true") == {"conversations": 1, "messages": 1, "has_more": False}
    kevin.send_message(muted)
    assert kevin.inbox(archived="true")["data"] == []


def test_users_cannot_see_or_mark_each_others_entries(kevin: Client, harry: Client) -> None:
    conversation = kevin.create(contact_id="harry")
    sent = kevin.send_message(conversation)
    for method, body in (("GET", None), ("PUT", {"is_unread": True})):
        foreign, absent = (
            harry.send(method, f"/inbox/{id}", json=body) for id in (conversation["id"], "xgQQXg3hrtjh7AvZ")
        )
        assert error(foreign) == error(absent) == (404, "conversation_id: no such conversation")
    own = harry.create(contact_id="kevin")
    rejected = harry.send("PUT", f"/inbox/{own['id']}", json={"read_up_to": sent["id"]})
    message = "read_up_to: must be the id of a message of this conversation, or null if nothing is read"
    assert error(rejected) == (400, message)
    assert [entry["conversation"]["id"] for entry in harry.inbox()["data"]] == [own["id"]]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "/inbox?starting_after=xgQQXg3hrtjh7AvZ",
            "starting_after: must be the position of an inbox entry, such as 1767225600.xgQQXg3hrtjh7AvZ",
        ),
        ("/inbox?unread=maybe", "unread: must be true or false"),
        (
            "/unread?limit=1",
            "limit: unknown or read-only; this call takes muted, archived, group_id",
        ),
    ],
)
def test_invalid_query_gets_a_helpful_error(kevin: Client, path: str, message: str) -> None:
    assert error(kevin.send("GET", path)) == (400, message)
