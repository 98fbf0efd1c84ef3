"""A stack of one's own: built, deployed and served in a process beside this one, for what measures it."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.local.environment import HOST, ROOT
from tools.local.failure import Failure

_START_SECONDS, _STOP_SECONDS = 300, 60


@contextmanager
def own_stack(home: Path) -> Iterator[int]:
    """A stack that keeps its state in *home*, on the port that this gives. Raises `Failure` where it does not start."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    log, ready = home / "run.log", home / "stack.json"
    print("Building and deploying the stack ...", flush=True)
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tools.local", "--home", home, "run", "--port", str(port)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C reaches this program alone, which then stops the stack in good order.
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failure(f"The stack did not start:\n{log.read_text()}")
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
