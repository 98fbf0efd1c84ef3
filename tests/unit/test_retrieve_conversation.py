"""GET /v1/conversations/{id}."""

import pytest

from tests.handlers import call, create, event, invoke, update
from tests.wire import Wire

pytestmark = pytest.mark.usefixtures("tables")


def test_the_sample_event_finds_nothing_in_an_empty_table() -> None:
    response = invoke("retrieve_conversation", event("retrieve_conversation"))
    assert (response.status, response.message) == (404, "id: no such conversation")


def test_a_conversation_is_retrieved_as_it_was_created() -> None:
    created = create(contact_id="harry", group_id="friends")
    response = call("retrieve_conversation", id=created["id"])
    assert (response.status, response.body) == (200, created)
    assert list(response.body) == list(created)


def test_it_is_read_as_it_is_now(wire: Wire) -> None:
    call("retrieve_conversation")
    assert wire.bodies[0]["ConsistentRead"] is True


def test_another_users_conversation_looks_like_none() -> None:
    created = create(user="kevin")
    foreign = call("retrieve_conversation", user="harry", id=created["id"])
    absent = call("retrieve_conversation", user="harry", id="xgQQXg3hrtjh7AvZ")
    assert foreign.status == 404
    assert (foreign.status, foreign.body) == (absent.status, absent.body)


def test_the_etag_changes_with_each_update() -> None:
    created = create()
    seen = [call("retrieve_conversation", id=created["id"]).headers["ETag"]]
    for is_muted in (True, False, False):
        update(created, is_muted=is_muted)
        seen.append(call("retrieve_conversation", id=created["id"]).headers["ETag"])
    assert seen == ['"1"', '"2"', '"3"', '"4"']


@pytest.mark.parametrize("known", ['"1"', '"7", "1"', 'W/"1"', '"a,b" , "1"', "*"])
def test_what_the_client_has_already_is_not_sent_again(known: str) -> None:
    created = create()
    response = call("retrieve_conversation", id=created["id"], headers={"If-None-Match": known})
    assert (response.status, response.body, response.headers["ETag"]) == (304, None, '"1"')
    assert "Content-Type" not in response.headers


@pytest.mark.parametrize("known", ['"2"', '"01"', '"11"', '""', '"x"', 'W/"2", "3"'])
def test_what_the_client_does_not_have_is_sent(known: str) -> None:
    created = create()
    response = call("retrieve_conversation", id=created["id"], headers={"If-None-Match": known})
    assert (response.status, response.body) == (200, created)


@pytest.mark.parametrize("known", ["1", '"1', '"1" "2"', '"1",', "", "*, *", ", ".join(['"1"'] * 101)])
def test_a_malformed_condition_is_refused(known: str) -> None:
    created = create()
    response = call("retrieve_conversation", id=created["id"], headers={"If-None-Match": known})
    assert response.status == 400
    assert response.message == 'If-None-Match: must be * or up to 100 ETags, such as "3", "4"'


def test_another_users_conversation_is_not_found_whatever_the_condition() -> None:
    created = create(user="kevin")
    response = call("retrieve_conversation", user="harry", id=created["id"], headers={"If-None-Match": "*"})
    assert response.status == 404
