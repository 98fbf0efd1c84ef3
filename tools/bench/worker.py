"""Runs inside a measured process: imports a function, calls it and reports the time, one line of JSON after another.

Imports nothing of this repository and little else, so that the measured import finds nothing loaded.
"""

import importlib
import importlib.machinery
import json
import os
import sys
import time
from types import SimpleNamespace

# As in typing, which is not imported here.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


class Context:
    """The context that Lambda passes to a handler."""

    function_name = "measured"
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:measured"
    memory_limit_in_mb = 512
    aws_request_id = "5c1a2e7e-2c6a-4b0e-8f0b-0d7f3c1b9a51"

    def get_remaining_time_in_millis(self) -> int:
        """Returns 25 seconds."""
        return 25_000


class Stub:
    """Replaces the method of botocore that sends requests, as soon as its module is imported."""

    def __init__(self, responses: "dict[str, tuple[dict[str, str], str]]") -> None:
        self._responses = {name: (headers, body.encode()) for name, (headers, body) in responses.items()}
        sys.meta_path.insert(0, self)

    def find_spec(self, name: str, path: "Any", _target: object = None) -> importlib.machinery.ModuleSpec | None:  # noqa: ANN401 - as importlib has it
        """Finds `botocore.httpsession` and patches it after its import."""
        spec = importlib.machinery.PathFinder.find_spec(name, path) if name == "botocore.httpsession" else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_patch(module: "ModuleType") -> None:
            execute(module)
            module.URLLib3Session.send = lambda _session, request: self._send(request)

        spec.loader.exec_module = execute_and_patch  # type: ignore[method-assign]
        return spec

    def _send(self, request: "Any") -> "Any":  # noqa: ANN401 - of botocore, which is not imported here
        target = request.headers["X-Amz-Target"]
        operation = (target.decode() if isinstance(target, bytes) else target).rpartition(".")[2]
        headers, content = self._responses[operation]
        headers, body = sys.modules["urllib3"].HTTPHeaderDict(headers), SimpleNamespace(stream=lambda: [content])
        return sys.modules["botocore.awsrequest"].AWSResponse(request.url, 200, headers, body)


def main() -> None:
    """Serves until its input ends."""
    output = os.fdopen(os.dup(1), "w")
    # Discards the log lines of the function.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    setup = json.loads(sys.stdin.readline())
    if setup["responses"]:
        Stub(setup["responses"])
    for line in sys.stdin:
        request = json.loads(line)
        if "threads" in request:
            app = importlib.import_module("app")
            repository = app.inbox if hasattr(app, "inbox") else app.conversations
            repository._threads = type(repository._threads)(request["threads"])  # noqa: SLF001
        if request.get("reconnect"):
            repository._client.close()  # noqa: SLF001
        output.write(json.dumps(_call(setup["event"], request["calls"])) + "\n")
        output.flush()


def _call(event: "dict[str, Any]", calls: int) -> "dict[str, Any]":
    """Returns the seconds of wall time and CPU time, of all threads, and the last response."""
    context, response = Context(), None
    wall, cpu = time.perf_counter(), time.process_time()
    handler = importlib.import_module("app").handler
    for _ in range(calls):
        response = handler(event, context)
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "response": response}


if __name__ == "__main__":
    main()
