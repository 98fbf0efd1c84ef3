"""How many threads a list with open filters should read its eight partitions with, and with how much memory.

The process that is measured runs this file, too, in the measured Python with the layer and nothing else: what it lacks
is imported where it is needed.
"""

import importlib
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.bench.network import Context
from tools.local.failure import Failure

if TYPE_CHECKING:
    from rich.progress import Progress

TITLE = "Threads and memory"

_MEMORIES_MB = (256, 512, 1024, 1769)
_THREADS = (1, 2, 4, 8)
# A group with every flag open: eight partitions.
_QUERY = {"group_id": "friends"}
# Warm calls go on for so long in each of so many rounds; all calls, until there are so many of them.
_SECONDS, _ROUNDS = 0.4, 3
_QUICK_SECONDS, _QUICK_ROUNDS = 0.3, 1
_FEWEST = 2
# Between two calls, so that each begins with the processor time that a function gets that was not at work.
_PAUSE_SECONDS = (0.02, 0.04)
# What DynamoDB takes on a bad day, measured at the memory that the functions have.
_SLOW_SECONDS, _SLOW_MEMORY_MB = 0.012, 512


def measure(progress: "Progress", *, quick: bool) -> dict[str, Any]:
    """Wall and CPU milliseconds of warm calls, and of those that connect anew, by memory and number of threads.

    `left_out` says why there is nothing, or None.
    """
    from tools.bench import built, events, fake_dynamodb, runtime  # noqa: PLC0415
    from tools.local.environment import ROOT  # noqa: PLC0415

    memories, threads = (_MEMORIES_MB[1:3], _THREADS[::3]) if quick else (_MEMORIES_MB, _THREADS)
    seconds, rounds = (_QUICK_SECONDS, _QUICK_ROUNDS) if quick else (_SECONDS, _ROUNDS)
    found: dict[str, Any] = {
        "left_out": None,
        "memories_mb": list(memories),
        "threads": list(threads),
        "delay_ms": fake_dynamodb.DELAY_SECONDS * 1000,
        "slow_delay_ms": _SLOW_SECONDS * 1000,
        "cells": [],
        "slow_cells": [],
    }
    path = built.path(built.OURS, "list_conversations")
    event = events.event("list_conversations", query=_QUERY)
    task = progress.add_task("Lists with open filters", total=(len(memories) + 1) * len(threads) * (1 + rounds))
    with tempfile.TemporaryDirectory() as name:
        certificate, key = runtime.certificate(Path(name))
        bundle = Path(name) / "bundle.pem"
        # What botocore trusts as well: with each connection it reads all of it.
        bundle.write_bytes((path[1] / "botocore/cacert.pem").read_bytes() + b"\n" + certificate.read_bytes())
        with (
            fake_dynamodb.running(certificate=certificate, key=key) as database,
            fake_dynamodb.running(certificate=certificate, key=key, delay=_SLOW_SECONDS) as slow,
        ):
            settings = built.environment([*path, ROOT]) | {"AWS_ENDPOINT_URL_DYNAMODB": database.url}
            found["connection_cpu_ms"] = {
                "all": _connection(built.python(), settings | {"AWS_CA_BUNDLE": str(bundle)}, event),
                "own": _connection(built.python(), settings | {"AWS_CA_BUNDLE": str(certificate)}, event),
            }
            settings["AWS_CA_BUNDLE"] = str(bundle)
            plan = [*((memory, database, "cells") for memory in memories), (_SLOW_MEMORY_MB, slow, "slow_cells")]
            for memory, server, cells in plan:
                settings["AWS_ENDPOINT_URL_DYNAMODB"] = server.url
                with runtime.quota(memory) as prefix:
                    if prefix is None:
                        return found | {"left_out": "Processors cannot be rationed on this machine."}
                    with _environment([*prefix, str(built.python())], settings, event) as process:
                        taken: dict[tuple[int, bool], list[list[float]]] = {}
                        # In turn, so that whatever else this machine does slows all of them.
                        for anew in (True, *[False] * rounds):
                            for count in threads:
                                some = _ask(process, threads=count, seconds=0 if anew else seconds, anew=anew)
                                taken.setdefault((count, anew), []).extend(some)
                                progress.advance(task)
                        found[cells] += [
                            {"memory_mb": memory, "threads": count}
                            | {"anew" if anew else "warm": _summary(taken[count, anew]) for anew in (False, True)}
                            for count in threads
                        ]
            if errors := database.counts().errors + slow.counts().errors:
                raise Failure(f"The stand-ins for DynamoDB count {errors} errors.")
    return found


@contextmanager
def _environment(
    python: Sequence[str], settings: Mapping[str, str], event: Mapping[str, Any]
) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [*python, "-P", "-m", "bench.threads"],
        env=settings,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Ctrl-C reaches this program alone; the other one ends with its standard input.
        start_new_session=True,
    )
    try:
        assert process.stdin is not None  # noqa: S101 - for the types
        process.stdin.write(f"{json.dumps(event)}\n")
        yield process
    finally:
        process.kill()
        process.wait()


def _ask(process: "subprocess.Popen[str]", **question: float) -> list[list[float]]:
    """Wall and CPU milliseconds of each call that was asked for."""
    assert process.stdin is not None  # noqa: S101 - for the types
    assert process.stdout is not None  # noqa: S101 - likewise
    process.stdin.write(f"{json.dumps(question)}\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise Failure("The process that lists came to an end; the lines above say why.")
    response: list[list[float]] = json.loads(line)
    return response


def _connection(python: Path, settings: Mapping[str, str], event: Mapping[str, Any]) -> float:
    """CPU milliseconds of one connection: what a call takes longer that makes one."""
    with _environment([str(python)], settings, event) as process:
        warm, anew = (
            statistics.median(cpu for _, cpu in _ask(process, threads=1, seconds=0.5, anew=anew))
            for anew in (False, True)
        )
    return anew - warm


def _summary(taken: Sequence[Sequence[float]]) -> dict[str, float]:
    walls = [wall for wall, _ in taken]
    return {
        "calls": len(taken),
        "p50_ms": statistics.median(walls),
        "p95_ms": statistics.quantiles(walls, n=20, method="inclusive")[-1],
        "billed_ms": statistics.fmean(map(math.ceil, walls)),
        "cpu_ms": statistics.fmean(cpu for _, cpu in taken),
    }


def _dollars(cell: Mapping[str, Any]) -> float:
    """What Lambda takes for a million of these lists."""
    prices = tomllib.loads((Path(__file__).parent / "prices.toml").read_text())["lambda"]
    return float(
        prices["million_requests"] + cell["memory_mb"] / 1024 * cell["warm"]["billed_ms"] * 1000 * prices["gb_second"]
    )


def table(found: dict[str, Any]) -> str:
    """How it was measured, and the figures by memory and number of threads."""
    if found["left_out"]:
        return f"Left out. {found['left_out']}"
    whole, own = found["connection_cpu_ms"]["all"], found["connection_cpu_ms"]["own"]
    counts = [cell["warm"]["calls"] for cell in found["cells"]]
    return f"""\
One list with all flags open, so eight queries, by the built function in one process, with the share of a processor that
Lambda gives to so much memory (1,769 MB is a whole one), by a quota per 20 ms, as is reported of Lambda. DynamoDB is a
stand-in over TLS that responses each query with ten rows after {found["delay_ms"]:g} ms. Between calls the process rests
for 20 to 40 ms. *Connecting anew* are calls after all connections were closed, as after a snapshot is restored or
DynamoDB has hung up; each thread makes its own. One takes {whole:.0f} ms of CPU time, {whole - own:.0f} of them for
reading the certificate authorities that the layer trusts. Dollars are what Lambda takes for a million warm calls.
Warm figures are of {min(counts)} to {max(counts)} calls each.

{_rows(found["cells"])}

With a DynamoDB that responses after {found["slow_delay_ms"]:g} ms:

{_rows(found["slow_cells"])}"""


def _rows(cells: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "| memory, MB | threads | warm: p50, ms | p95 | CPU, ms | $ per million | connecting anew: p50, ms | CPU, ms |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for cell in cells:
        warm, anew = cell["warm"], cell["anew"]
        figures = [warm["p50_ms"], warm["p95_ms"], warm["cpu_ms"]]
        shown = [f"{cell['memory_mb']:,}", f"{cell['threads']}", *(f"{figure:.0f}" for figure in figures)]
        shown += [f"{_dollars(cell):.2f}", f"{anew['p50_ms']:.0f}", f"{anew['cpu_ms']:.0f}"]
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines)


def plot(found: dict[str, Any], folder: Path) -> list[str]:
    """Warm calls, calls that connect anew, and dollars, by memory, with a bar for each number of threads."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    if found["left_out"]:
        return []
    figure = Figure(figsize=(11, 4), layout="constrained")
    memories, threads = found["memories_mb"], found["threads"]
    cells = {(cell["memory_mb"], cell["threads"]): cell for cell in found["cells"]}
    panels: tuple[tuple[str, str, Callable[[dict[str, Any]], float]], ...] = (
        ("Warm, median and 95th percentile", "milliseconds", lambda cell: cell["warm"]["p50_ms"]),
        ("Connecting anew, median", "milliseconds", lambda cell: cell["anew"]["p50_ms"]),
        ("Lambda, a million warm lists", "dollars", _dollars),
    )
    width = 0.8 / len(threads)
    for axes, (title, unit, of) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for place, count in enumerate(threads):
            lefts = [number + (place - (len(threads) - 1) / 2) * width for number in range(len(memories))]
            values = [of(cells[memory, count]) for memory in memories]
            axes.bar(lefts, values, width, label=f"{count} thread{'s' if count > 1 else ''}")
            if axes.get_subplotspec().colspan.start == 0:
                ends = [cells[memory, count]["warm"]["p95_ms"] for memory in memories]
                axes.vlines(lefts, values, ends, color="black", linewidth=1)
        axes.set_xticks(range(len(memories)), [f"{memory:,} MB" for memory in memories])
        axes.tick_params(axis="x", labelsize=9)
        axes.set_title(title, fontsize=10)
        axes.set_ylabel(unit)
        axes.grid(axis="y", alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(threads), fontsize=9)
    figure.savefig(folder / "threads.png", dpi=120)
    return ["threads.png"]


def serve() -> None:
    """Is the process that is measured. To each line of JSON on standard input it gives one on standard output.

    The first line is the event; each after it says for how many *seconds* to call, with how many *threads*, and
    whether to connect *anew* each time.
    """
    told = os.fdopen(os.dup(1), "w")
    # What functions log.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    app = importlib.import_module("app")
    event = json.loads(sys.stdin.readline())
    for line in sys.stdin:
        asked = json.loads(line)
        # There is no setting for what nobody should have to set.
        app.conversations._threads = ThreadPoolExecutor(asked["threads"])  # noqa: SLF001
        if not asked["anew"]:
            # Until the threads are there, and the connections.
            for _ in range(_FEWEST):
                app.handler(event, Context())
        taken: list[tuple[float, float]] = []
        end = time.perf_counter() + asked["seconds"]
        while time.perf_counter() < end or len(taken) < _FEWEST:
            if asked["anew"]:
                app.conversations._client.close()  # noqa: SLF001
            time.sleep(random.uniform(*_PAUSE_SECONDS))  # noqa: S311 - nobody is to be kept from guessing
            started, cpu_before = time.perf_counter(), time.process_time()
            response = app.handler(event, Context())
            wall, cpu = time.perf_counter() - started, time.process_time() - cpu_before
            if response["statusCode"] != 200:
                raise Failure(f"The list was answered with {json.dumps(response)[:500]}")
            taken.append((1000 * wall, 1000 * cpu))
        told.write(f"{json.dumps(taken)}\n")
        told.flush()


if __name__ == "__main__":
    serve()
