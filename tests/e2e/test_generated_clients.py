"""Clients generated from `openapi.json`: their types are checked, and they drive the deployed stack."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack import Stack
from tests.template import ROOT
from tools.openapi import FILE

CLIENTS = ROOT / "tests/clients"
NODE_MODULES = ROOT / ".tools/node/node_modules"
# What is in the generated code is the generator's business; `# type: ignore` in ours must be needed.
MYPY = "[mypy]\nstrict = true\n[mypy-conversations_client.*]\nfollow_imports = silent\n"


def run(*command: object, cwd: Path, **environment: str) -> None:
    """Runs *command*; shows its output if it fails."""
    finished = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | {"NO_PROXY": "*"} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.fixture(scope="module")
def python_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the Python package that openapi-python-client generates."""
    folder = tmp_path_factory.mktemp("python-client")
    (folder / "config.yaml").write_text("post_hooks: []\n")
    generator = Path(sys.executable).parent / "openapi-python-client"
    options = ("--path", FILE, "--meta", "none", "--output-path", "conversations_client", "--config", "config.yaml")
    run(generator, "generate", *options, "--fail-on-warning", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def typescript_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the types that openapi-typescript generates, and the program that uses them."""
    if shutil.which("node") is None and "CI" not in os.environ:
        pytest.skip("Node.js is not installed (on Debian: apt-get install nodejs npm)")
    assert NODE_MODULES.exists(), "run `make .tools/node/installed`"
    folder = tmp_path_factory.mktemp("typescript-client")
    (folder / "node_modules").symlink_to(NODE_MODULES.resolve())
    (folder / "package.json").write_text('{"type": "module"}')
    for name in ("lifecycle.ts", "tsconfig.json"):
        shutil.copy(CLIENTS / name, folder)
    run("node", "node_modules/.bin/openapi-typescript", FILE, "--output", "api.d.ts", cwd=folder)
    return folder


def test_python_client_has_strict_types(python_client: Path) -> None:
    (python_client / "mypy.ini").write_text(MYPY)
    mypy = (sys.executable, "-m", "mypy", "--config-file", "mypy.ini", CLIENTS / "lifecycle.py")
    run(*mypy, cwd=python_client, MYPYPATH=str(python_client))


def test_python_client_drives_the_lifecycle(python_client: Path, stack: Stack) -> None:
    client = stack.client("generated-python")
    run(sys.executable, CLIENTS / "lifecycle.py", stack.api_url, client.token, cwd=python_client, PYTHONPATH=".")


def test_typescript_client_has_strict_types_and_drives_the_lifecycle(typescript_client: Path, stack: Stack) -> None:
    client = stack.client("generated-typescript")
    run("node", "node_modules/.bin/tsc", "--strict", "--project", ".", cwd=typescript_client)
    run("node", "lifecycle.js", stack.api_url, client.token, cwd=typescript_client)
