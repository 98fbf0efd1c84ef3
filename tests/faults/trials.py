"""What becomes of a call that meets a fault, and of the same call again once the fault is gone."""

import json
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import NamedTuple

from tests import tables
from tests.faults.calls import RIVALS, Call, Effect, Home, Rival, View, furnish, view
from tests.faults.functions import SECONDS, Environment, Result
from tests.faults.network import BYTE_BY_BYTE, FAULTS, KILLED_AT_RANDOM, Exchange, Network, carry, faults_of
from tests.handlers import USER_ENDPOINTS

_UNNOTICED = "as if nothing had happened"
_IN_PART = "in part, the rest left to the sweep"


class Case(NamedTuple):
    """A *fault* of the *number*th request of a call, which is an *operation*, and of all that follow if it *lasts*."""

    call: Call
    fault: str
    number: int
    operation: str
    lasts: bool
    # What the call is told where there is no fault.
    told: str

    def __str__(self) -> str:
        lasting = " and later" if self.lasts else ""
        return f"{self.call.name}: {self.fault} at request {self.number}{lasting} ({self.operation})"


class Trial(NamedTuple):
    """What a user had before and after a call that met a fault, and after its repetition, and what they were answered.

    *requests* is how many the function made at first.
    """

    case: Case
    home: Home
    before: View
    first: Result
    after_first: View
    again: Result
    after_again: View
    requests: int


def without_fault(call: Call, network: Network, environment: Environment, user: str) -> tuple[list[str], str]:
    """The operations that *call* asks for where there is no fault, and what it is told. It does what it should."""
    with network.aws:
        home = furnish(user)
        call.prepare(home)
        before = view(home, network.dead_letters)
    route = network.set(environment.pid)
    result = environment.invoke(call.function, call.event(home))
    with network.aws:
        after = view(home, network.dead_letters)
        tables.delete_user(user)
    assert (result.status, after) == call.effect(home, before), f"{call.name}: {result}"
    return route.requests, _told(result, home)


def _told(result: Result, home: Home) -> str:
    """The body of an answer, without what is new each time: ids of what was made, and times."""
    body = result.response["body"] if result.status else ""
    ids = set(re.findall(r'"([0-9A-Za-z]{16})"', body)) - set(home)
    for id in ids:
        body = body.replace(id, "new")
    return re.sub(r'"(\w+_at)": \d+', r'"\1": 0', body)


def cases_of(call: Call, requests: list[str], told: str) -> list[Case]:
    """All of *call*, which makes these *requests* and is *told* that without a fault."""
    found = []
    for number, operation in enumerate(requests, start=1):
        for fault in faults_of(operation):
            found += [Case(call, fault, number, operation, lasts, told) for lasts in (False, True)]
        if call.function in USER_ENDPOINTS:
            found += [Case(call, rival.name, number, operation, lasts=False, told=told) for rival in RIVALS]
    return found


def tried(case: Case, network: Network, environment: Environment, user: str) -> Trial:
    """The trial of *case* by a *user* whom nobody has been before."""
    call = case.call
    with network.aws:
        home = furnish(user)
        call.prepare(home)
        before = view(home, network.dead_letters)
    event = call.event(home)
    fault = FAULTS.get(case.fault) or _of_rival(_rival(case.fault), network, home)
    route = network.set(environment.pid, fault, case.number, is_lasting=case.lasts)
    first = environment.invoke(call.function, event, call.seconds)
    with network.aws:
        after_first = view(home, network.dead_letters)
    if case.fault == KILLED_AT_RANDOM:
        # It may have ended before that moment.
        environment.close()
    network.set(environment.pid)
    again = environment.invoke(call.function, event)
    with network.aws:
        after_again = view(home, network.dead_letters)
        tables.delete_user(user)
    # botocore repeats less after it has repeated much; and of a broken-off call something may still be on its way.
    environment.close()
    return Trial(case, home, before, first, after_first, again, after_again, len(route.requests))


def _rival(name: str) -> Rival:
    return next(rival for rival in RIVALS if rival.name == name)


def _of_rival(rival: Rival, network: Network, home: Home) -> Callable[[Exchange], None]:
    def fault(exchange: Exchange) -> None:
        with network.aws:
            rival.act(home)
        carry(exchange)

    return fault


def outcome(trial: Trial) -> str:
    """What the caller saw, in a few words. Fails where that, or what is left, is not as it should be."""
    case, first = trial.case, trial.first
    assert trial.requests >= case.number, "The fault was never met"
    if case.fault not in FAULTS:
        return _outcome_beside(_rival(case.fault), trial)
    is_killed = case.fault.startswith("killed")
    assert first.is_stopped == is_killed or case.fault == KILLED_AT_RANDOM, f"It was stopped after {first.seconds} s"
    assert first.seconds < (case.call.seconds or SECONDS[case.call.function]), f"It took {first.seconds} s"
    status, after = case.call.effect(trial.home, trial.before)
    is_done = trial.after_first == after
    is_between = case.call.may_be_between(trial.before, after, trial.after_first)
    if first.status == status and not first.is_stopped and not first.is_failed:
        assert _told(first, trial.home) == case.told, f"It was told {first}"
        # A purge whose time is up is left to the sweep.
        assert is_done or is_between, f"It said that it was done, and there is {trial.after_first}"
        seen = _UNNOTICED if is_done else _IN_PART
    else:
        assert is_done or is_between or trial.after_first == trial.before, f"Half done: {trial.after_first}"
        if case.call.is_http and not first.is_stopped:
            _check_refusal(first)
        seen = "killed" if is_killed else "503" if case.call.is_http else "failed, so that AWS repeats it"
    if not case.lasts and not is_killed and case.fault != BYTE_BY_BYTE:
        assert seen in (_UNNOTICED, _IN_PART), f"One fault was noticed: {first}"
    # What a function sent before it was killed may be done after the look at what there was.
    _check_repetition(trial, may_be_done=is_done or is_killed)
    return seen


def _check_refusal(result: Result) -> None:
    """It is the contract's, and tells nothing that is nobody's business."""
    assert result.response
    body = json.loads(result.response["body"])
    assert result.status == 503, body
    assert result.response["headers"]["Retry-After"] == "1"
    assert body == {
        "type": "api_error",
        "message": "The service is busy; try again in a moment",
        "documentation_url": "https://protocol.chat/docs/errors/api_error",
    }


def _check_repetition(trial: Trial, *, may_be_done: bool) -> None:
    """Once the fault is gone, the same call does what the first was to do, if that has not done it, and no more."""
    case, again = trial.case, trial.again
    assert not again.is_failed, again
    assert not again.is_stopped, again
    if not case.call.is_repeatable and may_be_done:
        return
    status, after = case.call.effect(trial.home, trial.before)
    # What is deleted is not there any more; what has changed has another tag.
    allowed = {status} | ({case.call.effect(trial.home, after)[0]} if may_be_done else set())
    assert again.status in allowed, again
    assert trial.after_again == after, f"After the repetition there is {trial.after_again}"


def _outcome_beside(rival: Rival, trial: Trial) -> str:
    """What the caller saw of what somebody else did meanwhile: as if one had come after the other."""
    call, home, before = trial.case.call, trial.home, trial.before
    seen: Effect = (trial.first.status, trial.after_first)
    status, after = call.effect(home, before)
    call_first: Effect = (status, rival.effect(home, after)[1])
    call_last = call.effect(home, rival.effect(home, before)[1])
    assert seen in (call_first, call_last), f"Neither came first: {seen}"
    if call_first == call_last:
        return _UNNOTICED
    return "as before it" if seen == call_first else f"{seen[0]}, as after it"


def all_of(cases: Sequence[Case], network: Network, port: int, user: Callable[[], str], at_once: int) -> list[Trial]:
    """The trials of *cases*, of which so many go on *at once*."""
    waiting = iter(cases)
    one_at_a_time = threading.Lock()

    def work(_: int) -> list[Trial]:
        done: list[Trial] = []
        with closing(Environment(port)) as environment:
            while True:
                with one_at_a_time:
                    case = next(waiting, None)
                if case is None:
                    return done
                done.append(tried(case, network, environment, user()))

    with ThreadPoolExecutor(at_once) as pool:
        return [trial for done in pool.map(work, range(at_once)) for trial in done]
