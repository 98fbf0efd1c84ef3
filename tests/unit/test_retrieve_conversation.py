"""GET /v1/conversations/{id}."""

from typing import Any

import pytest

from tests.handlers import call, create, event, invoke, update
from tests.wire import Wire

pytestmark = pytest.mark.usefixtures("tables")


def test_sample_event_returns_404_on_empty_table() -> None:
    response = invoke("retrieve_conversation", event("retrieve_conversation"))
    assert (response.status, response.message) == (404, "id: no such conversation")


def test_conversation_is_returned_as_created() -> None:
    created = create(contact_id="harry", group_id="friends")
    response = call("retrieve_conversation", id=created["id"])
    assert (response.status, response.body) == (200, created)
    assert list(response.body) == list(created)


def test_read_is_strongly_consistent(wire: Wire) -> None:
    call("retrieve_conversation")
    assert wire.bodies[0]["ConsistentRead"] is True


def test_conversation_of_another_user_returns_404() -> None:
    created = create(user="kevin")
    foreign = call("retrieve_conversation", user="harry", id=created["id"])
    absent = call("retrieve_conversation", user="harry", id="xgQQXg3hrtjh7AvZ")
    assert foreign.status == 404
    assert (foreign.status, foreign.body) == (absent.status, absent.body)


@pytest.mark.parametrize(("name", "step"), [("is_pinned", 1), ("is_muted", 2)])
def test_etag_changes_with_each_update(name: str, step: int) -> None:
    created = create()
    etags = [call("retrieve_conversation", id=created["id"]).headers["ETag"]]
    for is_set in (True, False, False):
        changes: dict[str, Any] = {name: is_set}
        update(created, **changes)
        etags.append(call("retrieve_conversation", id=created["id"]).headers["ETag"])
    assert etags == [f'"{1 + number * step}"' for number in range(4)]


@pytest.mark.parametrize("known", ['"1"', '"7", "1"', '"7",, "1"', ', "1",', 'W/"1"', '"a,b" , "1"', "*"])
def test_matching_if_none_match_returns_304(known: str) -> None:
    created = create()
    response = call("retrieve_conversation", id=created["id"], headers={"If-None-Match": known})
    assert (response.status, response.body, response.headers["ETag"]) == (304, None, '"1"')
    assert "Content-Type" not in response.headers


@pytest.mark.parametrize("known", ['"2"', '"01"', '"11"', '""', '"x"', 'W/"2", "3"'])
def test_stale_if_none_match_returns_200(known: str) -> None:
    created = create()
    response = call("retrieve_conversation", id=created["id"], headers={"If-None-Match": known})
    assert (response.status, response.body) == (200, created)


@pytest.mark.parametrize("known", ["1", '"1', '"1" "2"', ",", "", "*, *", ", ".join(['"1"'] * 101)])
def test_malformed_if_none_match_is_rejected(known: str) -> None:
    created = create()
    response = call("retrieve_conversation", id=created["id"], headers={"If-None-Match": known})
    assert response.status == 400
    assert response.message == 'If-None-Match: must be * or up to 100 ETags, such as "3", "4"'


def test_if_none_match_on_another_users_conversation_returns_404() -> None:
    created = create(user="kevin")
    response = call("retrieve_conversation", user="harry", id=created["id"], headers={"If-None-Match": "*"})
    assert response.status == 404
