"""Each call is told in one line, from which CloudWatch makes metrics and in which no user can be recognised."""

import hashlib
import json
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ReadTimeoutError

from tests import tables as contents
from tests.handlers import (
    ENDPOINTS,
    FUNCTIONS,
    USER_ENDPOINTS,
    Context,
    call,
    create,
    event,
    handler,
    invoke,
    list_conversations,
    sweep,
)
from tests.wire import Wire, cancelled_transaction, error_response

MEASURES = {
    "ApiError": "Count",
    "InvalidRequest": "Count",
    "Latency": "Milliseconds",
    "ReadUnits": "Count",
    "Requests": "Count",
    "Retries": "Count",
    "WriteUnits": "Count",
}


def throttling(request: AWSPreparedRequest) -> AWSResponse:
    return error_response(request, 400, "ThrottlingException")


def refusing(request: AWSPreparedRequest) -> AWSResponse:
    return error_response(request, 400, "AccessDeniedException")


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The lines of metrics that were printed since the last look."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    return [line for line in lines if "_aws" in line]


def values(line: dict[str, Any]) -> dict[str, float]:
    """The value of each metric in *line*; what is not told is none."""
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    told = {metric["Name"]: line[metric["Name"]] for metric in directive["Metrics"]}
    assert all(value for name, value in told.items() if name != "PurgeAge")
    return dict.fromkeys(MEASURES, 0) | told


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_call_is_told_in_one_line_of_the_embedded_metric_format(
    endpoint: str, tables: None, capsys: pytest.CaptureFixture[str]
) -> None:
    del tables
    request = event(endpoint)
    response = invoke(endpoint, request)
    (line,) = told(capsys)
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "CoherentConversations"
    assert directive["Dimensions"] == [["service"], ["service", "endpoint"]]
    assert (line["service"], line["endpoint"]) == ("conversations", endpoint)
    units = {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]}
    assert {"Requests", "Latency"} <= units.keys()
    assert units.items() <= MEASURES.items()
    assert line["status"] == response.status
    assert line["request_id"] == request["requestContext"]["requestId"] == response.headers["X-Request-Id"]
    assert line["Requests"] == 1
    assert line["Latency"] > 0


@pytest.mark.parametrize("endpoint", USER_ENDPOINTS)
def test_a_line_has_the_hash_of_the_user_and_nothing_else_of_the_call(
    endpoint: str, tables: None, capsys: pytest.CaptureFixture[str]
) -> None:
    del tables
    request = event(endpoint)
    user = request["requestContext"]["authorizer"]["claims"]["sub"]
    invoke(endpoint, request)
    (line,) = told(capsys)
    assert line["user"] == hashlib.sha256(user.encode()).hexdigest()[:16]
    known = {"_aws", "service", "endpoint", "status", "error", "request_id", "user"} | MEASURES.keys()
    assert line.keys() <= known


def test_errors_are_counted_by_the_types_of_the_contract_and_named(
    wire: Wire, no_backoff: None, capsys: pytest.CaptureFixture[str]
) -> None:
    del no_backoff
    call("list_conversations", query={"limit": ["0"]})
    call("retrieve_conversation", id="8DoZ65wSg7hMp0Jh")
    wire.fault = throttling
    call("list_conversations")
    wire.fault = refusing
    call("list_conversations")
    lines = told(capsys)
    assert [(line["status"], line["error"]) for line in lines] == [
        (400, "InvalidRequest"),
        (404, "NotFound"),
        (503, "Unavailable"),
        (500, "ClientError"),
    ]
    counted = [(values(line)["InvalidRequest"], values(line)["ApiError"]) for line in lines]
    assert counted == [(1, 0), (1, 0), (0, 1), (0, 1)]


def test_units_are_those_that_dynamodb_says_it_took(tables: None, capsys: pytest.CaptureFixture[str]) -> None:
    del tables
    conversation = create()
    (line,) = told(capsys)
    assert values(line)["WriteUnits"] > 0
    assert values(line)["ReadUnits"] == 0
    list_conversations()
    call("retrieve_conversation", id=conversation["id"])
    for line in told(capsys):
        assert values(line)["ReadUnits"] > 0
        assert values(line)["WriteUnits"] == 0


def test_a_page_read_in_parallel_has_the_units_of_all_its_queries(
    tables: None, capsys: pytest.CaptureFixture[str]
) -> None:
    del tables
    for number in range(8):
        create(contact_id=f"contact-{number}", group_id="friends")
    told(capsys)
    call(
        "list_conversations",
        query={"group_id": ["friends"], "pinned": ["true"], "muted": ["true"], "archived": ["true"]},
    )
    call("list_conversations", query={"group_id": ["friends"]})
    one, eight = told(capsys)
    assert values(eight)["ReadUnits"] >= 8 * values(one)["ReadUnits"] > 0


def test_repetitions_are_counted(wire: Wire, no_backoff: None, capsys: pytest.CaptureFixture[str]) -> None:
    del no_backoff
    wire.fault = throttling
    call("list_conversations")
    wire.fault = None
    call("list_conversations")
    throttled, fine = told(capsys)
    assert values(throttled)["Retries"] == 2
    assert values(fine)["Retries"] == 0


def test_repetitions_of_a_request_without_an_answer_are_counted(
    wire: Wire, no_backoff: None, capsys: pytest.CaptureFixture[str]
) -> None:
    del no_backoff

    def silent(request: AWSPreparedRequest) -> AWSResponse:
        raise ReadTimeoutError(endpoint_url=request.url)

    wire.fault = silent
    assert call("list_conversations").status == 503
    (line,) = told(capsys)
    assert values(line)["Retries"] == len(wire.requests) - 1 > 0


def test_repetitions_of_a_throttled_transaction_are_counted(
    wire: Wire, no_backoff: None, capsys: pytest.CaptureFixture[str]
) -> None:
    del no_backoff
    conversation = create()
    told(capsys)
    wire.fault = lambda request: cancelled_transaction(request, "ThrottlingError")
    body = json.dumps({"conversation_id": conversation["id"], "message": "hello"})
    assert call("create_message", body=body, content_type="application/json").status == 503
    (line,) = told(capsys)
    assert values(line)["Retries"] == len(wire.requests) - 2 > 0


def test_the_next_call_does_not_pay_for_the_one_before(tables: None, capsys: pytest.CaptureFixture[str]) -> None:
    del tables
    create()
    call("list_conversations", query={"limit": ["0"]})
    _, rejected = told(capsys)
    assert (values(rejected)["ReadUnits"], values(rejected)["WriteUnits"]) == (0, 0)


@pytest.mark.parametrize("function", sorted(set(FUNCTIONS) - set(ENDPOINTS) - {"exercise_release"}))
def test_functions_of_other_sources_are_measured_as_well(
    function: str, tables: None, capsys: pytest.CaptureFixture[str]
) -> None:
    del tables
    conversation = create()
    told(capsys)
    given = event(function)
    if function == "receive_message":
        given["detail"] |= {"user_id": "kevin", "conversation_id": conversation["id"]}
    handler(function)(given, Context())
    (line,) = told(capsys)
    assert line["endpoint"] == function
    assert values(line).keys() - {"PurgeAge"} == MEASURES.keys()
    assert (values(line)["ApiError"], values(line)["InvalidRequest"]) == (0, 0)
    assert "kevin" not in json.dumps(line)


def test_a_function_that_fails_is_told_as_well(wire: Wire, capsys: pytest.CaptureFixture[str]) -> None:
    wire.fault = refusing
    with pytest.raises(Exception, match="AccessDenied"):
        handler("sweep_purges")(event("sweep_purges"), Context())
    (line,) = told(capsys)
    assert (line["status"], line["error"], line["ApiError"]) == (500, "ClientError", 1)
    # Else a sweep that cannot read would say that nothing waits.
    assert "PurgeAge" not in line


def test_the_sweep_tells_how_long_the_oldest_purge_has_waited(tables: None, capsys: pytest.CaptureFixture[str]) -> None:
    del tables
    sweep()
    call("delete_conversation", id=create()["id"])
    contents.age_tombstones()
    call("delete_conversation", id=create()["id"])
    sweep()
    none, oldest = [values(line)["PurgeAge"] for line in told(capsys) if line["endpoint"] == "sweep_purges"]
    assert none == 0
    assert 600 < oldest < 700
