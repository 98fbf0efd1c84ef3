"""Earlier releases from git: their handlers run beside this release's, on the same tables."""

import importlib
import io
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.template import ROOT

COMMITS = {"0.1.0": "0448f15bd8e64e426ba78d8c6e85466e96b567e7", "0.2.0": "d9921b8d03be923d5de67af6b077c48eabe036b7"}

_FUNCTIONS = (
    "create_conversation",
    "create_message",
    "delete_conversation",
    "delete_message",
    "receive_message",
    "update_conversation",
    "update_message",
)


def extract(release: str, folder: Path) -> None:
    """Writes the files of *release* to *folder*. Skips the test if the clone is shallow."""
    archive = subprocess.run(["git", "archive", COMMITS[release]], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"git has no commit {COMMITS[release]}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")


def handlers(folder: Path) -> Mapping[str, Callable[[Any, Any], Any]]:
    """Returns the handlers of the release in *folder* that write, by the name of their function."""
    ours = {name: sys.modules.pop(name) for name in _loaded()}
    path = sys.path.copy()
    sys.path[:0] = [str(folder), str(folder / "layers/shared")]
    try:
        return {name: importlib.import_module(f"functions.{name}.app").handler for name in _FUNCTIONS}
    finally:
        sys.path[:] = path
        for name in _loaded():
            del sys.modules[name]
        sys.modules.update(ours)


def _loaded() -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] in {"coherent", "functions"}]
