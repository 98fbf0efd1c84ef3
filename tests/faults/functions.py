"""The built functions in environments of their own, which are stopped as Lambda stops them."""

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
from tests.template import FUNCTIONS as OF_TEMPLATE
from tests.template import ROOT, TEMPLATE, logical_id
from tools.local.environment import MINISTACK_PYTHON

# The hook of releases calls Lambda and not DynamoDB: tests/release has its faults.
TRIED = [function for function in FUNCTIONS if function != "exercise_release"]
SECONDS = {
    function: float(OF_TEMPLATE[logical_id(function)].get("Timeout", TEMPLATE["Globals"]["Function"]["Timeout"]))
    for function in TRIED
}
# How long the process may take to tell that it did not stop.
_GRACE_SECONDS = 0.5


class Result(NamedTuple):
    """How an invocation ended: by an *answer*, by an error that it *raised*, or by neither: it was stopped."""

    response: Any
    raised: str | None
    is_stopped: bool
    seconds: float

    @property
    def status(self) -> int:
        """The HTTP status; 0 where there is none."""
        return int(self.response["statusCode"]) if self.response and "statusCode" in self.response else 0

    @property
    def is_failed(self) -> bool:
        """Whether it told AWS that it has to come again."""
        return self.raised is not None or bool(self.response and self.response.get("batchItemFailures"))


class Environment:
    """An execution environment: a copy of an init, with one invocation at a time. Once stopped, it is another one."""

    def __init__(self, port: int) -> None:
        """Is made by the runtime on *port* when it is first needed."""
        self._port = port
        self._connection: socket.socket | None = None
        self._pid = 0

    @property
    def pid(self) -> int:
        """That of the process that takes the next invocation."""
        if self._connection is None:
            self._connection = socket.create_connection(("127.0.0.1", self._port), timeout=30)
            self._pid = self._line()
        return self._pid

    def invoke(self, function: str, event: Any, seconds: float | None = None) -> Result:
        """What becomes of an invocation that is stopped after its function's timeout, or after *seconds*."""
        seconds = SECONDS[function] if seconds is None else seconds
        started, pid = time.monotonic(), self.pid
        assert self._connection
        self._connection.settimeout(seconds + _GRACE_SECONDS)
        told = None
        with suppress(OSError):
            self._connection.sendall(json.dumps([function, event, seconds]).encode() + b"\n")
            told = self._line()
        taken = time.monotonic() - started
        if told is None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self.close()
            return Result(None, None, is_stopped=True, seconds=taken)
        return Result(told.get("answer"), told.get("raised"), is_stopped=False, seconds=taken)

    def close(self) -> None:
        """Ends it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _line(self) -> Any:
        """What the process tells next; None where it is gone."""
        assert self._connection
        line = b""
        while not line.endswith(b"\n"):
            part = self._connection.recv(1 << 20)
            if not part:
                return None
            line += part
        return json.loads(line)


@contextmanager
def running(built: Path, url: str, log: Path) -> Iterator[int]:
    """The port of a runtime for what was *built*, for as long as the block lasts; AWS is at *url*."""
    foreign = ("PYTHON", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    settings = {
        "PYTHONPATH": str(built / "SharedLayer/python"),
        "AWS_ENDPOINT_URL_DYNAMODB": url,
        "AWS_ENDPOINT_URL_SQS": url,
    }
    # Before any other has imported Pydantic, beside which Powertools imports what the layer does not have.
    first = "purge_messages"
    links = log.parent / "functions"
    links.mkdir()
    for function in TRIED:
        (links / function).symlink_to(built / logical_id(function))
    folders = sorted(links.iterdir(), key=lambda folder: folder.name != first)
    with log.open("w") as output:
        runtime = subprocess.Popen(
            # Without site-packages: there is nothing but the standard library, the layer and the functions.
            [MINISTACK_PYTHON, "-S", "-W", "error", ROOT / "tests/faults/runtime.py", *folders],
            env=kept | settings,
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
