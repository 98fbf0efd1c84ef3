"""Threads: how many of them a filtered list needs for its Queries."""

import itertools
import random
import statistics
import time

from tools.bench import fake_dynamodb, processes, report
from tools.bench.runtime import MEMORY_MB
from tools.bench.targets import OURS

TITLE = "Threads of a filtered list"

# As in coherent.conversations.repository.
_THREADS = 4
_COUNTS, _QUICK_COUNTS = (1, 2, 4, 8), (1, 4)
# After each of so many reconnections.
_CALLS, _QUICK_CALLS = 6, 1
_RECONNECTS = 5
# All flags are open: eight partitions.
_QUERY = {"group_id": "friends"}

_TEXT = f"""\
One list of a group, eight Queries, by the built function over TLS with the processor of {MEMORY_MB} MB; DynamoDB
responds after {fake_dynamodb.DELAY_SECONDS * 1000:g} ms. *Reconnecting* calls come after all connections were closed,
as after a restore from a snapshot: each thread opens its own. The layer uses {_THREADS} threads. Medians of
{{calls}} warm calls and {_RECONNECTS} that reconnect."""


def measure(run: report.Run) -> report.Section:
    """Measures all numbers of threads in alternation."""
    counts, calls = (_QUICK_COUNTS, _QUICK_CALLS) if run.quick else (_COUNTS, _CALLS)
    warm: dict[int, list[float]] = {count: [] for count in counts}
    anew: dict[int, list[float]] = {count: [] for count in counts}
    with fake_dynamodb.running() as network, processes.processor_share(MEMORY_MB) as prefix:
        if prefix is None:
            raise report.Unmeasurable(processes.NO_PROCESSOR_SHARE)
        with processes.worker(OURS, "list_conversations", _QUERY, prefix, network(OURS)) as call:
            for _, count in run.progress.track(
                list(itertools.product(range(_RECONNECTS), counts)), description="threads"
            ):
                call(0, threads=count)
                for number in range(1 + calls):
                    # Each call begins with a full quota of processor time.
                    time.sleep(random.uniform(0.02, 0.04))  # noqa: S311 - not a secret
                    (warm if number else anew)[count].append(call(1, reconnect=not number)["wall"] * 1000)
    rows = [[count, *(f"{statistics.median(taken):.0f}" for taken in (warm[count], anew[count]))] for count in counts]
    run.figures["threads"] = statistics.fmean(warm[_THREADS])
    text = [_TEXT.format(calls=len(warm[_THREADS])), report.table(["threads", "warm, ms", "reconnecting, ms"], rows)]
    return "\n\n".join(text), []
