"""The commands behind `make run`, `make token` and `make clean`."""

import argparse
import fcntl
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from tools.local import emulator, environment, gaps, stack, users
from tools.local.failure import Failure

_NEXT = """
The API is at {api_url}
Try it in a browser: {docs_url}
Or paste this into another terminal:

  API={api_url}
  TOKEN={token}
  curl -H "Authorization: Bearer $TOKEN" "$API/conversations"
  curl -H "Authorization: Bearer $TOKEN" "$API/conversations" -d contact_id=harry -d group_id=friends
  ID=$(curl -s -H "Authorization: Bearer $TOKEN" "$API/conversations?limit=1" | cut -d'"' -f8)
  curl -H "Authorization: Bearer $TOKEN" "$API/conversations/$ID"
  curl -H "Authorization: Bearer $TOKEN" "$API/conversations/$ID" -X PUT -d is_pinned=true -d archived_at=
  curl -H "Authorization: Bearer $TOKEN" "$API/conversations?pinned=true&group_id=friends"
  curl -H "Authorization: Bearer $TOKEN" "$API/conversations/$ID" -X DELETE -i

That is kevin's token, good for an hour. A new one: make token USER=kevin, or USER=harry.
Ctrl-C stops. Conversations are kept for the next `make run`; `make clean` forgets them.
"""


def main() -> int:
    """Runs one command; the exit status is 1 after a `Failure`, whose sentence goes to standard error."""
    parser = argparse.ArgumentParser(prog="python -m tools.local", description=__doc__)
    parser.add_argument(
        "--home", type=Path, default=environment.ROOT / ".local", help="where state, logs and stack.json go"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run_command = commands.add_parser("run", help="build, deploy and serve the stack until Ctrl-C")
    run_command.add_argument("--port", type=int, default=4566, choices=range(1, 65536), metavar="1-65535")
    commands.add_parser("clean", help="forget all that the stack keeps")
    token_command = commands.add_parser("token", help="print a fresh access token")
    token_command.add_argument("user", nargs="?", default="")
    options = parser.parse_args()
    # What runs in this very process speaks to the emulator only.
    os.environ.clear()
    os.environ.update(environment.of_emulator())
    try:
        if options.command == "run":
            _run(options.home.resolve(), options.port)
        elif options.command == "clean":
            _clean(options.home.resolve())
        else:
            print(_token(options.home, options.user))
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError, OSError, ValueError) as error:
        print(f"That did not work: {error}. If it stays so, `make clean` starts afresh.", file=sys.stderr)
        return 1
    return 0


def _run(home: Path, port: int) -> None:
    for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop, signal.default_int_handler)
    environment.check_tools()
    stack_file = home / "stack.json"
    try:
        with _alone_in(home), emulator.running(home, port) as process:
            with _step("Building the layer and the functions"):
                stack.build(home)
            with _step(f"Deploying them to the emulator on port {port}"):
                stack.deploy(home, port)
                gaps.fill(port)
            with _step("Making the users kevin and harry"):
                tokens = {name: users.token(port, name) for name in users.DEMO_USERS}
            api_url = stack.api_url(port)
            try:
                urls = {"api_url": api_url, "docs_url": f"{api_url}/docs"}
                stack_file.write_text(json.dumps(urls | {"tokens": tokens}, indent=2))
                print(_NEXT.format(**urls, token=tokens["kevin"]), end="", flush=True)
                process.wait()
            finally:
                stack_file.unlink(missing_ok=True)
            raise Failure(f"The emulator stopped by itself: {home / 'emulator.log'} says why.")
    except KeyboardInterrupt:
        print("Stopped.")


def _clean(home: Path) -> None:
    with _alone_in(home):
        shutil.rmtree(home)


@contextmanager
def _alone_in(home: Path) -> Iterator[None]:
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure(f"A `make run` is at work in {home}: stop it first, with Ctrl-C.") from None
        yield


@contextmanager
def _step(what: str) -> Iterator[None]:
    print(f"{what} ... ", end="", flush=True)
    start = time.monotonic()
    try:
        yield
    except BaseException:
        print(flush=True)
        raise
    print(f"{time.monotonic() - start:.0f} s", flush=True)


def _token(home: Path, user: str) -> str:
    if user not in users.DEMO_USERS:
        raise Failure(f'There is no demo user "{user}": say USER=kevin or USER=harry.')
    return users.token(stack.running_port(home), user)


if __name__ == "__main__":
    sys.exit(main())
