"""The memory of the emulator's function workers. Works on Linux only; elsewhere there are no workers to see."""

import re
import statistics
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


# The function and the process id of an execution environment.
Worker = tuple[str, int]


def read(port: int) -> dict[Worker, float]:
    """Returns the MB of anonymous memory (RssAnon) of each worker of the emulator on *port*."""
    found = {}
    for folder in _PROC.glob("[0-9]*"):
        # The process may have ended, or belong to another user.
        with suppress(OSError):
            variables = (folder / "environ").read_text(errors="replace").split("\0")
            environment = dict(variable.partition("=")[::2] for variable in variables)
            # CloudFormation names a function <stack>-<logical id>-<random>.
            _, logical_id, *_ = [*environment.get("AWS_LAMBDA_FUNCTION_NAME", "").split("-"), ""]
            size = re.search(r"^RssAnon:\s+(\d+) kB$", (folder / "status").read_text(), re.MULTILINE)
            if logical_id and size and environment.get("GATEWAY_PORT") == str(port):
                function = re.sub("(?<=[a-z])(?=[A-Z])", "_", logical_id).lower()
                found[function, int(folder.name)] = int(size[1]) / 1024
    return found


def growth(samples: Sequence[dict[Worker, float]]) -> tuple[float, str] | None:
    """Returns the MB that a worker gained from the second to the last quarter of *samples*, and its function.

    Compares the medians of each worker that existed all the time, and takes the one that gained most.
    """
    if (quarter := len(samples) // 4) == 0:
        return None
    gained = []
    for worker in set.intersection(*(set(sample) for sample in samples[quarter:])):
        mb = [sample[worker] for sample in samples[quarter:]]
        gained.append((statistics.median(mb[-quarter:]) - statistics.median(mb[:quarter]), worker[0]))
    return max(gained, default=None)
