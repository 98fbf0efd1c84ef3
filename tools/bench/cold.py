"""Cold starts: what a fresh execution environment spends before its first answer is out, ours and the frameworks'."""

import functools
import json
import os
import random
import re
import select
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from matplotlib.figure import Figure
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.bench import built, events, responses
from tools.local.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress

    # Of each subject, by endpoint.
    Figures = dict[str, dict[str, float]]
    Samples = dict[str, dict[str, list[float]]]

TITLE = "Cold starts"

NAMES = {
    "baseline": "baseline",
    "powertools": "Powertools resolver",
    "fastapi": "FastAPI + Mangum",
    "chalice": "Chalice",
    built.OURS: "ours",
}
_COLOURS = {"powertools": "#9aa5b1", "fastapi": "#c3cad2", "chalice": "#6b7785", built.OURS: "#d9480f"}

_PROGRAM = Path(__file__).with_name("network.py")
_ROUNDS = 9
_FEWEST = 2
_SECONDS = 55.0
# Compiling everything takes so long that two endpoints have to do.
_ROUNDS_AS_BUILT = 3
_ENDPOINTS_AS_BUILT = ("list_conversations", "create_conversation")
_SECONDS_AS_BUILT = 20.0
# What CPython adapts to is over by then.
_WARM_UP, _COUNTED = 30, 80
_PATIENCE_SECONDS = 60
_MEBIBYTE = 2**20
_TARGET, _TARGET_MIB = 1.0, 15

_WHAT = """\
CPU time of a fresh process from just before `import app` until its first answer, and how that compares to the *baseline*:
a handler of plain boto3 and json that validates nothing. DynamoDB is stubbed below botocore, so sockets and TLS are not
in it, nor is the start of Python. The frameworks answer the same five calls, each as one Lambda with the low-level
client, which favours them: boto3's `Table` is slower. Powertools, with Logger and Metrics, and FastAPI validate bodies
and queries by Pydantic models, but not their responses. All of them do less than ours: no forms, filters, conditional
requests, idempotency keys or `Link`; and where they delete by one DeleteItem, ours makes a transaction that also orders
the messages to be purged."""
_AS_BUILT = """\
As `sam build` leaves them: ours has its bytecode then, the frameworks have none and are compiled at each cold start."""
_INSTRUCTIONS = """\
Instructions executed in the same span, all with bytecode, as valgrind counts them: within a thousandth the same in
every run, whatever else the machine does, but not all of them take equally long."""
_SIZES = """\
Unzipped size: of function and layer for ours, bytecode included, of code and packages without bytecode for the
frameworks. Those have a boto3 of their own, as ours has a botocore, since Lambda's documentation advises not to rely on
Lambda's."""


class Called(NamedTuple):
    """How some calls went: CPU seconds of all of them, and their requests to DynamoDB."""

    seconds: float
    requests: list[str]


class Process:
    """A fresh process in which *subject*, ours or a contender, is to answer *event*, a request to *endpoint*.

    Every answer is checked; a wrong one, or none, raises `Failure`.
    """

    def __init__(
        self, subject: str, endpoint: str, event: dict[str, Any] | None = None, *, with_bytecode: bool = True
    ) -> None:
        """Starts it; nothing of the function is imported yet. *event* is the plain one of *endpoint* by default."""
        self._subject, self._endpoint = subject, endpoint
        path = built.path(subject, endpoint, with_bytecode=with_bytecode)
        # A pipe would stop the process once it is full.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by __exit__
        self._process = subprocess.Popen(
            [built.python(), "-P", _PROGRAM],
            env=built.environment(path),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._send(_setup(endpoint, event))

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def first(self) -> Called:
        """Imports the function and calls it once."""
        return self._ordered("first")

    def call(self, times: int) -> Called:
        """Calls it again, so many *times*."""
        return self._ordered(str(times))

    def _ordered(self, tombstone: str) -> Called:
        self._send(f"{tombstone}\n")
        assert self._process.stdout  # noqa: S101 - for mypy
        answers_in_time, _, _ = select.select([self._process.stdout], [], [], _PATIENCE_SECONDS)
        told = self._process.stdout.readline() if answers_in_time else ""
        if not told:
            self._errors.seek(0)
            raise Failure(f"{NAMES[self._subject]} failed at {self._endpoint}: {self._errors.read().strip()[-2000:]}")
        found = json.loads(told)
        if not _is_right(self._endpoint, found["answer"]):
            raise Failure(f"{NAMES[self._subject]} gave a wrong answer to {self._endpoint}: {found['answer']}")
        return Called(found["seconds"], found["requests"])

    def _send(self, text: str) -> None:
        assert self._process.stdin  # noqa: S101 - for mypy
        self._process.stdin.write(text)
        self._process.stdin.flush()


class Instructions(NamedTuple):
    """Instructions that a subject executes: of import and first call, and of a later call."""

    cold: int
    warm: float


@functools.cache
def instructions(subject: str, endpoint: str) -> Instructions:
    """As valgrind counts them, which hardly differs from one time to the next. Raises `Failure`."""
    tombstones = f"mark\nfirst\nmark\n{_WARM_UP}\nmark\n{_COUNTED}\nmark\n"
    counted = subprocess.run(
        [
            *("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"),
            *(built.python(), "-P", _PROGRAM),
        ],
        env=built.environment(built.path(subject, endpoint)) | {"PYTHONHASHSEED": "0"},
        input=_setup(endpoint) + tombstones,
        capture_output=True,
        text=True,
        check=False,
        timeout=10 * _PATIENCE_SECONDS,
    )
    marks = [int(count.replace(",", "")) for count in re.findall(r"I\s+refs:\s+([\d,]+)", counted.stderr)]
    if counted.returncode or len(marks) < 4:
        raise Failure(f"valgrind failed with {NAMES[subject]} at {endpoint}: {counted.stderr.strip()[-2000:]}")
    begun, answered, warm, ended = marks[:4]
    return Instructions(answered - begun, (ended - warm) / _COUNTED)


def counted(subjects: Collection[str], progress: "Progress") -> dict[str, dict[str, Instructions]] | None:
    """The `instructions` of *subjects* at the five endpoints; None on a machine without valgrind."""
    if not shutil.which("valgrind"):
        return None
    pairs = [(subject, endpoint) for endpoint in events.ENDPOINTS for subject in subjects]
    task = progress.add_task("counting instructions", total=len(pairs))
    found: dict[str, dict[str, Instructions]] = {subject: {} for subject in subjects}
    # Counting is not disturbed by what runs beside it.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        for (subject, endpoint), counts in zip(
            pairs, threads.map(lambda pair: instructions(*pair), pairs), strict=True
        ):
            found[subject][endpoint] = counts
            progress.advance(task)
    progress.remove_task(task)
    return found


def measure(progress: "Progress", *, quick: bool) -> dict[str, Any]:
    """Milliseconds of CPU time of each sample, instructions of baseline and ours, sizes in bytes."""
    built.layer()
    built.packages()
    rounds, seconds = (1, 0.0) if quick else (_ROUNDS, _SECONDS)
    with_bytecode = _samples(events.ENDPOINTS, rounds, seconds, progress, with_bytecode=True)
    as_built: Samples = {}
    if not quick:
        as_built = _samples(_ENDPOINTS_AS_BUILT, _ROUNDS_AS_BUILT, _SECONDS_AS_BUILT, progress, with_bytecode=False)
    counts = None if quick else counted(("baseline", built.OURS), progress)
    return {
        "with_bytecode": with_bytecode,
        "as_built": as_built,
        "instructions": counts
        and {subject: {name: count.cold for name, count in found.items()} for subject, found in counts.items()},
        "sizes": {subject: _size(subject) for subject in NAMES},
        "layer_size": _size_below(built.layer().parent),
    }


def table(found: dict[str, Any]) -> str:
    """The section of the report."""
    parts = [
        _WHAT,
        f"All with bytecode. {_kind(found['with_bytecode'])}",
        sample_table(found["with_bytecode"], "ms"),
    ]
    if found["as_built"]:
        parts += [f"{_AS_BUILT} {_kind(found['as_built'])}", sample_table(found["as_built"], "ms")]
    if found["instructions"]:
        parts += [_INSTRUCTIONS, ratio_table(_millions(found["instructions"]), "M")]
    else:
        parts.append("Instructions were not counted: that takes valgrind, and a quick run goes without.")
    sizes = [f"| {_titled(subject)} | {size / _MEBIBYTE:.1f} |" for subject, size in found["sizes"].items()]
    parts += [_SIZES, "\n".join(["| | MiB |", "|---|---:|", *sizes])]
    return "\n\n".join(parts)


def targets(found: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Name, what was reached, and whether that is enough."""
    mean = geometric_mean(medians(found["with_bytecode"]), built.OURS)
    layer = found["layer_size"] / _MEBIBYTE
    reached = [
        (f"cold start, baseline = 1, at most {_TARGET:.1f}", f"{mean:.2f}", mean <= _TARGET),
        (f"layer, unzipped, at most {_TARGET_MIB} MiB", f"{layer:.1f} MiB", layer <= _TARGET_MIB),
    ]
    if found["instructions"]:
        count = geometric_mean(found["instructions"], built.OURS)
        name = f"cold start in instructions, baseline = 1, at most {_TARGET:.1f}"
        reached.insert(1, (name, f"{count:.2f}", count <= _TARGET))
    return reached


def plot(found: dict[str, Any], folder: Path) -> list[str]:
    """Bars of the ratios, with bytecode and as built."""
    title = "Cold start: CPU time of import and first call"
    bars(medians(found["with_bytecode"]), f"{title}, with bytecode", folder / "cold.png")
    if not found["as_built"]:
        return ["cold.png"]
    bars(medians(found["as_built"]), f"{title}, as sam build leaves them", folder / "cold_as_built.png")
    return ["cold.png", "cold_as_built.png"]


def medians(samples: "Samples") -> "Figures":
    """The median of each list of samples."""
    return _each(statistics.median, samples)


def ratios(figures: "Figures", subject: str) -> dict[str, float]:
    """What *subject* takes at each endpoint where the baseline takes 1."""
    return {endpoint: figure / figures["baseline"][endpoint] for endpoint, figure in figures[subject].items()}


def geometric_mean(figures: "Figures", subject: str) -> float:
    """The geometric mean of the `ratios` over the endpoints."""
    return statistics.geometric_mean(ratios(figures, subject).values())


def ratio_table(figures: "Figures", unit: str) -> str:
    """Markdown: ratios to the baseline, with the figures themselves in parentheses."""
    subjects = list(figures)
    lines = [f"| | {' | '.join(_titled(subject) for subject in subjects)} |", f"|---|{'---:|' * len(subjects)}"]
    for endpoint in figures["baseline"]:
        cells = [f"{ratios(figures, name)[endpoint]:.2f} ({figures[name][endpoint]:,.0f} {unit})" for name in subjects]
        lines.append(f"| {_words(endpoint)} | {' | '.join(cells)} |")
    return "\n".join([*lines, _mean_row("geometric mean", figures)])


def sample_table(samples: "Samples", unit: str) -> str:
    """The `ratio_table` of medians, and the mean ratio of the fastest samples, which noise reaches least."""
    fastest = _each(min, samples)
    return f"{ratio_table(medians(samples), unit)}\n{_mean_row('of the fastest samples', fastest)}"


def bars(figures: "Figures", title: str, file: Path) -> None:
    """Draws the ratios of all but the baseline, which is a line, by endpoint and in the mean."""
    subjects = [name for name in figures if name != "baseline"]
    groups = [*map(_words, figures["baseline"]), "geometric mean"]
    drawing = Figure(figsize=(9, 4.5), layout="constrained")
    axes = drawing.subplots()
    width = 0.8 / len(subjects)
    for place, subject in enumerate(subjects):
        heights = [*ratios(figures, subject).values(), geometric_mean(figures, subject)]
        lefts = [group + (place - (len(subjects) - 1) / 2) * width for group in range(len(groups))]
        drawn = axes.bar(lefts, heights, width * 0.94, label=NAMES[subject], color=_COLOURS[subject], zorder=2)
        labels = axes.bar_label(drawn, fmt="%.2f", fontsize=8, padding=2)
        for label in labels:
            # Before the line.
            label.set(zorder=4, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6})
    axes.axhline(1, color="black", linewidth=1.2, zorder=3, label=f"{NAMES['baseline']} = 1")
    axes.set_xticks(range(len(groups)), groups)
    axes.set_title(f"{title} (baseline = 1, less is better)", fontsize=12, loc="left")
    axes.grid(axis="y", color="#e5e8eb", zorder=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)
    axes.margins(y=0.12)
    drawing.legend(loc="outside lower center", ncols=len(subjects) + 1, frameon=False)
    drawing.savefig(file, dpi=200)


def _samples(
    endpoints: Collection[str], rounds: int, seconds: float, progress: "Progress", *, with_bytecode: bool
) -> "Samples":
    """Milliseconds of each sample. So many *rounds*, or what fits into *seconds*."""
    taken: Samples = {subject: {name: [] for name in endpoints} for subject in NAMES}
    pairs = [(subject, endpoint) for subject in NAMES for endpoint in endpoints]
    kind = "with bytecode" if with_bytecode else "as built"
    task = progress.add_task(f"cold starts {kind}", total=rounds * len(pairs))
    end = time.monotonic() + seconds
    for number in range(rounds):
        if number >= _FEWEST and time.monotonic() > end:
            break
        # A moment in which the machine is busy with something else hits all alike.
        random.shuffle(pairs)
        for subject, endpoint in pairs:
            with Process(subject, endpoint, with_bytecode=with_bytecode) as process:
                taken[subject][endpoint].append(round(process.first().seconds * 1000, 2))
            progress.advance(task)
    progress.remove_task(task)
    return taken


def _setup(endpoint: str, event: dict[str, Any] | None = None) -> str:
    given = responses.of_messages(endpoint) if endpoint in events.OF_MESSAGES else responses.of_conversations()
    setup = {
        "event": event or events.event(endpoint),
        "responses": {name: (responses.headers(content), content.decode()) for name, content in given.items()},
    }
    return f"{json.dumps(setup)}\n"


def _is_right(endpoint: str, response: dict[str, Any]) -> bool:
    status = {"create": 201, "delete": 204}.get(endpoint.partition("_")[0], 200)
    if response["statusCode"] != status:
        return False
    if status == 204:
        return not response["body"]
    body = json.loads(response["body"])
    if endpoint == "list_conversations":
        page = [responses.shown(id) for id in responses.page_ids(responses.CONVERSATION_ID)]
        return bool(body == {"has_more": False, "data": page})
    if endpoint == "create_conversation":
        chosen = {"id": body["id"], "created_at": body["created_at"]}
        as_new = {"is_pinned": False, "last_active_at": None, "last_opened_at": None}
        return bool(body == responses.shown() | as_new | chosen)
    return endpoint in events.OF_MESSAGES or bool(body == responses.shown())


def _each(figure: "Callable[[list[float]], float]", samples: "Samples") -> "Figures":
    return {
        subject: {endpoint: figure(sample) for endpoint, sample in cells.items()} for subject, cells in samples.items()
    }


def _mean_row(title: str, figures: "Figures") -> str:
    means = [f"**{geometric_mean(figures, subject):.2f}**" for subject in figures]
    return f"| **{title}** | {' | '.join(means)} |"


def _kind(samples: "Samples") -> str:
    """What a figure is of its *samples*, and how far these lie apart."""
    cells = [sample for by_endpoint in samples.values() for sample in by_endpoint.values()]
    if len(cells[0]) < _FEWEST:
        return "One sample each."
    spreads = []
    for cell in cells:
        lower, middle, upper = statistics.quantiles(cell, n=4)
        spreads.append((upper - lower) / middle)
    return (
        f"Medians of {len(cells[0])} samples, which were taken in turns; the middle half of them typically spans"
        f" {statistics.median(spreads):.0%}."
    )


def _size(subject: str) -> int:
    """Bytes of what would be unzipped to answer `create_conversation`."""
    if subject == built.OURS:
        return sum(map(_size_below, (built.function("create_conversation"), built.layer().parent)))
    code, packages = built.path(subject, "create_conversation", with_bytecode=False)
    roots = {
        "baseline": {"boto3"},
        "powertools": {"aws-lambda-powertools", "boto3", "pydantic"},
        "fastapi": {"boto3", "fastapi", "mangum"},
        "chalice": {"boto3"},
    }
    size = _size_below(code) + _size_of(roots[subject], packages)
    if subject == "chalice":
        # It deploys these two files of itself; the rest is for its command line.
        size += sum((packages / "chalice" / name).stat().st_size for name in ("__init__.py", "app.py"))
    return size


def _size_of(wanted: set[str], packages: Path) -> int:
    """Bytes of the *wanted* distributions and of all that these require."""
    known = {canonicalize_name(found.name): found for found in distributions(path=[str(packages)])}
    pending = {canonicalize_name(name) for name in wanted}
    reached = set[str]()
    size = 0
    while pending:
        name = pending.pop()
        reached.add(name)
        size += sum(
            Path(str(file.locate())).stat().st_size for file in known[name].files or () if ".." not in file.parts
        )
        for line in known[name].requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate(
                {"extra": "", "python_version": built.VERSION}
            ):
                pending.add(canonicalize_name(requirement.name))
        pending -= reached
    return size


def _size_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _millions(counts: Mapping[str, Mapping[str, float]]) -> "Figures":
    return {subject: {name: count / 1e6 for name, count in found.items()} for subject, found in counts.items()}


def _titled(subject: str) -> str:
    return f"**{NAMES[subject]}**" if subject == built.OURS else NAMES[subject]


def _words(endpoint: str) -> str:
    return endpoint.removesuffix("_conversation").removesuffix("_conversations")
