"""API8: CORS, caching, methods, response headers and logs."""

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from tests.security.attacks import ABSENT_ID, JSON, MISCONFIGURATION, NO_PATH, RecordAttack, Victim, unchanged
from tests.stack import Client, Stack, leak_free_error, send_raw, wait_until


def calls(conversation: dict[str, Any]) -> Iterator[tuple[str, str, str | None, int]]:
    """Yields calls for each kind of response: method, path, a token instead of the user's, expected status."""
    yield "GET", f"/conversations/{conversation['id']}", None, 200
    yield "GET", "/conversations", None, 200
    yield "GET", "/messages", None, 200
    yield "GET", "/conversations?limit=0", None, 400
    yield "GET", f"/conversations/{ABSENT_ID}", None, 404
    yield "GET", "/conversations", "nonsense", 401
    yield "GET", "/nothing", None, 404
    yield "PATCH", "/conversations", None, 404


ORIGINS = [
    "https://evil.example",
    "null",
    "http://127.0.0.1",
    "file://",
    "https://protocol.chat.evil.example",
    "*",
    "'",
]


def test_cors_does_not_reflect_origins(victim: Victim, record_attack: RecordAttack) -> None:
    kate, conversation = victim.user, victim.conversation
    attempts = 0
    for method, path, token, status in calls(conversation):
        for origin in ORIGINS:
            response = send_raw(kate, f"{method} {path}", f"Origin: {origin}", "Cookie: session=1", token=token)
            assert response.status_code == status
            # The configured value; with "*" a browser sends no credentials.
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            assert "Access-Control-Allow-Credentials" not in response.headers
            assert "Set-Cookie" not in response.headers
            attempts += 1
    record_attack(MISCONFIGURATION, "CORS with foreign, null and look-alike origins", "never reflected", attempts)


def test_preflight_allows_only_the_configured_list(kevin: Client, record_attack: RecordAttack) -> None:
    allowed = {"authorization", "content-type", "idempotency-key", "if-match", "if-none-match"}
    requested = ["X-Evil", "Cookie", "X-HTTP-Method-Override", "*", "X-Amz-Date, X-Api-Key"]
    for header in requested:
        for method in ("PATCH", "TRACE", "PUT"):
            headers = [f"Access-Control-Request-Headers: {header}", f"Access-Control-Request-Method: {method}"]
            response = send_raw(kevin, "OPTIONS /conversations", "Origin: null", *headers, token="")
            assert response.status_code == 200
            assert set(response.headers["Access-Control-Allow-Methods"].split(",")) == {"GET", "POST", "PUT", "DELETE"}
            assert set(response.headers["Access-Control-Allow-Headers"].lower().split(",")) == allowed
            assert "Access-Control-Allow-Credentials" not in response.headers
            assert "Access-Control-Allow-Private-Network" not in response.headers
    attack = "preflights for headers and methods that are not configured"
    record_attack(MISCONFIGURATION, attack, "the configured list only", 3 * len(requested))


def test_responses_are_not_cached_for_other_users(victim: Victim, record_attack: RecordAttack) -> None:
    kate, marv, conversation = victim.user, victim.attacker, victim.conversation
    attempts = 0
    for method, path, token, status in calls(conversation):
        response = send_raw(
            kate, f"{method} {path}", "X-Forwarded-Host: a", "Cache-Control: only-if-cached", token=token
        )
        assert response.status_code == status
        if status in (200, 400) or ABSENT_ID in path:
            assert response.headers["Cache-Control"] == "private, no-cache"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Content-Type"] == "application/json"
        attempts += 1
    for path in ("/conversations", "/messages", f"/conversations?x={conversation['id']}.css"):
        assert conversation["id"] not in marv.send("GET", path).json().get("data", "")
        assert "max-age" not in marv.send("GET", path).headers["Cache-Control"]
        attempts += 2
    attack = "one user's responses requested by another user through a cache"
    record_attack(MISCONFIGURATION, attack, "private, no-cache", attempts)


OVERRIDES = [
    *("X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Method-Override: DELETE", "_method: DELETE"),
    *("X-Original-Method: DELETE", "X-Forwarded-Method: DELETE", "X-HTTP-Method-Override: PUT"),
]


def test_headers_cannot_override_the_method(stack: Stack, victim: Victim, record_attack: RecordAttack) -> None:
    path = f"/conversations/{victim.conversation['id']}"
    with unchanged(stack, victim.user):
        for header in OVERRIDES:
            assert send_raw(victim.user, f"GET {path}", header).status_code == 200
            assert leak_free_error(send_raw(victim.user, f"POST {path}", header)) == NO_PATH
    record_attack(MISCONFIGURATION, "headers that override the method", "ignored", 2 * len(OVERRIDES))


METHODS = "TRACE TRACK PATCH CONNECT PROPFIND COPY MOVE LOCK DEBUG PURGE FOO DELETE".split()


def test_other_methods_are_not_found(stack: Stack, kevin: Client, record_attack: RecordAttack) -> None:
    with unchanged(stack, kevin):
        for method in METHODS:
            assert leak_free_error(send_raw(kevin, f"{method} /conversations", "X-Secret: echoed")) == NO_PATH
        head = send_raw(kevin, "HEAD /conversations")
        assert (head.status_code, head.content) == (404, b"")
    attack = "methods that the API does not have: TRACE, CONNECT, PURGE, ..."
    record_attack(MISCONFIGURATION, attack, "404", len(METHODS) + 1)


def test_client_text_cannot_split_a_header(kevin: Client, record_attack: RecordAttack) -> None:
    groups = [
        'a>;rel="next",<https://evil.example/>;rel="next"',
        "a%0d%0aSet-Cookie:x=1",
        'a\\r\\nX:y"',
        "a&limit=100&x=",
        "a\ud83d\ude00é".encode("utf-16", "surrogatepass").decode("utf-16"),
    ]
    for group in groups:
        for number in range(3):
            kevin.create(contact_id=str(number), group_id=group)
        page = kevin.send("GET", "/conversations", params={"limit": 1, "group_id": group})
        assert set(page.links) == {"next"}
        assert page.links["next"]["url"].startswith(f"{kevin.api_url}/conversations?limit=1&group_id=")
        assert page.headers.keys() & {"Set-Cookie", "X"} == set()
        (following,) = kevin.send("GET", page.links["next"]["url"]).json()["data"]
        assert (following["group_id"], following["contact_id"]) == (group, "1")
    with_breaks = ["a%0d%0aSet-Cookie:%20x=1", "a%0aX:%20y", "a%E2%80%A8X:%20y", "a%C2%85X:%20y", "a%00"]
    for text in with_breaks:
        response = send_raw(kevin, f"GET /conversations?group_id={text}")
        assert leak_free_error(response)[0] == 400
        assert response.headers.keys() & {"Set-Cookie", "X"} == set()
    attack = "header and response splitting by group names, which appear in Link headers"
    record_attack(MISCONFIGURATION, attack, "encoded, or 400", len(groups) + len(with_breaks))


def test_client_cannot_forge_log_lines(
    stack: Stack, kevin: Client, conversation: dict[str, Any], record_attack: RecordAttack
) -> None:
    started = time.time()
    forged = '{"level":"ERROR","message":"forged"}'
    line = quote(f"\n{forged}\n", safe="")
    header = f"\\n{forged}"
    names = ["X-Request-Id", "X-Amzn-RequestId", "X-Amz-Request-Id", "User-Agent", "X-Correlation-Id"]
    headers = [f"{name}: forged{header}" for name in names] + ["X-Amzn-Trace-Id: Root=forged;Parent=forged;Sampled=1"]
    json_header = f"Content-Type: {JSON}"
    bodies = [
        json.dumps({"contact_id": f"x\n{forged}"}).encode(),
        json.dumps({f"x\n{forged}": "x"}).encode(),
        f"\n{forged}\n".encode(),
    ]
    responses = [
        send_raw(kevin, f"GET /conversations?group_id={line}", *headers),
        send_raw(kevin, f"GET /conversations?{line}=1", *headers),
        send_raw(kevin, f"GET /conversations/{line}", *headers),
        send_raw(kevin, f"GET /conversations/{conversation['id']}", *headers, f"If-None-Match: {header}"),
        send_raw(kevin, f"GET /messages?conversation_id={line}", *headers),
        *(
            send_raw(kevin, "POST /conversations", *headers, json_header, f"Content-Length: {len(body)}", body=body)
            for body in bodies
        ),
        kevin.send("POST", "/messages", json={"conversation_id": conversation["id"], "message": f"x\n{forged}"}),
    ]
    request_ids = {response.headers["X-Request-Id"] for response in responses}
    assert not [id for id in request_ids if "forged" in id]
    assert {response.status_code for response in responses} == {400, 404, 201}
    assert wait_until(lambda: request_ids <= {json.loads(line).get("request_id") for line in stack.log_lines(started)})
    lines = stack.log_lines(started)
    assert not [line for line in lines if "forged" in line or kevin.user_id in line]
    assert all(isinstance(json.loads(line), dict) for line in lines)
    outcome = "one line of JSON per call, without any of the client's text"
    record_attack(MISCONFIGURATION, "log injection by query, path, headers and bodies", outcome, len(responses))
