"""What an environment of Lambda takes to start and to answer: its own runtime client under its own emulator."""

import http.client
import itertools
import json
import os
import platform
import re
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from matplotlib.figure import Figure

from tools.bench import built, events, fake_dynamodb
from tools.local.environment import HOST, SAM
from tools.local.failure import Failure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.progress import Progress

TITLE = "Init and billed duration"

MEMORY_MB = 512
_SUBJECTS = (built.OURS, "baseline", "powertools")
_NAMES = {built.OURS: "ours", "baseline": "baseline", "powertools": "Powertools"}
_COLOURS = {built.OURS: "tab:blue", "baseline": "tab:grey", "powertools": "tab:orange"}
# Lambda gives a whole processor to this much memory, and to less in proportion.
_MB_OF_ONE_PROCESSOR = 1769
_PERIOD_US = 20_000
_PROCESSOR_GROUPS = Path("/sys/fs/cgroup/cpu")
# Under the quota, where everything takes more than three times as long.
_SLOW_ENDPOINTS = ("list_conversations",)

_TARGET = 1.0

_ROUNDS, _CALLS = 5, 20
# After so long no more rounds than these, with a whole processor and again with less.
_KIND_SECONDS, _FEWEST = 30.0, 3

_SECONDS = 30
# What the client consists of, in the frameworks' packages. Lambda has it outside of layer and function, too.
_CLIENT = ("awslambdaric", "runtime_client*", "simplejson", "snapshot_restore_py*")
_INIT = re.compile(r"INIT REPORT\(durationMs: ([\d.]+)\)")
_DONE = re.compile(r"INVOKE RTDONE\(status: success, .*?duration: ([\d.]+)ms\)")
_BILLED = re.compile(r"REPORT RequestId: .*?Billed Duration: (\d+) ms")
_LABELS = {
    "init_ms": "init",
    "first_ms": "first invocation",
    "first_billed_ms": "billed for both",
    "warm_ms": "warm invocation",
    "warm_billed_ms": "billed for it",
}


class _Run(NamedTuple):
    """The life of one environment, in milliseconds."""

    init: float
    durations: list[float]
    # Of the first invocation, with init.
    billed: list[int]


class _Emulator(NamedTuple):
    """What an environment is made of besides the function."""

    program: Path
    # What rations its processor.
    prefix: Sequence[str]
    # What it puts its own client on the path with.
    client: Path
    authority: Path
    database: fake_dynamodb.StandIn
    folder: Path
    warm_calls: int


def measure(progress: "Progress", *, quick: bool) -> dict[str, Any]:
    """By `unlimited` or `limited` processor, endpoint and subject: init, first and warm invocations in milliseconds.

    `left_out` says why there is nothing, or None; `limited` is None where this machine cannot ration its processor.
    """
    rounds, calls = (1, 10) if quick else (_ROUNDS, _CALLS)
    found: dict[str, Any] = {
        "left_out": None,
        "memory_mb": MEMORY_MB,
        "delay_ms": fake_dynamodb.DELAY_SECONDS * 1000,
        "rounds": {},
        "warm_calls": calls,
        "unlimited": None,
        "limited": None,
    }
    program = _emulator()
    if isinstance(program, str):
        return found | {"left_out": program}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        client = _client(folder)
        if isinstance(client, str):
            return found | {"left_out": client}
        authority, key = certificate(folder)
        with fake_dynamodb.running(certificate=authority, key=key) as database, quota(MEMORY_MB) as limit:
            slow = () if quick or limit is None else _SLOW_ENDPOINTS
            total = rounds * len(_SUBJECTS) * (len(events.ENDPOINTS) + len(slow))
            task = progress.add_task("Environments under Lambda's emulator", total=total)
            for kind, endpoints, prefix in (("unlimited", events.ENDPOINTS, []), ("limited", slow, limit)):
                if endpoints and prefix is not None:
                    emulator = _Emulator(program, prefix, client, authority, database, folder, calls)
                    runs = _rounds(emulator, endpoints, rounds, lambda: progress.advance(task))
                    found["rounds"][kind] = min(map(len, runs.values()))
                    found[kind] = {
                        endpoint: {subject: _summary(runs[endpoint, subject]) for subject in _SUBJECTS}
                        for endpoint in endpoints
                    }
            if database.counts().errors:
                raise Failure(f"The stand-in for DynamoDB counts {database.counts().errors} errors.")
    return found


@contextmanager
def quota(memory_mb: int) -> Iterator[list[str] | None]:
    """What to put before a command so that it gets the processor of a Lambda function with so much memory.

    None where this machine does not ration processors: that takes root, and Linux control groups of version 1. What was
    started in it has to have ended with the block.
    """
    group = _PROCESSOR_GROUPS / f"bench-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        yield None
        return
    try:
        (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(_PERIOD_US * memory_mb // _MB_OF_ONE_PROCESSOR))
        yield ["/bin/sh", "-c", f'echo $$ > {group / "tasks"} && exec "$@"', "sh"]
    finally:
        # Those that were killed may take a moment to leave.
        for _ in range(50):
            with suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.1)


def _emulator() -> Path | str:
    """The emulator, which ships with sam; or why there is none."""
    architecture = {"aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), platform.machine())
    name = f"lib/python3.*/site-packages/samcli/local/rapid/aws-lambda-rie-{architecture}"
    found = list(SAM.parent.parent.glob(name))
    if platform.system() != "Linux" or not found:
        return f"Lambda's emulator does not run on {platform.system()} with {platform.machine()}."
    return found[0]


def _client(folder: Path) -> Path | str:
    """A folder with the client and nothing else, for the end of the path; or why there is none."""
    client = folder / "client"
    client.mkdir()
    for pattern in _CLIENT:
        for part in built.packages().glob(pattern):
            (client / part.name).symlink_to(part)
    asked: list[str | Path] = [built.python(), "-c", "import awslambdaric.bootstrap, runtime_client"]
    done = subprocess.run(asked, env=built.environment([client]), capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2]
        return f"Lambda's runtime interface client cannot be imported by {built.python()}: {reason}"
    return client


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for the stand-in, and its key."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stand-in")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


def _rounds(
    emulator: _Emulator, endpoints: Sequence[str], most: int, advance: Callable[[], object]
) -> dict[tuple[str, str], list[_Run]]:
    """The environments of each endpoint and subject, in turn: whatever else this machine does slows all of them."""
    runs: dict[tuple[str, str], list[_Run]] = {}
    end = time.monotonic() + _KIND_SECONDS
    for done in range(most):
        for endpoint, subject in itertools.product(endpoints, _SUBJECTS):
            if done < _FEWEST or time.monotonic() < end:
                runs.setdefault((endpoint, subject), []).append(_live(emulator, subject, endpoint))
            advance()
    return runs


def _live(emulator: _Emulator, subject: str, endpoint: str) -> _Run:
    """One environment from its init, through its first invocation and warm ones, to its end."""
    invocations = 1 + emulator.warm_calls
    path = built.path(subject, endpoint)
    ports = _free_ports()
    addresses = [f"{HOST}:{port}" for port in ports]
    environment = built.environment([*path, emulator.client]) | {
        "AWS_ENDPOINT_URL_DYNAMODB": emulator.database.url,
        "AWS_CA_BUNDLE": str(_authorities(path, emulator.authority, emulator.folder / f"{subject}.pem")),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(MEMORY_MB),
        "AWS_LAMBDA_FUNCTION_TIMEOUT": "25",
    }
    listen = ["--runtime-interface-emulator-address", addresses[0], "--runtime-api-address", addresses[1]]
    log = emulator.folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [emulator.program, *listen, *emulator.prefix, built.python(), "-m", "awslambdaric", "app.handler"],
            cwd=emulator.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        for response in _invoke(ports[0], events.event(endpoint), invocations):
            if response.get("statusCode") not in (200, 201, 204):
                raise Failure(f"{subject} answered {endpoint} with {json.dumps(response)[:500]}")
    except (OSError, ValueError, http.client.HTTPException) as error:
        process.kill()
        raise Failure(f"The environment of {subject} failed at {endpoint}: {error!r}. {_last_lines(log)}") from error
    finally:
        _end(process)
    return _read(log, invocations)


def _authorities(path: Sequence[Path], authority: Path, bundle: Path) -> Path:
    """What botocore would trust, and the stand-in as well: reading all of that is part of a first call."""
    (trusted,) = (folder / "botocore/cacert.pem" for folder in path if (folder / "botocore").exists())
    bundle.write_bytes(trusted.read_bytes() + b"\n" + authority.read_bytes())
    return bundle


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind((HOST, 0))
        other.bind((HOST, 0))
        return one.getsockname()[1], other.getsockname()[1]


def _invoke(port: int, event: Mapping[str, Any], times: int) -> Iterator[dict[str, Any]]:
    """What the function responses to *event*, each of so many *times*."""
    connection = http.client.HTTPConnection(HOST, port, timeout=_SECONDS)
    deadline = time.monotonic() + _SECONDS
    while True:
        try:
            connection.connect()
            break
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    try:
        content = json.dumps(event)
        for _ in range(times):
            connection.request("POST", "/2015-03-31/functions/function/invocations", content)
            yield json.loads(connection.getresponse().read())
    finally:
        connection.close()


def _end(process: "subprocess.Popen[bytes]") -> None:
    # Asked to, it ends the function's process, too, which it starts in a group of its own.
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_SECONDS)
    finally:
        process.kill()
        process.wait()


def _last_lines(log: Path) -> str:
    return " ".join(log.read_text(errors="replace").splitlines()[-5:])


def _read(log: Path, invocations: int) -> _Run:
    text = log.read_text(errors="replace")
    run = _Run(
        float(_INIT.findall(text)[0]),
        [float(duration) for duration in _DONE.findall(text)],
        [int(duration) for duration in _BILLED.findall(text)],
    )
    if (len(run.durations), len(run.billed)) != (invocations, invocations):
        raise Failure(f"Lambda's emulator reports {len(run.durations)} of {invocations} invocations.")
    return run


def _summary(runs: Sequence[_Run]) -> dict[str, float]:
    """Medians over environments, and of the warm invocations of all of them; what is billed warm is the mean."""
    figures = (
        statistics.median(run.init for run in runs),
        statistics.median(run.durations[0] for run in runs),
        statistics.median(run.billed[0] for run in runs),
        statistics.median(duration for run in runs for duration in run.durations[1:]),
        statistics.fmean(billed for run in runs for billed in run.billed[1:]),
    )
    return dict(zip(_LABELS, figures, strict=True))


def table(found: dict[str, Any]) -> str:
    """How it was measured, and the figures beside those of the others."""
    if found["left_out"]:
        return f"Left out. {found['left_out']}"
    memory, everywhere, limited = found["memory_mb"], found["unlimited"], found["limited"]
    share = f"{memory} / {_MB_OF_ONE_PROCESSOR} of a processor"
    rounds = found["rounds"]
    described = (
        "Lambda's own runtime interface client under Lambda's runtime interface emulator, without Docker or SnapStart. "
        f"Each environment is started, called once and then {found['warm_calls']} times; of each function there are "
        f"{rounds['unlimited']}. DynamoDB is a stand-in over TLS that responses after {found['delay_ms']:g} ms. Init "
        "begins with the Python process. Cold, init and first invocation are billed, in whole milliseconds. The "
        "figures are medians, but means of what is billed warm; ratios are geometric means over the functions."
    )
    parts = [
        described,
        "With a whole processor, since there is no quota here:",
        _comparison(everywhere),
        _by_endpoint(everywhere),
    ]
    if limited:
        rationed = (
            f"`{'`, `'.join(limited)}`, {rounds['limited']} environments, with {share}, which is what Lambda gives to "
            f"{memory} MB, by a quota per {_PERIOD_US // 1000} ms. Init has no more than that here; Lambda may give it "
            "more, but does not say so."
        )
        parts += [rationed, _comparison(limited)]
    else:
        parts.append(
            f"Lambda gives {share} to {memory} MB. No quota was set here, so all that is not waiting takes up to "
            f"{_MB_OF_ONE_PROCESSOR / memory:.1f} times as long there."
        )
    return "\n\n".join(parts)


def _comparison(found: dict[str, Any]) -> str:
    lines = [
        "| | ours / baseline | Powertools / baseline | ours, ms | baseline, ms | Powertools, ms |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for figure, label in _LABELS.items():
        ratios = [f"{_ratio(found, subject, figure):.2f}" for subject in (built.OURS, "powertools")]
        lines.append(
            f"| {label} | {' | '.join(ratios + [f'{_mean(found, name, figure):.1f}' for name in _SUBJECTS])} |"
        )
    return "\n".join(lines)


def _by_endpoint(found: dict[str, Any]) -> str:
    lines = [
        "| | cold: ours / baseline | Powertools / baseline | ours, ms | warm: ours / baseline | Powertools / baseline | ours, ms |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for endpoint, figures in found.items():
        cells = []
        for figure in ("first_billed_ms", "warm_ms"):
            baseline = figures["baseline"][figure]
            cells += [f"{figures[subject][figure] / baseline:.2f}" for subject in (built.OURS, "powertools")]
            cells.append(f"{figures[built.OURS][figure]:.1f}")
        lines.append(f"| `{endpoint}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def targets(found: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Name, what was reached, and whether that is enough."""
    reached = []
    for kind, processor in (("unlimited", ""), ("limited", f", with the processor of {found['memory_mb']} MB")):
        if not found[kind]:
            continue
        for figure, what in (("first_billed_ms", "init and first invocation"), ("warm_ms", "warm invocation")):
            ratio = _ratio(found[kind], built.OURS, figure)
            reached.append(
                (f"{what}{processor}, baseline = 1, at most {_TARGET:.1f}", f"{ratio:.2f}", ratio <= _TARGET)
            )
    return reached


def _ratio(found: dict[str, Any], subject: str, figure: str) -> float:
    """To baseline, as the geometric mean over the endpoints."""
    return statistics.geometric_mean(
        figures[subject][figure] / figures["baseline"][figure] for figures in found.values()
    )


def _mean(found: dict[str, Any], subject: str, figure: str) -> float:
    return statistics.fmean(figures[subject][figure] for figures in found.values())


def plot(found: dict[str, Any], folder: Path) -> list[str]:
    """Init and first invocation on top of each other, and warm invocations, for each subject and endpoint."""
    if found["left_out"]:
        return []
    kinds = [kind for kind in ("unlimited", "limited") if found[kind]]
    heights = [1 + len(found[kind]) for kind in kinds]
    figure = Figure(figsize=(9, 0.75 * sum(heights)), layout="constrained")
    rows = figure.subplots(len(kinds), 2, squeeze=False, gridspec_kw={"height_ratios": heights})
    for kind, (cold, warm) in zip(kinds, rows, strict=True):
        _draw(cold, found[kind], "init_ms", "first_ms")
        _draw(warm, found[kind], "warm_ms")
        warm.axvline(found["delay_ms"], color="black", linestyle=":", label="of which DynamoDB takes")
        processor = "a whole processor" if kind == "unlimited" else f"the processor of {found['memory_mb']} MB"
        cold.set_title(f"Cold, with {processor}: init, first call (paler)", fontsize=10)
        warm.set_title(f"Warm, with {processor}", fontsize=10)
    figure.legend(*rows[0][1].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
    figure.savefig(folder / "runtime.png", dpi=120)
    return ["runtime.png"]


def _draw(axes: "Axes", found: dict[str, Any], below: str, above: str | None = None) -> None:
    """A bar for each subject at each endpoint, the first on top; *above* is drawn paler, where *below* ends."""
    endpoints = list(found)
    height = 0.8 / len(_SUBJECTS)
    for offset, subject in enumerate(_SUBJECTS):
        places = [place + (offset - 1) * height for place in range(len(endpoints))]
        starts = [found[endpoint][subject][below] for endpoint in endpoints]
        label = _NAMES[subject]
        axes.barh(places, starts, height, color=_COLOURS[subject], label=label)
        if above:
            ends = [found[endpoint][subject][above] for endpoint in endpoints]
            axes.barh(places, ends, height, left=starts, color=_COLOURS[subject], alpha=0.5)
    axes.set_yticks(range(len(endpoints)), [endpoint.replace("_", "\n") for endpoint in endpoints], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds")
    axes.grid(axis="x", alpha=0.3)
