"""Tries to break the service, and writes docs/results/reliability.md: `make faults` and `make load`."""

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.load.chat import Chat
from tests.load.load import Load
from tests.stack import Stack
from tools.local.environment import ROOT, Failure
from tools.results import report

_PROPERTIES = [f"tests/properties/test_{name}.py" for name in ("changes_storm", "delivery_storm", "purge")]
# Pytest processes side by side, since many tests wait for timeouts. Only tests/security has a deployed stack.
_SUITES = [
    ["tests/faults/test_faults.py"],
    ["tests/faults", "--ignore=tests/faults/test_faults.py", "tests/release", *_PROPERTIES],
    ["tests/security"],
]
_CHAT_SECONDS = 30
# Before each message, in seconds: for the delay of messages, and for how many are delivered in a second.
_PAUSES = {"slow": 2, "fast": 0}
# Larger samples of faults, histories, deliveries and purges than in make test, for 15 minutes on two cores.
_LONG = {
    "FAULTS_LONG": "1",
    "FAULTS_HISTORIES": "15",
    "FAULTS_DELIVERIES": "6",
    "PURGE_SEEDS": "100",
    "DELIVERY_SEEDS": "5",
    "FAULTS_UNREAD": "2",
}


def main() -> int:
    """Runs the command. Returns 0 if everything held."""
    parser = argparse.ArgumentParser(prog="python -m tools.results", description=__doc__)
    parser.add_argument("part", choices=["faults", "load"])
    parser.add_argument("--quick", action="store_true", help="run the suites as make test does")
    parser.add_argument("--seconds", type=int, default=300, help="duration of the load")
    parser.add_argument("--users", type=int, default=12, help="number of users at the same time")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results", help="folder of reliability.md")
    options = parser.parse_args()
    try:
        if options.part == "load":
            command = f"make load SECONDS={options.seconds} USERS={options.users}"
            found = _load(options)
        else:
            command = "make faults" + " QUICK=1" * options.quick
            found = _faults(is_quick=options.quick)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    found |= {"command": command, "date": datetime.now(UTC).strftime("%Y-%m-%d"), "cores": os.cpu_count()}
    print(f"Wrote {report.write(options.out, options.part, found)}")
    results = report.results(options.part, found)
    for wanted, shown, holds in results:
        print(f"{'ok    ' if holds else 'FAILED'}  {wanted}: {shown}")
    return 0 if all(holds for *_, holds in results) else 1


def _faults(*, is_quick: bool) -> dict[str, Any]:
    """Runs the suites. Raises `Failure` if pytest cannot."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.xml" for number in range(len(_SUITES))]
        command: list[str | Path] = [ROOT / ".venv/bin/python", "-m", "pytest", "--quiet", "--junitxml"]
        variables = os.environ | ({} if is_quick else _LONG)
        processes = [
            subprocess.Popen([*command, file, *suite], cwd=ROOT, env=variables)
            for file, suite in zip(files, _SUITES, strict=True)
        ]
        # 0: all tests passed; 1: some failed.
        if not {process.wait() for process in processes} <= {0, 1}:
            raise Failure("pytest did not run the suites, see above.")
        return report.collect(files)


def _load(options: argparse.Namespace) -> dict[str, Any]:
    """Runs the load on a stack of its own. Raises `Failure` if the stack does not start."""
    # Each user is a thread.
    if not (30 <= options.seconds <= 3600 and 1 <= options.users <= 50):
        raise Failure("SECONDS must be 30 to 3600, and USERS 1 to 50.")
    with tempfile.TemporaryDirectory() as home, ExitStack() as cleanup:
        stack = Stack(Path(home))
        cleanup.callback(stack.stop)
        print("Building and deploying the stack ...", flush=True)
        stack.start()
        load = Load(stack, options.users)
        print(f"{options.users} users send requests for {options.seconds} s ...", flush=True)
        load.run(options.seconds)
        print("Looking for everything that was acknowledged ...", flush=True)
        load.verify()
        delivery = {}
        for pace, pause in _PAUSES.items():
            chat = Chat(stack, max(1, options.users // 2))
            print(
                f"Pairs of users write to each other for {_CHAT_SECONDS} s, with a pause of {pause} s ...", flush=True
            )
            chat.run(_CHAT_SECONDS, pause)
            delivery[pace] = chat.result()
    for function, figures in load.functions().items():
        print(f"{function:22} {figures['requests']:6,} requests, p50 {figures['p50']} ms, p99 {figures['p99']} ms")
    folder = options.out / "reliability"
    folder.mkdir(parents=True, exist_ok=True)
    load.plot(folder / "load.png")
    return load.result() | {"delivery": delivery}


if __name__ == "__main__":
    sys.exit(main())
