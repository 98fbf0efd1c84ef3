"""Runs all tests in two pytest processes side by side: `python -m tests`.

One process has the tests of the deployed stack and shows its progress; the other one has all other tests, and its
output is shown when both have ended.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
DEPLOYED = ("tests/e2e", "tests/security", "tests/load")
LOG = ROOT / ".local/test-local.log"


def main() -> int:
    """Returns 0 if both processes passed."""
    pytest = (sys.executable, "-m", "pytest", *sys.argv[1:])
    others = [f"--ignore={folder}" for folder in DEPLOYED]
    LOG.parent.mkdir(exist_ok=True)
    with LOG.open("w") as log:
        processes = [
            subprocess.Popen((*pytest, *DEPLOYED), cwd=ROOT),
            subprocess.Popen((*pytest, *others), cwd=ROOT, stdout=log, stderr=subprocess.STDOUT),
        ]
        statuses = []
        for process in processes:
            while process.poll() is None:
                try:
                    process.wait()
                except KeyboardInterrupt:
                    # Ctrl-C has reached both processes; they still stop the stack.
                    continue
            statuses.append(process.returncode)
    print(LOG.read_text(), end="")
    for name, status in zip(("Tests of the deployed stack", "Other tests"), statuses, strict=True):
        print(f"{name}: {f'failed, exit status {status}' if status else 'passed'}")
    return int(any(statuses))


if __name__ == "__main__":
    sys.exit(main())
