"""GET /v1/messages."""

from typing import Any

import pytest

from tests import tables
from tests.handlers import call, create, event, invoke, list_messages, send
from tests.wire import Wire, response

pytestmark = pytest.mark.usefixtures("tables", "no_backoff")


def page(**query: str) -> tuple[list[str], bool]:
    response = call("list_messages", query={name: [value] for name, value in query.items()})
    assert response.status == 200, response
    return [message["id"] for message in response.body["data"]], response.body["has_more"]


def test_sample_event_returns_404_on_empty_table() -> None:
    response = invoke("list_messages", event("list_messages"))
    assert (response.status, response.message) == (404, "conversation_id: no such conversation")


def test_list_without_messages_is_empty() -> None:
    assert page() == ([], False)
    assert page(conversation_id=create()["id"]) == ([], False)


def test_messages_are_listed_newest_first(wire: Wire) -> None:
    one, other = create(), create()
    sent = [send(conversation, message=str(number)) for number, conversation in enumerate([one, other, one])]
    wire.reset()
    assert list_messages(conversation_id=one["id"]) == [sent[2], sent[0]]
    assert wire.bodies[0]["ConsistentRead"] is True
    assert list_messages(conversation_id=other["id"]) == [sent[1]]
    assert list_messages() == sent[::-1]


@pytest.mark.parametrize("in_conversation", [True, False])
def test_pages_can_be_walked_in_both_directions(in_conversation: bool) -> None:
    conversation = create()
    newest_first = [send(conversation)["id"] for _ in range(5)][::-1]
    query = {"limit": "2"} | ({"conversation_id": conversation["id"]} if in_conversation else {})
    assert page(**query) == (newest_first[:2], True)
    assert page(**query, starting_after=newest_first[1]) == (newest_first[2:4], True)
    assert page(**query, starting_after=newest_first[3]) == (newest_first[4:], False)
    assert page(**query, ending_before=newest_first[4]) == (newest_first[2:4], True)
    assert page(**query, ending_before=newest_first[2]) == (newest_first[:2], False)
    assert page(**query, ending_before=newest_first[0]) == ([], False)


def test_page_of_100_may_span_100_conversations() -> None:
    ids = [tables.put_message("kevin", tables.put_conversation("kevin")) for _ in range(101)][::-1]
    assert page(limit="100") == (ids[:100], True)
    assert page(limit="100", starting_after=ids[99]) == (ids[100:], False)


def test_links_keep_the_conversation() -> None:
    conversation = create()
    newest_first = [send(conversation)["id"] for _ in range(2)][::-1]
    response = call("list_messages", query={"limit": ["1"], "conversation_id": [conversation["id"]]})
    next_page = f"/v1/messages?limit=1&conversation_id={conversation['id']}&starting_after={newest_first[0]}"
    assert response.headers["Link"].partition(">")[0].endswith(next_page)


def test_conversation_of_another_user_returns_404() -> None:
    conversation = create(user="kevin")
    send(conversation)
    foreign = call("list_messages", user="harry", query={"conversation_id": [conversation["id"]]})
    absent = call("list_messages", user="harry", query={"conversation_id": ["xgQQXg3hrtjh7AvZ"]})
    assert (foreign.status, foreign.message) == (404, "conversation_id: no such conversation")
    assert foreign.body == absent.body
    assert list_messages("harry") == []


def test_unpurged_messages_of_deleted_conversation_are_hidden() -> None:
    goes, stays = create(), create()
    kept = [send(stays)["id"]]
    for _ in range(7):
        send(goes)
    kept = [send(stays)["id"], *kept]
    assert call("delete_conversation", id=goes["id"]).status == 204
    assert len(tables.messages()) == 9
    assert call("list_messages", query={"conversation_id": [goes["id"]]}).status == 404
    for limit in range(1, 4):
        assert page(limit=str(limit)) == (kept[:limit], limit < 2)
    assert page(limit="1", starting_after=kept[0]) == (kept[1:], False)
    assert page(limit="1", ending_before=kept[1]) == (kept[:1], False)
    call("delete_conversation", id=stays["id"])
    assert page(limit="1") == ([], False)


def test_unpurged_messages_are_skipped_in_few_requests(wire: Wire) -> None:
    stays, goes = create(), create()
    kept = send(stays)
    for _ in range(120):
        tables.put_message("kevin", goes["id"])
    call("delete_conversation", id=goes["id"])
    wire.reset()
    assert page(limit="1") == ([kept["id"]], False)
    assert wire.requests == ["Query", "BatchGetItem"] * 2


def test_page_is_filled_past_unpurged_messages() -> None:
    stays, goes = create(), create()
    kept: list[str] = []
    for _ in range(4):
        kept.insert(0, send(stays)["id"])
        send(goes)
    call("delete_conversation", id=goes["id"])
    assert page(limit="3") == (kept[:3], True)
    assert page(limit="3", ending_before=kept[3]) == (kept[:3], False)


@pytest.mark.parametrize("in_conversation", [True, False])
def test_page_over_1_mb_is_cut_and_has_more(in_conversation: bool) -> None:
    conversation = create()
    newest_first: list[str] = []
    for _ in range(6):
        sent = tables.put_message("kevin", conversation["id"], "🎄" * 10_000, ["🎄" * 2048] * 32)
        newest_first.insert(0, sent)
    query = {"limit": "100"} | ({"conversation_id": conversation["id"]} if in_conversation else {})
    found: list[str] = []
    has_more, pages = True, 0
    while has_more:
        ids, has_more = page(**query, **({"starting_after": found[-1]} if found else {}))
        assert len(ids) in (1, 2, 3)
        found += ids
        pages += 1
    assert found == newest_first
    assert pages > 1


def test_last_page_cut_at_1_mb_has_no_more(wire: Wire) -> None:
    conversation = create()
    older, newer = send(conversation)["id"], send(conversation)["id"]
    found = sorted(tables.messages(), key=lambda row: str(row["id"]), reverse=True)
    # DynamoDB returns LastEvaluatedKey even if no item follows.
    cut = {"Items": found, "Count": 2, "LastEvaluatedKey": {"id": found[-1]["id"]}}
    wire.fault = lambda request: response(request, cut) if wire.requests[-1] == "Query" else None
    assert page(conversation_id=conversation["id"]) == ([newer], True)
    wire.fault = None
    assert page(conversation_id=conversation["id"], starting_after=newer) == ([older], False)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"limit": ["0"]}, "limit: must be an integer between 1 and 100"),
        ({"conversation_id": ["x"]}, "conversation_id: must be an id of 16 letters and digits"),
        ({"conversation_id": [""]}, "conversation_id: must be an id of 16 letters and digits"),
        ({"conversation_id": ["a" * 16] * 2}, "conversation_id: must be given only once"),
        (
            {"starting_after": ["a" * 16], "ending_before": ["b" * 16]},
            "starting_after, ending_before: only one of them may be given",
        ),
        (
            {"contact_id": ["harry"]},
            "contact_id: unknown or read-only; this call takes limit, starting_after, ending_before, conversation_id",
        ),
    ],
    ids=str,
)
def test_invalid_query_is_rejected(query: dict[str, list[str]], message: str, wire: Wire) -> None:
    response = call("list_messages", query=query)
    assert (response.status, response.message) == (400, message)
    assert wire.requests == []


@pytest.mark.parametrize("in_conversation", [True, False])
def test_unprocessed_keys_return_503(in_conversation: bool, wire: Wire) -> None:
    conversation = create()
    send(conversation)
    unprocessed: dict[str, Any] = {"Responses": {}, "UnprocessedKeys": {"conversations": {"Keys": []}}}
    wire.fault = lambda request: response(request, unprocessed) if wire.requests[-1] == "BatchGetItem" else None
    query = {"conversation_id": [conversation["id"]]} if in_conversation else {}
    busy = call("list_messages", query=query)
    assert (busy.status, busy.headers["Retry-After"]) == (503, "1")
