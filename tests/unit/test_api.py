"""The edge: what is the same for every endpoint."""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError, ResponseStreamingError
from coherent.http import endpoint as edge

from tests import tables
from tests.handlers import USER_ENDPOINTS, Response, call, create, event, invoke, send
from tests.wire import Wire, error_response

ONE = [endpoint for endpoint in USER_ENDPOINTS if event(endpoint)["pathParameters"]]
TAKE_A_QUERY = ["list_conversations", "list_messages"]
TAKE_A_BODY = ["create_conversation", "create_message", "update_conversation", "update_message"]
# Every way to DynamoDB: the call, on a conversation and a message of it, and the parameters it takes.
CALLS: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "list_conversations": lambda _, __: {"query": {"muted": ["false"], "pinned": ["false"]}},
    "list_conversations of all": lambda _, __: {"query": {}},
    "create_conversation": lambda _, __: {"body": "contact_id=harry"},
    "create_conversation with a key": lambda conversation, _: {
        "body": "contact_id=harry",
        "headers": {"Idempotency-Key": conversation},
    },
    "retrieve_conversation": lambda conversation, _: {"id": conversation},
    "update_conversation": lambda conversation, _: {"id": conversation, "body": "is_muted=true"},
    "update_conversation that pins": lambda conversation, message: {
        "id": conversation,
        "body": f"pinned_message_id={message}",
    },
    "delete_conversation": lambda conversation, _: {"id": conversation},
    "list_messages": lambda _, __: {"query": {}},
    "list_messages of one": lambda conversation, _: {"query": {"conversation_id": [conversation]}},
    "create_message": lambda conversation, _: {"body": f"conversation_id={conversation}&message=hi"},
    "create_message with a key": lambda conversation, _: {
        "body": f"conversation_id={conversation}&message=hi",
        "headers": {"Idempotency-Key": conversation},
    },
    "retrieve_message": lambda _, message: {"id": message},
    "update_message": lambda _, message: {"id": message, "body": "message=ho"},
    "delete_message": lambda _, message: {"id": message},
}


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
def test_without_a_user_nothing_is_read(endpoint: str, authorizer: Any, wire: Wire) -> None:
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


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize("endpoint", USER_ENDPOINTS)
def test_every_answer_carries_the_request_id_and_is_not_for_shared_caches(endpoint: str) -> None:
    response = invoke(endpoint, event(endpoint))
    assert response.headers["X-Request-Id"] == event(endpoint)["requestContext"]["requestId"]
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("endpoint", ONE)
@pytest.mark.parametrize(
    "id", ["", "x", "a" * 17, "xgQQXg3hrtjh7Av%00", "xgQQXg3hrtjh7Av\0", "xgQQXg3hrtjh7Avé", "..", "\ud800" * 16, "a b"]
)
def test_a_path_that_holds_no_id_is_not_found_and_not_looked_up(endpoint: str, id: str, wire: Wire) -> None:
    response = call(endpoint, id=id, body=event(endpoint)["body"])
    assert (response.status, response.message) == (404, f"id: no such {endpoint.rpartition('_')[2]}")
    assert wire.requests == []


@pytest.mark.parametrize("endpoint", [name for name in USER_ENDPOINTS if name not in TAKE_A_QUERY])
def test_a_query_is_refused_by_calls_that_take_none(endpoint: str, wire: Wire) -> None:
    response = call(endpoint, query={"force": ["true"], "\ud800" * 100: ["1", "2"]})
    assert response.status == 400
    assert (
        response.message
        == f"force: unknown; this call takes no query; {chr(0xD800) * 64}: unknown; this call takes no query"
    )
    assert wire.requests == []


@pytest.mark.parametrize("endpoint", USER_ENDPOINTS)
def test_the_documentation_url_is_a_setting(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCUMENTATION_URL", "https://docs.example.com")
    response = invoke(endpoint, event(endpoint) | {"requestContext": {"requestId": "r"}})
    assert response.body["documentation_url"] == "https://docs.example.com/invalid_request"


def throttled(request: AWSPreparedRequest) -> AWSResponse:
    return error_response(request, 400, "ProvisionedThroughputExceededException")


def throttled_by_account(request: AWSPreparedRequest) -> AWSResponse:
    return error_response(request, 400, "RequestLimitExceeded")


def throttled_by_key(request: AWSPreparedRequest) -> AWSResponse:
    return error_response(request, 400, "ThrottlingException")


def failing(request: AWSPreparedRequest) -> AWSResponse:
    return error_response(request, 500, "InternalServerError")


def refusing(request: AWSPreparedRequest) -> AWSResponse:
    return error_response(request, 400, "AccessDeniedException")


def unreachable(request: AWSPreparedRequest) -> AWSResponse:
    raise EndpointConnectionError(endpoint_url=request.url)


def slow_to_connect(request: AWSPreparedRequest) -> AWSResponse:
    raise ConnectTimeoutError(endpoint_url=request.url)


def slow_to_answer(request: AWSPreparedRequest) -> AWSResponse:
    raise ReadTimeoutError(endpoint_url=request.url)


def truncated(_request: AWSPreparedRequest) -> AWSResponse:
    raise ResponseStreamingError(error="connection broken: 9 bytes read, 70 more expected")


FAULTS = [
    *((name, fault) for name in CALLS for fault in (throttled, failing, slow_to_answer, truncated)),
    # More of the same kinds, so not everywhere.
    *(("retrieve_message", fault) for fault in (throttled_by_account, throttled_by_key, unreachable, slow_to_connect)),
]


def prepared(name: str) -> Callable[[], Response]:
    """The call of CALLS by that *name*, on a new conversation and a message of it."""
    conversation = create()
    parameters = CALLS[name](conversation["id"], send(conversation)["id"])
    return lambda: call(name.partition(" ")[0], **parameters)


# Before the next one, which uses up the retries that botocore allows a client.
@pytest.mark.usefixtures("no_backoff", "tables")
@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_a_fault_that_passes_goes_unnoticed_at_each_request(name: str, fault: Any, wire: Wire) -> None:
    before, requests = 0, 1
    while before < requests:
        repeat = prepared(name)
        wire.reset()
        faults = [*[None] * before, fault]
        wire.fault = lambda request, faults=faults: (fault := faults.pop(0)) and fault(request) if faults else None
        response = repeat()
        assert response.status in (200, 201, 204)
        assert "Idempotent-Replayed" not in response.headers
        assert not faults
        wire.fault = None
        # One of them was a repetition.
        before, requests = before + 1, len(wire.requests) - 1


def failures(name: str, fault: Any, wire: Wire, caplog: pytest.LogCaptureFixture) -> Iterator[Response]:
    """The answers where *fault* lasts from the first, the second … request on; none of which changes a row."""
    repeat = prepared(name)
    rows = tables.all_rows()
    for before in itertools.count():
        caplog.clear()
        passing = [None] * before
        wire.fault = lambda request, passing=passing: passing.pop() if passing else fault(request)
        response = repeat()
        if response.status < 500:
            # It takes as many requests as were let through.
            assert before >= 1
            return
        assert tables.all_rows() == rows
        yield response


@pytest.mark.usefixtures("no_backoff", "tables")
@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_a_database_that_does_not_answer_is_a_503_at_each_request_and_changes_nothing(
    name: str, fault: Any, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    for response in failures(name, fault, wire, caplog):
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
        assert response.body == {
            "type": "api_error",
            "message": "The service is busy; try again in a moment",
            "documentation_url": "https://protocol.chat/docs/errors/api_error",
        }
        assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.usefixtures("no_backoff", "tables")
@pytest.mark.parametrize("name", CALLS)
def test_what_nobody_expected_is_a_bare_500_at_each_request_and_changes_nothing(
    name: str, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    for response in failures(name, refusing, wire, caplog):
        assert (response.status, response.message) == (500, "Something went wrong on our side")
        assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize("endpoint", [name for name in USER_ENDPOINTS if name not in TAKE_A_BODY])
@pytest.mark.parametrize("body", ['{"force": true}', "x" * 100_000])
def test_a_body_is_refused_by_calls_that_take_none(endpoint: str, body: str, wire: Wire) -> None:
    response = call(endpoint, body=body, content_type="application/json")
    assert (response.status, response.message) == (400, "body: must be empty; this call takes none")
    assert wire.requests == []


@pytest.mark.parametrize("endpoint", TAKE_A_BODY)
def test_many_faults_are_told_in_few_words(endpoint: str) -> None:
    response = call(endpoint, body="&".join(f"p{number}=1&p{number}=2" for number in range(3000)))
    assert response.status == 400
    assert response.message.startswith("p0: must be given only once; p1: must be given only once; ")
    assert response.message.endswith(" more")
    assert len(response.message) < 1000


@pytest.mark.parametrize("endpoint", USER_ENDPOINTS)
def test_what_nobody_expected_is_a_bare_500_logged_once(
    endpoint: str, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    wire.fault = refusing
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
    line = edge.logger.registered_handler.format(caplog.records[0])
    logged = json.loads(line)
    assert logged["level"] == "ERROR"
    assert logged["request_id"] == request["requestContext"]["requestId"]
    assert "AccessDeniedException" in logged["exception"]
    assert logged["user"] == hashlib.sha256(user.encode()).hexdigest()[:16]
    assert user not in line


@pytest.mark.parametrize("endpoint", USER_ENDPOINTS)
@pytest.mark.parametrize("request_", [{}, {"requestContext": None}, {"requestContext": {}}], ids=str)
def test_an_event_that_is_none_of_api_gateways_is_refused(endpoint: str, request_: dict[str, Any]) -> None:
    assert invoke(endpoint, request_).status == 401
