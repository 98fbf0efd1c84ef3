"""What a million of each call cost, at the list prices in `prices.toml` and by what the other parts measured."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from tools.local.environment import ROOT
from tools.local.failure import Failure

if TYPE_CHECKING:
    from rich.progress import Progress

TITLE = "What a million calls cost"

_PRICES = Path(__file__).parent / "prices.toml"
# Of all functions, as `template.yaml` has it.
_MEMORY_MB = 512
# Of a list, as `coherent.conversations.repository` has it.
_THREADS = 4
# Of a call that makes one request, where none was measured.
_ESTIMATE_MS = 15.0
# Of a call: three lines of Lambda itself, ours with the metrics, and that of API Gateway.
_LOGGED_GB = (0.35 + 0.50 + 0.45) * 1e-6
_SNAPSHOTS = 10
_SECONDS_OF_A_MONTH = 30 * 24 * 60 * 60

_LISTS: dict[str, dict[str, str]] = {
    "list": {},
    "list with all three flags": {"muted": "false", "archived": "false", "pinned": "false"},
    "list with one flag open": {"archived": "false", "pinned": "false"},
    "list of a group, all flags open": {"group_id": "friends"},
}
_MOST_QUERIES = 8
# What was measured for calls that begin so, where they make one request.
_ENDPOINTS = {
    "create": "create_conversation",
    "retrieve": "retrieve_conversation",
    "mark": "update_conversation",
    "pin,": "update_conversation",
    "delete": "delete_conversation",
}
_SHARES = ("API Gateway", "Lambda", "DynamoDB", "logs")


def measure(
    _progress: "Progress",
    *,
    quick: bool,  # noqa: ARG001 - there is nothing to shorten
    results: Path = ROOT / "docs/benchmarks/results.json",
) -> dict[str, Any]:
    """Units and milliseconds of each call, from the *results* of other parts, and the prices. Raises `Failure`."""
    parts = {name: part["found"] for name, part in json.loads(results.read_text()).items()} if results.exists() else {}
    if "flat" not in parts:
        raise Failure("There are no units to put a price on: measure the part flat as well.")
    flat = parts["flat"]
    pages = {
        tuple(sorted(combination["query"].items())): page
        for combination, page in zip(flat["combinations"], flat["ours"][-1], strict=True)
    }
    costs = {name: pages[tuple(sorted(query.items()))] for name, query in _LISTS.items()}
    costs |= flat["calls"][str(flat["sizes"][-1])]
    measured = _measured(parts.get("runtime"))
    one = measured.get("list_conversations", _ESTIMATE_MS)
    most = _of_most_queries(parts.get("threads"))
    calls = {}
    for name, cost in costs.items():
        requests = cost["requests"]
        milliseconds = one * requests
        if name in _LISTS and most:
            milliseconds = one + (most - one) * (requests - 1) / (_MOST_QUERIES - 1)
        elif requests == 1:
            milliseconds = measured.get(_ENDPOINTS.get(name.split()[0], ""), one)
        calls[name] = {"read_units": cost["read_units"], "write_units": cost["write_units"], "ms": milliseconds}
    return {
        "prices": tomllib.loads(_PRICES.read_text()),
        "memory_mb": _MEMORY_MB,
        "one_is_measured": bool(measured),
        "most_is_measured": most is not None,
        "calls": calls,
    }


def _measured(runtime: Mapping[str, Any] | None) -> dict[str, float]:
    """What is billed of a warm call, in milliseconds by endpoint, as if all had been measured with less processor."""
    if not runtime or not runtime["unlimited"]:
        return {}
    billed = {endpoint: subjects["ours"]["warm_billed_ms"] for endpoint, subjects in runtime["unlimited"].items()}
    slower = {
        name: subjects["ours"]["warm_billed_ms"] / billed[name] for name, subjects in (runtime["limited"] or {}).items()
    }
    factor = slower.get("list_conversations", 1.0)
    return {endpoint: milliseconds * factor for endpoint, milliseconds in billed.items()}


def _of_most_queries(threads: Mapping[str, Any] | None) -> float | None:
    """What is billed of a warm list that makes eight queries."""
    for cell in threads["cells"] if threads else []:
        if (cell["memory_mb"], cell["threads"]) == (_MEMORY_MB, _THREADS):
            return float(cell["warm"]["billed_ms"])
    return None


def _dollars(found: Mapping[str, Any], call: Mapping[str, float]) -> tuple[float, ...]:
    """Of a million calls, by `_SHARES`."""
    prices = found["prices"]
    gb_seconds = found["memory_mb"] / 1024 * call["ms"] / 1000 * 1_000_000
    return (
        prices["api_gateway"]["million_requests"],
        prices["lambda"]["million_requests"] + gb_seconds * prices["lambda"]["gb_second"],
        call["read_units"] * prices["dynamodb"]["million_read_units"]
        + call["write_units"] * prices["dynamodb"]["million_write_units"],
        _LOGGED_GB * 1_000_000 * prices["logs"]["gb"],
    )


def table(found: dict[str, Any]) -> str:
    """How the figures come about, those of each call, and what SnapStart adds."""
    prices, memory = found["prices"], found["memory_mb"]
    lines = [f"| | {' | '.join(_SHARES)} | all | ms |", "|---|--:|--:|--:|--:|--:|--:|"]
    for name, call in found["calls"].items():
        dollars = _dollars(found, call)
        cells = [*map(_cents, dollars), f"**{_cents(sum(dollars))}**", f"{call['ms']:.0f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    rows = "\n".join(lines)
    one = (
        "what warm calls are billed in *Init and billed duration*"
        if found["one_is_measured"]
        else f"{_ESTIMATE_MS:g} ms as an estimate"
    )
    several = (
        "between that and the eight of *Threads and memory*" if found["most_is_measured"] else "as of so many calls"
    )
    purge = prices["dynamodb"]["million_write_units"]
    cache = _SNAPSHOTS * memory / 1024 * prices["snap_start"]["cached_gb_second"] * _SECONDS_OF_A_MONTH
    restores = memory / 1024 * prices["snap_start"]["restored_gb"] * 1_000_000
    init = memory / 1024 * prices["lambda"]["gb_second"] * 1_000_000
    return f"""\
Dollars for a million calls at the list prices of {prices["region"]} in {prices["date"]} (`tools/bench/prices.toml`), without
free tiers, storage, data transfer and Cognito. Units are those of *What a page reads, as its user's conversations
grow*, of the largest user there. Durations, with {memory} MB, are {one};
of a list that takes several queries, {several}; of any other call that
takes several requests, as of so many calls. That DynamoDB answers after 4 ms is an assumption of them all.

{rows}

A deletion has {_cents(purge)} to come for its purge, and {_cents(2 * purge)} for each message that it had.

Snapshots for SnapStart are {_cents(cache)} a month for {_SNAPSHOTS} functions of {memory} MB, and as much again for
each earlier version of them that stays published; a million restores are {_cents(restores)}. Without SnapStart, each
second that an init takes is {_cents(init)} for a million cold starts."""


def _cents(dollars: float) -> str:
    # Half a cent is one, whatever binary fractions make of it.
    return f"{dollars + 1e-9:.2f}"


def plot(found: dict[str, Any], folder: Path) -> list[str]:
    """A bar for each call, of what each service takes."""
    calls = found["calls"]
    figure = Figure(figsize=(9, 1.5 + 0.27 * len(calls)), layout="constrained")
    axes = figure.subplots()
    dollars = [_dollars(found, call) for call in calls.values()]
    for place, (share, colour) in enumerate(zip(_SHARES, ("tab:grey", "tab:orange", "tab:blue", "black"), strict=True)):
        starts = [sum(shares[:place]) for shares in dollars]
        axes.barh(list(calls), [shares[place] for shares in dollars], left=starts, color=colour, label=share)
    for row, shares in enumerate(dollars):
        axes.annotate(f" {_cents(sum(shares))}", (sum(shares), row), va="center", fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.08)
    axes.set_xlabel("dollars for a million calls")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(_SHARES), fontsize=9)
    figure.savefig(folder / "price.png", dpi=120)
    return ["price.png"]
