"""Execution environments that run the built functions and stop them as Lambda does."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from tests.handlers import FUNCTIONS
from tests.template import FUNCTIONS as RESOURCES
from tests.template import ROOT, TEMPLATE, logical_id
from tools.local.environment import MINISTACK_PYTHON

# exercise_release calls Lambda instead of DynamoDB: tests/release has its faults.
_TESTED = [function for function in FUNCTIONS if function != "exercise_release"]
TIMEOUTS = {
    function: float(RESOURCES[logical_id(function)].get("Timeout", TEMPLATE["Globals"]["Function"]["Timeout"]))
    for function in _TESTED
}
# How long after its timeout an invocation is killed.
_GRACE_SECONDS = 0.5


class Result(NamedTuple):
    """The end of an invocation: a response, the name of an exception, or neither if it was stopped."""

    response: Any
    error: str | None
    is_stopped: bool
    seconds: float

    @property
    def status(self) -> int:
        """The HTTP status, or 0."""
        return int(self.response["statusCode"]) if self.response and "statusCode" in self.response else 0

    @property
    def has_failed(self) -> bool:
        """Whether AWS would retry the event."""
        return self.is_stopped or self.error is not None or bool((self.response or {}).get("batchItemFailures"))


class Environment:
    """An execution environment of the runtime on *port*. A new process replaces it after it is stopped."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: socket.socket | None = None

    @property
    def pid(self) -> int:
        """The id of the process that runs the next invocation."""
        if self._connection is None:
            self._connection = socket.create_connection(("127.0.0.1", self._port), timeout=30)
            self._stream = self._connection.makefile("rw")
            self._pid = int(self._stream.readline())
        return self._pid

    def invoke(self, function: str, event: Any, seconds: float | None = None) -> Result:
        """Invokes *function*, and stops it after its timeout or *seconds*."""
        seconds = TIMEOUTS[function] if seconds is None else seconds
        started, pid, line = time.monotonic(), self.pid, ""
        assert self._connection
        self._connection.settimeout(seconds + _GRACE_SECONDS)
        with suppress(OSError):
            print(json.dumps([function, event, seconds]), file=self._stream, flush=True)
            line = self._stream.readline()
        elapsed = time.monotonic() - started
        if line:
            return Result(**json.loads(line), is_stopped=False, seconds=elapsed)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self.close()
        return Result(None, None, is_stopped=True, seconds=elapsed)

    def close(self) -> None:
        """Ends the process after its current invocation."""
        if self._connection is not None:
            with suppress(OSError), self._connection:
                self._stream.close()
            self._connection = None


@contextmanager
def running(built: Path, url: str, log: Path) -> Iterator[int]:
    """Yields the port of a runtime for the functions in *built*, with AWS at *url*."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    settings = {
        "PYTHONPATH": str(built / "SharedLayer/python"),
        "AWS_ENDPOINT_URL_DYNAMODB": url,
        "AWS_ENDPOINT_URL_SQS": url,
    }
    # purge_messages first: if Pydantic is already imported, Powertools imports packages that the layer lacks.
    functions = sorted(_TESTED, key=lambda function: function != "purge_messages")
    folders = [f"{function}={built / logical_id(function)}" for function in functions]
    with log.open("w") as output:
        runtime = subprocess.Popen(
            # -S: without site-packages, there is only the standard library, the layer and the functions.
            [MINISTACK_PYTHON, "-S", "-W", "error", ROOT / "tests/built/runtime.py", *folders],
            env=inherited | settings,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
    assert runtime.stdout
    with runtime:
        try:
            port = runtime.stdout.readline()
            assert port, log.read_text()
            yield int(port)
        finally:
            runtime.kill()
