"""The machine that the figures come from, and the versions of what was measured."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from tools.bench import built

_SHOWN = ("botocore", "boto3", "pydantic", "aws-lambda-powertools", "fastapi", "mangum", "chalice", "awslambdaric")


def describe() -> dict[str, Any]:
    """Processor, cores, memory in GiB, operating system, both Pythons, versions, and the date in UTC."""
    versions = {canonicalize_name(found.name): found.version for found in distributions(path=[str(built.packages())])}
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": _system(),
        "measured_python": _version(built.python()),
        "bench_python": platform.python_version(),
        "versions": {name: versions[canonicalize_name(name)] for name in _SHOWN},
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        name = platform.system()
    return f"{name}, {platform.system()} {platform.release()}, {platform.machine()}"


def _version(python: Path) -> str:
    asked = [str(python), "-c", "import platform; print(platform.python_version())"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
