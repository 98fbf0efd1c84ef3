"""Lambda, as far as functions notice it: environments that are copies of one init, with one invocation at a time each.

Its arguments are the folders of the functions. It prints the port on which it listens; each connection to that is an
environment, which tells its process id, then answers each line, a function, its event and its seconds, with a line. It
runs in the Python that the functions were built for, with the layer and nothing else.
"""

import importlib
import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, NoReturn


class Context:
    """What Lambda tells a function about its invocation."""

    def __init__(self, seconds: float) -> None:
        """An invocation that is stopped after so many *seconds*."""
        self._end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        """What the name says."""
        return max(0, int((self._end - time.monotonic()) * 1000))


def main() -> NoReturn:
    """Listens until its standard input ends."""
    apps = {Path(folder).name: _app(folder) for folder in sys.argv[1:]}
    # Nobody waits for what an environment ends with.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        print(listener.getsockname()[1], flush=True)
        os.dup2(2, 1)
        # Its input ends with whoever started it.
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if not os.fork():
                listener.close()
                _serve(connection, apps)
                os._exit(0)
            connection.close()
    os._exit(0)


def _app(folder: str) -> Any:
    """The function's module. Each is called app, of which there can be only one at a time."""
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("app")
    finally:
        sys.path.remove(folder)
        sys.modules.pop("app", None)


def _serve(connection: socket.socket, apps: dict[str, Any]) -> None:
    for app in apps.values():
        for value in vars(app).values():
            client = getattr(value, "_client", value)
            if hasattr(client, "meta"):
                client.meta.events.register("before-send", _sign)
    with connection, connection.makefile("rw") as stream:
        _tell(stream, os.getpid())
        for line in stream:
            function, event, seconds = json.loads(line)
            try:
                response = apps[function].handler(event, Context(seconds))
            except Exception as error:  # noqa: BLE001 - as Lambda does
                _tell(stream, {"raised": type(error).__name__})
            else:
                _tell(stream, {"answer": response})


def _sign(request: Any, **_: object) -> None:
    """Has the network know who asks."""
    request.headers["X-Environment"] = str(os.getpid())


def _tell(stream: Any, what: object) -> None:
    stream.write(f"{json.dumps(what)}\n")
    stream.flush()


if __name__ == "__main__":
    main()
