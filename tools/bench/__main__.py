"""The command behind `make bench`: measures, and writes the report."""

import argparse
import importlib
import json
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tools.bench import machine
from tools.local.environment import ROOT
from tools.local.failure import Failure

_YES_NO = {True: "yes", False: "**no**"}

# In the order of the report. The last takes what it needs from the others' results.
PARTS = ("cold", "warm", "runtime", "flat", "load", "threads", "price")

_HEAD = """\
# Benchmarks

<!-- Written by make bench: change tools/bench/, not this. -->

What the service costs in time and money, as `make bench` measured it on {date}: on {processor} with {cores} cores and
{memory_gib} GiB, under {system}. The functions ran on Python {measured_python}, with
{versions}.
Machines like this one are noisy, so ratios taken in one run mean more than times.
"""
_QUICK = """
**This was a quick run of a few rounds each, which shows that everything works. Its figures are not to be relied on.**
"""
_ELSEWHERE = "Measured on {date}, on {processor} with {cores} cores.\n\n"


def main() -> int:
    """Runs the parts that are asked for; the exit status is 1 if one of them failed, the others are kept."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few rounds each, to see that everything works")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="where benchmarks.md and benchmarks/ go")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"some of {', '.join(PARTS)}; all if none is given")
    options = parser.parse_args()
    # Not by `choices`: before Python 3.12 that refuses to be given none.
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    folder: Path = options.out / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    asked = [name for name in PARTS if name in options.parts or not options.parts]
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)
    with Progress(*columns, console=console, transient=True) as progress:
        failed = [name for name in asked if not _measure(name, folder, progress, quick=options.quick)]
    failed += _write_report(options.out, folder, console)
    return 1 if failed else 0


def _measure(name: str, folder: Path, progress: Progress, *, quick: bool) -> bool:
    """Adds what one part finds to the results. Whether that worked; if not, what was found earlier stays."""
    started = time.monotonic()
    others = {"results": folder / "results.json"} if name == "price" else {}
    with _reported(name, progress.console) as failures:
        found = importlib.import_module(f"bench.{name}").measure(progress, quick=quick, **others)
        results = _results(folder) | {name: {"machine": machine.describe(), "quick": quick, "found": found}}
        (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        progress.console.print(f"{name}: {time.monotonic() - started:.0f} s")
    for task in progress.task_ids:
        progress.remove_task(task)
    return not failures


def _write_report(out: Path, folder: Path, console: Console) -> list[str]:
    """Tells all results there are, of this run and of earlier ones. The names of those that could not be told."""
    results = _results(folder)
    machines = [result["machine"] for result in results.values()]
    newest = max(machines, key=lambda described: str(described["date"]), default=machine.describe())
    versions = ", ".join(f"{name} {version}" for name, version in newest["versions"].items())
    head = [_HEAD.format(**newest | {"versions": versions})]
    if any(result["quick"] for result in results.values()):
        head.append(_QUICK)
    failed: list[str] = []
    reached, sections = [], []
    for name in [name for name in PARTS if name in results]:
        found, measured_on = results[name]["found"], results[name]["machine"]
        with _reported(name, console) as failures:
            part = importlib.import_module(f"bench.{name}")
            when = "" if measured_on == newest else _ELSEWHERE.format(**measured_on)
            plots = [f"\n![{part.TITLE}](benchmarks/{plot})\n" for plot in part.plot(found, folder)]
            section = [f"\n## {part.TITLE}\n\n", when, part.table(found).strip() + "\n", *plots]
            if hasattr(part, "targets"):
                reached += [f"| {what} | {value} | {_YES_NO[enough]} |" for what, value, enough in part.targets(found)]
            sections += section
        failed += failures
    if reached:
        head += ["\n| target | reached | |\n|---|---|---|", *(f"\n{line}" for line in reached), "\n"]
    (out / "benchmarks.md").write_text("".join([*head, *sections]))
    console.print(f"{out / 'benchmarks.md'} has the report.")
    return failed


@contextmanager
def _reported(name: str, console: Console) -> Iterator[list[str]]:
    """Tells of what goes wrong with a part, so that the others go on; the list then has its name."""
    failures: list[str] = []
    try:
        yield failures
    except Failure as failure:
        console.print(f"{name} failed: {failure}")
        failures.append(name)
    except Exception:  # noqa: BLE001 - whatever it is
        console.print(f"{name} failed:\n{traceback.format_exc()}")
        failures.append(name)


def _results(folder: Path) -> dict[str, Any]:
    file = folder / "results.json"
    results: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return results


if __name__ == "__main__":
    sys.exit(main())
