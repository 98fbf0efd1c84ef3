"""The commands behind `make run`, `make token`, `make sample-data` and `make clean`."""

import argparse
import fcntl
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from tools.local import emulator, environment, stack, users
from tools.local.environment import ROOT, Failure

_READY = """
API:             {api_url}
Reference page:  {docs_url}

To try it, paste this into another terminal:

  API={api_url}
  TOKEN={token}
  curl -H "Authorization: Bearer $TOKEN" "$API/conversations"
  curl -H "Authorization: Bearer $TOKEN" "$API/conversations" -d contact_id=harry -d group_id=friends
  ID=$(curl -s -H "Authorization: Bearer $TOKEN" "$API/conversations?limit=1" | cut -d'"' -f8)
  curl -H "Authorization: Bearer $TOKEN" "$API/conversations/$ID"
  curl -H "Authorization: Bearer $TOKEN" "$API/conversations/$ID" -X PUT -d is_pinned=true -d archived_at=
  curl -H "Authorization: Bearer $TOKEN" "$API/inbox?pinned=true&group_id=friends"
  curl -H "Authorization: Bearer $TOKEN" "$API/conversations/$ID" -X DELETE -i

The token is kevin's. He writes to harry, whose inbox has the message a moment later:

  HARRY={harry}
  HARRYS_TOKEN={harrys_token}
  ID=$(curl -s -H "Authorization: Bearer $TOKEN" "$API/conversations" \\
    -d contact_id=$HARRY -d distinct=true | cut -d'"' -f4)
  curl -H "Authorization: Bearer $TOKEN" "$API/messages" -d conversation_id=$ID -d message='Keep the change.'
  sleep 3; curl -H "Authorization: Bearer $HARRYS_TOKEN" "$API/inbox"

Tokens are valid for an hour. `make token USER=kevin` prints a new one; or harry, or operator for "$API/webhooks".
Ctrl-C stops the stack. The next `make run` keeps its conversations; `make clean` deletes them.
"""


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 65536:
        raise argparse.ArgumentTypeError("must be from 1 to 65535")
    return port


def main() -> int:
    """Runs one command. Returns 1 if it fails, after printing why to standard error."""
    parser = argparse.ArgumentParser(prog="python -m tools.local", description=__doc__)
    parser.add_argument("--home", type=Path, default=ROOT / ".local", help="folder of state, logs and stack.json")
    commands = parser.add_subparsers(dest="command", required=True)
    run_command = commands.add_parser("run", help="build, deploy and serve the stack until Ctrl-C")
    run_command.add_argument("--port", type=_port, default=4566, help="from 1 to 65535")
    commands.add_parser("token", help="print a new access token").add_argument("user", nargs="?", default="")
    sample_command = commands.add_parser("sample-data", help="create conversations and messages for a demo user")
    sample_command.add_argument("user")
    sample_command.add_argument("conversations", type=int, help="number of conversations")
    sample_command.add_argument("messages", type=int, help="messages per conversation")
    commands.add_parser("clean", help="delete all state of the stack")
    options = parser.parse_args()
    home = options.home.resolve()
    # boto3 in this process must reach the emulator only.
    os.environ.clear()
    os.environ.update(environment.of_emulator())
    try:
        match options.command:
            case "run":
                _run(home, options.port)
            case "token" if options.user == users.OPERATOR:
                print(users.operator_token(stack.running_port(home)))
            case "token":
                print(users.token(stack.running_port(home), _checked(options.user)))
            case "sample-data":
                # Imported here because only this command needs the layer on the path.
                from tools.local import sample_data  # noqa: PLC0415

                port, user = stack.running_port(home), _checked(options.user)
                sample_data.fill(port, user, options.conversations, options.messages)
            case "clean":
                with _locked(home):
                    shutil.rmtree(home)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError, OSError, ValueError) as error:
        print(f"Failed: {error}. If this happens again, start over with `make clean`.", file=sys.stderr)
        return 1
    return 0


def _run(home: Path, port: int) -> None:
    for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(stop, signal.default_int_handler)
    environment.check_tools()
    stack_file = home / "stack.json"
    try:
        with _locked(home), emulator.running(home, port) as process:
            print("Building the layer and the functions ...", flush=True)
            stack.build(home)
            print(f"Deploying the stack to the emulator on port {port} ...", flush=True)
            stack.deploy(home, port)
            stack.configure_gateway(port)
            stack.allow_batches(port)
            stack.sweep_inbox(port)
            tokens = {name: users.token(port, name) for name in users.DEMO_USERS}
            api_url = stack.api_url(port)
            try:
                urls = {"api_url": api_url, "docs_url": f"{api_url}/docs"}
                stack_file.write_text(json.dumps(urls | {"tokens": tokens}, indent=2))
                kevins, harrys = tokens["kevin"], tokens["harry"]
                harry = users.claims(harrys)["sub"]
                ready = _READY.format(**urls, token=kevins, harrys_token=harrys, harry=harry)
                print(ready, end="", flush=True)
                process.wait()
            finally:
                stack_file.unlink(missing_ok=True)
            raise Failure(f"The emulator stopped unexpectedly: see {home / 'emulator.log'}.")
    except KeyboardInterrupt:
        print("Stopped.")


def _checked(user: str) -> str:
    if user not in users.DEMO_USERS:
        raise Failure(f'There is no demo user "{user}": use USER=kevin or USER=harry, or for tokens USER=operator.')
    return user


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure(f"`make run` is already running in {home}: stop it first with Ctrl-C.") from None
        yield


if __name__ == "__main__":
    sys.exit(main())
