"""Schemathesis generates requests from `openapi.json` and checks the responses of the deployed stack."""

import os
import subprocess
import sys
from pathlib import Path

from tests.stack import Stack
from tests.template import ROOT
from tools.local import users
from tools.openapi import FILE

SECONDS = int(os.environ.get("FUZZ_SECONDS", "45"))
# `make test` always sends the same requests, so a failure is caused by the change; `make fuzz` sends new ones.
SEED = () if "FUZZ_SECONDS" in os.environ else ("--seed", "1")


def test_schemathesis_finds_no_failure(stack: Stack) -> None:
    finished = subprocess.run(
        [
            *(Path(sys.executable).parent / "st", "run", FILE, "--url", stack.api_url),
            *("--header", f"Authorization: Bearer {users.token(stack.port, 'schemathesis')}"),
            *("--max-time", str(SECONDS), "--request-timeout", "30", "--no-color", *SEED),
        ],
        cwd=ROOT,
        env=os.environ | {"NO_PROXY": "*", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS + 120,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
