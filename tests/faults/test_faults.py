"""Every call meets every fault at each of its requests: nothing is lost or half done, and a retry completes it."""

import copy
import json
import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

import pytest

from tests import handlers, tables
from tests.faults.calls import CALLS, CONCURRENT_CHANGES, Call
from tests.faults.environments import TIMEOUTS, Environment, Result
from tests.faults.fixtures import Fixture, Snapshot, seed_user
from tests.faults.network import BYTE_BY_BYTE, FAULTS, KILLED_AT_RANDOM, Exchange, Network, faults_of, no_fault

# Every fault at each request, which takes long, or else at one request of each call.
_IS_LONG = "FAULTS_LONG" in os.environ
_PARALLEL = 12
# The share of calls, in percent, that meet a fault for which the function waits. In a short run, purges meet none.
_SHARES = {
    "throttled for 60 s": 30,
    "no response": 40,
    "applied, no response": 40,
    "slow response": 70,
    "batch left unprocessed": 100,
}
# Such a response lasts until the timeout, so only these calls meet it: a read, a write and a batch.
_BYTE_BY_BYTE_CALLS = {"retrieve a conversation", "mute", "list all messages"}
_BYTE_BY_BYTE_SECONDS = 12
# A purge starts no request in its last 50 s, and would retry for its whole timeout of 300 s.
_PURGE_SECONDS = 56
_UNNOTICED, _PARTLY_DONE, _KILLED = "as if there was no fault", "partly done, the sweep does the rest", "killed"


class Case(NamedTuple):
    """A fault or a concurrent change at request *number* of a call, and at all later ones if *is_lasting*."""

    call: Call
    fault: str
    number: int
    operation: str
    is_lasting: bool

    def __str__(self) -> str:
        later = " and later" if self.is_lasting else ""
        return f"{self.call.name}: {self.fault} at request {self.number}{later} ({self.operation})"

    @property
    def seconds(self) -> float:
        """The timeout of the invocation."""
        if self.fault == BYTE_BY_BYTE:
            return _BYTE_BY_BYTE_SECONDS
        return _PURGE_SECONDS if self.call.is_purge else TIMEOUTS[self.call.function]


@pytest.fixture(scope="module")
def outcomes(network: Network, runtime: int) -> dict[str, list[tuple[Case, str, str | None]]]:
    """The cases of each call, and their outcome or failure."""
    found: dict[str, list[tuple[Case, str, str | None]]] = {call.name: [] for call in CALLS}

    def run(case: Case) -> None:
        outcome, failure = "", None
        try:
            outcome = _run(case, network, runtime)
        except AssertionError as error:
            failure = f"{case}: {error}"
        found[case.call.name].append((case, outcome, failure))

    cases = [case for call in CALLS for case in _cases(call, _requests_without_fault(call, network, runtime))]
    # A sweep purges the conversations of all users, so no other call may run at the same time.
    for threads, is_sweep in ((_PARALLEL, False), (1, True)):
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, [case for case in cases if (case.call.function == "sweep_purges") == is_sweep]))
    return found


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name.replace(" ", "_"))
def test_fault_loses_nothing_and_leaves_nothing_half_done(
    call: Call,
    outcomes: dict[str, list[tuple[Case, str, str | None]]],
    record_property: Callable[[str, object], None],
) -> None:
    found = outcomes[call.name]
    failures = [failure for _, _, failure in found if failure]
    assert not failures, "\n\n".join(failures)
    assert found
    trials = [
        [call.function, call.name, case.fault, case.is_lasting, case.number, outcome] for case, outcome, _ in found
    ]
    record_property("trials", json.dumps(trials))


def _requests_without_fault(call: Call, network: Network, port: int) -> list[str]:
    """Returns the operations that *call* requests. Fails unless it does what the model says."""
    fixture = seed_user(network, is_deleted=call.is_purge)
    state = copy.deepcopy(fixture.state)
    with closing(Environment(port)) as environment:
        route = network.set(environment.pid)
        result = environment.invoke(call.function, call.event(fixture))
    assert _response(result, fixture) == call.apply(fixture, state), f"{call.name}: {result}"
    assert fixture.snapshot(network) == fixture.expected(state), call.name
    with network.lock:
        tables.delete_user(fixture.user)
    return route.requests


def _response(result: Result, fixture: Fixture) -> tuple[int, Any]:
    return result.status, fixture.normalized(json.loads(result.response["body"] or "null")) if result.status else None


def _cases(call: Call, requests: list[str]) -> list[Case]:
    cases = []
    for number, operation in enumerate(requests, start=1):
        for fault in faults_of(operation):
            if fault != BYTE_BY_BYTE:
                cases += [Case(call, fault, number, operation, is_lasting) for is_lasting in (False, True)]
            elif call.name in _BYTE_BY_BYTE_CALLS:
                cases.append(Case(call, fault, number, operation, is_lasting=False))
        if call.is_http:
            cases += [Case(call, change.name, number, operation, is_lasting=False) for change in CONCURRENT_CHANGES]
    if _IS_LONG:
        return cases
    chosen = [case for case in cases if case.fault == BYTE_BY_BYTE]
    for fault in dict.fromkeys(case.fault for case in cases if case.fault != BYTE_BY_BYTE):
        # Arbitrary, but the same in each run.
        number = zlib.crc32(f"{call.name}, {fault}".encode())
        if number % 100 < (100 if fault not in _SHARES else 0 if call.is_purge else _SHARES[fault]):
            candidates = [case for case in cases if case.fault == fault]
            chosen.append(candidates[number % len(candidates)])
    return chosen


def _run(case: Case, network: Network, port: int) -> str:
    """Runs the call with its fault, and again without it. Returns what the caller noticed."""
    call = case.call
    fixture = seed_user(network, is_deleted=call.is_purge)
    changes = [change for change in CONCURRENT_CHANGES if change.name == case.fault]
    fault = partial(_apply_concurrently, changes[0], fixture) if changes else FAULTS[case.fault]
    with closing(Environment(port)) as environment:
        route = network.set(environment.pid, fault, case.number, is_lasting=case.is_lasting)
        first = environment.invoke(call.function, call.event(fixture), case.seconds)
        after_first = fixture.snapshot(network)
        assert len(route.requests) >= case.number, "The fault was never met"
        if changes:
            outcome = _check_concurrent(call, changes[0], fixture, first, after_first)
        else:
            outcome, may_be_done = _check_first(case, fixture, first, after_first)
            if case.fault == KILLED_AT_RANDOM:
                # The kill may still be pending.
                environment.close()
            network.set(environment.pid)
            retry = environment.invoke(call.function, call.event(fixture))
            _check_retry(call, fixture, retry, fixture.snapshot(network), may_be_done=may_be_done)
    with network.lock:
        tables.delete_user(fixture.user)
    return outcome


def _apply_concurrently(change: Call, fixture: Fixture, exchange: Exchange) -> None:
    with exchange.network.lock:
        handlers.invoke(change.function, change.event(fixture))
    no_fault(exchange)


def _check_first(case: Case, fixture: Fixture, result: Result, found: Snapshot) -> tuple[str, bool]:
    """Checks the attempt that meets the fault. Returns its outcome, and whether its effect may have happened."""
    call, state = case.call, copy.deepcopy(fixture.state)
    before, response, after = (
        fixture.expected(copy.deepcopy(state)),
        call.apply(fixture, state),
        fixture.expected(state),
    )
    is_killed = case.fault.startswith("killed")
    if case.fault not in (KILLED_AT_RANDOM, BYTE_BY_BYTE):
        assert result.is_stopped == is_killed, f"It was stopped after {result.seconds} s"
        assert result.seconds < case.seconds, f"It took {result.seconds} s"
    is_done = found == after
    is_partly_done = call.is_purge and _is_partly_purged(before, after, found)
    if result.status == response[0] and not result.has_failed:
        assert _response(result, fixture) == response
        assert is_done or is_partly_done, f"It reported success, but there is {found}"
        outcome = _UNNOTICED if is_done else _PARTLY_DONE
    else:
        assert is_done or is_partly_done or found == before, f"Half done: {found}"
        if call.is_http and not result.is_stopped:
            _check_unavailable(result)
        if result.is_stopped:
            outcome = _KILLED if is_killed else "stopped at the timeout"
        else:
            outcome = "503" if call.is_http else "failed, AWS retries"
    if not case.is_lasting and not is_killed and case.fault != BYTE_BY_BYTE:
        assert outcome in (_UNNOTICED, _PARTLY_DONE), f"A single fault was noticed: {result}"
    # A request that was under way may be applied after the snapshot.
    return outcome, is_done or is_killed


def _check_unavailable(result: Result) -> None:
    body = json.loads(result.response["body"])
    assert result.status == 503, body
    assert result.response["headers"]["Retry-After"] == "1"
    assert body == {
        "type": "api_error",
        "message": "The service is busy; try again in a moment",
        "documentation_url": "https://protocol.chat/docs/errors/api_error",
    }


def _check_retry(call: Call, fixture: Fixture, result: Result, found: Snapshot, *, may_be_done: bool) -> None:
    """Checks that a retry without a fault does what the first attempt did not, and no more."""
    assert not result.has_failed, result
    if may_be_done and not call.is_idempotent:
        return
    state = copy.deepcopy(fixture.state)
    statuses = [call.apply(fixture, state)[0]]
    after = fixture.expected(state)
    if may_be_done:
        # What was deleted is gone, and what was changed has another ETag.
        statuses.append(call.apply(fixture, state)[0])
    assert result.status in statuses, result
    assert found == after, f"After the retry there is {found}"


def _check_concurrent(call: Call, change: Call, fixture: Fixture, result: Result, found: Snapshot) -> str:
    """Checks that the call and the change had the effect of one after the other."""
    orders = []
    for order in ((call, change), (change, call)):
        state = copy.deepcopy(fixture.state)
        statuses = {each.name: each.apply(fixture, state)[0] for each in order}
        orders.append((statuses[call.name], fixture.expected(state)))
    seen = (result.status, found)
    assert seen in orders, f"Neither came first: {seen}"
    if orders[0] == orders[1]:
        return _UNNOTICED
    return "as if it came before" if seen == orders[0] else f"{result.status}, as if it came after"


def _is_partly_purged(before: Snapshot, after: Snapshot, found: Snapshot) -> bool:
    # The tombstone stays as long as there is anything to purge.
    rest: Snapshot = {"unpurged": set(), "tombstones": set()}
    return (
        found | rest == after | rest
        and found["unpurged"] <= before["unpurged"]
        and (found["tombstones"] == before["tombstones"] or not found["unpurged"])
    )
