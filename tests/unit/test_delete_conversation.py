"""DELETE /v1/conversations/{id}."""

import pytest

from tests.handlers import call, create, event, invoke, list_conversations, update
from tests.wire import Wire

pytestmark = pytest.mark.usefixtures("tables")


def test_the_sample_event_finds_nothing_in_an_empty_table() -> None:
    response = invoke("delete_conversation", event("delete_conversation"))
    assert (response.status, response.message) == (404, "id: no such conversation")


def test_a_deleted_conversation_is_gone_and_the_others_stay() -> None:
    stays, goes = create(), create()
    response = call("delete_conversation", id=goes["id"])
    assert (response.status, response.body) == (204, None)
    assert "Content-Type" not in response.headers
    assert call("retrieve_conversation", id=goes["id"]).status == 404
    assert list_conversations() == [stays]


def test_deleting_twice_says_that_there_is_no_such_conversation() -> None:
    created = create()
    assert call("delete_conversation", id=created["id"]).status == 204
    assert call("delete_conversation", id=created["id"]).status == 404


def test_another_users_conversation_looks_like_none_and_stays() -> None:
    created = create(user="kevin")
    foreign = call("delete_conversation", user="harry", id=created["id"])
    absent = call("delete_conversation", user="harry", id="xgQQXg3hrtjh7AvZ")
    assert foreign.status == 404
    assert foreign.body == absent.body
    assert list_conversations(user="kevin") == [created]


def test_a_delete_whose_answer_is_lost_succeeds(wire: Wire) -> None:
    created = create()
    wire.lose_next_response()
    assert call("delete_conversation", id=created["id"]).status == 204
    assert list_conversations() == []


@pytest.mark.parametrize("condition", ['"2"', '"1", "2"', "*"])
def test_a_conversation_is_deleted_where_the_condition_holds(condition: str) -> None:
    created = update(create(), is_pinned=True)
    assert call("delete_conversation", id=created["id"], headers={"If-Match": condition}).status == 204
    assert list_conversations() == []


@pytest.mark.parametrize("condition", ['"1"', 'W/"2"', '"x"'])
def test_a_conversation_that_has_changed_stays(condition: str) -> None:
    created = update(create(), is_pinned=True)
    response = call("delete_conversation", id=created["id"], headers={"If-Match": condition})
    assert response.status == 412
    assert list_conversations() == [created]


@pytest.mark.parametrize("condition", ['"1"', "*"])
def test_what_does_not_exist_is_not_found_whatever_the_condition(condition: str) -> None:
    created = create(user="kevin")
    for id in (created["id"], "xgQQXg3hrtjh7AvZ"):
        assert call("delete_conversation", user="harry", id=id, headers={"If-Match": condition}).status == 404
    assert list_conversations(user="kevin") == [created]
