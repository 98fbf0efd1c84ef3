"""What is measured: this service as `sam build` leaves it, the baseline, and the frameworks with their packages."""

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools.local.environment import ROOT, SAM, UV, Failure, of_build

# Lambda's Python, as in `template.yaml`.
VERSION = "3.13"
OURS, BASELINE, POWERTOOLS = "ours", "baseline", "powertools"
NAMES = {BASELINE: BASELINE, POWERTOOLS: "Powertools resolver", "fastapi": "FastAPI + Mangum", "chalice": "Chalice"}
NAMES[OURS] = OURS

_TOOLS = ROOT / ".tools"
_BUILD = _TOOLS / "bench-build"
_FRAMEWORKS = _TOOLS / "frameworks"
_LOCK = ROOT / "requirements/frameworks.txt"
_CODE = Path(__file__).parent / "frameworks"


@functools.cache
def python() -> Path:
    """Returns the Python that is measured: Lambda's minor version if it is installed, else the running one."""
    for candidate in (f"python{VERSION}", f"{_output('pyenv', 'prefix', VERSION)}/bin/python"):
        # Either may be a shim of pyenv.
        if _output(candidate, "--version").startswith(f"Python {VERSION}."):
            return Path(_output(candidate, "-c", "import os, sys; print(os.path.realpath(sys.executable))"))
    return Path(sys.executable).resolve()


def layer() -> Path:
    """Returns the built layer, which Lambda unpacks to /opt. Builds it if the sources have changed."""
    _build()
    return _BUILD / "SharedLayer"


def packages() -> Path:
    """Returns the packages of all frameworks and of Lambda's runtime client, compiled. Installs them if necessary."""
    _install()
    return _FRAMEWORKS / "packages"


def path(target: str, endpoint: str) -> list[Path]:
    """Returns the import path of a process in which *target* serves *endpoint*; its handler is `app.handler`."""
    if target == OURS:
        return [layer().parent / endpoint.title().replace("_", ""), layer() / "python"]
    return [packages().parent / target, packages()]


def ca_bundle(target: str) -> Path:
    """Returns the root certificates that *target* trusts when it is deployed."""
    return layer() / "aws-ca-bundle.pem" if target == OURS else packages() / "botocore/cacert.pem"


def environment(import_path: Sequence[Path]) -> dict[str, str]:
    """Returns the whole environment of a measured process, much as Lambda sets it."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(map(str, import_path)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), "testing"),
        **dict.fromkeys(("AWS_REGION", "AWS_DEFAULT_REGION"), "eu-west-1"),
        **dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull),
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{VERSION}",
        "AWS_LAMBDA_FUNCTION_NAME": "measured",
        "ALLOWED_ORIGIN": "*",
        "DOCUMENTATION_URL": "https://protocol.chat/docs/errors",
        **dict.fromkeys(("POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE"), "conversations"),
        "CONVERSATIONS_TABLE_NAME": "conversations",
        "MESSAGES_TABLE_NAME": "messages",
    }


@functools.cache
def _build() -> None:
    with _if_changed(_BUILD, ROOT / "template.yaml", ROOT / "layers", ROOT / "functions") as is_changed:
        if is_changed:
            command: list[str | Path] = [SAM, "build", "--build-dir", _BUILD, "--cache-dir", _TOOLS / "bench-cache"]
            search = f"{UV.parent}{os.pathsep}{of_build().get('PATH', '')}"
            settings = {"PATH": search, "LAYER_PYTHON": str(python()), "SAM_CLI_TELEMETRY": "0"}
            _run([*command, "--config-file", ROOT / "samconfig.toml", "--config-env", "local"], settings)


@functools.cache
def _install() -> None:
    with _if_changed(_FRAMEWORKS, _LOCK, _CODE) as is_changed:
        if is_changed:
            shutil.rmtree(_FRAMEWORKS, ignore_errors=True)
            for app in _CODE.glob("*/app.py"):
                (_FRAMEWORKS / app.parent.name).mkdir(parents=True)
                for source in (app, *_CODE.glob("*.py")):
                    shutil.copy(source, _FRAMEWORKS / app.parent.name)
            install: list[str | Path] = [UV, "pip", "install", "--quiet", "--no-config", "--link-mode", "copy"]
            install += ["--python", python(), "--target", _FRAMEWORKS / "packages", "--require-hashes", "-r", _LOCK]
            _run(install)
            # With the options that the layer is compiled with.
            _run([python(), "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", _FRAMEWORKS])


@contextmanager
def _if_changed(folder: Path, *sources: Path) -> Iterator[bool]:
    """Gives whether *folder* was made of other sources; after the block it is made of these."""
    digest = hashlib.sha256(str(python()).encode())
    for source in sources:
        for file in [source] if source.is_file() else sorted(source.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    made_of = folder / "digest"
    yield not made_of.exists() or made_of.read_text() != digest.hexdigest()
    made_of.write_text(digest.hexdigest())


def _run(command: Sequence[str | Path], settings: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=ROOT, env=of_build() | (settings or {}), capture_output=True, text=True, check=False, timeout=900
    )
    if done.returncode:
        raise Failure(f"`{Path(command[0]).name} {command[1]}` failed: {(done.stdout + done.stderr).strip()[-2000:]}")


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, env=of_build(), capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
