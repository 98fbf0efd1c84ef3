"""Every call meets every fault at each request to AWS: nothing is lost or half done, and it can be repeated."""

import json
import os
import zlib
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing

import pytest

from tests.faults.calls import CALLS, Call, user_names
from tests.faults.functions import Environment
from tests.faults.network import BYTE_BY_BYTE, Network
from tests.faults.trials import Case, Trial, all_of, cases_of, outcome, without_fault

# Each fault at each request, which takes long; or else at one of each call's.
IS_LONG = "CHAOS_LONG" in os.environ
_AT_ONCE = 12
# Faults that are waited for: how many of a hundred calls meet them where there is little time, and purges none of them.
_SLOW = {
    BYTE_BY_BYTE: 10,
    "throttled, and told to wait": 30,
    "no answer": 40,
    "done, no answer": 40,
    "slow answer": 70,
    "nothing of a batch done": 100,
}


@pytest.fixture(scope="module")
def trials(aws: Network, runtime: int) -> dict[str, list[Trial]]:
    """Those of each call."""
    user = user_names()
    with closing(Environment(runtime)) as environment:
        seen = {call.name: without_fault(call, aws, environment, user()) for call in CALLS}
    found: dict[str, list[Trial]] = defaultdict(list)
    cases = [case for call in CALLS for case in _chosen(call, *seen[call.name])]
    # A sweep is everybody's, so each goes on alone.
    for at_once, is_of_all in ((_AT_ONCE, False), (1, True)):
        some = [case for case in cases if (case.call.function == "sweep_purges") == is_of_all]
        for trial in all_of(some, aws, runtime, user, at_once):
            found[trial.case.call.name].append(trial)
    return found


def _chosen(call: Call, requests: list[str], told: str) -> list[Case]:
    # Byte by byte, purges would take their five minutes each time.
    everything = [
        case
        for case in cases_of(call, requests, told)
        if call.seconds is None or case.fault != BYTE_BY_BYTE or case.number == 1
    ]
    if IS_LONG:
        return everything
    chosen = []
    for fault in dict.fromkeys(case.fault for case in everything):
        # Any, but always the same.
        chance = zlib.crc32(f"{call.name}, {fault}".encode())
        if chance % 100 < _SLOW.get(fault, 100) * (call.seconds is None or fault not in _SLOW):
            some = [case for case in everything if case.fault == fault]
            chosen.append(some[chance % len(some)])
    return chosen


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name.replace(" ", "_"))
def test_a_fault_loses_nothing_and_leaves_nothing_half_done(
    call: Call, trials: dict[str, list[Trial]], record_property: Callable[[str, object], None]
) -> None:
    outcomes, failures = [], []
    for trial in trials[call.name]:
        try:
            seen = outcome(trial)
        except AssertionError as error:
            failures.append(f"{trial.case}: {error}")
        else:
            case = trial.case
            outcomes.append([call.function, call.name, case.fault, case.lasts, case.number, seen])
    record_property("trials", json.dumps(outcomes))
    assert not failures, "\n\n".join(failures)
    assert len(outcomes) == len(trials[call.name]) > 0
