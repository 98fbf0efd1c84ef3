"""Schemathesis, which knows nothing of us but `openapi.json`, against the deployed stack."""

import os
import subprocess
import sys
from pathlib import Path

from tests.stack import Stack
from tests.template import ROOT
from tools.local import users

SECONDS = int(os.environ.get("FUZZ_SECONDS", "45"))
# The same requests in each `make test`, so that a failure is the change's; new ones in each `make fuzz`.
SEED = () if "FUZZ_SECONDS" in os.environ else ("--seed", "1")


def test_schemathesis_finds_no_fault(stack: Stack) -> None:
    finished = subprocess.run(
        [
            *(Path(sys.executable).parent / "st", "run", ROOT / "openapi.json", "--url", stack.api_url),
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
