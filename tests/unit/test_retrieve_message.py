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


def test_the_sample_event_finds_nothing_in_an_empty_table() -> None:
    found = invoke("retrieve_message", event("retrieve_message"))
    assert (found.status, found.message) == (404, "id: no such message")


def test_a_message_is_retrieved_as_it_was_sent_in_the_order_of_the_contract() -> None:
    sent = send(create(), attachments=["a", "b"])
    found = call("retrieve_message", id=sent["id"])
    assert (found.status, found.body, found.headers["ETag"]) == (200, sent, '"1"')
    assert list(found.body) == list(sent)


def test_another_users_message_looks_like_none() -> None:
    sent = send(create())
    foreign = call("retrieve_message", user="harry", id=sent["id"])
    absent = call("retrieve_message", user="harry", id="xgQQXg3hrtjh7AvZ")
    assert (foreign.status, foreign.message) == (404, "id: no such message")
    assert foreign.body == absent.body


def test_a_message_of_a_deleted_conversation_is_gone_before_it_is_purged() -> None:
    conversation = create()
    sent = send(conversation)
    call("delete_conversation", id=conversation["id"])
    assert len(tables.messages()) == 1
    assert call("retrieve_message", id=sent["id"]).status == 404


@pytest.mark.parametrize(("known", "status"), [('"1"', 304), ("*", 304), ('"2"', 200)])
def test_what_the_client_has_already_is_not_sent_again(known: str, status: int) -> None:
    sent = send(create())
    found = call("retrieve_message", id=sent["id"], headers={"If-None-Match": known})
    assert (found.status, found.headers["ETag"]) == (status, '"1"')


@pytest.mark.parametrize(("age_seconds", "looks"), [(0, 4), (-1, 4), (1, 4), (3, 1), (-3, 1)])
def test_a_message_of_this_moment_is_looked_for_again(age_seconds: int, looks: int, wire: Wire) -> None:
    id = ids.new(time.time_ns() - age_seconds * 10**9)
    assert call("retrieve_message", id=id).status == 404
    assert wire.requests == ["Query"] * looks


def test_a_message_that_the_index_does_not_know_yet_is_found(wire: Wire) -> None:
    sent = send(create())
    wire.reset()
    wire.fault = lambda request: response(request, {"Items": [], "Count": 0}) if len(wire.requests) < 4 else None
    assert call("retrieve_message", id=sent["id"]).body == sent
    assert wire.requests == ["Query"] * 4 + ["BatchGetItem"]


def test_what_dynamodb_leaves_unread_is_a_503(wire: Wire) -> None:
    sent = send(create())
    unread: dict[str, Any] = {"Responses": {}, "UnprocessedKeys": {"messages": {"Keys": []}}}
    wire.fault = lambda request: response(request, unread) if wire.requests[-1] == "BatchGetItem" else None
    assert call("retrieve_message", id=sent["id"]).status == 503


def test_what_dynamodb_reads_in_parts_is_put_together(wire: Wire) -> None:
    sent = send(create())
    wire.reset()

    def read_one_table(request: AWSPreparedRequest) -> AWSResponse | None:
        if wire.requests[-1] != "BatchGetItem":
            return None
        wire.fault = None
        unread = {"conversations": wire.bodies[-1]["RequestItems"]["conversations"]}
        return response(request, {"Responses": {"messages": tables.messages()}, "UnprocessedKeys": unread})

    wire.fault = read_one_table
    assert call("retrieve_message", id=sent["id"]).body == sent
    assert wire.requests == ["Query", "BatchGetItem", "BatchGetItem"]
    assert [list(body["RequestItems"]) for body in wire.bodies[1:]] == [
        ["messages", "conversations"],
        ["conversations"],
    ]


def test_a_message_is_read_as_it_is_now(wire: Wire) -> None:
    sent = send(create())
    wire.reset()
    call("retrieve_message", id=sent["id"])
    assert [table["ConsistentRead"] for table in wire.bodies[1]["RequestItems"].values()] == [True, True]
