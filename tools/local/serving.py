"""Runs `python -m tools.local run` beside this process: a stack for tests and measurements."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.local.environment import HOST, ROOT, Failure

_START_SECONDS, _STOP_SECONDS = 300, 60


class StackProcess:
    """A stack that keeps its state in *home*; it can be started and stopped repeatedly."""

    def __init__(self, home: Path) -> None:
        """Chooses a port; `start` builds and deploys."""
        self.home = home
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, project: Path = ROOT) -> None:
        """Builds, deploys and serves the code in *project*. Returns when the stack is ready, or raises `Failure`."""
        log, ready = self.home / "run.log", self.home / "stack.json"
        with log.open("w") as output:
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", "tools.local", "--home", self.home, "run", "--port", str(self.port)],
                cwd=project,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C must reach this program only: it then stops the stack in order.
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failure(f"The stack did not start:\n{log.read_text()}")
            time.sleep(0.1)

    def stop(self) -> int | None:
        """Stops the stack as Ctrl-C does. Returns the exit status, or None if it was never started."""
        if self._process is None:
            return None
        self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


@contextmanager
def own_stack(home: Path) -> Iterator[int]:
    """Runs a stack with its state in *home* and yields its port. Raises `Failure`."""
    process = StackProcess(home)
    print("Building and deploying the stack ...", flush=True)
    try:
        process.start()
        yield process.port
    finally:
        process.stop()


def free_port() -> int:
    """Returns a port that no process listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
