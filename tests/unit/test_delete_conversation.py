"""DELETE /v1/conversations/{id}."""

import pytest

from tests.handlers import call, create, event, invoke, list_conversations, update
from tests.wire import Wire

pytestmark = pytest.mark.usefixtures("tables")


def test_sample_event_returns_404_on_empty_table() -> None:
    response = invoke("delete_conversation", event("delete_conversation"))
    assert (response.status, response.message) == (404, "id: no such conversation")


def test_only_the_given_conversation_is_deleted() -> None:
    stays, goes = create(), create()
    response = call("delete_conversation", id=goes["id"])
    assert (response.status, response.body) == (204, None)
    assert "Content-Type" not in response.headers
    assert call("retrieve_conversation", id=goes["id"]).status == 404
    assert list_conversations() == [stays]


def test_second_delete_returns_404() -> None:
    created = create()
    assert call("delete_conversation", id=created["id"]).status == 204
    assert call("delete_conversation", id=created["id"]).status == 404


def test_conversation_of_another_user_returns_404() -> None:
    created = create(user="kevin")
    foreign = call("delete_conversation", user="harry", id=created["id"])
    absent = call("delete_conversation", user="harry", id="xgQQXg3hrtjh7AvZ")
    assert foreign.status == 404
    assert foreign.body == absent.body
    assert list_conversations(user="kevin") == [created]


def test_lost_response_is_retried(wire: Wire) -> None:
    created = create()
    wire.lose_next_response()
    assert call("delete_conversation", id=created["id"]).status == 204
    assert list_conversations() == []


@pytest.mark.parametrize("condition", ['"2"', '"1", "2"', "*"])
def test_matching_if_match_deletes(condition: str) -> None:
    created = update(create(), is_pinned=True)
    assert call("delete_conversation", id=created["id"], headers={"If-Match": condition}).status == 204
    assert list_conversations() == []


@pytest.mark.parametrize("condition", ['"1"', 'W/"2"', '"x"'])
def test_stale_if_match_returns_412(condition: str) -> None:
    created = update(create(), is_pinned=True)
    response = call("delete_conversation", id=created["id"], headers={"If-Match": condition})
    assert response.status == 412
    assert list_conversations() == [created]


@pytest.mark.parametrize("condition", ['"1"', "*"])
def test_if_match_on_missing_conversation_returns_404(condition: str) -> None:
    created = create(user="kevin")
    for id in (created["id"], "xgQQXg3hrtjh7AvZ"):
        assert call("delete_conversation", user="harry", id=id, headers={"If-Match": condition}).status == 404
    assert list_conversations(user="kevin") == [created]
