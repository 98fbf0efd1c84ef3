"""How the stack stands many users for minutes: what it answers, whether it keeps each write, and its memory."""

import json
import os
import random
import statistics
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tests.load import memory
from tests.load.user import User
from tools.local import serving, stack, users
from tools.local.environment import aws_session, emulator_url
from tools.local.failure import Failure
from tools.results.findings import GHOST, LOST, UNEXPECTED, WRONG, Fault, Findings, Request

TITLE = "Many users for minutes"

# Of the emulator, which lists so many users at once.
_MOST_USERS = 50
_LEAST_SECONDS, _MOST_SECONDS = 30, 3600
# Of each user.
_MOST_REQUESTS = 20_000
# The part of the time in which users join one by one, so that not all workers start at once.
_JOINING = 1 / 8
_SECONDS_PER_EVENT, _SECONDS_PER_LOOK = 0.5, 1.0
# A purge that the stream left out is the sweep's, every five minutes.
_PURGED_SECONDS, _POLL_SECONDS = 60, 0.5
_MOST_POINTS, _LEAST_PERIOD_SECONDS = 60, 2
_MOST_FAULTS, _MOST_CHARACTERS = 20, 500
_KINDS = (UNEXPECTED, LOST, GHOST, WRONG)
_PERCENTILES = ("p50", "p95", "p99", "max")
# An allocator's whims, and what a worker that is rarely called still meets for the first time. The busy ones have
# hundreds of calls in the half of five minutes between what is compared, so a few KB kept of each would be more.
_MOST_GROWTH_MB = 2


def measure(seconds: int, users: int) -> dict[str, Any]:
    """What so many *users* at work for so many *seconds* met with, on a stack of their own. Raises `Failure`."""
    if not (_LEAST_SECONDS <= seconds <= _MOST_SECONDS and 1 <= users <= _MOST_USERS):
        raise Failure(f"It takes {_LEAST_SECONDS} to {_MOST_SECONDS} seconds and 1 to {_MOST_USERS} users.")
    with tempfile.TemporaryDirectory() as home, serving.own_stack(Path(home)) as port:
        print(f"{users} users are at work for {seconds} s ...", flush=True)
        load = Load(port, users)
        load.run(seconds)
        print("All that was acknowledged is looked for ...", flush=True)
        load.verify()
        return load.found()


class Load:
    """Users at work on a stack, which others write to meanwhile, and what became of all that they wrote."""

    def __init__(self, port: int, many: int) -> None:
        """Of so *many* users of the stack on *port*, which has to have nothing of theirs."""
        self._port = port
        self._outputs = stack.outputs(port)
        self._findings = Findings()
        api_url = stack.api_url(port)
        self._users = [
            User(api_url, partial(users.token, port, f"load-{number}"), number, self._findings)
            for number in range(many)
        ]
        self._random = random.Random(many)  # noqa: S311 - nobody is to be kept from guessing
        self._done = threading.Event()
        self._failures: list[Exception] = []
        self._requests: list[Request] = []
        self._started = self._ended = 0.0
        # When, and MB of each process.
        self._memory: list[tuple[float, dict[memory.Process, float]]] = []
        self._events: Any = self._client("events")

    def run(self, seconds: int) -> None:
        """Has all users at work, each with one request at a time and no pause, for so many *seconds*.

        Raises `Failure` where that is not possible at all.
        """
        for user in self._users:
            user.begin()
        self._findings.requests.clear()
        self._started = time.time()
        threads = [
            threading.Thread(
                target=self._work, args=(user, number * seconds * _JOINING / len(self._users)), daemon=True
            )
            for number, user in enumerate(self._users)
        ]
        threads.append(threading.Thread(target=self._watch_memory, daemon=True))
        for thread in threads:
            thread.start()
        try:
            self._write_to_users(seconds)
        finally:
            self._done.set()
            for thread in threads:
                thread.join()
        self._ended = time.time()
        self._requests = list(self._findings.requests)
        if self._failures:
            raise Failure(f"A user met with {self._failures[0]!r}.") from self._failures[0]

    def verify(self) -> None:
        """Looks for all that was acknowledged, by every list of the API and in the table of messages."""
        with ThreadPoolExecutor(len(self._users)) as at_once:
            list(at_once.map(User.verify, self._users))
        for user in self._users:
            user.close()
        self._verify_table()

    def _work(self, user: User, wait: float) -> None:
        self._done.wait(wait)
        try:
            for _ in range(_MOST_REQUESTS):
                if self._done.is_set():
                    return
                user.act()
        except Exception as error:  # noqa: BLE001 - told by run
            self._failures.append(error)
            self._done.set()

    def _write_to_users(self, seconds: int) -> None:
        """As others do meanwhile."""
        while (left := self._started + seconds - time.time()) > 0:
            self._deliver()
            if self._done.wait(min(left, _SECONDS_PER_EVENT)):
                return

    def _deliver(self) -> None:
        user, text = self._random.choice(self._users), f"Keep the change, {self._findings.counts['events']}."
        detail = {"conversation_id": self._random.choice(user.inboxes), "contact_id": "marv", "message": text}
        # Before it is put: it may be there at once.
        user.expect(**detail)
        entry = {
            "Source": "com.example.delivery",
            "DetailType": "message.received",
            "Detail": json.dumps({"user_id": user.id, **detail}),
            "EventBusName": self._outputs["EventBusName"],
        }
        try:
            response = self._events.put_events(Entries=[entry])
        except (BotoCoreError, ClientError) as error:
            raise Failure(f"The bus does not answer: {error}.") from None
        if response["FailedEntryCount"]:
            raise Failure(f"The bus did not take an event: {response}.")
        self._findings.count("events")

    def _watch_memory(self) -> None:
        try:
            while not self._done.wait(_SECONDS_PER_LOOK):
                self._memory.append((time.time() - self._started, memory.read(self._port)))
        except Exception as error:  # noqa: BLE001 - told by run
            self._failures.append(error)
            self._done.set()

    def _verify_table(self) -> None:
        """Has the table hold the messages that users have, and nothing of theirs that no list would ever show."""
        deleted = {id for user in self._users for id in user.deleted_conversations}
        deadline = time.monotonic() + _PURGED_SECONDS
        while (rows := self._rows()) and time.monotonic() < deadline:
            if deleted.isdisjoint(row["conversation_id"]["S"] for row in rows):
                break
            time.sleep(_POLL_SECONDS)
        left = {row["id"]["S"] for row in rows if row["conversation_id"]["S"] in deleted}
        self._findings.wrong(GHOST, "purge_messages", left, "of a deleted conversation, and not purged")
        found = {row["id"]["S"] for row in rows} - left
        expected = {id for user in self._users for id in user.message_ids()}
        self._findings.wrong(LOST, "the table", expected - found, "was acknowledged and is not there")
        self._findings.wrong(GHOST, "the table", found - expected, "is there, and there is no such thing")
        self._findings.count("deleted conversations", len(deleted))

    def _rows(self) -> list[dict[str, Any]]:
        ours = {user.id for user in self._users}
        pages = (
            self._client("dynamodb")
            .get_paginator("scan")
            .paginate(
                TableName=self._outputs["MessagesTableName"],
                ProjectionExpression="user_id, conversation_id, id",
                ConsistentRead=True,
            )
        )
        return [row for page in pages for row in page["Items"] if row["user_id"]["S"] in ours]

    def _client(self, service: str) -> Any:
        session: Any = aws_session()
        return session.client(service, endpoint_url=emulator_url(self._port))

    def found(self) -> dict[str, Any]:
        """The figures, and what they are over time; all of it can be JSON."""
        seconds = self._ended - self._started
        faults = self._findings.faults
        by_call = defaultdict(list)
        for request in self._requests:
            by_call[request.call].append(request.ms)
        statuses = Counter(str(request.status or "none") for request in self._requests)
        return {
            "cores": os.cpu_count(),
            "users": len(self._users),
            "seconds": round(seconds, 1),
            "requests": len(self._requests),
            "writes": sum(map(_is_acknowledged_write, self._requests)) - self._findings.counts["replays"],
            "ms": _percentiles([request.ms for request in self._requests]),
            "calls": {call: {"requests": len(ms), "ms": _percentiles(ms)} for call, ms in sorted(by_call.items())},
            "statuses": dict(sorted(statuses.items())),
            "server_errors": sum(fault.status is not None and fault.status >= 500 for fault in faults),
            "counts": dict(self._findings.counts),
            "looked_for_by": len(self._findings.requests) - len(self._requests),
            "faults": {kind: sum(fault.kind == kind for fault in faults) for kind in _KINDS},
            "first_faults": [self._told(fault) for fault in faults[:_MOST_FAULTS]],
            "memory": self._memory_of_each(),
            "over_time": self._over_time(),
        }

    def _told(self, fault: Fault) -> dict[str, Any]:
        message = " ".join(fault.message.split())[:_MOST_CHARACTERS]
        return fault._asdict() | {"at": round(fault.at - self._started, 1), "message": message}

    def _memory_of_each(self) -> dict[str, Any]:
        """How the memory of each worker in the last quarter of the time compares to the second.

        Only of those that were there when all users had joined, and so had time to start before that.
        """
        seconds = self._ended - self._started
        quarter = seconds / 4
        early = [mb for at, mb in self._memory if quarter <= at < 2 * quarter]
        late = [mb for at, mb in self._memory if at >= 3 * quarter]
        if not early or not late:
            return {}
        throughout = set.intersection(*(set(mb) for at, mb in self._memory if at >= _JOINING * seconds))
        ever = {process for _, mb in self._memory for process in mb}
        found = {}
        for name in sorted({process.name for process in ever}):
            workers = {process for process in ever if process.name == name}
            mb = [
                (statistics.median(each[one] for each in early), statistics.median(each[one] for each in late))
                for one in workers & throughout
            ]
            found[name] = {
                "workers": len(workers),
                "ended": len(workers - self._memory[-1][1].keys()),
                "throughout": len(mb),
                # Of the one that gained most.
                "mb": [round(one, 1) for one in max(mb, key=lambda pair: pair[1] - pair[0])] if mb else None,
            }
        return found

    def _over_time(self) -> dict[str, Any]:
        """So many points at most, each of a period: calls a second, percentiles, and MB of the largest workers."""
        period = max(_LEAST_PERIOD_SECONDS, (self._ended - self._started) / _MOST_POINTS)
        periods = int((self._ended - self._started) / period)
        ms: list[list[float]] = [[] for _ in range(periods)]
        for request in self._requests:
            if (number := int((request.at - self._started) / period)) < periods:
                ms[number].append(request.ms)
        taken = [_percentiles(some) for some in ms]
        largest: list[dict[str, float]] = [{} for _ in range(periods)]
        for at, read in self._memory:
            if (number := int(at / period)) < periods:
                for process, mb in read.items():
                    largest[number][process.name] = round(max(mb, largest[number].get(process.name, 0)), 1)
        names = sorted({name for some in largest for name in some})
        return {
            "seconds": [round((number + 0.5) * period, 1) for number in range(periods)],
            "requests_per_second": [round(len(some) / period, 1) for some in ms],
            **{name: [some[name] for some in taken] for name in _PERCENTILES[:-1]},
            "memory_mb": {name: [some.get(name) for some in largest] for name in names},
        }


def _percentiles(ms: Sequence[float]) -> dict[str, float | None]:
    if len(ms) < 2:
        return dict.fromkeys(_PERCENTILES)
    hundredths = statistics.quantiles(ms, n=100, method="inclusive")
    found = hundredths[49], hundredths[94], hundredths[98], max(ms)
    return dict(zip(_PERCENTILES, (round(one, 1) for one in found), strict=True))


def _is_acknowledged_write(request: Request) -> bool:
    return request.status in (200, 201, 204) and request.call.startswith(("create", "update", "delete"))


def table(found: Mapping[str, Any]) -> str:
    """What users did, the figures, what was looked for, and what was wrong."""
    counts, statuses = found["counts"], found["statuses"]
    described = (
        f"{found['users']} users were at work for {found['seconds']:.0f} s on the embedded stack, over HTTP, each with "
        "one request at a time, and the next as soon as it is answered. They create, list, retrieve, update and delete "
        "conversations and messages at random. Every POST has an idempotency key, some are repeated with it, and many "
        "a change and a read have a condition. Others write to them by events meanwhile. Users, emulator, functions "
        f"and database share {found['cores']} cores, which are always busy: so the times are those of waiting for "
        "them, and only faults and memory say something of the service."
    )
    answered = ", ".join(f"{many:,} x {status}" for status, many in statuses.items())
    figures = (
        f"In all {found['requests']:,} requests, {found['requests'] / found['seconds']:.0f} a second, of which "
        f"{found['writes']:,} were acknowledged writes; and {counts['events']:,} events. Answers: {answered}. "
        f"Of the 201, {counts.get('replays', 0):,} are replays, which have to repeat the first answer. The 304, 404, "
        "412 and 422 are as they have to be: what the user knows to be unchanged, deleted, changed since, or posted "
        "with another content."
    )
    looked = (
        "Each user remembers what was acknowledged, and holds every answer against it: what was written is read at "
        "once, as it was written, on the right page and in order. After the load each walks all pages of the list of "
        "conversations, of its 27 combinations of flags without a group and with one, of each conversation's messages "
        "and of all messages; and the table of messages has to hold the same, so nothing of deleted conversations. "
        f"{counts['conversations']:,} conversations and {counts['messages']:,} messages were there to be found, by "
        f"{found['looked_for_by']:,} more requests, and {counts['deleted conversations']:,} conversations were deleted."
    )
    parts = [described, figures, _calls_table(found), looked]
    if found["memory"]:
        parts += [_memory_caption(found), _memory_table(found["memory"])]
    if found["first_faults"]:
        parts.append("What went wrong, at first:\n\n" + "\n".join(map(_fault_line, found["first_faults"])))
    return "\n\n".join(parts)


def _calls_table(found: Mapping[str, Any]) -> str:
    lines = ["| call | requests | p50, ms | p95 | p99 | max |", "|---|--:|--:|--:|--:|--:|"]
    everything = {"requests": found["requests"], "ms": found["ms"]}
    for call, one in {**found["calls"], "**all**": everything}.items():
        times = (f"{one['ms'][name]:,.0f}" if one["ms"][name] is not None else "" for name in _PERCENTILES)
        lines.append(f"| {call} | {one['requests']:,} | {' | '.join(times)} |")
    return "\n".join(lines)


def _memory_caption(found: Mapping[str, Any]) -> str:
    ended = [f"{one['ended']} of {name}" for name, one in found["memory"].items() if one["ended"]]
    return (
        "A worker is a process in which a function serves one call after the other, and each has as many as there were "
        "calls at once. What it has allocated, as the median of the second quarter of the time and of the last; of "
        "the one that gained most among those that were there throughout, from when all users had joined. The emulator "
        "keeps all data and logs in memory, so it does grow. It ends workers that had no call for five minutes. "
        + (f"Those that ended meanwhile: {', '.join(ended)}." if ended else "None ended meanwhile.")
    )


def _memory_table(workers: Mapping[str, Any]) -> str:
    lines = ["| | workers | there throughout | MB, second quarter | MB, last quarter |", "|---|--:|--:|--:|--:|"]
    for name, one in workers.items():
        mb = [f"{each:.1f}" for each in one["mb"] or ()] or ["", ""]
        lines.append(f"| {name} | {one['workers']} | {one['throughout']} | {' | '.join(mb)} |")
    return "\n".join(lines)


def _fault_line(fault: Mapping[str, Any]) -> str:
    status = "" if fault["status"] is None else f" {fault['status']}"
    return f"- {fault['kind']}, after {fault['at']} s, {fault['call']}{status}: `{fault['message']}`"


def targets(found: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Name, what was reached, and whether that is enough."""
    faults, errors = found["faults"], found["server_errors"]
    requests = found["requests"] + found["looked_for_by"]
    acknowledged = found["writes"] + found["counts"]["events"]
    others = faults[UNEXPECTED] + faults[WRONG] - errors
    reached = [
        ("5xx answers, none", f"{errors} in {requests:,} requests", errors == 0),
        ("other answers that are not as they have to be, none", str(others), others == 0),
        ("acknowledged writes not found, none", f"{faults[LOST]} of {acknowledged:,}", faults[LOST] == 0),
        ("ghosts or duplicates, none", str(faults[GHOST]), faults[GHOST] == 0),
    ]
    workers = [one for name, one in found["memory"].items() if name != memory.EMULATOR and one["mb"]]
    name = f"memory that a worker gains, less than {_MOST_GROWTH_MB} MB"
    if not workers:
        return [*reached, (name, "not measured", False)]
    growth = max(one["mb"][1] - one["mb"][0] for one in workers)
    return [*reached, (name, f"{growth:.1f} MB", growth < _MOST_GROWTH_MB)]


def plot(found: Mapping[str, Any], file: Path) -> None:
    """Draws the requests a second, how long they took, and the memory of workers, over time."""
    from matplotlib import colormaps  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    over_time = found["over_time"]
    seconds = over_time["seconds"]
    figure = Figure(figsize=(12, 4), layout="constrained")
    rates, times, workers = figure.subplots(1, 3)
    rates.plot(seconds, over_time["requests_per_second"])
    rates.set(title=f"Requests of {found['users']} users", ylabel="requests a second", ylim=(0, None))
    for percentile, shade in zip(_PERCENTILES[:-1], (1, 0.65, 0.35), strict=True):
        times.plot(seconds, over_time[percentile], color="tab:blue", alpha=shade, label=percentile)
    times.set(title="All calls", ylabel="milliseconds", yscale="log")
    times.legend(fontsize=8)
    workers.set_prop_cycle(color=colormaps["tab20"].colors)
    for name, mb in over_time["memory_mb"].items():
        if name != memory.EMULATOR:
            workers.plot(seconds, mb, label=name)
    workers.set(title="The largest worker of each function", ylabel="MB", ylim=(0, None))
    workers.legend(fontsize=6, ncols=2, loc="lower center")
    for axes in (rates, times, workers):
        axes.set_xlabel("seconds")
        axes.grid(alpha=0.3)
    figure.savefig(file, dpi=120)
