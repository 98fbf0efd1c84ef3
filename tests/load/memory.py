"""The memory of the emulator and of the functions' workers, as Linux tells it; elsewhere there is none."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

EMULATOR = "the emulator"

_PROC = Path("/proc")
_KB = 1024


class Process(NamedTuple):
    """A worker, which is an execution environment of the function called *name*, or `EMULATOR` itself."""

    id: int
    name: str


def read(port: int) -> dict[Process, float]:
    """MB that each process of the emulator on *port* has allocated. What they share, such as libraries, is nobody's."""
    return {process: mb for process in _processes(port) if (mb := _allocated_mb(process.id)) is not None}


def _processes(port: int) -> Iterator[Process]:
    for folder in _PROC.glob("[0-9]*"):
        environment = _environment(folder)
        if environment.get("GATEWAY_PORT") == str(port):
            # As CloudFormation names it: by stack, logical id and something random.
            function = environment.get("AWS_LAMBDA_FUNCTION_NAME", "").split("-")
            if len(function) > 1:
                yield Process(int(folder.name), re.sub("(?<=[a-z])(?=[A-Z])", "_", function[1]).lower())
            elif _leads_a_session(int(folder.name)):
                yield Process(int(folder.name), EMULATOR)


def _leads_a_session(id: int) -> bool:
    """As the emulator does, and not what is only about to become one of its workers."""
    with suppress(OSError):
        return os.getsid(id) == id
    return False


def _environment(folder: Path) -> Mapping[str, str]:
    # It may have ended since, or be somebody else's.
    with suppress(OSError):
        variables = (folder / "environ").read_text(errors="replace").split("\0")
        return {name: value for name, _, value in (variable.partition("=") for variable in variables)}
    return {}


def _allocated_mb(id: int) -> float | None:
    with suppress(OSError):
        found = re.search(r"^RssAnon:\s+(\d+) kB$", (_PROC / str(id) / "status").read_text(), re.MULTILINE)
        return int(found[1]) / _KB if found else None
    return None
