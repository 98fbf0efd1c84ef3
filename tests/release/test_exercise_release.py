"""The release hook, against fakes of Lambda and CodeDeploy."""

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from coherent import errors

from tests import tables
from tests.fake_lambda import FAULTS, HOOK, RELEASED, FakeLambda, Fault
from tests.handlers import ENDPOINTS, JSON, USER_ENDPOINTS, event, sweep
from tests.release.conftest import SECONDS, Hooks
from tests.template import FUNCTIONS, logical_id

# The time that the hook reserves to clean up, and to record and report the verdict.
RESERVED_SECONDS = 120
MISSING_ID = "xgQQXg3hrtjh7AvZ"

Event = dict[str, Any]
# Good returns the response of our handler. Bad is a bad version, which gets the event and Good.
Good = Callable[[], Any]
Bad = Callable[[Event, Good], Any]


def suspects(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Returns the functions that the only log line names."""
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    called: list[str] = vars(record)["called"]
    return called


def response(status: int, body: dict[str, Any]) -> Event:
    """Returns the proxy response of an endpoint."""
    return {"statusCode": status, "headers": {"Content-Type": JSON}, "body": json.dumps(body)}


def test_good_versions_succeed_and_leave_no_rows(
    fake: FakeLambda, hooks: Hooks, caplog: pytest.LogCaptureFixture
) -> None:
    hooks.run()
    assert fake.statuses == ["Succeeded"]
    assert caplog.records == []
    assert tables.messages() == tables.conversations() == []
    tables.age_tombstones()
    sweep()
    # TTL deletes idempotency records and deletions of messages. One pair row stays.
    assert tables.lasting_partitions() == {"pair#release-test"}


def test_functions_are_invoked_the_way_api_gateway_does(fake: FakeLambda, hooks: Hooks) -> None:
    hooks.run()
    assert {function for function, _ in fake.invoked} == set(RELEASED)
    for endpoint, request in fake.invoked:
        if endpoint in ENDPOINTS:
            route = FUNCTIONS[logical_id(endpoint)]["Events"]["Http"]["Properties"]
            assert (request["httpMethod"], request["resource"]) == (route["Method"], route["Path"])
            assert request["path"] == route["Path"].format_map(request["pathParameters"] or {})


@pytest.mark.parametrize("function", RELEASED)
def test_failing_version_is_reported(
    function: str, fake: FakeLambda, hooks: Hooks, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_event: Event) -> None:
        raise ImportError("no module named chat")

    fake.bad[function] = fail
    hooks.run()
    assert fake.statuses == ["Failed"]
    assert suspects(caplog)[-1] == function
    assert "no module named chat" in caplog.text
    assert tables.conversations() == []


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_endpoint_that_returns_500_is_reported(
    endpoint: str, fake: FakeLambda, hooks: Hooks, caplog: pytest.LogCaptureFixture
) -> None:
    fake.bad[endpoint] = lambda _: response(500, {"type": "api_error"})
    hooks.run()
    assert fake.statuses == ["Failed"]
    assert suspects(caplog)[-1] == endpoint
    assert tables.conversations() == []


@pytest.mark.parametrize("endpoint", USER_ENDPOINTS)
def test_endpoint_without_authentication_is_reported(
    endpoint: str, fake: FakeLambda, hooks: Hooks, caplog: pytest.LogCaptureFixture
) -> None:
    def authenticate(request: Event) -> Any:
        request["requestContext"].setdefault("authorizer", {"claims": {"sub": "kevin"}})
        return fake.good(endpoint, request)

    fake.bad[endpoint] = authenticate
    hooks.run()
    assert fake.statuses == ["Failed"]
    assert suspects(caplog)[-1] == endpoint


def does_nothing(status: int) -> Bad:
    """Responds as if it had applied the request."""
    return lambda request, _: response(status, {"id": MISSING_ID, **json.loads(request["body"] or "{}")})


def responds_with(**wrong: object) -> Bad:
    """Responds with *wrong* attributes."""

    def behave(_: Event, good: Good) -> Event:
        good_response = good()
        return {**good_response, "body": json.dumps(json.loads(good_response["body"]) | wrong)}

    return behave


def rejects_with(**wrong: object) -> Bad:
    """Responds with *wrong* attributes in 400 responses."""

    def behave(request: Event, good: Good) -> Any:
        good_response = good()
        is_error = good_response["statusCode"] == 400
        return responds_with(**wrong)(request, lambda: good_response) if is_error else good_response

    return behave


def lists_nothing(*queries: str) -> Bad:
    """Lists nothing if the query has exactly these parameters."""
    return lambda request, good: (
        response(200, {"data": []}) if (request["queryStringParameters"] or {}).keys() == {*queries} else good()
    )


def lists_deleted() -> Bad:
    """Lists the last element after it was deleted."""
    known: list[Any] = []

    def behave(_: Event, good: Good) -> Event:
        known[:] = json.loads(good()["body"])["data"] or known
        return response(200, {"data": known})

    return behave


def finds_deleted(_: Event, good: Good) -> Any:
    """Responds with 200 always."""
    return good() | {"statusCode": 200}


def does_not_pin(request: Event, good: Good) -> Any:
    """Updates everything but `pinned_message_id`."""
    return response(200, json.loads(request["body"])) if "pinned_message_id" in request["body"] else good()


def ignores_keys(request: Event, good: Good) -> Any:
    """Ignores the Idempotency-Key."""
    request["multiValueHeaders"].pop("Idempotency-Key", None)
    return good()


def does_not_unpin(request: Event, _: Good) -> Event:
    """Deletes the message but leaves it pinned."""
    (row,) = [row for row in tables.messages() if row["id"]["S"] == request["pathParameters"]["id"]]
    tables.delete_message({name: row[name] for name in ("user_conversation", "id")})
    return response(204, {})


# Bad versions: the name of the function, what is wrong, and the version.
BAD: dict[str, Bad] = {
    "list_conversations unfiltered is empty": lists_nothing(),
    "list_conversations filtered is empty": lists_nothing("pinned"),
    "list_conversations lists deleted ones": lists_deleted(),
    "create_conversation ignores the key": ignores_keys,
    "create_conversation has another error message": rejects_with(message="no"),
    "create_conversation has no documentation_url": rejects_with(documentation_url=None),
    "retrieve_conversation has another contact": responds_with(contact_id="marv"),
    "retrieve_conversation finds deleted ones": finds_deleted,
    "update_conversation does nothing": does_nothing(200),
    "update_conversation does not pin": does_not_pin,
    "delete_conversation does nothing": does_nothing(204),
    "list_messages of all is empty": lists_nothing(),
    "list_messages of a conversation is empty": lists_nothing("conversation_id"),
    "list_messages lists deleted ones": lists_deleted(),
    "create_message does nothing": does_nothing(201),
    "retrieve_message has another text": responds_with(message="Merry Christmas, Marv"),
    "retrieve_message finds deleted ones": finds_deleted,
    "update_message does nothing": does_nothing(200),
    "delete_message does nothing": does_nothing(204),
    "delete_message does not unpin": does_not_unpin,
    "receive_message does nothing": lambda _, __: None,
    "purge_messages reports a failure": lambda _, __: {"batchItemFailures": [{"itemIdentifier": "1"}]},
    "list_changes after a number is empty": lists_nothing("starting_after", "limit"),
    "publish_changes does nothing": lambda _, __: None,
    "create_webhook has another error message": rejects_with(message="no"),
    "retrieve_webhook finds deleted ones": finds_deleted,
    "update_webhook does nothing": does_nothing(200),
    "delete_webhook does nothing": does_nothing(204),
    "create_redelivery has another error message": rejects_with(message="no"),
    "sweep_purges has a response": lambda _, __: response(404, {}),
    "deliver_messages has a response": lambda _, __: {"batchItemFailures": []},
    "sweep_deliveries has a response": lambda _, __: response(404, {}),
    "deliver_webhook reports a failure": lambda _, __: {"batchItemFailures": [{"itemIdentifier": "1"}]},
}


@pytest.mark.parametrize("bad", BAD)
def test_wrong_version_is_reported(bad: str, fake: FakeLambda, hooks: Hooks, caplog: pytest.LogCaptureFixture) -> None:
    function = bad.partition(" ")[0]

    def behave(request: Event) -> Any:
        if "httpMethod" in request and "authorizer" not in request["requestContext"]:
            # Requests without a user are still rejected.
            return fake.good(function, request)
        return BAD[bad](request, lambda: fake.good(function, request))

    fake.bad[function] = behave
    hooks.run()
    assert fake.statuses == ["Failed"]
    assert function in suspects(caplog)
    assert tables.conversations() == []


def test_version_without_validation_is_reported(
    fake: FakeLambda, hooks: Hooks, caplog: pytest.LogCaptureFixture
) -> None:
    fake.bad["create_conversation"] = lambda request: (
        response(201, {}) if request["body"] else fake.good("create_conversation", request)
    )
    hooks.run()
    assert fake.statuses == ["Failed"]
    assert suspects(caplog)[-1] == "create_conversation"


@pytest.mark.parametrize(("function", "seconds"), {"retrieve_docs": 0.2, "sweep_purges": 2}.items())
def test_slow_version_is_reported(
    function: str, seconds: float, fake: FakeLambda, hooks: Hooks, caplog: pytest.LogCaptureFixture
) -> None:
    fake.bad[function] = fake.never
    context = hooks.run(RESERVED_SECONDS + seconds)
    assert context.get_remaining_time_in_millis() > (RESERVED_SECONDS - 10) * 1000
    assert fake.statuses == ["Failed"]
    assert suspects(caplog)[-1] == function
    assert tables.conversations() == []


def test_hook_waits_for_a_lagging_index(fake: FakeLambda, hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthetic_user._INDEX_SECONDS", 60)
    requests: list[Event] = []

    def lag(request: Event) -> Any:
        requests.append(request)
        is_early = request["queryStringParameters"] and len(requests) < 6
        return response(200, {"has_more": False, "data": []}) if is_early else fake.good("list_conversations", request)

    fake.bad["list_conversations"] = lag
    hooks.run()
    assert fake.statuses == ["Succeeded"]


def test_hook_has_time_for_the_slowest_function() -> None:
    longest = max(properties.get("Timeout", 25) for name, properties in FUNCTIONS.items() if name != logical_id(HOOK))
    assert longest + RESERVED_SECONDS < SECONDS


def test_hook_without_time_reports_failure(fake: FakeLambda, hooks: Hooks, caplog: pytest.LogCaptureFixture) -> None:
    hooks.run(RESERVED_SECONDS)
    assert fake.statuses == ["Failed"]
    assert suspects(caplog) == ["retrieve_docs"]


def test_unknown_version_is_reported(
    fake: FakeLambda, hooks: Hooks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("VERSION_LIST_MESSAGES")
    hooks.run()
    assert fake.statuses == ["Failed"]
    assert suspects(caplog)[-1] == "list_messages"


@pytest.mark.parametrize(
    "error_response",
    [
        (429, "TooManyRequestsException"),
        (409, "ResourceConflictException"),
        (409, "SnapStartNotReadyException"),
        # The grant of the role is not yet consistent.
        (403, "AccessDeniedException"),
    ],
)
def test_temporary_lambda_error_is_retried(error_response: tuple[int, str], fake: FakeLambda, hooks: Hooks) -> None:
    fake.lambda_errors = [error_response] * 3
    hooks.run()
    assert fake.statuses == ["Succeeded"]


def test_failure_is_reported_if_nothing_can_be_invoked(
    fake: FakeLambda, hooks: Hooks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("synthetic_user._GRANT_SECONDS", 0)
    fake.lambda_errors = [(403, "AccessDeniedException")] * 3
    hooks.run()
    assert fake.invoked == []
    assert fake.statuses == ["Failed"]
    assert len(caplog.records) == 3


def test_ambiguous_invocation_is_not_retried(fake: FakeLambda, hooks: Hooks) -> None:
    def fail_next(request: Event) -> Any:
        fake.lambda_errors = [(500, "ServiceException")]
        return fake.good("retrieve_docs", request)

    fake.bad["retrieve_docs"] = fail_next
    hooks.run()
    # The first and the last clean up.
    assert [function for function, _ in fake.invoked] == ["list_conversations", "retrieve_docs", "list_conversations"]
    assert fake.statuses == ["Failed"]


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_at_any_invocation_is_reported_once_and_leaves_no_rows(
    fault: Fault,
    fake: FakeLambda,
    hooks: Hooks,
    caplog: pytest.LogCaptureFixture,
    record_property: Callable[[str, object], None],
) -> None:
    hooks.run()
    # The first invocation only looks for what a killed exercise has left behind.
    numbers = range(2, fake.requests + 1)
    outcomes = []
    # In a long run each invocation meets one of the faults.
    for number in numbers[FAULTS.index(fault) :: len(FAULTS)] if "FAULTS_LONG" in os.environ else numbers[::12]:
        # Other versions than before, whose verdict is recorded.
        hooks.publish(100 + number)
        fake.reported, fake.requests, fake.faults = [], 0, {number: fault}
        caplog.clear()
        hooks.run()
        # The cause is unknown, so the new version gets no traffic.
        assert fake.statuses == ["Failed"]
        assert len(caplog.records) == 1
        assert tables.conversations() == []
        tables.age_tombstones()
        sweep()
        assert tables.messages() == []
        call = f"invocation {number}"
        outcomes.append([HOOK, call, fault, False, number, "the new version gets no traffic"])
    record_property("trials", json.dumps(outcomes))


def test_report_names_deployment_and_lifecycle_hook(fake: FakeLambda, hooks: Hooks) -> None:
    hooks.invoke("execution 5")
    hooks.deliver()
    (report,) = fake.reported
    assert report["deploymentId"] == event(HOOK)["DeploymentId"]
    assert report["lifecycleEventHookExecutionId"] == "execution 5"


def test_failed_report_is_retried(fake: FakeLambda, hooks: Hooks) -> None:
    fake.codedeploy_errors = [(500, "InternalFailure")] * 2
    hooks.run()
    assert fake.statuses == ["Succeeded"]


@pytest.mark.parametrize("code", ["LifecycleEventAlreadyCompletedException", "InvalidDeploymentIdException"])
def test_rejected_report_does_not_block_the_other_hooks(
    code: str, fake: FakeLambda, hooks: Hooks, caplog: pytest.LogCaptureFixture
) -> None:
    fake.codedeploy_errors = [(400, code)]
    hooks.run()
    hooks.run()
    assert fake.statuses == ["Succeeded"]
    assert code in caplog.text


def test_report_is_repeated_after_an_outage_without_a_second_exercise(fake: FakeLambda, hooks: Hooks) -> None:
    fake.codedeploy_errors = [(500, "InternalFailure")] * 3
    with pytest.raises(errors.Unavailable):
        hooks.run()
    count = len(fake.invoked)
    hooks.deliver()
    assert fake.statuses == ["Succeeded"]
    assert len(fake.invoked) == count
