"""Warm calls: the CPU time of a call after many others."""

import time
from contextlib import ExitStack

from tools.bench import processes, report, samples
from tools.bench.cold import CONDITION
from tools.bench.targets import NAMES, OURS

TITLE = "Warm call, CPU time with the network stubbed"

_CALLS, _QUICK_CALLS = 100, 20
_MOST_ROUNDS, _LEAST_ROUNDS, _SECONDS_PER_ENDPOINT = 15, 3, 6.0
_TARGET, _WORST_TARGET = 0.8, 1.0

_TEXT = """\
CPU time of a call in a process that has served many. Stub and frameworks are those of the cold starts. Sockets and TLS
cost all targets the same, so the ratios in Lambda's runtime, below, are nearer to 1."""


def measure(run: report.Run) -> report.Section:
    """Measures one endpoint after the other, and all targets in alternation."""
    taken = report.samples(NAMES)
    rounds, calls = (_LEAST_ROUNDS, _QUICK_CALLS) if run.quick else (_MOST_ROUNDS, _CALLS)
    for endpoint in run.progress.track(samples.ENDPOINTS, description="warm calls"):
        with ExitStack() as stack:
            workers = {target: stack.enter_context(processes.worker(target, endpoint)) for target in NAMES}
            for call in workers.values():
                call(1 + calls)
            end = time.monotonic() + _SECONDS_PER_ENDPOINT
            for number in range(rounds):
                if number < _LEAST_ROUNDS or time.monotonic() < end:
                    for target, call in workers.items():
                        taken[target][endpoint].append(call(calls)["cpu"] / calls * 1e6)
    figures = report.medians(taken)
    worst = max(report.ratios(figures, OURS).values())
    goals = [
        report.at_most("warm call / baseline", CONDITION, _TARGET, report.mean_ratio(figures, OURS)),
        report.at_most("warm call / baseline", "the same, slowest endpoint", _WORST_TARGET, worst),
    ]
    panels = {"Warm call: CPU time": {name: report.ratios(figures, name) for name in NAMES}}
    if "cold" in run.figures:
        cold = run.figures["cold"]
        panels = {"Cold start: CPU time": {name: report.ratios(cold, name) for name in NAMES}} | panels
    plot = report.bars(panels, "baseline = 1", run.folder / "cpu.png")
    text = [f"{_TEXT} {report.spread(taken)}", report.ratio_table({"": figures}, "µs"), plot]
    return "\n\n".join(text), goals
