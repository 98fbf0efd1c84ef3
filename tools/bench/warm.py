"""Warm calls: what an execution environment spends on each request after its first, ours and the frameworks'."""

import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.bench import built, cold, events, responses
from tools.bench.cold import NAMES, Process

if TYPE_CHECKING:
    from rich.progress import Progress

TITLE = "Warm calls"

# Before anything is measured as well.
_CALLS = 100
_QUICK_CALLS = 20
_ROUNDS = 10
_FEWEST = 3
_SECONDS_PER_ENDPOINT = 6.0
_TARGET, _WORST, _OF_POWERTOOLS = 0.8, 1.0, 0.5

_WHAT = """\
CPU time per call of processes that have answered many before. Stub and frameworks are those of the cold
starts, so sockets and TLS, which cost all the same, are not in it: with them, ratios are nearer to 1."""
_ASKED = """\
Requests to DynamoDB per call of ours, counted by the stub. A list without filters is one Query. With filters it is one
for each combination of flags that they leave open, four at a time. Messages are found by their ids through an index,
and looked at together with their conversations, since what belongs to a deleted one is gone at once."""

# What may be asked of us, and how many requests to DynamoDB it may make.
_REQUESTS: list[tuple[str, str, dict[str, str] | None, dict[str, str] | None, int]] = [
    ("list conversations", "list_conversations", None, None, 1),
    (
        "... with all three flags",
        "list_conversations",
        {"muted": "false", "archived": "false", "pinned": "true"},
        None,
        1,
    ),
    ("... with two flags", "list_conversations", {"muted": "false", "archived": "false"}, None, 2),
    ("... with one flag", "list_conversations", {"archived": "false"}, None, 4),
    ("... of a group", "list_conversations", {"group_id": "friends"}, None, 8),
    ("create a conversation", "create_conversation", None, None, 1),
    ("... with an idempotency key", "create_conversation", None, {"Idempotency-Key": "once"}, 1),
    ("retrieve a conversation", "retrieve_conversation", None, None, 1),
    ("update a conversation", "update_conversation", None, None, 1),
    ("... with If-Match", "update_conversation", None, {"If-Match": '"3"'}, 1),
    ("delete a conversation", "delete_conversation", None, None, 1),
    ("... with If-Match", "delete_conversation", None, {"If-Match": '"3"'}, 1),
    ("list messages", "list_messages", None, None, 2),
    ("... of a conversation", "list_messages", {"conversation_id": responses.CONVERSATION_ID}, None, 2),
    ("send a message", "create_message", None, None, 1),
    ("... with an idempotency key", "create_message", None, {"Idempotency-Key": "once"}, 1),
    ("retrieve a message", "retrieve_message", None, None, 2),
    ("update a message", "update_message", None, None, 3),
    ("delete a message", "delete_message", None, None, 3),
]


def measure(progress: "Progress", *, quick: bool) -> dict[str, Any]:
    """Microseconds of CPU time per call, of each round; instructions per call; requests to DynamoDB."""
    built.layer()
    built.packages()
    rounds: dict[str, dict[str, list[float]]] = {subject: {} for subject in NAMES}
    most, calls = (_FEWEST, _QUICK_CALLS) if quick else (_ROUNDS, _CALLS)
    for endpoint in events.ENDPOINTS:
        for subject, figures in _rounds(endpoint, most, calls, progress).items():
            rounds[subject][endpoint] = figures
    counts = None if quick else cold.counted(("baseline", "powertools", built.OURS), progress)
    return {
        "calls": calls,
        "rounds": rounds,
        "instructions": counts
        and {subject: {name: count.warm for name, count in found.items()} for subject, found in counts.items()},
        "requests": _requests(progress),
    }


def table(found: dict[str, Any]) -> str:
    """The section of the report."""
    fewest = min(len(sample) for sample in found["rounds"]["baseline"].values())
    parts = [
        f"{_WHAT} Medians of at least {fewest} rounds of {found['calls']} calls, in which all took turns.",
        cold.sample_table(found["rounds"], "µs"),
    ]
    if found["instructions"]:
        thousands = {
            subject: {endpoint: count / 1e3 for endpoint, count in counts.items()}
            for subject, counts in found["instructions"].items()
        }
        parts += ["Instructions per call, as valgrind counts them.", cold.ratio_table(thousands, "k")]
    requests = [
        f"| {call['name']} | {len(call['requests'])} | {call['budget']} | {_listed(call['requests'])} |"
        for call in found["requests"]
    ]
    parts += [_ASKED, "\n".join(["| | requests | budget | |", "|---|---:|---:|---|", *requests])]
    return "\n\n".join(parts)


def targets(found: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Name, what was reached, and whether that is enough."""
    times = cold.medians(found["rounds"])
    mean, worst = cold.geometric_mean(times, built.OURS), max(cold.ratios(times, built.OURS).values())
    of_powertools = mean / cold.geometric_mean(times, "powertools")
    above = [call["name"] for call in found["requests"] if len(call["requests"]) > call["budget"]]
    return [
        (f"warm call, baseline = 1, at most {_TARGET:.1f}", f"{mean:.2f}", mean <= _TARGET),
        (f"... the slowest endpoint, at most {_WORST:.1f}", f"{worst:.2f}", worst <= _WORST),
        (
            f"... Powertools resolver = 1, at most {_OF_POWERTOOLS:.1f}",
            f"{of_powertools:.2f}",
            of_powertools <= _OF_POWERTOOLS,
        ),
        ("requests to DynamoDB within their budgets", ", ".join(above) or "all", not above),
    ]


def plot(found: dict[str, Any], folder: Path) -> list[str]:
    """Bars of the ratios."""
    cold.bars(cold.medians(found["rounds"]), "Warm call: CPU time", folder / "warm.png")
    return ["warm.png"]


def _rounds(endpoint: str, most: int, calls: int, progress: "Progress") -> dict[str, list[float]]:
    """Microseconds per call, in each round."""
    taken: dict[str, list[float]] = {subject: [] for subject in NAMES}
    task = progress.add_task(f"warm calls: {endpoint}", total=most)
    with ExitStack() as stack:
        processes = {subject: stack.enter_context(Process(subject, endpoint)) for subject in NAMES}
        for process in processes.values():
            process.first()
            process.call(calls)
        end = time.monotonic() + _SECONDS_PER_ENDPOINT
        for number in range(most):
            if number >= _FEWEST and time.monotonic() > end:
                break
            for subject, process in processes.items():
                taken[subject].append(round(process.call(calls).seconds / calls * 1e6, 1))
            progress.advance(task)
    progress.remove_task(task)
    return taken


def _requests(progress: "Progress") -> list[dict[str, Any]]:
    found = []
    for name, endpoint, query, headers, budget in progress.track(_REQUESTS, description="counting requests"):
        with Process(built.OURS, endpoint, events.event(endpoint, query=query, headers=headers)) as process:
            found.append({"name": name, "requests": process.first().requests, "budget": budget})
    return found


def _listed(requests: list[str]) -> str:
    return ", ".join(f"{count} {name}" if count > 1 else name for name, count in Counter(requests).items())
