"""How the functions stand many clients at once: calls a second, how long each takes, errors and memory.

The environments that serve them run this file, too, in the measured Python with the layer and nothing else: what those
lack is imported where it is needed.
"""

import importlib
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.bench.network import Context
from tools.local.failure import Failure

if TYPE_CHECKING:
    from rich.progress import Progress

TITLE = "Many clients at once"

# The function of each kind of call, its query, and its share of a hundred. Who looks at the conversations that are not
# archived has four requests made to DynamoDB, in parallel.
_KINDS: dict[str, tuple[str, dict[str, str] | None, int]] = {
    "list": ("list_conversations", None, 35),
    "list archived=false": ("list_conversations", {"archived": "false"}, 15),
    "retrieve": ("retrieve_conversation", None, 20),
    "update": ("update_conversation", None, 15),
    "create": ("create_conversation", None, 10),
    "delete": ("delete_conversation", None, 5),
}
_ALL = "all"
_PERCENTILES = ("p50", "p95", "p99", "max")
# Of each kind, before the first that is measured.
_FIRST_CALLS = 20
# An allocator's whims; what is kept of each call would soon be more.
_MOST_GROWTH_MB = 2
_STOP_SECONDS = 10


def measure(progress: "Progress", *, quick: bool) -> dict[str, Any]:
    """Calls a second, percentiles in ms by kind of call, errors and CPU in ms, with ever more environments at work."""
    from tools.bench import built, events, fake_dynamodb  # noqa: PLC0415
    from tools.local.environment import ROOT  # noqa: PLC0415

    counts, seconds = ((1, 4), 2) if quick else ((1, 2, 4, 8), 8)
    task = progress.add_task("Clients at once", total=len(counts))
    kinds = [
        {"name": name, "folder": str(built.function(function)), "event": events.event(function, query=query)}
        for name, (function, query, _) in _KINDS.items()
    ]
    steps = []
    with fake_dynamodb.running() as database, ExitStack() as stack:
        settings = built.environment([built.layer(), ROOT]) | {"AWS_ENDPOINT_URL_DYNAMODB": database.url}
        environments = [stack.enter_context(_environment(built.python(), settings)) for _ in range(counts[-1])]
        first = _ask(environments, kinds)
        for count in counts:
            before = database.counts()
            responses = _ask(environments[:count], seconds)
            after = database.counts()
            steps.append(_step(responses, seconds, after.cpu_seconds - before.cpu_seconds))
            progress.advance(task)
        database_errors = database.counts().errors
    return {
        "cores": os.cpu_count(),
        "delay_ms": fake_dynamodb.DELAY_SECONDS * 1000,
        "seconds": seconds,
        "shares": {name: share for name, (_, _, share) in _KINDS.items()},
        "steps": steps,
        "errors": database_errors + sum(step["errors"] for step in steps),
        # Of the environment that was at work throughout.
        "memory_mb": [first[0]["memory_mb"], *(step["memory_mb"] for step in steps)],
        "memory_calls": list(itertools.accumulate((step["calls_of_first"] for step in steps), initial=0)),
    }


@contextmanager
def _environment(python: Path, settings: Mapping[str, str]) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [python, "-P", "-m", "bench.load"],
        env=settings,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Ctrl-C reaches this program alone; the others end with their standard input.
        start_new_session=True,
    )
    try:
        yield process
        process.communicate(timeout=_STOP_SECONDS)
    finally:
        process.kill()
        process.wait()


def _ask(environments: Sequence["subprocess.Popen[str]"], question: object) -> list[dict[str, Any]]:
    """The responses of all *environments*, which work at the same time."""
    for environment in environments:
        assert environment.stdin is not None  # noqa: S101 - for the types
        environment.stdin.write(f"{json.dumps(question)}\n")
        environment.stdin.flush()
    return [_answer(environment) for environment in environments]


def _answer(environment: "subprocess.Popen[str]") -> dict[str, Any]:
    assert environment.stdout is not None  # noqa: S101 - for the types
    line = environment.stdout.readline()
    if not line:
        raise Failure("An environment under load came to an end; the lines above say why.")
    response: dict[str, Any] = json.loads(line)
    return response


def _step(responses: Sequence[Mapping[str, Any]], seconds: float, database_seconds: float) -> dict[str, Any]:
    taken = {name: [one for response in responses for one in response["taken_ms"].get(name, ())] for name in _KINDS}
    everything = [one for some in taken.values() for one in some]
    return {
        "environments": len(responses),
        "calls": len(everything),
        "calls_per_second": len(everything) / seconds,
        "taken_ms": {name: _percentiles(some) for name, some in {_ALL: everything, **taken}.items()},
        "errors": sum(response["errors"] for response in responses),
        "cpu_ms": 1000 * sum(response["cpu_seconds"] for response in responses) / len(everything),
        "database_cpu_ms": 1000 * database_seconds / len(everything),
        "memory_mb": responses[0]["memory_mb"],
        "calls_of_first": sum(map(len, responses[0]["taken_ms"].values())),
    }


def _percentiles(taken: Sequence[float]) -> dict[str, float]:
    hundredths = statistics.quantiles(taken, n=100, method="inclusive")
    return dict(zip(_PERCENTILES, (hundredths[49], hundredths[94], hundredths[98], max(taken)), strict=True))


def table(found: dict[str, Any]) -> str:
    """What was called, and the figures for each number of environments at work."""
    mix = ", ".join(f"{share} % {name}" for name, share in found["shares"].items())
    described = (
        "An environment of Lambda serves one request at a time, so that many clients are as many environments: here "
        f"processes with all five functions, each called for {found['seconds']} s without a pause. Calls are drawn at "
        f"random: {mix}. A list that leaves out the archived ones makes four requests, all others one, to a stand-in "
        f"for DynamoDB that responses after {found['delay_ms']:g} ms, without TLS."
    )
    caveat = (
        f"All of them and the stand-in share {found['cores']} cores, as Lambda's environments don't. What more of them "
        "than cores add to the times is waiting for a processor; the CPU time of a call is what stays."
    )
    parts = [described, _steps_table(found["steps"]), caveat, _kinds_table(found["steps"])]
    if found["memory_mb"][0] is not None:
        course = ", ".join(
            f"{memory:.1f} after {calls:,}"
            for memory, calls in zip(found["memory_mb"][1:], found["memory_calls"][1:], strict=True)
        )
        parts.append(
            "Memory of the first environment, which was at work throughout, in MB: "
            f"{found['memory_mb'][0]:.1f} once each kind was called {_FIRST_CALLS} times, and then {course} calls more."
        )
    return "\n\n".join(parts)


def _steps_table(steps: Sequence[Mapping[str, Any]]) -> str:
    heads = ["environments", "calls a second / those of one", "calls a second", "p50, ms", *_PERCENTILES[1:], "errors"]
    heads += ["CPU, ms a call", "the stand-in's"]
    lines = [f"| {' | '.join(heads)} |", f"|{'--:|' * len(heads)}"]
    for step in steps:
        cells = [
            str(step["environments"]),
            f"{step['calls_per_second'] / steps[0]['calls_per_second']:.2f}",
            f"{step['calls_per_second']:,.0f}",
            *(f"{step['taken_ms'][_ALL][percentile]:.1f}" for percentile in _PERCENTILES),
            str(step["errors"]),
            f"{step['cpu_ms']:.2f}",
            f"{step['database_cpu_ms']:.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _kinds_table(steps: Sequence[Mapping[str, Any]]) -> str:
    heads = [f"{step['environments']} at once" for step in steps]
    lines = [f"| p50 / p95 / p99 / max, ms | {' | '.join(heads)} |", f"|---|{'--:|' * len(steps)}"]
    for name in _KINDS:
        cells = [
            " / ".join(f"{step['taken_ms'][name][percentile]:.1f}" for percentile in _PERCENTILES) for step in steps
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def targets(found: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Name, what was reached, and whether that is enough."""
    calls, errors = sum(step["calls"] for step in found["steps"]), found["errors"]
    reached = [("errors of clients at once, none", f"{errors} in {calls:,} calls", errors == 0)]
    if found["memory_mb"][0] is not None:
        growth = found["memory_mb"][-1] - found["memory_mb"][0]
        name = f"memory that an environment gains under load, less than {_MOST_GROWTH_MB} MB"
        reached.append((name, f"{growth:.1f} MB", growth < _MOST_GROWTH_MB))
    return reached


def plot(found: dict[str, Any], folder: Path) -> list[str]:
    """Percentiles of all calls, calls a second, and the median of each kind, against the environments at work."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    steps = found["steps"]
    counts = [step["environments"] for step in steps]
    figure = Figure(figsize=(12, 4), layout="constrained")
    times, rates, kinds = figure.subplots(1, 3)
    for percentile, shade in zip(_PERCENTILES, (1, 0.75, 0.5, 0.25), strict=True):
        taken = [step["taken_ms"][_ALL][percentile] for step in steps]
        times.plot(counts, taken, marker="o", color="tab:blue", alpha=shade, label=percentile)
    times.set(title="All calls", ylabel="milliseconds")
    rates.plot(counts, [step["calls_per_second"] for step in steps], marker="o", label="all calls")
    one = steps[0]["calls_per_second"]
    ideal = [one * count for count in counts]
    rates.plot(counts, ideal, color="tab:grey", linestyle=":", label="as many times those of one")
    rates.set(title=f"Throughput, on {found['cores']} cores", ylabel="calls a second")
    for name in _KINDS:
        kinds.plot(counts, [step["taken_ms"][name]["p50"] for step in steps], marker="o", label=name)
    kinds.set(title="Median of each kind", ylabel="milliseconds")
    for axes in (times, rates, kinds):
        axes.set_xscale("log", base=2)
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.set_xlabel("environments, each with one client")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(folder / "load.png", dpi=120)
    return ["load.png"]


def serve() -> None:
    """Is an environment: one call at a time. To each line of JSON on standard input it gives one on standard output.

    The first line says which kinds of calls there are; each after it, for how many seconds to make them.
    """
    told = os.fdopen(os.dup(1), "w")
    # What functions log.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    calls = {}
    for kind in json.loads(sys.stdin.readline()):
        calls[kind["name"]] = _handler(kind["folder"]), kind["event"]
    for handler, event in calls.values():
        for _ in range(_FIRST_CALLS):
            handler(event, Context())
    _tell(told, {"memory_mb": _memory_mb()})
    shares = [share for _, _, share in _KINDS.values()]
    for line in sys.stdin:
        taken: dict[str, list[float]] = {name: [] for name in _KINDS}
        errors, cpu_before, end = 0, time.process_time(), time.perf_counter() + json.loads(line)
        now = time.perf_counter()
        while now < end:
            (name,) = random.choices(list(_KINDS), shares)  # noqa: S311 - nobody is to be kept from guessing
            handler, event = calls[name]
            started = time.perf_counter()
            response = handler(event, Context())
            now = time.perf_counter()
            taken[name].append(1000 * (now - started))
            errors += response["statusCode"] not in (200, 201, 204)
        cpu_seconds = time.process_time() - cpu_before
        _tell(told, {"taken_ms": taken, "errors": errors, "cpu_seconds": cpu_seconds, "memory_mb": _memory_mb()})


def _handler(folder: str) -> Any:  # noqa: ANN401 - of whatever function
    """That of the function in *folder*. Each is a module called app, of which there can be only one at a time."""
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("app").handler
    finally:
        sys.path.remove(folder)
        sys.modules.pop("app", None)


def _memory_mb() -> float | None:
    """What this process has in memory; None where Linux does not say."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20 if status.exists() else None


def _tell(told: Any, response: Mapping[str, Any]) -> None:  # noqa: ANN401 - a text file
    told.write(f"{json.dumps(response)}\n")
    told.flush()


if __name__ == "__main__":
    serve()
