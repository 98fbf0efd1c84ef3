"""Runs the built functions instead of their sources, each call in a new interpreter."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import handlers
from tests.server import Server, serving
from tests.template import logical_id
from tools.local.environment import MINISTACK_PYTHON

CALL = """
import json, sys
import app

class Context:
    def get_remaining_time_in_millis(self):
        return 300_000

response = app.handler(json.load(sys.stdin), Context())
print()
print(json.dumps(response))
"""


@pytest.fixture
def server(tables: None) -> Iterator[Server]:  # noqa: ARG001 - it serves them
    """A DynamoDB server for the built functions."""
    with serving() as server:
        yield server


@pytest.fixture
def functions(built: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `tests.handlers` call the built functions."""

    def handler(function: str) -> Callable[[Any, Any], Any]:
        def invoke(event: Any, _context: object) -> Any:
            return run(built, function, CALL, event, AWS_ENDPOINT_URL_DYNAMODB=server.url)

        return invoke

    monkeypatch.setattr(handlers, "handler", handler)


def run(built: Path, function: str, program: str, given: object = None, **settings: str) -> Any:
    """Runs *program*, which can import a built *function*. Returns the last line of its output, which is JSON."""
    process = subprocess.run(
        # -S: no site-packages, so only the standard library, the layer and the function can be imported.
        [MINISTACK_PYTHON, "-S", "-W", "error", "-c", program],
        input=json.dumps(given),
        env=environment(built, function) | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not process.returncode, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def environment(built: Path, function: str) -> dict[str, str]:
    """Returns the environment of a built *function*. Only the layer and the function are on its path."""
    path = os.pathsep.join(map(str, [built / logical_id(function), built / "SharedLayer/python"]))
    foreign = ("PYTHON", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
