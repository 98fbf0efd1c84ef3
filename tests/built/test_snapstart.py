"""What is restored from a snapshot of an init is no copy where it must not be one."""

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

# Two forks are two copies of the same init. Python gives each fork a random state of its own, a snapshot does not.
_COPIES = """
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
    # Before the hooks, so that it does not depend on them.
    answer = app.handler(event, Context())
    for function, arguments, named in snapshot_restore_py.get_after_restore():
        function(*arguments, **named)
    print(json.dumps({"backoff": random.random(), **answer}), flush=True)
    os._exit(0)
"""


def test_restored_copies_make_different_ids_and_use_connections_and_credentials_of_their_own(
    built: Path, server: Server
) -> None:
    server.seconds = 300
    copies = subprocess.Popen(
        [MINISTACK_PYTHON, "-S", "-W", "error", "-c", _COPIES],
        env=_of_snapstart(built, server),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert copies.stdin
    assert copies.stdout
    with copies:
        assert copies.stdout.readline() == "initialised\n"
        assert server.connections == []
        # Between snapshot and restore may lie days.
        server.access_key, server.seconds = "AKIALATER", 3600
        copies.stdin.write(json.dumps(event("create_conversation")) + "\n")
        copies.stdin.flush()
        first, second = (line for line in map(json.loads, copies.stdout) if "_aws" not in line)
    assert first["statusCode"] == second["statusCode"] == 201
    made = [json.loads(response["body"])["id"] for response in (first, second)]
    assert made[0][-7:] != made[1][-7:]
    assert all(ids.is_id(id) for id in made)
    assert first["backoff"] != second["backoff"]
    assert len(set(server.connections)) == 2
    assert server.access_keys == ["AKIALATER", "AKIALATER"]


def _of_snapstart(built: Path, server: Server) -> dict[str, str]:
    """The environment of a function with SnapStart, whose credentials come from its container."""
    of_function = environment(built, "create_conversation")
    of_runtime = Path(snapshot_restore_py.__file__).parent
    kept = {name: value for name, value in of_function.items() if not name.startswith("AWS_")}
    return kept | {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": server.url,
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL_DYNAMODB": server.url,
        "PYTHONPATH": f"{of_function['PYTHONPATH']}{os.pathsep}{of_runtime}",
    }
