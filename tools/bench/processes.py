"""Starts the processes that are measured."""

import json
import os
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from tools.bench import samples, targets
from tools.local.environment import HOST, Failure

# Lambda gives a whole processor to this much memory, and to less memory in proportion.
MB_OF_ONE_PROCESSOR = 1769
NO_PROCESSOR_SHARE = "to limit a processor takes root and Linux control groups of version 1."

_WORKER = Path(__file__).with_name("worker.py")
_PERIOD_US = 20_000
_PROCESSOR_GROUPS = Path("/sys/fs/cgroup/cpu")
_RESPONSE_SECONDS, _STOP_SECONDS = 60, 30


@contextmanager
def running(
    command: Sequence[str | Path], environment: Mapping[str, str], output: int | IO[Any], errors: IO[Any]
) -> Iterator["subprocess.Popen[str]"]:
    """Runs *command* during the block, and ends it by SIGTERM."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=errors,
        text=True,
        # Ctrl-C reaches this program alone, which then ends the process.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_STOP_SECONDS)
        process.kill()
        process.wait()


@contextmanager
def worker(
    target: str,
    endpoint: str,
    query: dict[str, str] | None = None,
    prefix: Sequence[str] = (),
    network: Mapping[str, str] | None = None,
) -> Iterator[Callable[..., dict[str, Any]]]:
    """Runs a fresh process, and gives a function that makes it call *endpoint* and returns the seconds of wall and CPU.

    The first call also imports the code. DynamoDB is stubbed, unless *network* has the variables to reach it by.
    """
    command = [*prefix, str(targets.python()), "-P", str(_WORKER)]
    environment = targets.environment(targets.path(target, endpoint)) | dict(network or {})
    setup = {"event": samples.event(endpoint, query), "responses": None if network else samples.dynamodb()}
    # A full pipe would block the process, so its errors go to a file.
    with tempfile.TemporaryFile("w+") as errors, running(command, environment, subprocess.PIPE, errors) as process:
        assert process.stdin  # noqa: S101 - for mypy
        assert process.stdout  # noqa: S101 - for mypy
        sent, received = process.stdin, process.stdout
        sent.write(json.dumps(setup) + "\n")

        def call(calls: int = 1, **options: object) -> dict[str, Any]:
            sent.write(json.dumps({"calls": calls} | options) + "\n")
            sent.flush()
            ready, _, _ = select.select([received], [], [], _RESPONSE_SECONDS)
            line = received.readline() if ready else ""
            if not line:
                errors.seek(0)
                raise Failure(f"{target} does not respond to {endpoint}: {errors.read().strip()[-2000:]}")
            done: dict[str, Any] = json.loads(line)
            if calls and not samples.is_expected(endpoint, done["response"]):
                raise Failure(f"{target} gave a wrong response to {endpoint}: {done['response']}")
            return done

        yield call


def free_port() -> int:
    """Returns a port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def processor_share(memory_mb: int) -> Iterator[list[str] | None]:
    """Gives a prefix that limits a command to the processor share of so much memory, or None if it cannot."""
    group = _PROCESSOR_GROUPS / f"bench-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        yield None
        return
    try:
        (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(_PERIOD_US * memory_mb // MB_OF_ONE_PROCESSOR))
        yield ["/bin/sh", "-c", f'echo $$ > {group / "tasks"} && exec "$@"', "sh"]
    finally:
        # A killed process takes a moment to leave its group.
        time.sleep(1)
        group.rmdir()
