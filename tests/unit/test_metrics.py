"""The log line of each invocation: metrics in the embedded metric format, and no personal data."""

import hashlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ReadTimeoutError
from coherent.storage import rows

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
    update,
)
from tests.wire import Wire, cancelled_transaction, error_response

UNITS = {
    "ApiError": "Count",
    "InvalidRequest": "Count",
    "Latency": "Milliseconds",
    "ReadUnits": "Count",
    "Requests": "Count",
    "Retries": "Count",
    "WriteUnits": "Count",
}


def throttled(request: AWSPreparedRequest) -> AWSResponse:
    return error_response(request, 400, "ThrottlingException")


def access_denied(request: AWSPreparedRequest) -> AWSResponse:
    return error_response(request, 400, "AccessDeniedException")


def log_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Returns the metrics lines printed since the last call."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    return [line for line in lines if "_aws" in line]


def values(line: dict[str, Any]) -> dict[str, float]:
    """Returns the value of each metric in *line*, with 0 for those that it omits."""
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    logged = {metric["Name"]: line[metric["Name"]] for metric in directive["Metrics"]}
    assert all(value for name, value in logged.items() if name != "PurgeAge")
    return dict.fromkeys(UNITS, 0) | logged


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_call_writes_one_line_in_embedded_metric_format(
    endpoint: str, tables: None, capsys: pytest.CaptureFixture[str]
) -> None:
    del tables
    request = event(endpoint)
    response = invoke(endpoint, request)
    (line,) = log_lines(capsys)
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "CoherentConversations"
    assert directive["Dimensions"] == [["service"], ["service", "endpoint"]]
    assert (line["service"], line["endpoint"]) == ("conversations", endpoint)
    units = {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]}
    assert {"Requests", "Latency"} <= units.keys()
    assert units.items() <= UNITS.items()
    assert line["status"] == response.status
    assert line["request_id"] == request["requestContext"]["requestId"] == response.headers["X-Request-Id"]
    assert line["Requests"] == 1
    assert line["Latency"] > 0


@pytest.mark.parametrize("endpoint", USER_ENDPOINTS)
def test_line_has_only_a_hash_of_the_user(endpoint: str, tables: None, capsys: pytest.CaptureFixture[str]) -> None:
    del tables
    request = event(endpoint)
    user = request["requestContext"]["authorizer"]["claims"]["sub"]
    invoke(endpoint, request)
    (line,) = log_lines(capsys)
    assert line["user"] == hashlib.sha256(user.encode()).hexdigest()[:16]
    known = {"_aws", "service", "endpoint", "status", "error", "request_id", "user"} | UNITS.keys()
    assert line.keys() <= known


def test_errors_are_counted_by_type_and_named(wire: Wire, no_backoff: None, capsys: pytest.CaptureFixture[str]) -> None:
    del no_backoff
    call("list_conversations", query={"limit": ["0"]})
    call("retrieve_conversation", id="8DoZ65wSg7hMp0Jh")
    wire.fault = throttled
    call("list_conversations")
    wire.fault = access_denied
    call("list_conversations")
    lines = log_lines(capsys)
    assert [(line["status"], line["error"]) for line in lines] == [
        (400, "InvalidRequest"),
        (404, "NotFound"),
        (503, "Unavailable"),
        (500, "ClientError"),
    ]
    counted = [(values(line)["InvalidRequest"], values(line)["ApiError"]) for line in lines]
    assert counted == [(1, 0), (1, 0), (0, 1), (0, 1)]


def test_capacity_units_are_those_of_the_responses(tables: None, capsys: pytest.CaptureFixture[str]) -> None:
    del tables
    conversation = create()
    log_lines(capsys)
    # moto reports no units for transactions.
    update(conversation, is_muted=True)
    (line,) = log_lines(capsys)
    assert values(line)["WriteUnits"] > 0
    assert values(line)["ReadUnits"] == 0
    list_conversations()
    call("retrieve_conversation", id=conversation["id"])
    for line in log_lines(capsys):
        assert values(line)["ReadUnits"] > 0
        assert values(line)["WriteUnits"] == 0


def test_parallel_queries_are_all_counted(tables: None, capsys: pytest.CaptureFixture[str]) -> None:
    del tables
    for number in range(8):
        create(contact_id=f"contact-{number}", group_id="friends")
    log_lines(capsys)
    call(
        "list_conversations",
        query={"group_id": ["friends"], "pinned": ["true"], "muted": ["true"], "archived": ["true"]},
    )
    call("list_conversations", query={"group_id": ["friends"]})
    one, eight = log_lines(capsys)
    assert values(eight)["ReadUnits"] >= 8 * values(one)["ReadUnits"] > 0


def test_retries_of_throttled_requests_are_counted(
    wire: Wire, no_backoff: None, capsys: pytest.CaptureFixture[str]
) -> None:
    del no_backoff
    wire.fault = throttled
    call("list_conversations")
    wire.fault = None
    call("list_conversations")
    first, second = log_lines(capsys)
    assert values(first)["Retries"] == 2
    assert values(second)["Retries"] == 0


def test_retries_of_timeouts_are_counted(wire: Wire, no_backoff: None, capsys: pytest.CaptureFixture[str]) -> None:
    del no_backoff

    def time_out(request: AWSPreparedRequest) -> AWSResponse:
        raise ReadTimeoutError(endpoint_url=request.url)

    wire.fault = time_out
    assert call("list_conversations").status == 503
    (line,) = log_lines(capsys)
    assert values(line)["Retries"] == len(wire.requests) - 1 > 0


def test_retries_of_throttled_transactions_are_counted(
    wire: Wire, no_backoff: None, capsys: pytest.CaptureFixture[str]
) -> None:
    del no_backoff
    conversation = create()
    log_lines(capsys)
    wire.fault = lambda request: cancelled_transaction(request, "ThrottlingError")
    body = json.dumps({"conversation_id": conversation["id"], "message": "hello"})
    assert call("create_message", body=body, content_type="application/json").status == 503
    (line,) = log_lines(capsys)
    assert values(line)["Retries"] == len(wire.requests) - 2 > 0


def test_successive_invocations_do_not_share_costs(tables: None, capsys: pytest.CaptureFixture[str]) -> None:
    del tables
    create()
    call("list_conversations", query={"limit": ["0"]})
    _, rejected = log_lines(capsys)
    assert (values(rejected)["ReadUnits"], values(rejected)["WriteUnits"]) == (0, 0)


def test_concurrent_invocations_do_not_share_costs(
    wire: Wire, tables: None, capsys: pytest.CaptureFixture[str]
) -> None:
    del tables
    conversation = create()

    def mute() -> None:
        update(conversation, is_muted=True)

    log_lines(capsys)
    # Both invocations have begun before either sends its request.
    both = threading.Barrier(2, timeout=10)

    def wait(_request: AWSPreparedRequest) -> None:
        both.wait()

    wire.fault = wait
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda invocation: invocation(), [list_conversations, mute]))
    lines = {line["endpoint"]: values(line) for line in log_lines(capsys)}
    read, write = lines["list_conversations"], lines["update_conversation"]
    assert (read["ReadUnits"] > 0, read["WriteUnits"]) == (True, 0)
    assert (write["ReadUnits"], write["WriteUnits"] > 0) == (0, True)


@pytest.mark.parametrize("function", sorted(set(FUNCTIONS) - set(ENDPOINTS) - {"exercise_release"}))
def test_event_functions_write_metrics(function: str, tables: None, capsys: pytest.CaptureFixture[str]) -> None:
    del tables
    conversation = create()
    # Gives the sweeps something to report.
    call("delete_conversation", id=create()["id"])
    contents.put_row(rows.values({"user_id": "unmute#0", "id": "000000000001#kevin#xgQQXg3hrtjh7AvZ"}))
    order = {"user_conversation": "deliver#00", "id": "0#1#1", "kind": "deleted", "sender": "kevin", "recipient": "a#b"}
    contents.put_rows({"messages": [rows.values(order | {"ordered_at": 1})]})
    log_lines(capsys)
    given = event(function)
    if function == "receive_message":
        given["detail"] |= {"user_id": "kevin", "conversation_id": conversation["id"]}
    handler(function)(given, Context())
    (line,) = log_lines(capsys)
    assert line["endpoint"] == function
    assert values(line).keys() - {"DeliveryAge", "PurgeAge"} == UNITS.keys()
    assert (values(line)["ApiError"], values(line)["InvalidRequest"]) == (0, 0)
    assert "kevin" not in json.dumps(line)


def test_failed_invocation_writes_metrics(wire: Wire, capsys: pytest.CaptureFixture[str]) -> None:
    wire.fault = access_denied
    with pytest.raises(Exception, match="AccessDenied"):
        handler("sweep_purges")(event("sweep_purges"), Context())
    (line,) = log_lines(capsys)
    assert (line["status"], line["error"], line["ApiError"]) == (500, "ClientError", 1)
    # The age is unknown.
    assert "PurgeAge" not in line


@pytest.mark.parametrize("quarter", range(4))
def test_sweep_of_every_quarter_reports_the_oldest_tombstone_of_all(
    quarter: int, tables: None, capsys: pytest.CaptureFixture[str]
) -> None:
    del tables
    call("delete_conversation", id=create()["id"])
    contents.age_tombstones()
    call("delete_conversation", id=create()["id"])
    log_lines(capsys)
    # No time is left to purge anything.
    handler("sweep_purges")({"quarter": quarter}, Context(seconds=11))
    (line,) = log_lines(capsys)
    assert 600 <= values(line)["PurgeAge"] < 700


def test_sweep_writes_metrics_only_if_there_was_something_to_do(
    tables: None, capsys: pytest.CaptureFixture[str]
) -> None:
    del tables
    call("delete_conversation", id=create()["id"])
    contents.age_tombstones()
    log_lines(capsys)
    sweep()
    assert [values(line)["WriteUnits"] > 0 for line in log_lines(capsys)] == [True]
    sweep()
    (idle,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (idle["endpoint"], idle["Requests"]) == ("sweep_purges", 1)
    assert "_aws" not in idle
