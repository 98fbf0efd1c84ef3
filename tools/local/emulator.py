"""The MiniStack process: AWS on 127.0.0.1, with IAM enforced and its state kept in a folder."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tools.local.environment import HOST, MINISTACK_PYTHON, REGION, emulator_url, of_emulator
from tools.local.failure import Failure

_START_SECONDS = 60
_STOP_SECONDS = 60


@contextmanager
def running(home: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """The emulator on *port*, for as long as the block lasts; it takes up and leaves its state in *home*.

    Raises `Failure` where the port is taken or the emulator does not start.
    """
    _check_free(port)
    log = home / "emulator.log"
    temporary = home / "tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    settings = {
        "AUTH": "true",
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",
        "LOG_LEVEL": "INFO",
        "MINISTACK_REGION": REGION,
        "PERSIST_STATE": "1",
        "S3_DATA_DIR": str(home / "s3"),
        "S3_PERSIST": "1",
        "STATE_DIR": str(home / "state"),
        "TMPDIR": str(temporary),
    }
    _forget_positions(home / "state/lambda.json")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [MINISTACK_PYTHON, "-m", "ministack"],
            cwd=home,
            env=of_emulator() | settings,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A group of its own: Ctrl-C reaches this program alone, which then stops the emulator in good order.
            start_new_session=True,
        )
    try:
        _await_ready(process, port, log)
        yield process
    finally:
        _stop(process)
        shutil.rmtree(temporary, ignore_errors=True)


def _forget_positions(state: Path) -> None:
    """Has streams read from their beginning.

    The emulator remembers how far it has read a stream but not what was in it, and would pass over as many new records.
    """
    if state.exists():
        kept = json.loads(state.read_text())
        kept["payload"]["dynamodb_stream_positions"]["data"] = {}
        state.write_text(json.dumps(kept))


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise Failure(
                f"Port {port} is taken: stop what uses it, or choose another one, such as PORT={port + 1}."
            ) from None


def _await_ready(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{emulator_url(port)}/_ministack/health", timeout=5).close()  # noqa: S310 - http
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise Failure(f"The emulator did not start: {log} says why, and `make clean` forgets a state that it cannot read.")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    # An impatient second Ctrl-C must not leave it half stopped.
    for impatience in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(impatience, signal.SIG_IGN)
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    # Function workers that it may have left behind.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
