"""Measures what a call costs in time and money, and writes docs/results/benchmarks.md."""

import argparse
import importlib
import sys
import textwrap
import time
import traceback
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from tools.bench import report
from tools.local.environment import ROOT, Failure

# In the order of the page. `price` reads what the other parts measured.
PARTS = ("cold", "warm", "runtime", "threads", "flat", "delivery", "changes", "price")

_HEAD = """\
# Benchmarks

What a call costs in time and money, for developers who choose or change this service. **State: measured on one machine
with DynamoDB faked or emulated. Nothing was run on AWS.**

<!-- Written by `make bench` in one run. Change tools/bench, not this file. -->

{machine} `make bench` measures everything below in about four minutes; the command below a heading measures that
section. Times depend on the machine. Ratios compare targets that were measured in alternation, in one run."""
_QUICK = "**A quick run of few rounds: it shows that the benchmarks work, and its figures are not reliable.**"


def main() -> int:
    """Returns 1 if a part failed. Only a complete run that succeeds is written to docs."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds, to see that everything works")
    # Without a default among the choices, Python 3.11 rejects an empty list.
    parser.add_argument("parts", nargs="*", choices=[*PARTS, "all"], default="all")
    options = parser.parse_args()
    parts = [name for name in PARTS if name in options.parts or "all" in options.parts]
    is_complete = len(parts) == len(PARTS) and not options.quick
    out = ROOT / ("docs/results" if is_complete else ".local/bench")
    (out / "benchmarks").mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)
    goals: list[report.Goal] = []
    sections: list[str] = []
    with Progress(console=console, transient=True) as progress:
        run = report.Run(progress, out / "benchmarks", options.quick)
        for name in parts:
            started = time.monotonic()
            try:
                part = importlib.import_module(f"tools.bench.{name}")
                try:
                    text, reached = part.measure(run)
                except report.Unmeasurable as reason:
                    text, reached = f"Not measured: {reason}", []
                goals += reached
                command = f'make bench PARTS="{getattr(part, "PARTS", name)}"'
                sections.append(f"## {part.TITLE}\n\n`{command}`\n\n{text}")
                console.print(f"{name}: {time.monotonic() - started:.0f} s")
            except Exception as error:  # noqa: BLE001 - the other parts go on
                console.print(f"{name} failed: {error if isinstance(error, Failure) else traceback.format_exc()}")
            for task in progress.task_ids:
                progress.remove_task(task)
    failed = len(sections) < len(parts)
    if failed and is_complete:
        console.print("The report was not written.")
    else:
        _write(out / "benchmarks.md", goals, sections, quick=options.quick)
        console.print(f"{out / 'benchmarks.md'} has the report.")
    return int(failed)


def _write(file: Path, goals: list[report.Goal], sections: list[str], *, quick: bool) -> None:
    rows = [[*goal[:4], "yes" if goal.is_reached else "**no**"] for goal in goals]
    table = report.table(["measure", "condition", "target", "measured", "reached"], rows, left=2)
    blocks = [_HEAD.format(machine=report.machine()), *([_QUICK] if quick else []), table, *sections]
    # Paragraphs are wrapped anew, since figures were put into them.
    paragraphs = "\n\n".join(blocks).split("\n\n")
    file.write_text("\n\n".join(text if text[0] in "|!#`<" else textwrap.fill(text, 120) for text in paragraphs) + "\n")


if __name__ == "__main__":
    sys.exit(main())
