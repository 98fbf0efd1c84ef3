"""CodeDeploy's pre-traffic hook."""

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests import tables
from tests.fake_lambda import FAULTS, HOOK, RELEASED, FakeLambda, Fault, serving
from tests.handlers import ENDPOINTS, JSON, USER_ENDPOINTS, Context, event, handler, sweep
from tests.template import FUNCTIONS, logical_id

# What the hook keeps of its time to clean up and to tell CodeDeploy.
KEPT_SECONDS = 90
ABSENT = "xgQQXg3hrtjh7AvZ"

Event = dict[str, Any]
# What a version should do with an event, and what a bad one does instead.
Good = Callable[[], Any]
Bad = Callable[[Event, Good], Any]


@pytest.fixture
def fake(tables: None, no_backoff: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLambda]:
    """Where the hook finds the functions, and whom it tells."""
    del tables, no_backoff
    monkeypatch.setattr("synthetic_user._INDEX_SECONDS", 0)
    monkeypatch.setattr("synthetic_user._PAUSE_SECONDS", 0)
    with serving() as (fake, url):
        for name, value in fake.environment(url).items():
            monkeypatch.setenv(name, value)
        yield fake


def run(seconds: float = 900) -> float:
    """Runs the hook, and tells how many *seconds* it has left."""
    context = Context(seconds)
    handler(HOOK)(event(HOOK), context)
    return context.get_remaining_time_in_millis() / 1000


def told(status: str) -> dict[str, str]:
    """What CodeDeploy is told."""
    given = event(HOOK)
    return {
        "deploymentId": given["DeploymentId"],
        "lifecycleEventHookExecutionId": given["LifecycleEventHookExecutionId"],
        "status": status,
    }


def blamed(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The functions that the log names, in its one line."""
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    called: list[str] = vars(record)["called"]
    return called


def says(status: int, body: dict[str, Any]) -> Event:
    """An answer of an endpoint."""
    return {"statusCode": status, "headers": {"Content-Type": JSON}, "body": json.dumps(body)}


def test_good_versions_get_traffic_and_nothing_is_left_behind(
    fake: FakeLambda, caplog: pytest.LogCaptureFixture
) -> None:
    run()
    assert fake.reported == [told("Succeeded")]
    assert caplog.records == []
    assert tables.messages() == tables.conversations() == []
    tables.age_tombstones()
    sweep()
    # Records of idempotency keys go by themselves.
    assert all("expires_at" in row for row in tables.all_rows())


def test_every_function_is_exercised_with_requests_that_the_api_would_give_it(fake: FakeLambda) -> None:
    run()
    assert {function for function, _ in fake.invoked} == set(RELEASED)
    for endpoint, request in fake.invoked:
        if endpoint in ENDPOINTS:
            route = FUNCTIONS[logical_id(endpoint)]["Events"]["Http"]["Properties"]
            assert (request["httpMethod"], request["resource"]) == (route["Method"], route["Path"])
            assert request["path"] == route["Path"].format_map(request["pathParameters"] or {})


def test_runs_at_once_are_different_users(fake: FakeLambda) -> None:
    with ThreadPoolExecutor(2) as threads:
        for running in [threads.submit(run) for _ in range(2)]:
            running.result()
    assert fake.reported == [told("Succeeded")] * 2


@pytest.mark.parametrize("function", RELEASED)
def test_a_version_that_fails_gets_no_traffic(
    function: str, fake: FakeLambda, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_event: Event) -> None:
        raise ImportError("no module named chat")

    fake.bad[function] = fail
    run()
    assert fake.reported == [told("Failed")]
    assert blamed(caplog)[-1] == function
    assert "no module named chat" in caplog.text
    assert tables.conversations() == []


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_endpoint_that_answers_an_error_gets_no_traffic(
    endpoint: str, fake: FakeLambda, caplog: pytest.LogCaptureFixture
) -> None:
    fake.bad[endpoint] = lambda _: says(500, {"type": "api_error"})
    run()
    assert fake.reported == [told("Failed")]
    assert blamed(caplog)[-1] == endpoint
    assert tables.conversations() == []


@pytest.mark.parametrize("endpoint", USER_ENDPOINTS)
def test_an_endpoint_that_lets_strangers_in_gets_no_traffic(
    endpoint: str, fake: FakeLambda, caplog: pytest.LogCaptureFixture
) -> None:
    def welcome(request: Event) -> Any:
        request["requestContext"].setdefault("authorizer", {"claims": {"sub": "kevin"}})
        return fake.good(endpoint, request)

    fake.bad[endpoint] = welcome
    run()
    assert fake.reported == [told("Failed")]
    assert blamed(caplog)[-1] == endpoint


def does_nothing(status: int) -> Bad:
    """Promises what was asked for."""
    return lambda request, _: says(status, {"id": ABSENT, **json.loads(request["body"] or "{}")})


def shows(**wrong: object) -> Bad:
    """Is wrong in this."""

    def behave(_: Event, good: Good) -> Event:
        response = good()
        return {**response, "body": json.dumps(json.loads(response["body"]) | wrong)}

    return behave


def refuses(**wrong: object) -> Bad:
    """Is wrong in this where it has to refuse something."""

    def behave(request: Event, good: Good) -> Any:
        response = good()
        return shows(**wrong)(request, lambda: response) if response["statusCode"] == 400 else response

    return behave


def lists_nothing(*queries: str) -> Bad:
    """Leaves out all, where the query has just these parameters."""
    return lambda request, good: (
        says(200, {"data": []}) if (request["queryStringParameters"] or {}).keys() == {*queries} else good()
    )


def lists_what_was_deleted() -> Bad:
    """Has the last element in mind."""
    known: list[Any] = []

    def behave(_: Event, good: Good) -> Event:
        known[:] = json.loads(good()["body"])["data"] or known
        return says(200, {"data": known})

    return behave


def finds_what_was_deleted(_: Event, good: Good) -> Any:
    """Answers 200, come what may."""
    return good() | {"statusCode": 200}


def does_not_pin(request: Event, good: Good) -> Any:
    """Changes what else there is to a conversation."""
    return says(200, json.loads(request["body"])) if "pinned_message_id" in request["body"] else good()


def forgets_keys(request: Event, good: Good) -> Any:
    """Creates anew each time."""
    request["multiValueHeaders"].pop("Idempotency-Key", None)
    return good()


def does_not_unpin(request: Event, _: Good) -> Event:
    """Deletes the message and nothing else."""
    (row,) = [row for row in tables.messages() if row["id"]["S"] == request["pathParameters"]["id"]]
    tables.delete_message({name: row[name] for name in ("user_conversation", "id")})
    return says(204, {})


# What may be wrong with a version, after its name.
BAD: dict[str, Bad] = {
    "list_conversations without those of all": lists_nothing(),
    "list_conversations without those of a filter": lists_nothing("pinned"),
    "list_conversations with deleted ones": lists_what_was_deleted(),
    "create_conversation whatever the key": forgets_keys,
    "create_conversation with other reasons": refuses(message="no"),
    "create_conversation with errors of another form": refuses(documentation_url=None),
    "retrieve_conversation with others": shows(contact_id="marv"),
    "retrieve_conversation with deleted ones": finds_what_was_deleted,
    "update_conversation without effect": does_nothing(200),
    "update_conversation without pins": does_not_pin,
    "delete_conversation without effect": does_nothing(204),
    "list_messages without those of all": lists_nothing(),
    "list_messages without those of a conversation": lists_nothing("conversation_id"),
    "list_messages with deleted ones": lists_what_was_deleted(),
    "create_message without effect": does_nothing(201),
    "retrieve_message with others": shows(message="Merry Christmas, Marv"),
    "retrieve_message with deleted ones": finds_what_was_deleted,
    "update_message without effect": does_nothing(200),
    "delete_message without effect": does_nothing(204),
    "delete_message without unpinning": does_not_unpin,
    "receive_message without effect": lambda _, __: None,
    "purge_messages with failures": lambda _, __: {"batchItemFailures": [{"itemIdentifier": "1"}]},
    "sweep_purges that is another function": lambda _, __: says(404, {}),
}


@pytest.mark.parametrize("wrong", BAD)
def test_a_version_that_does_not_do_what_it_should_gets_no_traffic(
    wrong: str, fake: FakeLambda, caplog: pytest.LogCaptureFixture
) -> None:
    function = wrong.partition(" ")[0]

    def behave(request: Event) -> Any:
        if "httpMethod" in request and "authorizer" not in request["requestContext"]:
            # It does refuse strangers.
            return fake.good(function, request)
        return BAD[wrong](request, lambda: fake.good(function, request))

    fake.bad[function] = behave
    run()
    assert fake.reported == [told("Failed")]
    assert function in blamed(caplog)
    assert tables.conversations() == []


def test_a_version_that_takes_what_is_wrong_gets_no_traffic(fake: FakeLambda, caplog: pytest.LogCaptureFixture) -> None:
    fake.bad["create_conversation"] = lambda request: (
        says(201, {}) if request["body"] else fake.good("create_conversation", request)
    )
    run()
    assert fake.reported == [told("Failed")]
    assert blamed(caplog)[-1] == "create_conversation"


@pytest.mark.parametrize(("function", "seconds"), {"retrieve_docs": 0.2, "sweep_purges": 2}.items())
def test_a_version_that_does_not_answer_in_time_gets_no_traffic(
    function: str, seconds: float, fake: FakeLambda, caplog: pytest.LogCaptureFixture
) -> None:
    fake.bad[function] = fake.never
    assert run(KEPT_SECONDS + seconds) > KEPT_SECONDS - 10
    assert fake.reported == [told("Failed")]
    assert blamed(caplog)[-1] == function
    assert tables.conversations() == []


def test_an_index_may_follow_in_a_moment(fake: FakeLambda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthetic_user._INDEX_SECONDS", 60)
    looks: list[Event] = []

    def lag(request: Event) -> Any:
        looks.append(request)
        is_early = request["queryStringParameters"] and len(looks) < 6
        return says(200, {"has_more": False, "data": []}) if is_early else fake.good("list_conversations", request)

    fake.bad["list_conversations"] = lag
    run()
    assert fake.reported == [told("Succeeded")]


def test_the_hook_has_the_time_to_wait_for_every_function_and_codedeploy_for_the_hook() -> None:
    longest = max(properties.get("Timeout", 25) for name, properties in FUNCTIONS.items() if name != logical_id(HOOK))
    assert longest + KEPT_SECONDS < FUNCTIONS[logical_id(HOOK)]["Timeout"] < 60 * 60


def test_where_there_is_no_time_there_is_no_traffic(fake: FakeLambda, caplog: pytest.LogCaptureFixture) -> None:
    run(KEPT_SECONDS)
    assert fake.reported == [told("Failed")]
    assert blamed(caplog) == ["retrieve_docs"]


def test_a_version_that_is_not_known_gets_no_traffic(
    fake: FakeLambda, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("LIST_MESSAGES")
    run()
    assert fake.reported == [told("Failed")]
    assert blamed(caplog)[-1] == "list_messages"


@pytest.mark.parametrize(
    "error_response",
    [
        (429, "TooManyRequestsException"),
        (409, "ResourceConflictException"),
        (409, "SnapStartNotReadyException"),
        # The role's policy has just been changed.
        (403, "AccessDeniedException"),
    ],
)
def test_what_lambda_cannot_invoke_yet_is_invoked_in_a_moment(
    error_response: tuple[int, str], fake: FakeLambda
) -> None:
    fake.lambda_errors = [error_response] * 3
    run()
    assert fake.reported == [told("Succeeded")]


def test_codedeploy_is_told_even_where_nothing_can_be_invoked_or_cleaned_up(
    fake: FakeLambda, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("synthetic_user._GRANT_SECONDS", 0)
    fake.lambda_errors = [(403, "AccessDeniedException")] * 2
    run()
    assert fake.invoked == []
    assert fake.reported == [told("Failed")]
    assert [vars(record)["user"] for record in caplog.records] == [vars(caplog.records[0])["user"]] * 2


def test_a_call_without_an_answer_is_not_repeated(fake: FakeLambda) -> None:
    fake.lambda_errors = [(500, "ServiceException")]
    run()
    assert [function for function, _ in fake.invoked] == ["list_conversations"]
    assert fake.reported == [told("Failed")]


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_befalls_an_invocation_codedeploy_is_told_once_and_nothing_is_left_behind(
    fault: Fault, fake: FakeLambda, caplog: pytest.LogCaptureFixture, record_property: Callable[[str, object], None]
) -> None:
    run()
    numbers = range(1, fake.requests + 1)
    outcomes = []
    for number in numbers if "FAULTS_LONG" in os.environ else numbers[::12]:
        fake.reported, fake.requests, fake.faults = [], 0, {number: fault}
        caplog.clear()
        run()
        # Whether the new version is to blame cannot be known, so it gets no traffic.
        assert fake.reported == [told("Failed")]
        assert len(caplog.records) == 1
        assert tables.conversations() == []
        tables.age_tombstones()
        sweep()
        assert tables.messages() == []
        call = f"invocation {number}"
        outcomes.append([HOOK, call, fault, False, number, "the new version gets no traffic"])
    record_property("trials", json.dumps(outcomes))


def test_codedeploy_is_told_again_where_it_did_not_hear(fake: FakeLambda) -> None:
    fake.codedeploy_errors = [(500, "InternalFailure")] * 2
    run()
    assert fake.reported == [told("Succeeded")]


def test_what_codedeploy_knows_already_need_not_be_told_again(fake: FakeLambda) -> None:
    fake.codedeploy_errors = [(400, "LifecycleEventAlreadyCompletedException")]
    run()
    assert fake.reported == []


@pytest.mark.parametrize("is_good", [True, False])
def test_where_codedeploy_cannot_be_told_the_hook_fails(is_good: bool, fake: FakeLambda) -> None:
    if not is_good:
        fake.bad["retrieve_docs"] = lambda _: says(404, {})
    fake.codedeploy_errors = [(400, "InvalidDeploymentIdException")]
    with pytest.raises(ClientError, match="InvalidDeploymentId"):
        run()
