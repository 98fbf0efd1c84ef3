"""The MiniStack emulator: AWS on 127.0.0.1, with IAM enforced and its state in a folder."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tools.local.environment import HOST, MINISTACK_PYTHON, REGION, Failure, emulator_url, of_emulator


@contextmanager
def running(home: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Runs the emulator on *port* with its state in *home*. Raises `Failure`."""
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        raise Failure(f"Port {port} is in use: choose another one, such as PORT={port + 1}.") from None
    log, temporary = home / "emulator.log", home / "tmp"
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
    _reset_stream_positions(home / "state/lambda.json")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [MINISTACK_PYTHON, "-m", "ministack"],
            cwd=home,
            env=of_emulator() | settings,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C must reach this program only: it then stops the emulator in order.
            start_new_session=True,
        )
    try:
        _await_ready(process, port, log)
        yield process
    finally:
        _stop(process)
        shutil.rmtree(temporary, ignore_errors=True)


def _reset_stream_positions(state: Path) -> None:
    """Makes the emulator read streams from the start: it keeps positions but not records, and would skip new ones."""
    if state.exists():
        saved = json.loads(state.read_text())
        saved["payload"]["dynamodb_stream_positions"]["data"] = {}
        state.write_text(json.dumps(saved))


def _await_ready(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):
            urllib.request.urlopen(f"{emulator_url(port)}/_ministack/health", timeout=5).close()  # noqa: S310 - http
            return
        time.sleep(0.1)
    raise Failure(f"The emulator did not start: see {log}. `make clean` deletes its state if that is broken.")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    # A second Ctrl-C must not interrupt this.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(60)
    # Function workers may still run.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
