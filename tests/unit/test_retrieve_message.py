"""GET /v1/messages/{id}."""

import time
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from coherent import ids

from tests import tables
from tests.handlers import call, create, event, invoke, send
from tests.wire import Wire, response

pytestmark = pytest.mark.usefixtures("tables", "no_backoff")


def test_sample_event_returns_404_on_empty_table() -> None:
    found = invoke("retrieve_message", event("retrieve_message"))
    assert (found.status, found.message) == (404, "id: no such message")


def test_message_is_returned_as_created() -> None:
    sent = send(create(), attachments=["a", "b"])
    found = call("retrieve_message", id=sent["id"])
    assert (found.status, found.body, found.headers["ETag"]) == (200, sent, '"1"')
    assert list(found.body) == list(sent)


def test_message_of_another_user_returns_404() -> None:
    sent = send(create())
    foreign = call("retrieve_message", user="harry", id=sent["id"])
    absent = call("retrieve_message", user="harry", id="xgQQXg3hrtjh7AvZ")
    assert (foreign.status, foreign.message) == (404, "id: no such message")
    assert foreign.body == absent.body


def test_unpurged_message_of_deleted_conversation_returns_404() -> None:
    conversation = create()
    sent = send(conversation)
    call("delete_conversation", id=conversation["id"])
    assert len(tables.messages()) == 1
    assert call("retrieve_message", id=sent["id"]).status == 404


@pytest.mark.parametrize(("known", "status"), [('"1"', 304), ("*", 304), ('"2"', 200)])
def test_if_none_match_is_respected(known: str, status: int) -> None:
    sent = send(create())
    found = call("retrieve_message", id=sent["id"], headers={"If-None-Match": known})
    assert (found.status, found.headers["ETag"]) == (status, '"1"')


@pytest.mark.parametrize(("age_seconds", "queries"), [(0, 4), (-1, 4), (1, 4), (3, 1), (-59, 4), (-61, 1)])
def test_index_is_queried_again_for_a_young_id(age_seconds: int, queries: int, wire: Wire) -> None:
    id = ids.new(time.time_ns() - age_seconds * 10**9)
    assert call("retrieve_message", id=id).status == 404
    assert wire.requests == ["Query"] * queries


def test_message_is_found_when_the_index_lags(wire: Wire) -> None:
    sent = send(create())
    wire.reset()
    wire.fault = lambda request: response(request, {"Items": [], "Count": 0}) if len(wire.requests) < 4 else None
    assert call("retrieve_message", id=sent["id"]).body == sent
    assert wire.requests == ["Query"] * 4 + ["BatchGetItem"]


def test_unprocessed_keys_return_503(wire: Wire) -> None:
    sent = send(create())
    unprocessed: dict[str, Any] = {"Responses": {}, "UnprocessedKeys": {"messages": {"Keys": []}}}
    wire.fault = lambda request: response(request, unprocessed) if wire.requests[-1] == "BatchGetItem" else None
    assert call("retrieve_message", id=sent["id"]).status == 503


def test_unprocessed_keys_are_read_again(wire: Wire) -> None:
    sent = send(create())
    wire.reset()

    def read_one_table(request: AWSPreparedRequest) -> AWSResponse | None:
        if wire.requests[-1] != "BatchGetItem":
            return None
        wire.fault = None
        unprocessed = {"conversations": wire.bodies[-1]["RequestItems"]["conversations"]}
        return response(request, {"Responses": {"messages": tables.messages()}, "UnprocessedKeys": unprocessed})

    wire.fault = read_one_table
    assert call("retrieve_message", id=sent["id"]).body == sent
    assert wire.requests == ["Query", "BatchGetItem", "BatchGetItem"]
    assert [list(body["RequestItems"]) for body in wire.bodies[1:]] == [
        ["messages", "conversations"],
        ["conversations"],
    ]


def test_read_is_strongly_consistent(wire: Wire) -> None:
    sent = send(create())
    wire.reset()
    call("retrieve_message", id=sent["id"])
    assert [table["ConsistentRead"] for table in wire.bodies[1]["RequestItems"].values()] == [True, True]
