"""GET /v1/conversations/{id}."""

import pytest

from tests.handlers import call, create, event, invoke

pytestmark = pytest.mark.usefixtures("table")


def test_the_sample_event_finds_nothing_in_an_empty_table() -> None:
    answer = invoke("retrieve_conversation", event("retrieve_conversation"))
    assert (answer.status, answer.message) == (404, "id: no such conversation")


def test_a_conversation_is_retrieved_as_it_was_created() -> None:
    created = create(contact_id="harry", group_id="friends")
    answer = call("retrieve_conversation", id=created["id"])
    assert (answer.status, answer.body) == (200, created)
    assert list(answer.body) == list(created)


def test_another_users_conversation_looks_like_none() -> None:
    created = create(user="kevin")
    foreign = call("retrieve_conversation", user="harry", id=created["id"])
    absent = call("retrieve_conversation", user="harry", id="xgQQXg3hrtjh7AvZ")
    assert foreign.status == 404
    assert (foreign.status, foreign.body) == (absent.status, absent.body)
