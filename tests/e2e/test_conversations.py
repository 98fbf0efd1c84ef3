"""Conversations of the deployed stack over HTTP."""

import itertools
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from tests.filters import COMBINATIONS
from tests.model import matches
from tests.stack import CALLS, Client, Stack, error
from tools.local import users
from tools.local.environment import emulator_url

ATTRIBUTES = [
    *("id", "contact_id", "group_id", "pinned_message_id", "is_pinned", "is_muted"),
    *("last_active_at", "last_opened_at", "created_at", "archived_at"),
]

QUERY = "limit, starting_after, ending_before, muted, archived, pinned, group_id"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def test_conversation_life_cycle(kevin: Client) -> None:
    before = int(time.time())
    posted = kevin.send("POST", "/conversations", data={"contact_id": "harry", "group_id": "friends"})
    assert posted.status_code == 201
    assert posted.headers["Content-Type"] == "application/json"
    created = posted.json()
    assert list(created) == ATTRIBUTES
    assert (created["contact_id"], created["group_id"]) == ("harry", "friends")
    assert before <= created["created_at"] <= time.time()
    location = posted.headers["Location"]

    assert kevin.send("GET", location).json() == created
    assert kevin.list() == {"has_more": False, "data": [created]}

    put = kevin.send("PUT", location, data={"is_pinned": "true", "archived_at": "1790000000"})
    assert put.status_code == 200
    assert put.json() == created | {"is_pinned": True, "archived_at": 1790000000}
    assert kevin.send("PUT", location, data="archived_at=", headers=FORM).json() == created | {"is_pinned": True}

    deleted = kevin.send("DELETE", location)
    assert (deleted.status_code, deleted.content) == (204, b"")
    for method in ("GET", "DELETE"):
        assert error(kevin.send(method, location)) == (404, "id: no such conversation")
    assert error(kevin.send("PUT", location, json={"is_muted": True})) == (404, "id: no such conversation")
    assert kevin.list() == {"has_more": False, "data": []}


def test_form_and_json_bodies_are_equivalent(kevin: Client) -> None:
    from_form = kevin.send("POST", "/conversations", data={"contact_id": "härry&co=漢"}).json()
    text = json.dumps({"contact_id": "härry&co=漢"}, ensure_ascii=False).encode()
    from_json = kevin.send(
        "POST", "/conversations", data=text, headers={"Content-Type": "application/json; charset=utf-8"}
    ).json()
    assert from_form["contact_id"] == from_json["contact_id"] == "härry&co=漢"
    changes = {"is_muted": True, "last_opened_at": 1790000000, "archived_at": None}
    form = {"is_muted": "true", "last_opened_at": "1790000000", "archived_at": ""}
    assert kevin.update(from_json, **changes) == from_json | changes
    assert kevin.send("PUT", f"/conversations/{from_form['id']}", data=form).json() == from_form | changes


def test_every_filter_combination_lists_matching_conversations(kevin: Client) -> None:
    created = []
    for archived_at, is_pinned, is_muted in itertools.product((None, 1_790_000_000), (False, True), (False, True)):
        for group in ({}, {"group_id": "friends"}):
            changes = {"archived_at": archived_at, "is_pinned": is_pinned, "is_muted": is_muted}
            created.append(kevin.update(kevin.create(contact_id="harry", **group), **changes))
    for query in COMBINATIONS:
        expected = [found for found in reversed(created) if matches(found, query)]
        assert kevin.list(limit=100, **query) == {"has_more": False, "data": expected}, query


@pytest.mark.parametrize("query", [{}, {"group_id": "friends"}, {"muted": "false"}], ids=str)
def test_cursors_page_in_both_directions(kevin: Client, query: dict[str, str]) -> None:
    newest_first = [kevin.create(contact_id="harry", group_id="friends")["id"] for _ in range(7)][::-1]

    def walk(**cursor: str) -> list[list[str]]:
        """Returns the ids of all pages in one direction."""
        pages: list[list[str]] = []
        has_more = True
        while has_more and len(pages) < 10:
            page = kevin.list(limit=3, **query, **cursor)
            pages.append([found["id"] for found in page["data"]])
            has_more = page["has_more"]
            cursor = {name: pages[-1][-1 if name == "starting_after" else 0] for name in cursor or ["starting_after"]}
        return pages

    assert walk() == [newest_first[:3], newest_first[3:6], newest_first[6:]]
    assert walk(ending_before="0" * 16) == [newest_first[4:], newest_first[1:4], newest_first[:1]]


def test_users_cannot_see_each_others_conversations(kevin: Client, harry: Client) -> None:
    kevins = kevin.create(contact_id="harry", group_id="friends")
    harrys = harry.create(contact_id="kevin", group_id="friends")
    foreign, absent = f"/conversations/{kevins['id']}", "/conversations/xgQQXg3hrtjh7AvZ"
    for method, body in (("GET", None), ("PUT", {"is_muted": "true"}), ("DELETE", None)):
        responses = [harry.send(method, path, data=body) for path in (foreign, absent)]
        assert {error(response) for response in responses} == {(404, "id: no such conversation")}
    for query in ({}, {"group_id": "friends"}, {"muted": "false"}, {"group_id": "friends", "archived": "false"}):
        assert harry.list(**query)["data"] == [harrys]
        assert kevin.list(**query)["data"] == [kevins]
        # Another user's id as a cursor is only a position.
        assert harry.list(ending_before=kevins["id"], **query)["data"] == [harrys]
        assert harry.list(starting_after=kevins["id"], **query)["data"] == []
    assert kevin.send("GET", foreign).json() == kevins


def test_links_page_with_the_same_filters(kevin: Client) -> None:
    newest_first = [kevin.create(contact_id="harry", group_id="friends")["id"] for _ in range(5)][::-1]
    kevin.create(contact_id="harry")
    pages: list[list[str]] = []
    url: str | None = "/conversations?limit=2&group_id=friends&muted=false"
    while url and len(pages) < 10:
        response = kevin.send("GET", url)
        pages.append([found["id"] for found in response.json()["data"]])
        url = response.links.get("next", {}).get("url")
    assert pages == [newest_first[:2], newest_first[2:4], newest_first[4:]]
    back = kevin.send("GET", response.links["prev"]["url"])
    assert [found["id"] for found in back.json()["data"]] == pages[1]


def test_concurrent_idempotent_requests_create_one_conversation(kevin: Client, stack: Stack) -> None:
    token = users.token(stack.port, "kevin")
    start = threading.Barrier(50)

    def post(number: int) -> requests.Response:
        body = {"contact_id": "harry", "group_id": "friends"}
        client = Client(stack.api_url, token)
        start.wait()
        deadline = time.monotonic() + 60
        response = client.send("POST", "/conversations", json=body, headers={"Idempotency-Key": "fifty"})
        while response.status_code in (409, 429, 503) and time.monotonic() < deadline:
            # Retry as a good client does, spread over time.
            time.sleep(1 + number / 25)
            response = client.send("POST", "/conversations", json=body, headers={"Idempotency-Key": "fifty"})
        client.close()
        return response

    # The emulator starts a process per concurrent invocation. Fifty would take a minute, so most get a 429.
    with concurrency_limit(6, "CreateConversation", stack), ThreadPoolExecutor(50) as threads:
        responses = list(threads.map(post, range(50)))
    assert {response.status_code for response in responses} == {201}
    assert len({(response.text, response.headers["Location"], response.headers["ETag"]) for response in responses}) == 1
    assert [response.headers.get("Idempotent-Replayed") for response in responses].count("true") == 49
    assert kevin.list()["data"] == [responses[0].json()]
    other = kevin.send("POST", "/conversations", json={"contact_id": "x"}, headers={"Idempotency-Key": "fifty"})
    assert error(other)[0] == 422


@contextmanager
def concurrency_limit(count: int, function: str, stack: Stack) -> Iterator[None]:
    """Limits concurrent invocations of *function* to *count*; further ones are throttled."""
    functions, name = stack.aws("lambda"), stack.function_name(function)
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=count)
    try:
        yield
    finally:
        functions.delete_function_concurrency(FunctionName=name)


def test_one_of_many_updates_with_the_same_etag_succeeds(kevin: Client) -> None:
    created = kevin.create(contact_id="harry")
    path = f"/conversations/{created['id']}"
    tag = kevin.send("GET", path).headers["ETag"]

    def put(second: int) -> int:
        return kevin.send("PUT", path, json={"last_opened_at": second}, headers={"If-Match": tag}).status_code

    with ThreadPoolExecutor(4) as threads:
        statuses = list(threads.map(put, range(8)))
    assert sorted(statuses) == [200] + [412] * 7
    found = kevin.send("GET", path, headers={"If-None-Match": tag})
    assert found.json() == created | {"last_opened_at": statuses.index(200)}
    again = kevin.send("GET", path, headers={"If-None-Match": found.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert error(kevin.send("DELETE", path, headers={"If-Match": tag}))[0] == 412
    assert kevin.send("DELETE", path, headers={"If-Match": found.headers["ETag"]}).status_code == 204


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/nothing"), ("PATCH", "/conversations"), ("POST", "/conversations/x")]
)
def test_unknown_path_or_method_is_not_found(kevin: Client, method: str, path: str) -> None:
    response = kevin.send(method, path)
    assert error(response) == (404, "There is no such path, or not with this method")
    assert response.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("path", ["/conversations", "/conversations/xgQQXg3hrtjh7AvZ", "/messages"])
def test_cors_preflight_is_allowed(stack: Stack, path: str) -> None:
    headers = {"Origin": "https://chat.example.com", "Access-Control-Request-Method": "PUT"}
    response = Client(stack.api_url, None).send("OPTIONS", path, headers=headers)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Access-Control-Allow-Methods"] == "GET,POST,PUT,DELETE"
    allowed = "Authorization,Content-Type,Idempotency-Key,If-Match,If-None-Match"
    assert response.headers["Access-Control-Allow-Headers"] == allowed


@pytest.mark.parametrize(("method", "path", "scope"), CALLS)
def test_call_requires_token_with_its_scope(stack: Stack, method: str, path: str, scope: str) -> None:
    others = set(users.SCOPES) - {scope}
    is_operators = scope in users.OPERATOR_SCOPES
    valid = users.operator_token(stack.port) if is_operators else users.token(stack.port, "kevin", [scope])
    header, claims, signature = valid.split(".")
    assert Client(stack.api_url, valid).send(method, path).status_code in (200, 400, 404)
    for invalid in (
        users.token(stack.port, "kevin", others),
        None,
        "nonsense",
        ".".join([header, claims, signature[::-1]]),
    ):
        response = Client(stack.api_url, invalid).send(method, path)
        assert error(response) == (
            401,
            "Authorization: must be 'Bearer ' and a valid access token with the scope of this call",
        )
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert response.headers["Access-Control-Allow-Origin"] == "*"


def test_service_client_gets_tokens_with_client_credentials(stack: Stack) -> None:
    outputs = stack.outputs()
    service = stack.aws("cognito-idp").describe_user_pool_client(
        UserPoolId=outputs["UserPoolId"], ClientId=outputs["ServiceClientId"]
    )["UserPoolClient"]
    credentials = (service["ClientId"], service["ClientSecret"])
    url, data = f"{emulator_url(stack.port)}/oauth2/token", {"grant_type": "client_credentials"}
    client = Client(stack.api_url, requests.post(url, data, auth=credentials, timeout=60).json()["access_token"])
    assert client.user_id == outputs["ServiceClientId"]
    assert client.list()["data"] == []
    client.close()


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=0", "limit: must be an integer between 1 and 100"),
        ("limit=", "limit: must be an integer between 1 and 100"),
        ("limit=1&limit=2", "limit: must be given only once"),
        ("muted=yes", "muted: must be true or false"),
        (
            "mutted=true",
            f"mutted: unknown or read-only; this call takes {QUERY}",
        ),
        ("starting_after=xyz", "starting_after: must be an id of 16 letters and digits"),
        (
            f"starting_after={'a' * 16}&ending_before={'b' * 16}",
            "starting_after, ending_before: only one of them may be given",
        ),
        ("group_id=%00", "group_id: must be 1 to 128 characters without white space or control characters"),
    ],
)
def test_invalid_query_gets_a_helpful_error(kevin: Client, query: str, message: str) -> None:
    assert error(kevin.send("GET", f"/conversations?{query}")) == (400, message)


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("application/json", b"", (400, "contact_id, group_id: at least one of them must be given")),
        ("application/json", b"{", (400, 'body: must be well-formed JSON, such as {"is_pinned": true}')),
        ("application/json", b"[" * 60000, (400, 'body: must be well-formed JSON, such as {"is_pinned": true}')),
        ("application/json", b"[]", (400, 'body: must be a JSON object, such as {"is_pinned": true}')),
        ("text/plain", b"x", (415, "Content-Type: must be application/json or application/x-www-form-urlencoded")),
        (FORM["Content-Type"], b"contact_id=a&contact_id=b", (400, "contact_id: must be given only once")),
        (FORM["Content-Type"], b"contact_id=" + b"a" * 524_288, (413, "body: must be at most 524288 bytes")),
    ],
)
def test_invalid_body_gets_a_helpful_error(
    kevin: Client, content_type: str, body: bytes, expected: tuple[int, str]
) -> None:
    response = kevin.send("POST", "/conversations", data=body, headers={"Content-Type": content_type})
    assert error(response) == expected
    assert kevin.list()["data"] == []


@pytest.mark.parametrize("id", ["x", "%00", "%2e%2e", "xgQQXg3hrtjh7Av%C3%A9", "xgQQXg3hrtjh7AvZ%0A", "a" * 300])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_malformed_id_is_not_found(kevin: Client, method: str, id: str) -> None:
    response = kevin.send(method, f"/conversations/{id}", data={"is_muted": "true"} if method == "PUT" else None)
    assert error(response) == (404, "id: no such conversation")


def test_concurrent_changes_of_different_attributes_persist(kevin: Client) -> None:
    created = kevin.create(contact_id="harry")
    message = kevin.send_message(created)
    changes: list[dict[str, Any]] = [
        {"is_pinned": True},
        {"is_muted": True},
        {"archived_at": 1790000000},
        {"last_opened_at": 1790000001},
        {"pinned_message_id": message["id"]},
        {"last_active_at": message["created_at"]},
    ]
    with ThreadPoolExecutor(len(changes)) as threads:
        list(threads.map(lambda change: kevin.update(created, **change), changes[:-1]))
    expected = created | {name: value for change in changes for name, value in change.items()}
    assert kevin.send("GET", f"/conversations/{created['id']}").json() == expected
