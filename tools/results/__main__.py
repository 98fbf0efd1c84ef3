"""The command behind `make chaos` and `make load`: tries to break the service, and writes docs/reliability.md."""

import argparse
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from tests.load import load
from tools.local.environment import ROOT
from tools.local.failure import Failure
from tools.results import report

_SUITES = [
    "tests/faults",
    "tests/release",
    "tests/properties/test_purge.py",
    *(f"tests/e2e/test_{name}.py" for name in report.ATTACKS),
]
# What the suites read: each fault at each request, and so many generated histories and deliveries.
_LONG = {"FAULTS_LONG": "1", "FAULTS_HISTORIES": "60", "FAULTS_DELIVERIES": "25", "PURGE_SEEDS": "200"}
_SHORT = {"FAULTS_HISTORIES": "3", "FAULTS_DELIVERIES": "2"}


def main() -> int:
    """Runs the command; the exit status is 1 where something broke, or after a `Failure`."""
    parser = argparse.ArgumentParser(prog="python -m tools.results", description=__doc__)
    parser.add_argument("part", choices=["chaos", "load"])
    parser.add_argument("--quick", action="store_true", help="the suites as make test runs them, to see that all works")
    parser.add_argument("--seconds", type=int, default=300, help="for how long users are at work")
    parser.add_argument("--users", type=int, default=12, help="how many")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "docs/results", help="where reliability.md and reliability/ go"
    )
    options = parser.parse_args()
    try:
        if options.part == "load":
            found = load.measure(options.seconds, options.users)
            held = all(enough for _, _, enough in load.targets(found))
        else:
            found = _tried(quick=options.quick)
            held = all(enough for _, _, enough in report.targets(found))
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    page = report.write(options.out, options.part, found | {"date": today, "cores": os.cpu_count()})
    print(f"{page} has the report.")
    return 0 if held else 1


def _tried(*, quick: bool) -> dict[str, object]:
    """What the suites found. Raises `Failure` where they could not be run."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        command = ["-m", "pytest", "--numprocesses", "2", "--junitxml", str(results), *_SUITES]
        # The tests' own environment.
        done = subprocess.run(
            [ROOT / ".venv/bin/python", *command],
            cwd=ROOT,
            env=os.environ | (_SHORT if quick else _LONG),
            check=False,
        )
        # Of pytest: all passed, or some failed.
        if done.returncode not in (0, 1):
            raise Failure("The suites did not run; the lines above say why.")
        return report.collected(results)


if __name__ == "__main__":
    sys.exit(main())
