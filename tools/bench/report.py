"""What all parts of the report share: its data, statistics, tables and plots."""

import os
import platform
import re
import statistics
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib.figure import Figure

from tools.bench import targets
from tools.bench.samples import ENDPOINTS
from tools.bench.targets import BASELINE, NAMES, OURS

if TYPE_CHECKING:
    from rich.progress import Progress

# A figure of each target, by endpoint; and the samples of which it is the median.
Figures = Mapping[str, Mapping[str, float]]
Samples = Mapping[str, Mapping[str, list[float]]]

_VERSIONS = ("botocore", "boto3", "pydantic", "aws-lambda-powertools", "fastapi", "mangum", "chalice", "awslambdaric")
_COLOURS = {BASELINE: "#c3cad2", "powertools": "#868e96", "fastapi": "#9aa5b1", "chalice": "#495057", OURS: "#d9480f"}


class Goal(NamedTuple):
    """A target value of the project, what was measured instead, and under which condition."""

    measure: str
    condition: str
    target: str
    measured: str
    is_reached: bool


class Section(NamedTuple):
    """The section of one part: its Markdown and its goals."""

    text: str
    goals: list[Goal]


@dataclass
class Run:
    """One run of the benchmarks. Parts leave in *figures* what later parts need."""

    progress: "Progress"
    folder: Path
    quick: bool
    figures: dict[str, Any] = field(default_factory=dict)


def samples(names: Iterable[str]) -> dict[str, dict[str, list[float]]]:
    """Returns an empty list of samples for each target and endpoint."""
    return {target: {endpoint: [] for endpoint in ENDPOINTS} for target in names}


def at_most(measure: str, condition: str, target: float, measured: float) -> Goal:
    """Returns a goal with an upper bound."""
    return Goal(measure, condition, f"≤ {target:g}", f"{measured:.2f}", round(measured, 2) <= target)


def medians(samples: Samples) -> Figures:
    """Returns the median of each list of samples."""
    return {
        target: {endpoint: statistics.median(sample) for endpoint, sample in cells.items()}
        for target, cells in samples.items()
    }


def ratios(figures: Figures, target: str) -> dict[str, float]:
    """Returns the figures of *target* divided by those of the baseline, by endpoint."""
    return {endpoint: figure / figures[BASELINE][endpoint] for endpoint, figure in figures[target].items()}


def mean_ratio(figures: Figures, target: str) -> float:
    """Returns the geometric mean of the `ratios` over the endpoints."""
    return statistics.geometric_mean(ratios(figures, target).values())


def spread(samples: Samples) -> str:
    """Describes the samples: how many they are, and how far they lie apart."""
    cells = [sample for by_endpoint in samples.values() for sample in by_endpoint.values()]
    fewest = min(map(len, cells))
    if fewest < 2:
        return "One sample each."
    quartiles = [statistics.quantiles(cell, n=4) for cell in cells]
    middle = statistics.median((upper - lower) / median for lower, median, upper in quartiles)
    return f"Medians of {fewest} or more samples, of which the middle half typically spans {middle:.0%}."


def table(header: Sequence[str], rows: Iterable[Iterable[object]], left: int = 1) -> str:
    """Returns a Markdown table; all columns but the first *left* are aligned to the right."""
    lines = [header, ["---"] * left + ["--:"] * (len(header) - left), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def ratio_table(figures: Figures, unit: str) -> str:
    """Returns a table of the ratios to the baseline, with the figures themselves in parentheses."""
    rows = [
        [
            short(endpoint),
            *(
                f"{ratios(figures, target)[endpoint]:.2f} ({figures[target][endpoint]:,.0f} {unit})"
                for target in figures
            ),
        ]
        for endpoint in figures[BASELINE]
    ]
    means = [f"**{mean_ratio(figures, target):.2f}**" for target in figures]
    return table(["", *(NAMES[target] for target in figures)], [*rows, ["**geometric mean**", *means]])


def bars(panels: Mapping[str, Figures], unit: str, file: Path, *, logarithmic: bool = False) -> str:
    """Draws a panel of grouped bars for each title, and returns the Markdown that shows the file."""
    drawing = Figure(figsize=(9, 3.2 * len(panels)), layout="constrained")
    for axes, (title, figures) in zip(drawing.subplots(len(panels), squeeze=False).flat, panels.items(), strict=True):
        groups = list(next(iter(figures.values())))
        width = 0.8 / len(figures)
        for place, (target, values) in enumerate(figures.items()):
            lefts = [group + (place - (len(figures) - 1) / 2) * width for group in range(len(groups))]
            label = NAMES.get(target, target)
            colour = _COLOURS.get(target, _COLOURS["powertools"])
            drawn = axes.bar(lefts, list(values.values()), width * 0.94, label=label, color=colour, zorder=2)
            axes.bar_label(drawn, fmt="{:,.3g}", fontsize=7, padding=1)
        axes.set_xticks(range(len(groups)), [short(group) for group in groups])
        axes.set_title(title, fontsize=11, loc="left")
        axes.set_ylabel(unit)
        axes.set_yscale("log" if logarithmic else "linear")
        axes.grid(axis="y", color="#e5e8eb", zorder=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(y=0.15)
    drawing.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    drawing.savefig(file, dpi=120)
    return f"![{' and '.join(panels)}]({file.parent.name}/{file.name})"


def short(endpoint: str) -> str:
    """Returns the verb of an endpoint of conversations."""
    return endpoint.removesuffix("s").removesuffix("_conversation")


def machine() -> str:
    """Describes the date, the machine, and the versions of what is measured."""
    found = {
        each.name.lower().replace("_", "-"): each.version for each in distributions(path=[str(targets.packages())])
    }
    processor = (
        re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()) if platform.system() == "Linux" else None
    )
    version = subprocess.check_output([str(targets.python()), "--version"], text=True).strip()
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} on {processor[1] if processor else platform.machine()} with "
        f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, {version}, "
        f"{', '.join(f'{name} {found[name]}' for name in _VERSIONS)}."
    )
