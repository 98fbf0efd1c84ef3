"""Runs pip-audit for each lock of the command line. Passes with a message if its database cannot be reached."""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

_PIP_AUDIT = ("-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json")
# ecdsa has a timing side channel in signing, without a fix. checkov depends on it but never signs.
_ACCEPTED = "CVE-2024-23342"
# How pip-audit reports a failed request: no network, an error from a proxy, or an invalid response.
_UNREACHABLE = re.compile(
    r"^(?:requests\.exceptions|pip_audit\._service\.\w+)\.\w+.*|^.*(?=\n.*your network may be blocking)", re.MULTILINE
)


class UnreachableError(Exception):
    """The vulnerability database cannot be reached."""


class Report(NamedTuple):
    """The findings of pip-audit for a lock. *unknown* has messages about packages that are not in the database."""

    vulnerabilities: list[str]
    unknown: list[str]


def report(out: str, errors: str) -> Report:
    """Parses the standard output and the errors of pip-audit. Raises `UnreachableError`, or `ValueError` otherwise."""
    try:
        dependencies = json.loads(out)["dependencies"]
    except ValueError:
        if reasons := _UNREACHABLE.findall(errors):
            raise UnreachableError(reasons[0]) from None
        raise ValueError(errors) from None
    unknown = [dependency["skip_reason"] for dependency in dependencies if "skip_reason" in dependency]
    # A mirror of the registry may serve packages without the database.
    if dependencies and len(unknown) == len(dependencies):
        raise UnreachableError(unknown[0])
    vulnerabilities = [
        f"{dependency['name']} {dependency['version']}: {', '.join([vulnerability['id'], *vulnerability['aliases']])}, "
        f"fixed in {', '.join(vulnerability['fix_versions']) or 'no version'}"
        for dependency in dependencies
        for vulnerability in dependency.get("vulns", [])
    ]
    return Report(vulnerabilities, unknown)


def _audit(lock: str) -> Report:
    command = [sys.executable, *_PIP_AUDIT, "--timeout", "5", "--ignore-vuln", _ACCEPTED, "--requirement", lock]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return report(done.stdout, done.stderr)


def main(locks: list[str]) -> int:
    """Prints the findings. Returns 1 if there is a vulnerability."""
    is_vulnerable = False
    try:
        with ThreadPoolExecutor() as pool:
            for lock, (vulnerabilities, unknown) in zip(locks, pool.map(_audit, locks), strict=True):
                is_vulnerable |= bool(vulnerabilities)
                print(f"pip-audit: {lock}: {len(vulnerabilities) or 'no'} known vulnerabilities")
                for line in vulnerabilities + unknown:
                    print(f"  {line}")
    except UnreachableError as reason:
        print(f"pip-audit: skipped, the vulnerability database cannot be reached: {reason}")
    return int(is_vulnerable)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
