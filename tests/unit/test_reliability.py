"""The page on reliability tells what the suites have told."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

from tools.results import report

TRIALS = [
    ["list_messages", "list all messages", "500", False, 1, "as if nothing had happened"],
    ["list_messages", "list all messages", "500", False, 2, "as if nothing had happened"],
    ["list_messages", "list all messages", "500", True, 1, "503"],
    ["list_messages", "list all messages", "another device archives", False, 1, "as before it"],
]
HISTORY = {"calls": 100, "faults": 25, "conversations": 5, "unanswered": 3, "longest": 40}
ATTACK = {"risk": "API1", "attack": "a foreign id", "outcome": "404"}
TOLD: list[dict[str, str]] = [
    {"trials": json.dumps(TRIALS)},
    {"history": json.dumps(HISTORY)},
    {"deliveries": json.dumps({"function": "receive_message", "done": 10, "failed": 2})},
    ATTACK,
    ATTACK | {"attempts": "4"},
]


def page(tmp_path: Path, failed: str = "") -> str:
    """The page of these results, and of a test that *failed*."""
    suite = ET.Element("testsuite")
    for told in TOLD:
        case = ET.SubElement(suite, "testcase", classname="tests", name="passed")
        properties = ET.SubElement(case, "properties")
        for name, value in told.items():
            ET.SubElement(properties, "property", name=name, value=value)
    if failed:
        ET.SubElement(ET.SubElement(suite, "testcase", classname="tests", name=failed), "failure", message="because")
    file = tmp_path / "results.xml"
    ET.ElementTree(suite).write(file)
    return report.write(tmp_path, "chaos", report.collected(file) | {"date": "2026-11-25", "cores": 2}).read_text()


def test_what_came_of_faults_histories_deliveries_and_attacks_is_counted(tmp_path: Path) -> None:
    written = page(tmp_path)
    assert "| `list_messages` | 2 ok |" in written
    assert "| `list_messages` | 1 503 |" in written
    assert "| another device archives | as before it | 1 |" in written
    assert "1 histories: 100 calls, of which 25 met a fault and 3 were not answered, on 5 conversations" in written
    assert "| receive_message | 1 | 12 | 2 |" in written
    assert "| API1 | a foreign id | 5 | 404 |" in written
    assert "| in 4 trials, and 1 histories of 100 calls | yes |" in written
    assert "Not run yet." in written
    assert "$" not in written


def test_what_was_not_tried_does_not_count_as_held(tmp_path: Path) -> None:
    file = tmp_path / "results.xml"
    file.write_text("<testsuites/>")
    assert [enough for _, _, enough in report.targets(report.collected(file))] == [False, False]


def test_what_broke_is_named(tmp_path: Path) -> None:
    assert "| failed: tests.mute | **no** |" in page(tmp_path, "mute")
