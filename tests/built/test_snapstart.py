"""Execution environments restored from one SnapStart snapshot."""

import json
import os
import subprocess
from pathlib import Path

import snapshot_restore_py
from coherent import ids

from tests.built.conftest import environment
from tests.handlers import event
from tests.server import Server
from tools.local.environment import MINISTACK_PYTHON

# Two forks act as two environments restored from one snapshot. Python reseeds `random` in a fork, SnapStart does not.
_RESTORE_TWICE = """
import json, os, random, sys
import app
import snapshot_restore_py

class Context:
    def get_remaining_time_in_millis(self):
        return 25_000

state = random.getstate()
print("initialised", flush=True)
event = json.loads(sys.stdin.readline())
for _ in range(2):
    if copy := os.fork():
        os.waitpid(copy, 0)
        continue
    random.setstate(state)
    # Handles the event before the restore hooks run, so that ids cannot depend on them.
    response = app.handler(event, Context())
    for function, arguments, named in snapshot_restore_py.get_after_restore():
        function(*arguments, **named)
    print(json.dumps({"backoff": random.random(), **response}), flush=True)
    os._exit(0)
"""


def test_restored_environments_share_neither_ids_connections_nor_credentials(built: Path, server: Server) -> None:
    server.seconds = 300
    process = subprocess.Popen(
        [MINISTACK_PYTHON, "-S", "-W", "error", "-c", _RESTORE_TWICE],
        env=_snapstart_environment(built, server),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    with process:
        assert process.stdout.readline() == "initialised\n"
        assert server.connections == []
        # Days may pass between snapshot and restore, so the old credentials have expired.
        server.access_key, server.seconds = "AKIALATER", 3600
        process.stdin.write(json.dumps(event("create_conversation")) + "\n")
        process.stdin.flush()
        first, second = (line for line in map(json.loads, process.stdout) if "_aws" not in line)
    assert first["statusCode"] == second["statusCode"] == 201
    ids_created = [json.loads(response["body"])["id"] for response in (first, second)]
    assert ids_created[0][-7:] != ids_created[1][-7:]
    assert all(ids.is_id(id) for id in ids_created)
    assert first["backoff"] != second["backoff"]
    assert len(set(server.connections)) == 2
    assert server.access_keys == ["AKIALATER", "AKIALATER"]


def _snapstart_environment(built: Path, server: Server) -> dict[str, str]:
    """Returns the environment of a function with SnapStart, which reads its credentials from a URL."""
    variables = environment(built, "create_conversation")
    runtime = Path(snapshot_restore_py.__file__).parent
    kept = {name: value for name, value in variables.items() if not name.startswith("AWS_")}
    return kept | {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": server.url,
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL_DYNAMODB": server.url,
        "PYTHONPATH": f"{variables['PYTHONPATH']}{os.pathsep}{runtime}",
    }
