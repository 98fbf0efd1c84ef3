"""A release is exercised once, however many hooks wait for it and whatever happens to the one that exercises it."""

import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from coherent.storage import rows

from tests import tables
from tests.fake_lambda import HOOK, RELEASED, FakeLambda
from tests.handlers import sweep
from tests.release.conftest import SECONDS, Hooks, Killed
from tests.template import TEMPLATE, logical_id

QUEUE = TEMPLATE["Resources"]["ReleaseHooks"]["Properties"]
VERDICTS = pytest.mark.parametrize(("is_good", "status"), [(True, "Succeeded"), (False, "Failed")])


def break_update(fake: FakeLambda) -> None:
    """Makes the new version of update_message fail, in the middle of the exercise."""

    def fail(_event: object) -> None:
        raise ImportError("no module named chat")

    fake.bad["update_message"] = fail


def assert_nothing_is_left() -> None:
    assert tables.conversations() == []
    tables.age_tombstones()
    sweep()
    assert tables.messages() == []
    # TTL deletes verdicts, idempotency records and deletions of messages. One pair row stays.
    assert tables.lasting_partitions() <= {"pair#release-test"}


def exercises(fake: FakeLambda) -> int:
    """Returns how often a release was exercised: retrieve_docs is called once, at the beginning."""
    return [function for function, _ in fake.invoked].count("retrieve_docs")


def release(fake: FakeLambda, hooks: Hooks, deliver: Callable[[dict[str, Any]], object]) -> list[str]:
    """Releases all functions at once, in an account with room for three. Returns the reported statuses."""
    fake.slots, has_ended = threading.Semaphore(3), threading.Event()

    def from_codedeploy(execution: str) -> None:
        with fake.slots:
            hooks.invoke(execution)

    def from_queue() -> None:
        while not has_ended.wait(0.01):
            if message := hooks.receive():
                with fake.slots:
                    deliver(message)

    with ThreadPoolExecutor(len(RELEASED) + 5) as threads:
        # Lambda polls a queue five times in parallel.
        polling = [threads.submit(from_queue) for _ in range(5)]
        invoked = [threads.submit(from_codedeploy, function) for function in RELEASED]
        try:
            for running in invoked:
                running.result(timeout=60)
            assert fake.wait_for_reports(len(RELEASED), timeout=60), "hooks wait for each other"
        finally:
            has_ended.set()
        for running in polling:
            running.result(timeout=60)
    assert {reported["lifecycleEventHookExecutionId"] for reported in fake.reported} == set(RELEASED)
    return fake.statuses


@VERDICTS
def test_simultaneous_hooks_share_one_exercise(is_good: bool, status: str, fake: FakeLambda, hooks: Hooks) -> None:
    if not is_good:
        break_update(fake)
    assert release(fake, hooks, hooks.deliver) == [status] * len(RELEASED)
    assert exercises(fake) == 1
    assert_nothing_is_left()


@VERDICTS
def test_simultaneous_hooks_survive_a_killed_exercise(
    is_good: bool, status: str, fake: FakeLambda, hooks: Hooks
) -> None:
    if not is_good:
        break_update(fake)
    kills = iter([5, 15])

    def deliver(message: dict[str, Any]) -> None:
        try:
            hooks.deliver(message, kill_before=next(kills, None))
        except Killed:
            return

    assert release(fake, hooks, deliver) == [status] * len(RELEASED)
    assert list(kills) == []
    # One that is killed early calls no function.
    assert exercises(fake) <= 3
    assert_nothing_is_left()


@VERDICTS
def test_exercise_killed_at_any_call_is_repeated(is_good: bool, status: str, fake: FakeLambda, hooks: Hooks) -> None:
    if not is_good:
        break_update(fake)
    hooks.run()
    calls = range(1, hooks.calls + 1)
    for call in calls if "FAULTS_LONG" in os.environ else dict.fromkeys([*calls[::8], *calls[-2:]]):
        hooks.publish(100 + call)
        fake.reported = []
        hooks.invoke(f"first {call}")
        hooks.invoke(f"second {call}")
        with pytest.raises(Killed):
            hooks.deliver(kill_before=call)
        assert fake.reported == []
        hooks.deliver()
        hooks.deliver()
        assert fake.statuses == [status] * 2
        assert hooks.receive() is None
        assert_nothing_is_left()


def test_hook_killed_after_its_report_reports_once(fake: FakeLambda, hooks: Hooks) -> None:
    hooks.invoke("1")
    with pytest.raises(Killed):
        hooks.deliver(kill_before=math.inf)
    hooks.deliver()
    assert fake.statuses == ["Succeeded"]
    assert exercises(fake) == 1
    assert hooks.receive() is None


def test_late_hook_gets_the_verdict_without_calls(fake: FakeLambda, hooks: Hooks) -> None:
    break_update(fake)
    hooks.run()
    # Whatever has changed since: all functions of a release get the same verdict.
    fake.bad.clear()
    fake.invoked.clear()
    hooks.run()
    assert fake.statuses == ["Failed", "Failed"]
    assert fake.invoked == []


def test_next_release_is_exercised(fake: FakeLambda, hooks: Hooks) -> None:
    break_update(fake)
    hooks.run()
    fake.bad.clear()
    hooks.publish(8)
    hooks.run()
    assert fake.statuses == ["Failed", "Succeeded"]


def test_expired_verdict_is_ignored(fake: FakeLambda, hooks: Hooks) -> None:
    break_update(fake)
    hooks.run()
    (verdict,) = [row for row in tables.all_rows() if row["user_id"]["S"].startswith("release#")]
    tables.put_row(verdict | rows.values({"expires_at": 1}))
    fake.bad.clear()
    hooks.run()
    assert fake.statuses == ["Failed", "Succeeded"]


def test_hook_of_a_release_that_was_rolled_back_fails(fake: FakeLambda, hooks: Hooks) -> None:
    hooks.publish(8)
    hooks.invoke("1")
    hooks.publish(7)
    hooks.deliver()
    assert fake.statuses == ["Failed"]
    assert fake.invoked == []


def test_first_recorded_verdict_counts(fake: FakeLambda, hooks: Hooks) -> None:
    # The verdict of another exercise, recorded during this one.
    break_update(fake)
    hooks.run()
    (verdict,) = [row for row in tables.all_rows() if row["user_id"]["S"].startswith("release#")]
    tables.clear()
    fake.bad = {"sweep_purges": lambda _: tables.put_row(verdict)}
    hooks.run()
    assert fake.statuses == ["Failed", "Failed"]


def test_queue_redelivers_within_the_hour_that_codedeploy_waits() -> None:
    assert QUEUE["VisibilityTimeout"] > SECONDS
    # Four killed exercises, and the fifth that succeeds.
    assert 4 * QUEUE["VisibilityTimeout"] + SECONDS < QUEUE["MessageRetentionPeriod"] == 60 * 60


def test_queue_invokes_the_function_that_codedeploy_invokes() -> None:
    mapping = TEMPLATE["Resources"]["ReleaseHooksMapping"]["Properties"]
    hook = TEMPLATE["Globals"]["Function"]["DeploymentPreference"]["Hooks"]["PreTraffic"]["Fn::If"][1]
    assert mapping["FunctionName"] == hook == {"Ref": logical_id(HOOK)}
