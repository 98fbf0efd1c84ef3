"""The page on reliability shows what the suites and the load found, and what failed."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tools.results import report

TRIALS = [
    ["list_messages", "list all messages", "500", False, 1, "as if there was no fault"],
    ["list_messages", "list all messages", "500", False, 2, "as if there was no fault"],
    ["list_messages", "list all messages", "500", True, 1, "503"],
    ["list_messages", "list all messages", "another device archives", False, 1, "as if it came before"],
]
HISTORY = {"calls": 100, "faults": 25, "conversations": 5, "unanswered": 3}
ATTACK = {"risk": "API10", "attack": "an event: twice", "outcome": "stored once"}
RECORDED: list[dict[str, str]] = [
    {"trials": json.dumps(TRIALS)},
    {"history": json.dumps(HISTORY)},
    {"deliveries": json.dumps({"function": "receive_message", "done": 10, "failed": 2})},
    {"deliveries": json.dumps({"function": "purge_messages and sweep_purges", "done": 5})},
    ATTACK,
    ATTACK | {"attempts": "4"},
    {"risk": "API2", "attack": "a token", "outcome": "not shown: the emulator accepts it", "attempts": "7"},
]
CHAT: dict[str, Any] = {
    "pairs": 6,
    "seconds": 30,
    "sent": 180,
    "delivered": 180,
    "sent_per_second": 6.0,
    "delivered_per_second": 5.5,
    "delay": {"p50": 0.51, "p99": 1.9},
    "failures": [],
}
LOAD: dict[str, Any] = {
    "command": "make load SECONDS=300 USERS=12",
    "date": "2026-11-25",
    "cores": 2,
    "users": 12,
    "seconds": 300,
    "requests": 23_000,
    "writes": 10_000,
    "replays": 800,
    "events": 540,
    "conversations": 600,
    "messages": 2_000,
    "deleted_conversations": 900,
    "failures": [],
    "ms": {"p50": 120.5, "p99": 400.0},
    "delivery": {"slow": CHAT, "fast": CHAT | {"sent": 1_200, "sent_per_second": 40.0}},
}


def collect(tmp_path: Path, *failed: tuple[str, str]) -> dict[str, Any]:
    """Returns the content of a JUnit report with RECORDED and the *failed* tests, each a class and a name."""
    suite = ET.Element("testsuite")
    for recorded in RECORDED:
        properties = ET.SubElement(ET.SubElement(suite, "testcase", classname="tests", name="passed"), "properties")
        for name, value in recorded.items():
            ET.SubElement(properties, "property", name=name, value=value)
    for classname, name in failed:
        ET.SubElement(ET.SubElement(suite, "testcase", classname=classname, name=name), "failure", message="because")
    file = tmp_path / "junit.xml"
    ET.ElementTree(suite).write(file)
    return report.collect([file]) | {"command": "make faults", "date": "2026-11-25", "cores": 2}


def test_page_shows_faults_deliveries_histories_and_attacks(tmp_path: Path) -> None:
    found = collect(tmp_path)
    text = report.write(tmp_path, "faults", found).read_text()
    assert "- Nothing is lost, half done or done twice: in 4 trials and 1 histories." in text
    assert "- No attack succeeds: in 5 attempts." in text
    assert "- **A single fault** (2): as if there was no fault (2)." in text
    assert "- **A fault that stays** (1): 503 (1)." in text
    assert "- **A concurrent change** (1): as if it came before (1)." in text
    assert "`receive_message`: 10 invocations succeeded" in text
    assert "100 calls. 25 of them met a fault" in " ".join(text.split())
    assert "- **API2** (7): not shown on the emulator, a token (7).\n- **API10** (5): an event (5)." in text
    assert "`make load` has not run yet." in text
    assert all(holds for *_, holds in report.results("faults", found))


def test_page_keeps_the_results_of_the_other_command(tmp_path: Path) -> None:
    report.write(tmp_path, "load", LOAD)
    text = report.write(tmp_path, "faults", collect(tmp_path)).read_text()
    assert "`make faults` ran on 2026-11-25. `make load SECONDS=300 USERS=12` ran on 2026-11-25." in text
    assert "- No wrong response and no lost write under load: in 23,000 requests." in text
    assert "12 users sent one request after the other for 300 s, 23,000 in all" in text
    assert "99 % at most 400.0 ms" in text
    assert "- Every message to another user arrives once, in order: in 1,380 messages." in text
    assert "of 1,200 messages, 40.0 were sent and 5.5 delivered in a second" in text
    assert "?" not in text
    assert "FAILED" not in text


def test_page_names_failed_tests(tmp_path: Path) -> None:
    found = collect(tmp_path, ("tests.faults.test_faults", "mute"), ("tests.security.test_events", "twice"))
    text = report.write(tmp_path, "faults", found).read_text()
    assert "**FAILED** Nothing is lost, half done or done twice: failed: tests.faults.test_faults.mute." in text
    assert "**FAILED** No attack succeeds: failed: tests.security.test_events.twice." in text
    assert not any(holds for *_, holds in report.results("faults", found))


@pytest.mark.parametrize(
    ("change", "held"),
    [
        ({"failures": ["expected 200"]}, [False, True]),
        ({"writes": 0}, [False, True]),
        ({"delivery": {"slow": CHAT, "fast": CHAT | {"failures": ["kevin has 1 of 2"]}}}, [True, False]),
        ({"delivery": {"slow": CHAT | {"sent": 0}, "fast": CHAT}}, [True, False]),
    ],
    ids=["wrong_response", "nothing_written", "lost_delivery", "nothing_sent"],
)
def test_failed_load_counts_as_failed(change: dict[str, Any], held: list[bool], tmp_path: Path) -> None:
    found = LOAD | change
    assert [holds for *_, holds in report.results("load", found)] == held
    assert report.write(tmp_path, "load", found).read_text().count("**FAILED**") == 1


def test_load_of_an_earlier_release_has_no_deliveries(tmp_path: Path) -> None:
    earlier = {name: figure for name, figure in LOAD.items() if name != "delivery"}
    assert [holds for *_, holds in report.results("load", earlier)] == [True]
    assert "of ? messages, half were" in report.write(tmp_path, "load", earlier).read_text()


def test_missing_suite_counts_as_failed(tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    file.write_text("<testsuites/>")
    assert [holds for *_, holds in report.results("faults", report.collect([file]))] == [False, False]
