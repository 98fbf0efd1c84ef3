"""What is known against the locked packages, by pip-audit: `python -m tools.lint.audit LOCK ...`.

Where its database cannot be asked it says so and passes: that is no fault of the packages.
"""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

_PIP_AUDIT = ("-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json")
_TIMEOUT_SECONDS = "5"
_ACCEPTED = (
    "CVE-2024-23342",  # ecdsa, no fix: who times signatures learns the key, and checkov, which brings it, makes none
)
# What ends pip-audit when a request failed, be it for want of a network, a proxy's refusal or a broken answer.
_NOT_ASKED = re.compile(
    r"^(?:requests\.exceptions|pip_audit\._service\.\w+)\.\w+.*|^.*(?=\n.*your network may be blocking)", re.MULTILINE
)


class UnreachableError(Exception):
    """The database could not be asked."""


class Report(NamedTuple):
    """What pip-audit tells of a lock."""

    vulnerabilities: list[str]
    # Packages that the database does not know.
    unknown: list[str]


def report(out: str, errors: str) -> Report:
    """What pip-audit meant by what it wrote: its findings to *out*, and why it has none to *errors*.

    Raises `UnreachableError`, and `ValueError` where something else is wrong.
    """
    try:
        dependencies = json.loads(out)["dependencies"]
    except ValueError:
        if reasons := _NOT_ASKED.findall(errors):
            raise UnreachableError(reasons[0]) from None
        raise ValueError(errors) from None
    unknown = [dependency["skip_reason"] for dependency in dependencies if "skip_reason" in dependency]
    # A mirror of the registry hands out the packages, but has nothing but 404s for the database.
    if dependencies and len(unknown) == len(dependencies):
        raise UnreachableError(unknown[0])
    vulnerabilities = [
        f"{dependency['name']} {dependency['version']}: {', '.join([vulnerability['id'], *vulnerability['aliases']])}, "
        f"fixed in {', '.join(vulnerability['fix_versions']) or 'no version'}"
        for dependency in dependencies
        for vulnerability in dependency.get("vulns", [])
    ]
    return Report(vulnerabilities, unknown)


def _audited(lock: Path) -> Report:
    done = subprocess.run(
        [
            *(sys.executable, *_PIP_AUDIT, "--timeout", _TIMEOUT_SECONDS, "--requirement", lock),
            *(f"--ignore-vuln={name}" for name in _ACCEPTED),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return report(done.stdout, done.stderr)


def main(locks: list[Path]) -> int:
    """Prints what was found, or why nothing was looked for, and gives the exit code."""
    # The shortest finds out whether there is a database.
    first, *others = sorted(locks, key=lambda lock: lock.stat().st_size)
    reports = {}
    try:
        reports[first] = _audited(first)
        with ThreadPoolExecutor() as pool:
            reports.update(zip(others, pool.map(_audited, others), strict=True))
    except UnreachableError as reason:
        print(f"pip-audit: skipped, its database cannot be asked: {reason}")
    for lock, (vulnerabilities, unknown) in reports.items():
        print(f"pip-audit: {lock}: {len(vulnerabilities) or 'no'} known vulnerabilities")
        for line in vulnerabilities + unknown:
            print(f"  {line}")
    return int(any(vulnerabilities for vulnerabilities, _ in reports.values()))


if __name__ == "__main__":
    sys.exit(main([Path(argument) for argument in sys.argv[1:]]))
