"""A Lambda runtime that forks: each execution environment is a copy of one initialized process.

The arguments are `<function>=<folder>`. The process prints the port that it listens on. Each connection gets an
environment of its own, which sends its process id, and then one line of JSON for each line `[function, event, seconds]`
that it receives. The interpreter is that of the functions' build, with the layer as its only package.
"""

import importlib
import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any, NoReturn


class Context:
    """The Lambda context of an invocation that is stopped after *seconds*."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        """Returns the time until Lambda stops the invocation."""
        return max(0, int((self._end - time.monotonic()) * 1000))


def main() -> NoReturn:
    """Serves until standard input is closed, which happens when the parent process ends."""
    apps = {function: _import_app(folder) for function, _, folder in (given.partition("=") for given in sys.argv[1:])}
    # No zombies: the kernel discards the exit status of environments.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        print(listener.getsockname()[1], flush=True)
        # From now on, log lines go to standard error.
        os.dup2(2, 1)
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if not os.fork():
                listener.close()
                _serve(connection, apps)
                os._exit(0)
            connection.close()
    os._exit(0)


def _import_app(folder: str) -> Any:
    # Each module is called `app`, and only one module can have that name.
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("app")
    finally:
        sys.path.remove(folder)
        sys.modules.pop("app", None)


def _serve(connection: socket.socket, apps: dict[str, Any]) -> None:
    for app in apps.values():
        # The clients of tables, repositories and queues, those of a mailbox too.
        owners = list(vars(app).values())
        for value in owners + [getattr(owner, "_dead_letters", None) for owner in owners]:
            for client in (getattr(value, name, None) for name in ("client", "_client", "_sqs")):
                if client is not None and hasattr(client, "meta"):
                    client.meta.events.register("before-send", _name_environment)
    with connection, connection.makefile("rw") as stream:
        print(os.getpid(), file=stream, flush=True)
        for line in stream:
            function, event, seconds = json.loads(line)
            response, error = None, None
            try:
                response = apps[function].handler(event, Context(seconds))
            except Exception as exception:  # noqa: BLE001 - Lambda reports any exception
                error = type(exception).__name__
            print(json.dumps({"response": response, "error": error}), file=stream, flush=True)


def _name_environment(request: Any, **_: object) -> None:
    request.headers["X-Environment"] = str(os.getpid())


if __name__ == "__main__":
    main()
