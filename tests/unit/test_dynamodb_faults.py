"""Faults of DynamoDB at each request of every call."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError, ResponseStreamingError
from coherent.storage import rows

from tests import tables
from tests.handlers import Response, call, create, send
from tests.wire import Wire, error_response

pytestmark = pytest.mark.usefixtures("no_backoff", "tables")


def mark_between(conversation: str, message: str) -> dict[str, Any]:
    """Returns the parameters that mark a message before the last one."""
    (user,) = [row["user_id"]["S"] for row in tables.conversations() if row["id"]["S"] == conversation]
    send({"id": conversation}, user=user)
    return {"id": conversation, "body": f"read_up_to={message}"}


def two_changes() -> dict[str, Any]:
    """Returns the parameters that list the first of two changes."""
    change = {"type": "message.deleted", "resource_id": "x", "version": 1, "object": "{}", "created_at": 0}
    for number in (1, 2):
        key = {"user_id": "kevin", "number": number, "event_id": str(number), "expires_at": 2**32}
        tables.put_change(rows.values(change | key))
    return {"query": {"starting_after": ["0"], "limit": ["1"]}}


# Every code path to DynamoDB: the parameters of the call, given the ids of a conversation and of a message in it.
CALLS: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "list_conversations": lambda _, __: {"query": {"muted": ["false"], "pinned": ["false"]}},
    "list_conversations without filters": lambda _, __: {"query": {}},
    "create_conversation": lambda _, __: {"body": "contact_id=harry"},
    "create_conversation with a key": lambda conversation, _: {
        "body": "contact_id=harry",
        "headers": {"Idempotency-Key": conversation},
    },
    "retrieve_conversation": lambda conversation, _: {"id": conversation},
    "update_conversation": lambda conversation, _: {"id": conversation, "body": "is_muted=true"},
    "update_conversation to pin": lambda conversation, message: {
        "id": conversation,
        "body": f"pinned_message_id={message}",
    },
    "delete_conversation": lambda conversation, _: {"id": conversation},
    "list_messages": lambda _, __: {"query": {}},
    "list_messages of a conversation": lambda conversation, _: {"query": {"conversation_id": [conversation]}},
    "create_message": lambda conversation, _: {"body": f"conversation_id={conversation}&message=hi"},
    "create_message with a key": lambda conversation, _: {
        "body": f"conversation_id={conversation}&message=hi",
        "headers": {"Idempotency-Key": conversation},
    },
    "retrieve_message": lambda _, message: {"id": message},
    "update_message": lambda _, message: {"id": message, "body": "message=ho"},
    "update_message to mark as read": lambda _, message: {"id": message, "body": "read_at=1"},
    "delete_message": lambda _, message: {"id": message},
    "list_inbox": lambda _, __: {"query": {"muted": ["false"], "pinned": ["false"], "archived": ["false"]}},
    "retrieve_inbox_entry": lambda conversation, _: {"id": conversation},
    "update_inbox_entry to flag": lambda conversation, _: {"id": conversation, "body": "is_unread=true"},
    "update_inbox_entry to mark": mark_between,
    "update_inbox_entry to mute": lambda conversation, _: {"id": conversation, "body": f"muted_until={2**32}"},
    "update_inbox_entry to block": lambda conversation, _: {"id": conversation, "body": "is_blocked=true"},
    "count_unread": lambda _, __: {"query": {}},
    "list_changes": lambda _, __: two_changes(),
}


def throttled(request: AWSPreparedRequest) -> AWSResponse:
    return error_response(request, 400, "ProvisionedThroughputExceededException")


def throttled_account(request: AWSPreparedRequest) -> AWSResponse:
    return error_response(request, 400, "RequestLimitExceeded")


def throttled_key(request: AWSPreparedRequest) -> AWSResponse:
    return error_response(request, 400, "ThrottlingException")


def internal_error(request: AWSPreparedRequest) -> AWSResponse:
    return error_response(request, 500, "InternalServerError")


def access_denied(request: AWSPreparedRequest) -> AWSResponse:
    return error_response(request, 400, "AccessDeniedException")


def connection_failed(request: AWSPreparedRequest) -> AWSResponse:
    raise EndpointConnectionError(endpoint_url=request.url)


def connect_timeout(request: AWSPreparedRequest) -> AWSResponse:
    raise ConnectTimeoutError(endpoint_url=request.url)


def read_timeout(request: AWSPreparedRequest) -> AWSResponse:
    raise ReadTimeoutError(endpoint_url=request.url)


def truncated(_request: AWSPreparedRequest) -> AWSResponse:
    raise ResponseStreamingError(error="connection broken: 9 bytes read, 70 more expected")


FAULTS = [
    *((name, fault) for name in CALLS for fault in (throttled, internal_error, read_timeout, truncated)),
    # These are classified by the same code, so one call is enough.
    *(("retrieve_message", fault) for fault in (throttled_account, throttled_key, connection_failed, connect_timeout)),
]


def prepared(name: str) -> Callable[[], Response]:
    """Creates a conversation with a message and returns the call *name* of CALLS on them."""
    conversation = create()
    parameters = CALLS[name](conversation["id"], send(conversation)["id"])
    return lambda: call(name.partition(" ")[0], **parameters)


# Runs before the persistent faults, which use up the retry quota of botocore's clients.
@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_single_fault_at_any_request_is_retried(name: str, fault: Any, wire: Wire) -> None:
    # The first inbox call of a process makes one request more.
    prepared(name)()
    before, requests = 0, 1
    while before < requests:
        make_call = prepared(name)
        wire.reset()
        faults = [*[None] * before, fault]
        wire.fault = lambda request, faults=faults: (fault := faults.pop(0)) and fault(request) if faults else None
        response = make_call()
        assert response.status in (200, 201, 204)
        assert "Idempotent-Replayed" not in response.headers
        assert not faults
        wire.fault = None
        # One of the requests was the retry.
        before, requests = before + 1, len(wire.requests) - 1


def stored() -> list[dict[str, Any]]:
    """Returns all rows except those that schedule the end of a mute."""
    return [row for row in tables.all_rows() if not row.get("user_id", {"S": ""})["S"].startswith("unmute#")]


def failures(name: str, fault: Any, wire: Wire, caplog: pytest.LogCaptureFixture) -> Iterator[Response]:
    """Yields the responses if *fault* starts at request 1, 2, … and persists. Checks that no row changes."""
    make_call = prepared(name)
    rows = stored()
    for before in itertools.count():
        caplog.clear()
        passing = [None] * before
        wire.fault = lambda request, passing=passing: passing.pop() if passing else fault(request)
        response = make_call()
        if response.status < 500:
            # All requests of the call passed.
            assert before >= 1
            return
        assert stored() == rows
        yield response


@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_persistent_fault_returns_503(name: str, fault: Any, wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    for response in failures(name, fault, wire, caplog):
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
        assert response.body == {
            "type": "api_error",
            "message": "The service is busy; try again in a moment",
            "documentation_url": "https://protocol.chat/docs/errors/api_error",
        }
        assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize("name", CALLS)
def test_persistent_unexpected_error_returns_500(name: str, wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    for response in failures(name, access_denied, wire, caplog):
        assert (response.status, response.message) == (500, "Something went wrong on our side")
        assert [record.levelname for record in caplog.records] == ["ERROR"]
