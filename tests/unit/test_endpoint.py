"""Behaviour that all endpoints share."""

import hashlib
import json
from typing import Any

import pytest
from coherent.http.endpoint import logger

from tests.handlers import USER_ENDPOINTS, call, event, invoke
from tests.wire import Wire, error_response

WITH_ID = [endpoint for endpoint in USER_ENDPOINTS if event(endpoint)["pathParameters"]]
WITH_QUERY = ["count_unread", "delete_message", "list_changes", "list_conversations", "list_inbox", "list_messages"]
WITH_BODY = [endpoint for endpoint in USER_ENDPOINTS if event(endpoint)["body"]]


@pytest.mark.parametrize("endpoint", USER_ENDPOINTS)
@pytest.mark.parametrize(
    "authorizer",
    [
        "absent",
        None,
        {},
        "kevin",
        {"claims": "kevin"},
        {"claims": None},
        {"claims": {}},
        {"claims": {"sub": ""}},
        {"claims": {"sub": "purge"}},
        {"claims": {"sub": "idempotency#kevin"}},
        {"claims": {"sub": "kevin#friends"}},
        {"claims": {"username": "kevin"}},
    ],
    ids=str,
)
def test_request_without_a_user_returns_401(endpoint: str, authorizer: Any, wire: Wire) -> None:
    request = event(endpoint)
    request["requestContext"]["authorizer"] = authorizer
    if authorizer == "absent":
        del request["requestContext"]["authorizer"]
    response = invoke(endpoint, request)
    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.body == {
        "type": "invalid_request",
        "message": "Authorization: must be 'Bearer ' and a valid access token",
        "documentation_url": "https://protocol.chat/docs/errors/invalid_request",
    }
    assert wire.requests == []


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("endpoint", USER_ENDPOINTS)
def test_response_has_the_common_headers(endpoint: str) -> None:
    response = invoke(endpoint, event(endpoint))
    assert response.headers["X-Request-Id"] == event(endpoint)["requestContext"]["requestId"]
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("endpoint", WITH_ID)
@pytest.mark.parametrize(
    "id", ["", "x", "a" * 17, "xgQQXg3hrtjh7Av%00", "xgQQXg3hrtjh7Av\0", "xgQQXg3hrtjh7Avé", "..", "\ud800" * 16, "a b"]
)
def test_malformed_id_returns_404(endpoint: str, id: str, wire: Wire) -> None:
    response = call(endpoint, id=id, body=event(endpoint)["body"])
    (parameter,) = event(endpoint)["pathParameters"]
    noun = endpoint.rpartition("_")[2].replace("redelivery", "webhook").replace("entry", "conversation")
    assert (response.status, response.message) == (404, f"{parameter}: no such {noun}")
    assert wire.requests == []


@pytest.mark.parametrize("endpoint", [name for name in USER_ENDPOINTS if name not in WITH_QUERY])
def test_unexpected_query_is_rejected(endpoint: str, wire: Wire) -> None:
    response = call(endpoint, query={"force": ["true"], "\ud800" * 100: ["1", "2"]})
    assert response.status == 400
    assert (
        response.message == f"force: unknown; this call takes no query; {'?' * 64}: unknown; this call takes no query"
    )
    assert wire.requests == []


@pytest.mark.parametrize("endpoint", USER_ENDPOINTS)
def test_documentation_url_is_configurable(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCUMENTATION_URL", "https://docs.example.com")
    response = invoke(endpoint, event(endpoint) | {"requestContext": {"requestId": "r"}})
    assert response.body["documentation_url"] == "https://docs.example.com/invalid_request"


@pytest.mark.parametrize("endpoint", [name for name in USER_ENDPOINTS if name not in WITH_BODY])
@pytest.mark.parametrize("body", ['{"force": true}', "x" * 100_000])
def test_unexpected_body_is_rejected(endpoint: str, body: str, wire: Wire) -> None:
    response = call(endpoint, body=body, content_type="application/json")
    assert (response.status, response.message) == (400, "body: must be empty; this call takes none")
    assert wire.requests == []


@pytest.mark.parametrize("endpoint", WITH_BODY)
def test_message_lists_at_most_ten_faults(endpoint: str) -> None:
    response = call(endpoint, body="&".join(f"p{number}=1&p{number}=2" for number in range(3000)))
    assert response.status == 400
    assert response.message.startswith("p0: must be given only once; p1: must be given only once; ")
    assert response.message.endswith(" more")
    assert len(response.message) < 1000


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("endpoint", USER_ENDPOINTS)
def test_unexpected_exception_returns_500_and_is_logged_once(
    endpoint: str, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    wire.fault = lambda request: error_response(request, 400, "AccessDeniedException")
    request = event(endpoint)
    user = request["requestContext"]["authorizer"]["claims"]["sub"]
    response = invoke(endpoint, request)
    assert response.status == 500
    assert response.body == {
        "type": "api_error",
        "message": "Something went wrong on our side",
        "documentation_url": "https://protocol.chat/docs/errors/api_error",
    }
    assert len(caplog.records) == 1
    line = logger.registered_handler.format(caplog.records[0])
    logged = json.loads(line)
    assert logged["level"] == "ERROR"
    assert logged["request_id"] == request["requestContext"]["requestId"]
    assert "AccessDeniedException" in logged["exception"]
    assert logged["user"] == hashlib.sha256(user.encode()).hexdigest()[:16]
    assert user not in line


@pytest.mark.parametrize("endpoint", USER_ENDPOINTS)
@pytest.mark.parametrize("malformed", [{}, {"requestContext": None}, {"requestContext": {}}], ids=str)
def test_malformed_event_returns_401(endpoint: str, malformed: dict[str, Any]) -> None:
    assert invoke(endpoint, malformed).status == 401
