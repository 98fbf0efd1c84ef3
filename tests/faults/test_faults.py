"""Every call meets every fault, at one of its requests: nothing is lost or half done, and a retry completes it."""

import copy
import itertools
import json
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from functools import partial
from typing import Any, NamedTuple

from tests import handlers
from tests.built.environments import TIMEOUTS, Environment, Result
from tests.faults.calls import CALLS, CONCURRENT_CHANGES, Call
from tests.faults.fixtures import Fixture, Snapshot, seeded_user
from tests.faults.network import FAULTS, SLOW_FAULTS, Exchange, Network, Route, faults_of, no_fault
from tests.model import error

# In a long run each call meets each fault twice, once alone and once at all later requests too, or else only once.
_IS_LONG = "FAULTS_LONG" in os.environ
# The share of calls, in percent, that meet a slow fault in a short run.
_SLOW_SHARE = 45
_PARALLEL = 12
# Such a response lasts until the timeout, so only these calls meet it, with a short one: a read, a write and a batch.
_BYTE_BY_BYTE, _BYTE_BY_BYTE_SECONDS = "response byte by byte", 12
_BYTE_BY_BYTE_CALLS = {"retrieve a conversation", "mute", "list all messages"}
# A purge starts no request in its last 50 s, and would retry for its whole timeout of 300 s.
_PURGE_SECONDS = 56
_KILLED_AT_RANDOM = "killed at a random moment"
_UNNOTICED, _PARTLY_DONE = "unnoticed", "left to the sweep"


# The first of two faults: a write that was applied, one that was not, and one that DynamoDB rejects.
_FIRST_FAULTS = ("response lost", "connection reset", "conflict")
# What happens at the request after the fault, which is its retry: a concurrent change, or another fault.
_SECOND_FAULTS = ("response lost", "connection reset")


class Case(NamedTuple):
    """A fault or a concurrent change at request *number* of a call, and at all later ones if *is_lasting*.

    *second* is what the next request meets.
    """

    call: Call
    fault: str
    number: int
    is_lasting: bool = False
    second: str = ""

    @property
    def concurrent_changes(self) -> list[Call]:
        """The concurrent change of the case, if it has one."""
        return [change for change in CONCURRENT_CHANGES if change.name in (self.fault, self.second)]

    @property
    def seconds(self) -> float:
        """The timeout of the invocation."""
        if self.fault == _BYTE_BY_BYTE:
            return _BYTE_BY_BYTE_SECONDS
        return _PURGE_SECONDS if self.call.is_purge else TIMEOUTS[self.call.function]


def test_fault_loses_nothing_and_leaves_nothing_half_done(
    network: Network, runtime: int, record_property: Callable[[str, object], None]
) -> None:
    trials, failures = [], []

    def run(case: Case) -> None:
        try:
            outcome = _run(case, network, runtime)
        except AssertionError as failure:
            failures.append(f"{case.call.name}, {case[1:]}: {failure}")
        else:
            fault = f"{case.fault}, then {case.second}" if case.second else case.fault
            trials.append([case.call.function, case.call.name, fault, case.is_lasting, case.number, outcome])

    cases = [case for call in CALLS for case in _cases(call, _requests_without_fault(call, network, runtime))]
    # A sweep changes the data of all users, so only a sweep of another kind may run at the same time.
    parallel = [[case] for case in cases if not case.call.is_sweep]
    sweeps = [[case for case in cases if case.call is call] for call in CALLS if call.is_sweep]
    for batches in (parallel, sweeps):
        with ThreadPoolExecutor(_PARALLEL) as pool:
            list(pool.map(lambda batch: list(map(run, batch)), batches))
    record_property("trials", json.dumps(trials))
    assert not failures, "\n\n".join(failures)
    assert {call for _, call, *_ in trials} == {call.name for call in CALLS}


def _seeded_user(network: Network, call: Call) -> AbstractContextManager[Fixture]:
    return seeded_user(network, is_deleted=call.is_purge, is_mute_over=call.function == "sweep_inbox")


def _requests_without_fault(call: Call, network: Network, port: int) -> list[str]:
    """Returns the operations that *call* requests. Fails unless it does what the model says."""
    with _seeded_user(network, call) as fixture, closing(Environment(port)) as environment:
        state, route = copy.deepcopy(fixture.state), Route()
        network.routes[environment.pid] = route
        result = environment.invoke(call.function, call.event(fixture))
        assert _response(result, fixture) == call.apply(fixture, state), f"{call.name}: {result}"
        assert fixture.snapshot(network) == fixture.expected(state), call.name
    return route.requests


def _response(result: Result, fixture: Fixture) -> tuple[int, Any]:
    return result.status, fixture.normalized(json.loads(result.response["body"] or "null")) if result.status else None


def _cases(call: Call, requests: list[str]) -> list[Case]:
    """Returns the cases of *call* that this run tries: one of each kind, spread over all its requests."""
    cases = [
        Case(call, _BYTE_BY_BYTE, number)
        for number, _ in enumerate(requests, start=1)
        if call.name in _BYTE_BY_BYTE_CALLS
    ]
    kinds: dict[tuple[object, ...], list[Case]] = {}
    for case in _possible_cases(call, requests):
        kinds.setdefault((case.fault, case.second, _IS_LONG and case.is_lasting), []).append(case)
    counts: Counter[int] = Counter()
    for (fault, *_), some in kinds.items():
        is_slow = fault in SLOW_FAULTS or (call.is_purge and fault == "batch left unprocessed")
        if is_slow and not _IS_LONG and (call.is_purge or _number(some[0]) % 100 >= _SLOW_SHARE):
            continue
        chosen = min(some, key=lambda case: (counts[case.number], _number(case)))
        counts[chosen.number] += 1
        cases.append(chosen)
    assert counts.keys() == {case.number for some in kinds.values() for case in some}, "A request meets no fault"
    return cases


def _number(case: Case) -> int:
    # Arbitrary, but the same in each run.
    return zlib.crc32(f"{case.call.name}, {case[1:]}".encode())


def _possible_cases(call: Call, requests: list[str]) -> Iterator[Case]:
    for number, operation in enumerate(requests, start=1):
        # These query several partitions, which takes minutes if each query fails in each way.
        if (call.is_sweep or call.function == "list_inbox") and requests[number - 2 : number + 1] == [operation] * 3:
            continue
        faults = [fault for fault in faults_of(operation) if fault != _BYTE_BY_BYTE]
        changes = [change.name for change in CONCURRENT_CHANGES] if call.is_http else []
        seconds = itertools.product(_FIRST_FAULTS, (*changes, *_SECOND_FAULTS))
        yield from (Case(call, fault, number, is_lasting) for fault in faults for is_lasting in (False, True))
        yield from (Case(call, change, number) for change in changes)
        yield from (Case(call, first, number, second=second) for first, second in seconds if first in faults)


def _run(case: Case, network: Network, port: int) -> str:
    """Runs the call with its fault, and again without it. Returns what the caller noticed."""
    call = case.call
    with _seeded_user(network, call) as fixture, closing(Environment(port)) as environment:
        changes = case.concurrent_changes
        change_fault = partial(_apply_concurrently, changes[0], fixture) if changes else no_fault
        fault, second = FAULTS.get(case.fault, change_fault), FAULTS.get(case.second, change_fault)
        route = network.routes[environment.pid] = Route(
            fault, case.number, case.is_lasting, second if case.second else no_fault
        )
        first = environment.invoke(call.function, call.event(fixture), case.seconds)
        found = fixture.snapshot(network)
        assert len(route.requests) >= case.number, "The fault was never met"
        if changes:
            return _check_concurrent(case, changes[0], fixture, first, found)
        outcome, may_be_done = _check_first(case, fixture, first, found)
        if case.fault == _KILLED_AT_RANDOM:
            # The kill may still be pending.
            environment.close()
        network.routes[environment.pid] = Route()
        retry = environment.invoke(call.function, call.event(fixture))
        _check_retry(call, fixture, retry, fixture.snapshot(network), may_be_done=may_be_done)
    return outcome


def _apply_concurrently(change: Call, fixture: Fixture, exchange: Exchange) -> None:
    with exchange.network.lock:
        handlers.invoke(change.function, change.event(fixture))
    no_fault(exchange)


def _check_first(case: Case, fixture: Fixture, result: Result, found: Snapshot) -> tuple[str, bool]:
    """Checks the attempt that meets the fault. Returns its outcome, and whether its effect may have happened."""
    call, state = case.call, copy.deepcopy(fixture.state)
    before = fixture.expected(state)
    response, after = call.apply(fixture, state), fixture.expected(state)
    is_killed = case.fault.startswith("killed")
    if case.fault not in (_KILLED_AT_RANDOM, _BYTE_BY_BYTE):
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
        if result.is_stopped:
            outcome = "killed" if is_killed else "timed out"
        elif call.is_http:
            assert _response(result, fixture) == error(503, "The service is busy; try again in a moment")[:2]
            assert result.response["headers"]["Retry-After"] == "1"
            outcome = "rejected with 503"
        else:
            outcome = "retried by AWS"
    if not case.is_lasting and not is_killed and not case.second and case.fault != _BYTE_BY_BYTE:
        assert outcome in (_UNNOTICED, _PARTLY_DONE), f"A single fault was noticed: {result}"
    # What a function requested before it was killed may be applied after the snapshot.
    return outcome, is_done or is_killed


def _is_partly_purged(before: Snapshot, after: Snapshot, found: Snapshot) -> bool:
    # The tombstone stays as long as there is anything to purge.
    ignored: Snapshot = {"unpurged": set(), "tombstones": set()}
    return (
        found | ignored == after | ignored
        and found["unpurged"] <= before["unpurged"]
        and (found["tombstones"] == before["tombstones"] or not found["unpurged"])
    )


def _check_retry(call: Call, fixture: Fixture, result: Result, found: Snapshot, *, may_be_done: bool) -> None:
    """Checks that a retry without a fault does what the first attempt did not, and no more."""
    assert not result.has_failed, result
    if may_be_done and not call.is_idempotent:
        return
    state = copy.deepcopy(fixture.state)
    effects = []
    for _ in range(1 + may_be_done):
        # The second time, what was deleted is gone, and what was changed has another ETag.
        status = call.apply(fixture, state)[0]
        effects.append((status, fixture.expected(state)))
    assert (result.status, found) in effects, f"After the retry there is {found}, {result}"


def _check_concurrent(case: Case, change: Call, fixture: Fixture, result: Result, found: Snapshot) -> str:
    """Checks that the call and the change had the effect of one after the other.

    After a fault the call may also be rejected with 503. Its effect then happened once or not at all.
    """
    call, effects = case.call, []
    for order in ((call, change), (change, call)):
        state = copy.deepcopy(fixture.state)
        statuses = {each.name: each.apply(fixture, state)[0] for each in order}
        effects.append((statuses[call.name], fixture.expected(state)))
    if case.second and result.status == 503:
        state = copy.deepcopy(fixture.state)
        change.apply(fixture, state)
        assert found in [*(after for _, after in effects), fixture.expected(state)], f"Half done: {found}"
        return "rejected with 503"
    assert (result.status, found) in effects, f"matches neither order: {result.status}, {found}"
    if effects[0] == effects[1]:
        return _UNNOTICED
    return "as before the change" if (result.status, found) == effects[0] else f"as after the change ({result.status})"
