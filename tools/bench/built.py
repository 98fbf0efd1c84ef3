"""What is measured: layer and functions as `sam build` leaves them, and the frameworks with their packages."""

import base64
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import distributions
from pathlib import Path

from tools.local.environment import ROOT, SAM, UV, of_build
from tools.local.failure import Failure

# Of Lambda, as `template.yaml` has it.
VERSION = "3.13"
OURS = "ours"
FRAMEWORKS = ("baseline", "powertools", "fastapi", "chalice")

_TOOLS = ROOT / ".tools"
_BUILD = _TOOLS / "bench-build"
# As their own tools would deploy them, and as it would be fairest.
_PLAIN, _COMPILED = _TOOLS / "frameworks/plain", _TOOLS / "frameworks/compiled"
_LOCK = ROOT / "requirements/frameworks.txt"
_CODE = Path(__file__).parent / "frameworks"


@functools.cache
def python() -> Path:
    """The Python that is measured: Lambda's minor version if this machine has one, else the one that runs this."""
    prefix = _said("pyenv", "prefix", VERSION)
    for candidate in (f"python{VERSION}", f"{prefix}/bin/python"):
        # It may be a shim that fails, or one that is no program of its own.
        found = _said(candidate, "-c", "import os, sys; print(os.path.realpath(sys.executable), *sys.version_info[:2])")
        if found.endswith(f" {VERSION.replace('.', ' ')}"):
            return Path(found.rsplit(" ", 2)[0])
    return Path(sys.executable).resolve()


def layer() -> Path:
    """The layer's folder that goes on the path. Built first if it is not as the sources are; raises `Failure`."""
    _build()
    return _BUILD / "SharedLayer/python"


def function(endpoint: str) -> Path:
    """The folder of the function *endpoint*, such as `list_conversations`. Built first, as `layer`."""
    _build()
    return _BUILD / endpoint.title().replace("_", "")


def packages(*, with_bytecode: bool = True) -> Path:
    """The packages of all frameworks, and Lambda's runtime interface client. Installed first; raises `Failure`."""
    _install()
    return (_COMPILED if with_bytecode else _PLAIN) / "packages"


def path(subject: str, endpoint: str, *, with_bytecode: bool = True) -> list[Path]:
    """What goes on the path of a process in which *subject*, ours or a contender, answers *endpoint*.

    `import app` then finds its code. Ours has the bytecode that `sam build` gives it in any case.
    """
    if subject == OURS:
        return [function(endpoint), layer()]
    found = packages(with_bytecode=with_bytecode)
    return [found.parent / subject, found]


def environment(path: Sequence[Path]) -> dict[str, str]:
    """All that a measured process finds in its environment, much as Lambda sets it; nothing of the developer's."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_SESSION_TOKEN": "testing",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{VERSION}",
        "AWS_LAMBDA_FUNCTION_NAME": "measured",
        "ALLOWED_ORIGIN": "*",
        "DOCUMENTATION_URL": "https://protocol.chat/docs/errors",
        "POWERTOOLS_SERVICE_NAME": "conversations",
        "POWERTOOLS_METRICS_NAMESPACE": "conversations",
        "CONVERSATIONS_TABLE_NAME": "conversations",
        "MESSAGES_TABLE_NAME": "messages",
        "DEAD_LETTERS_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/dead-letters",
    }


@functools.cache
def _build() -> None:
    with _alone():
        sources = _digest(ROOT / "template.yaml", ROOT / "layers", ROOT / "functions")
        if _is_made(_BUILD, sources):
            return
        command: list[str | Path] = [SAM, "build", "--build-dir", _BUILD, "--cache-dir", _TOOLS / "bench-cache"]
        search = f"{UV.parent}{os.pathsep}{of_build().get('PATH', '')}"
        settings = {"PATH": search, "LAYER_PYTHON": str(python()), "SAM_CLI_TELEMETRY": "0"}
        _run([*command, "--config-file", ROOT / "samconfig.toml", "--config-env", "local"], of_build() | settings)
        (_BUILD / "sources").write_text(sources)


@functools.cache
def _install() -> None:
    with _alone():
        sources = _digest(_LOCK, _CODE)
        if _is_made(_COMPILED, sources):
            _check_untouched()
            return
        for folder in (_PLAIN, _COMPILED):
            shutil.rmtree(folder, ignore_errors=True)
        for name in FRAMEWORKS:
            (_PLAIN / name).mkdir(parents=True)
            for source in (_CODE / name / "app.py", _CODE / "table.py"):
                shutil.copy(source, _PLAIN / name)
        # Copies: through links into uv's cache, what changes a package elsewhere would change the frameworks.
        install: list[str | Path] = [UV, "pip", "install", "--quiet", "--no-config", "--link-mode", "copy"]
        install += ["--python", python(), "--target", _PLAIN / "packages"]
        _run([*install, "--require-hashes", "-r", _LOCK], of_build())
        shutil.copytree(_PLAIN, _COMPILED)
        # As our own Makefiles compile.
        compile_all = ["-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
        _run([python(), *compile_all, *(_COMPILED / name for name in ("packages", *FRAMEWORKS))], of_build())
        _check_untouched()
        (_COMPILED / "sources").write_text(sources)


def _check_untouched() -> None:
    """Raises `Failure` where a contender's package is not as it was published, which would falsify every ratio."""
    for folder in (_PLAIN, _COMPILED):
        for distribution in distributions(path=[str(folder / "packages")]):
            for file in distribution.files or ():
                # Scripts are written by the installer, whose interpreter stands in them.
                if file.hash is None or ".." in file.parts or file.parts[0] == "bin":
                    continue
                digest = hashlib.new(file.hash.mode, file.read_binary()).digest()
                if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value:
                    raise Failure(f"{file} is not as {distribution.name} was published: remove {_PLAIN.parent}.")


def _is_made(folder: Path, sources: str) -> bool:
    made_of = folder / "sources"
    return made_of.exists() and made_of.read_text() == sources


def _digest(*sources: Path) -> str:
    digest = hashlib.sha256(f"{python()} {VERSION}".encode())
    for source in sources:
        files = [source] if source.is_file() else sorted(source.rglob("*"))
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


@contextmanager
def _alone() -> Iterator[None]:
    _TOOLS.mkdir(exist_ok=True)
    with (_TOOLS / "bench-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: Sequence[str | Path], environment: dict[str, str]) -> None:
    log = _TOOLS / "bench.log"
    with log.open("wb") as output:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
            timeout=900,
        )
    if done.returncode:
        raise Failure(f"`{Path(command[0]).name} {command[1]}` failed: {log} says why.")


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, env=of_build(), capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
