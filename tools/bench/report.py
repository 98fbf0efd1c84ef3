"""What all parts of the report share: its data, statistics, tables and plots."""

import os
import platform
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

_SHOWN = ("botocore", "boto3", "pydantic", "aws-lambda-powertools", "fastapi", "mangum", "chalice", "awslambdaric")
_COLOURS = {BASELINE: "#c3cad2", "powertools": "#868e96", "fastapi": "#9aa5b1", "chalice": "#495057", OURS: "#d9480f"}


class Goal(NamedTuple):
    """A target value of the project, what was measured instead, and under which condition."""

    measure: str
    condition: str
    target: str
    measured: str
    is_reached: bool


class Unmeasurable(Exception):
    """The machine lacks what a part needs; the report says so."""


# The Markdown and the goals of one part.
Section = tuple[str, list[Goal]]


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


def holds(measure: str, condition: str, target: str, is_reached: bool) -> Goal:
    """Returns a goal that is reached or not."""
    return Goal(measure, condition, target, target if is_reached else f"not {target}", is_reached)


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
    cells = [cell for by_endpoint in samples.values() for cell in by_endpoint.values()]
    if len(cells[0]) < 2:
        return "One sample each."
    spreads = [(high - low) / middle for low, middle, high in (statistics.quantiles(cell, n=4) for cell in cells)]
    return (
        f"Medians of {min(map(len, cells))} or more samples, of which the middle half typically spans "
        f"{statistics.median(spreads):.0%}."
    )


def table(header: Sequence[str], rows: Iterable[Iterable[object]], left: int = 1) -> str:
    """Returns a Markdown table; all columns but the first *left* are aligned to the right."""
    lines = [header, ["---"] * left + ["--:"] * (len(header) - left), *rows]
    cells = [[f"{cell:g}" if isinstance(cell, float) else f"{cell}" for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def ratio_table(kinds: Mapping[str, Figures], unit: str) -> str:
    """Returns a table of the ratios to the baseline, with the figures themselves in parentheses."""
    columns = [(kind, figures, target) for kind, figures in kinds.items() for target in figures]
    rows = [[short(endpoint)] for endpoint in ENDPOINTS]
    for row, endpoint in zip(rows, ENDPOINTS, strict=True):
        row += [
            f"{ratios(each, name)[endpoint]:.2f} ({_number(each[name][endpoint])} {unit})" for _, each, name in columns
        ]
    means = ["**geometric mean**", *(f"**{mean_ratio(figures, name):.2f}**" for _, figures, name in columns)]
    return table(["", *(f"{kind} {NAMES[name]}".strip() for kind, _, name in columns)], [*rows, means])


def _number(figure: float) -> str:
    return f"{figure:,.{1 if figure < 20 else 0}f}"


def bars(panels: Mapping[str, Figures], unit: str, file: Path) -> str:
    """Draws a panel of grouped bars for each title, and returns the Markdown that shows the file."""
    drawing = Figure(figsize=(9, 3.2 * len(panels)), layout="constrained")
    for axes, (title, figures) in zip(drawing.subplots(len(panels), squeeze=False).flat, panels.items(), strict=True):
        groups = list(next(iter(figures.values())))
        width = 0.8 / len(figures)
        for place, (target, values) in enumerate(figures.items()):
            lefts = [group + (place - (len(figures) - 1) / 2) * width for group in range(len(groups))]
            label = NAMES.get(target, target)
            colour = _COLOURS.get(target, list(_COLOURS.values())[-place])
            drawn = axes.bar(lefts, list(values.values()), width * 0.94, label=label, color=colour, zorder=2)
            axes.bar_label(drawn, fmt="{:,.3g}", fontsize=7, padding=1)
        axes.set_xticks(range(len(groups)), [short(group) for group in groups])
        axes.set_title(title, fontsize=11, loc="left")
        axes.set_ylabel(unit)
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
    packages = distributions(path=[str(targets.packages())])
    versions = [f"{each.name} {each.version}" for each in packages if each.name.replace("_", "-") in _SHOWN]
    python = subprocess.check_output([str(targets.python()), "--version"], text=True).strip()
    system = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()} {platform.release()}"
    return f"Measured on {datetime.now(UTC):%Y-%m-%d}: {system}, {python}, {', '.join(sorted(versions))}."
