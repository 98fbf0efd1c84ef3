"""Threads: how many of them a filtered list and the inbox need for their Queries, by the memory of the function."""

import itertools
import random
import statistics
import time
from collections import defaultdict
from typing import NamedTuple

from tools.bench import fake_dynamodb, processes, report
from tools.bench.runtime import MEMORY_MB
from tools.bench.targets import OURS

TITLE = "Threads of a filtered list and of the inbox"

# As in coherent.inbox.repository and template.yaml.
_INBOX_THREADS, INBOX_MB = 8, 1024
_COUNTS, _QUICK_COUNTS = (1, 4, 8, 16), (4, 8, 16)
# After each of so many reconnections.
_CALLS, _QUICK_CALLS = 6, 2
_RECONNECTS, _QUICK_RECONNECTS = 5, 3


class _Case(NamedTuple):
    """A page, and the threads of the layer."""

    name: str
    endpoint: str
    query: dict[str, str] | None
    requests: int
    threads: int


# As in coherent.conversations.repository and coherent.inbox.repository.
_CASES = (
    _Case("list of a group", "list_conversations", {"group_id": "friends"}, 8, 4),
    _Case("inbox, `archived=false`", "list_inbox", {"archived": "false"}, 9, _INBOX_THREADS),
    _Case("inbox", "list_inbox", None, 17, _INBOX_THREADS),
)

_TEXT = f"""\
Built functions over TLS with the processor of their memory; DynamoDB responds after
{fake_dynamodb.DELAY_SECONDS * 1000:g}
ms. A list of a group is eight Queries. The inbox is eight Queries with `archived=false` and sixteen without a filter,
and then one BatchGetItem of ten rows. *Reconnecting* calls come after all connections were closed, as after a restore
from a snapshot: each thread opens its own. botocore keeps at most ten connections. The layer uses 4 threads for lists,
with {MEMORY_MB} MB, and {_INBOX_THREADS} for the inbox, with {INBOX_MB:,} MB. Medians of {{calls}} warm calls and
{{reconnects}} that reconnect."""


def measure(run: report.Run) -> report.Section:
    """Measures all numbers of threads in alternation."""
    counts, calls, reconnects = (
        (_QUICK_COUNTS, _QUICK_CALLS, _QUICK_RECONNECTS) if run.quick else (_COUNTS, _CALLS, _RECONNECTS)
    )
    rows: list[list[object]] = []
    run.figures["threads"] = {}
    for memory_mb, case in itertools.product((MEMORY_MB, INBOX_MB), _CASES):
        warm, anew = _measure(run, case, memory_mb, list(itertools.product(range(reconnects), counts)), calls)
        medians = [*(f"{statistics.median(warm[count]):.0f}" for count in counts)]
        medians += [f"{statistics.median(anew[count]):.0f}" for count in counts]
        rows.append([case.name, memory_mb, *medians])
        if memory_mb == (INBOX_MB if case.endpoint == "list_inbox" else MEMORY_MB):
            run.figures["threads"][case.requests] = statistics.fmean(warm[case.threads])
    header = ["page", "MB", *(f"{kind}, {count}" for kind in ("warm", "reconnecting") for count in counts)]
    text = [_TEXT.format(calls=reconnects * calls, reconnects=reconnects), report.table(header, rows)]
    return "\n\n".join([*text, "Milliseconds, by the number of threads."]), []


def _measure(
    run: report.Run, case: _Case, memory_mb: int, rounds: list[tuple[int, int]], calls: int
) -> tuple[dict[int, list[float]], dict[int, list[float]]]:
    """Returns the milliseconds of warm calls and of those that reconnect, by the number of threads."""
    warm: dict[int, list[float]] = defaultdict(list)
    anew: dict[int, list[float]] = defaultdict(list)
    with fake_dynamodb.running() as network, processes.processor_share(memory_mb) as prefix:
        if prefix is None:
            raise report.Unmeasurable(processes.NO_PROCESSOR_SHARE)
        with processes.worker(OURS, case.endpoint, case.query, prefix, network(OURS)) as call:
            call(1)
            for _, count in run.progress.track(rounds, description=f"{case.name}, {memory_mb} MB"):
                call(0, threads=count)
                for number in range(1 + calls):
                    # Each call begins with a full quota of processor time.
                    time.sleep(random.uniform(0.02, 0.04))  # noqa: S311 - not a secret
                    (warm if number else anew)[count].append(call(1, reconnect=not number)["wall"] * 1000)
    return warm, anew
