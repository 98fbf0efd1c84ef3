"""The page that tells what was tried and what came of it, from what suites and load have found."""

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from tests.load import load

# Where attacks are.
ATTACKS = ("attacks", "forged_tokens", "roles")
_PAGE = Path(__file__).with_name("page.md")

# Of an outcome that the emulator has no part in.
_NOT_SHOWN = "not shown"
# So many attacks of a kind are told in one row.
_MANY = 4

# How the tables put it.
_SIGNS = {
    "as if nothing had happened": "ok",
    "503": "503",
    "failed, so that AWS repeats it": "again",
    "in part, the rest left to the sweep": "sweep",
    "killed": "dead",
    "the new version gets no traffic": "no release",
}


def collected(file: Path) -> dict[str, Any]:
    """What the tests have told of themselves in a JUnit *file*, and which of them failed."""
    trials: Counter[tuple[str, str, bool, str]] = Counter()
    calls: dict[str, set[str]] = defaultdict(set)
    attacks: Counter[tuple[str, str, str]] = Counter()
    histories, deliveries, failed = [], [], []
    for case in ET.parse(file).getroot().iter("testcase"):  # noqa: S314 - pytest wrote it
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(f"{case.get('classname')}.{case.get('name')}")
        told = {str(one.get("name")): str(one.get("value")) for one in case.iter("property")}
        for function, call, fault, lasts, _, outcome in json.loads(told.get("trials", "[]")):
            trials[function, fault, lasts, outcome] += 1
            calls[function].add(call)
        if "history" in told:
            histories.append(json.loads(told["history"]))
        if "deliveries" in told:
            deliveries.append(json.loads(told["deliveries"]))
        if "risk" in told:
            attacks[told["risk"], told["attack"], told["outcome"]] += int(told.get("attempts", "1"))
    return {
        "failed": failed,
        "trials": [[*key, count] for key, count in sorted(trials.items())],
        "calls": {function: len(names) for function, names in sorted(calls.items())},
        "histories": histories,
        "deliveries": deliveries,
        "attacks": [[*key, count] for key, count in sorted(attacks.items())],
    }


def write(out: Path, part: str, found: Mapping[str, Any]) -> Path:
    """Adds what *part* has *found* to the results in *out*, and writes the page of all of them."""
    folder = out / "reliability"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "results.json"
    results = (json.loads(file.read_text()) if file.exists() else {}) | {part: found}
    file.write_text(json.dumps(results, indent=1) + "\n")
    if "load" in results:
        load.plot(results["load"], folder / "load.png")
    page = out / "reliability.md"
    page.write_text(Template(_PAGE.read_text()).substitute(_parts(results)))
    return page


def _parts(results: Mapping[str, Any]) -> dict[str, str]:
    nothing = "Not run yet.\n"
    parts = dict.fromkeys(("summary", "faults", "deliveries", "histories", "attacks", "load"), nothing)
    reached: list[tuple[str, str, bool]] = []
    if chaos := results.get("chaos"):
        reached += targets(chaos)
        parts["faults"] = _faults(chaos)
        parts["deliveries"] = _deliveries(chaos["deliveries"])
        parts["histories"] = _histories(chaos["histories"])
        parts["attacks"] = _attacks(chaos["attacks"])
    if loaded := results.get("load"):
        reached += load.targets(loaded)
        parts["load"] = f"{load.table(loaded)}\n\n![{load.TITLE}](reliability/load.png)\n"
    when = ", ".join(
        f"`make {part}` on {found['date']} with {found['cores']} cores" for part, found in sorted(results.items())
    )
    rows = [f"| {what} | {value} | {'yes' if enough else '**no**'} |" for what, value, enough in reached]
    remarks = "".join(f" {found['remark']}" for found in results.values() if "remark" in found)
    parts["summary"] = "\n".join(
        [f"Results of {when}.{remarks}", "", "| wanted | reached | |", "|---|---|---|", *rows, ""]
    )
    return parts


def targets(chaos: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Name, what was reached, and whether that is enough: what was never tried is not."""
    attacks = [name for name in chaos["failed"] if name.startswith("tests.e2e.")]
    faults = [name for name in chaos["failed"] if name not in attacks]
    trials, histories = sum(row[-1] for row in chaos["trials"]), chaos["histories"]
    calls = sum(history["calls"] for history in histories)
    tried = f"in {trials:,} trials, and {len(histories)} histories of {calls:,} calls"
    open_questions = sum(row[-1] for row in chaos["attacks"] if row[2].startswith(_NOT_SHOWN))
    attempts = sum(row[-1] for row in chaos["attacks"]) - open_questions
    attacked = f"none of {attempts:,} attempts; {open_questions} more could not be shown on the emulator"
    return [
        (
            "nothing lost, half done or done twice, whatever fails",
            f"failed: {', '.join(faults)}" if faults else tried,
            not faults and trials > 0 and calls > 0,
        ),
        (
            "no attack succeeds",
            f"failed: {', '.join(attacks)}" if attacks else attacked,
            not attacks and attempts > 0,
        ),
    ]


def _faults(chaos: Mapping[str, Any]) -> str:
    functions = sorted(chaos["calls"])
    parts = []
    rivals = sorted({fault for _, fault, *_ in chaos["trials"] if fault.startswith("another device")})
    for lasts, head in ((False, "The fault comes once"), (True, "The fault stays")):
        faults = sorted({row[1] for row in chaos["trials"] if row[2] is lasts} - set(rivals))
        parts += [f"### {head}", _cross_table(chaos["trials"], functions, faults, lasts=lasts)]
    parts += ["### Somebody else comes in between", _rivals(chaos["trials"])]
    return "\n\n".join(parts) + "\n"


def _cross_table(
    trials: Iterable[Sequence[Any]], functions: Sequence[str], faults: Sequence[str], *, lasts: bool
) -> str:
    cells: dict[tuple[str, str], list[str]] = defaultdict(list)
    for function, fault, is_lasting, outcome, count in trials:
        if is_lasting is lasts:
            cells[function, fault].append(f"{count} {_SIGNS.get(outcome, outcome)}")
    lines = [_line(["", *faults]), _line(["---", *("---" for _ in faults)])]
    lines += [
        _line([f"`{function}`", *(", ".join(cells[function, fault]) for fault in faults)])
        for function in functions
        if any(cells[function, fault] for fault in faults)
    ]
    return "\n".join(lines)


def _rivals(trials: Iterable[Sequence[Any]]) -> str:
    counts: Counter[tuple[str, str]] = Counter()
    for _, fault, _, outcome, count in trials:
        if fault.startswith("another device"):
            counts[fault, outcome] += count
    lines = ["| meanwhile | the call is answered | trials |", "|---|---|--:|"]
    return "\n".join([*lines, *(_line([*key, f"{count:,}"]) for key, count in sorted(counts.items()))])


def _deliveries(deliveries: Iterable[Mapping[str, Any]]) -> str:
    totals: dict[str, Counter[str]] = defaultdict(Counter)
    for told in deliveries:
        totals[told["function"]].update(done=told.get("done", 0), failed=told.get("failed", 0), runs=1)
    lines = ["| delivered to | runs | invocations | of which failed |", "|---|--:|--:|--:|"]
    for function, counts in sorted(totals.items()):
        cells = [function, *(f"{n:,}" for n in (counts["runs"], counts["done"] + counts["failed"], counts["failed"]))]
        lines.append(_line(cells))
    return "\n".join(lines) + "\n"


def _histories(histories: Sequence[Mapping[str, int]]) -> str:
    def total(name: str) -> str:
        return f"{sum(history[name] for history in histories):,}"

    longest = max((history["longest"] for history in histories), default=0)
    return (
        f"{len(histories)} histories: {total('calls')} calls, of which {total('faults')} met a fault and "
        f"{total('unanswered')} were not answered, on {total('conversations')} conversations; the longest history of "
        f"one of them has {longest} calls.\n"
    )


def _attacks(attacks: Iterable[Sequence[Any]]) -> str:
    kinds: dict[tuple[str, str, str], list[tuple[str, int]]] = defaultdict(list)
    for risk, attack, outcome, count in attacks:
        kind, _, detail = attack.partition(": ")
        kinds[risk, kind, outcome].append((detail, count))
    lines = ["| risk | attack | attempts | outcome |", "|---|---|--:|---|"]
    shown = ""
    for (risk, kind, outcome), found in sorted(kinds.items(), key=lambda one: (_number(one[0][0]), one[0])):
        details = [", ".join(detail for detail, _ in found)] if len(found) >= _MANY else [detail for detail, _ in found]
        counts = [sum(count for _, count in found)] if len(found) >= _MANY else [count for _, count in found]
        for detail, count in zip(details, counts, strict=True):
            attack = f"{kind}: {detail}" if detail else kind
            lines.append(_line(["" if risk == shown else risk, attack, f"{count:,}", outcome]))
            shown = risk
    return "\n".join(lines) + "\n"


def _number(risk: str) -> int:
    """Ten comes after nine."""
    return int(re.sub(r"\D", "", risk.partition(":")[0]) or 0)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
