"""How `make lint` reads the output of pip-audit."""

import json

import pytest

from tools.lint.audit import Report, UnreachableError, report

FOUND = {
    "name": "requests",
    "version": "2.19.0",
    "vulns": [{"id": "PYSEC-2018-28", "fix_versions": ["2.20.0"], "aliases": ["CVE-2018-18074"], "description": "…"}],
}
CLEAN = {"name": "idna", "version": "3.20", "vulns": []}
UNKNOWN = {"name": "uv", "skip_reason": "Dependency not found and could not be audited: uv (0.13.9)"}

# Its error output, and the part that is the reason.
NO_NETWORK = (
    """Traceback (most recent call last):
  File …
socket.gaierror: [Errno -2] Name or service not known

Traceback (most recent call last):
  File …
requests.exceptions.ConnectionError: Max retries exceeded
""",
    "requests.exceptions.ConnectionError: Max retries exceeded",
)
FORBIDDEN = (
    """Traceback (most recent call last):
  File …
requests.exceptions.HTTPError: 403 Client Error: Forbidden

Traceback (most recent call last):
  File …
pip_audit._service.interface.ServiceError
""",
    "requests.exceptions.HTTPError: 403 Client Error: Forbidden",
)
TIMED_OUT = (
    """ERROR:pip_audit._cli:Could not connect to the vulnerability feed
ERROR:pip_audit._cli:Tip: your network may be blocking this service. Try another service with `-s SERVICE`
""",
    "ERROR:pip_audit._cli:Could not connect to the vulnerability feed",
)


def written(*dependencies: object) -> str:
    return json.dumps({"dependencies": dependencies, "fixes": []})


def test_vulnerability_is_reported() -> None:
    line = "requests 2.19.0: PYSEC-2018-28, CVE-2018-18074, fixed in 2.20.0"
    assert report(written(CLEAN, FOUND), "Found 1 known vulnerability in 1 package\n") == Report([line], [])


def test_unknown_package_is_skipped_and_named() -> None:
    assert report(written(CLEAN, UNKNOWN), "No known vulnerabilities found\n") == Report([], [UNKNOWN["skip_reason"]])


@pytest.mark.parametrize(("errors", "reason"), [NO_NETWORK, FORBIDDEN, TIMED_OUT])
def test_unreachable_database_raises_its_reason(errors: str, reason: str) -> None:
    with pytest.raises(UnreachableError) as raised:
        report("", errors)
    assert str(raised.value) == reason


def test_mirror_without_the_database_counts_as_unreachable() -> None:
    with pytest.raises(UnreachableError, match="could not be audited"):
        report(written(UNKNOWN), "No known vulnerabilities found\n")


def test_other_failure_raises() -> None:
    with pytest.raises(ValueError, match="does not contain a hash"):
        report("", "ERROR:pip_audit._cli:requirement requests==2.19.0 does not contain a hash\n")
