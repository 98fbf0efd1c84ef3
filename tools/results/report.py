"""Writes docs/results/reliability.md from the JUnit reports of the suites and the figures of the load."""

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_PAGE = Path(__file__).with_name("page.md")
_NOT_SHOWN = "not shown on the emulator, "


def collect(files: Iterable[Path]) -> dict[str, Any]:
    """Returns what the tests recorded as properties in JUnit reports, and the names of failed tests."""
    trials: dict[str, Counter[str]] = defaultdict(Counter)
    deliveries: dict[str, Counter[str]] = defaultdict(lambda: Counter(done=0, failed=0))
    histories = Counter(count=0)
    attacks: dict[str, Counter[str]] = defaultdict(Counter)
    failed = []
    for case in (case for file in files for case in ET.parse(file).getroot().iter("testcase")):  # noqa: S314 - ours
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(f"{case.get('classname')}.{case.get('name')}")
        recorded = {str(each.get("name")): str(each.get("value")) for each in case.iter("property")}
        for _, _, fault, is_lasting, _, outcome in json.loads(recorded.get("trials", "[]")):
            kind = "A fault that stays" if is_lasting else "A single fault"
            trials["A concurrent change" if fault.startswith("another device") else kind][outcome] += 1
        if "history" in recorded:
            histories.update(json.loads(recorded["history"]) | {"count": 1})
        if "deliveries" in recorded:
            counts = json.loads(recorded["deliveries"])
            deliveries[counts.pop("function")].update(counts)
        if "risk" in recorded:
            name, _, detail = recorded["attack"].partition(": ")
            # "CreateMessage: AWS called by its role", but "a forged token: expired".
            kind = detail if re.fullmatch(r"[A-Z]\w+", name) else name
            is_shown = not recorded["outcome"].startswith("not shown")
            attacks[recorded["risk"]][kind if is_shown else _NOT_SHOWN + kind] += int(recorded.get("attempts", "1"))
    found = {"trials": trials, "deliveries": deliveries, "histories": histories, "attacks": attacks}
    return found | {"failed": failed}


def results(part: str, found: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Returns what `make` *part* was to show, what it showed, and whether that holds. What was not tried does not."""
    if part == "load":
        failures = found["failures"]
        shown = f"failed: {'; '.join(failures)}" if failures else f"in {found['requests']:,} requests"
        held = [("No wrong response and no lost write under load", shown, not failures and found["writes"] > 0)]
        if "delivery" in found:
            held.append(_delivery_result(found["delivery"]))
        return held
    attacks = [name for name in found["failed"] if name.startswith("tests.security")]
    faults = [name for name in found["failed"] if name not in attacks]
    trials = sum(sum(outcomes.values()) for outcomes in found["trials"].values())
    histories = found["histories"]["count"]
    attacked = [attempts for kinds in found["attacks"].values() for attempts in kinds.items()]
    attempts = sum(count for kind, count in attacked if not kind.startswith(_NOT_SHOWN))
    is_tried = min(trials, histories, len(found["deliveries"])) > 0
    shown = f"failed: {', '.join(faults)}" if faults else f"in {trials:,} trials and {histories} histories"
    rejected = f"failed: {', '.join(attacks)}" if attacks else f"in {attempts:,} attempts"
    return [
        ("Nothing is lost, half done or done twice", shown, is_tried and not faults),
        ("No attack succeeds", rejected, attempts > 0 and not attacks),
    ]


def _delivery_result(delivery: Mapping[str, Any]) -> tuple[str, str, bool]:
    failures = [failure for chat in delivery.values() for failure in chat["failures"]]
    sent = [chat["sent"] for chat in delivery.values()]
    shown = f"failed: {'; '.join(failures)}" if failures else f"in {sum(sent):,} messages"
    return "Every message to another user arrives once, in order", shown, not failures and min(sent) > 0


def write(out: Path, part: str, found: Mapping[str, Any]) -> Path:
    """Stores what `make` *part* found beside what the other one found, and writes the page of both."""
    file, page = out / "reliability/results.json", out / "reliability.md"
    file.parent.mkdir(parents=True, exist_ok=True)
    stored = (json.loads(file.read_text()) if file.exists() else {}) | {part: found}
    file.write_text(json.dumps(stored, indent=1) + "\n")
    when, held = [], []
    for name in ("faults", "load"):
        each = stored.get(name)
        when.append(f"`{each['command']}` ran on {each['date']}." if each else f"`make {name}` has not run yet.")
        for wanted, shown, holds in results(name, each) if each else ():
            held.append(f"- {'' if holds else '**FAILED** '}{wanted}: {shown}.")
    faults, load = stored.get("faults", _NotRun()), _NotRun()
    if "load" in stored:
        # A run of an earlier release has no deliveries.
        load = {"delivery": _NotRun()} | stored["load"]
    lists = {name: _lines(faults[name]) if "faults" in stored else "?" for name in ("trials", "attacks")}
    text = _PAGE.read_text().format(when=" ".join(when), held="\n".join(held), faults=faults, load=load, **lists)
    page.write_text(text)
    return page


class _NotRun:
    """Stands for all figures of a command that has not run."""

    def __getitem__(self, name: str) -> "_NotRun":
        return self

    def __format__(self, spec: str) -> str:
        return "?"


def _lines(counts: Mapping[str, Mapping[str, int]]) -> str:
    lines = []
    # API10 comes after API9.
    for name in sorted(counts, key=lambda name: (len(name.partition(":")[0]), name)):
        parts = "; ".join(f"{part} ({count:,})" for part, count in sorted(counts[name].items()))
        lines.append(f"- **{name}** ({sum(counts[name].values()):,}): {parts}.")
    return "\n".join(lines)
