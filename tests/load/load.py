"""The load generator: many users at work on a deployed stack. Then everything acknowledged has to be found."""

import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from tests.load.user import Request, User
from tests.stack import Stack, wait_until


class Load:
    """Users of *stack* who own nothing at first."""

    def __init__(self, stack: Stack, users_count: int) -> None:
        """Creates the users."""
        self._stack = stack
        self._users = [User(stack, number) for number in range(users_count)]
        self._count = users_count
        self._seconds = self._started = 0.0
        self._requests: list[Request] = []
        self.failures: list[str] = []

    def run(self, seconds: float) -> None:
        """Has each user send one request after the other for *seconds*, without a pause."""
        self._started, self._seconds = time.time(), seconds
        # Users join one by one during the first eighth of the time, because each new worker costs CPU time.
        delay = seconds / 8 / len(self._users)
        with ThreadPoolExecutor(self._count) as pool:
            running = {user: pool.submit(self._work, user, number * delay) for number, user in enumerate(self._users)}
            try:
                wait(running.values())
            finally:
                # After Ctrl-C, the pool waits for the users.
                self._seconds = time.time() - self._started
        self._requests = [request for user in self._users for request in user.requests]
        self._collect_failures(running)

    def verify(self) -> None:
        """Looks for everything acknowledged with every list of the API, and in the messages table."""
        with ThreadPoolExecutor(self._count) as pool:
            self._collect_failures({user: pool.submit(user.verify) for user in self._users})
        for user in self._users:
            user.client.close()
        expected = {id for user in self._users for id in user.model.messages}
        # Messages of deleted conversations are purged within a minute.
        if not wait_until(lambda: self._stored_messages() == expected):
            found = self._stored_messages()
            self.failures.append(f"The messages table lacks {expected - found} and has {found - expected}")

    def _work(self, user: User, delay: float) -> None:
        time.sleep(delay)
        while time.time() < self._started + self._seconds:
            user.act()

    def _collect_failures(self, futures: Mapping[User, "Future[None]"]) -> None:
        """A user whose model may differ from the service from now on does not continue."""
        for user, future in futures.items():
            if error := future.exception():
                self.failures.append(" ".join(f"{type(error).__name__}: {error}".split())[:1000])
                self._users.remove(user)

    def _stored_messages(self) -> set[str]:
        ids = {user.client.user_id for user in self._users}
        paginator = self._stack.aws("dynamodb").get_paginator("scan")
        pages = paginator.paginate(TableName=self._stack.outputs()["MessagesTableName"], ConsistentRead=True)
        # Delivery orders have no `user_id`.
        rows = [row for page in pages for row in page["Items"] if "user_id" in row]
        return {row["id"]["S"] for row in rows if row["user_id"]["S"] in ids}

    def functions(self) -> dict[str, dict[str, float]]:
        """Returns the number of requests to each function, and percentiles of their latency."""
        taken = defaultdict(list)
        for request in self._requests:
            taken[request.function].append(request.ms)
        return {name: {"requests": len(ms)} | percentiles(ms) for name, ms in sorted(taken.items())}

    def result(self) -> dict[str, Any]:
        """Returns the figures for the report."""
        writes = [each for each in self._requests if each.status in (200, 201, 204) and not each.is_replay]
        return {
            "users": self._count,
            "seconds": round(self._seconds),
            "requests": len(self._requests),
            "writes": sum(not each.function.startswith(("list", "retrieve", "count")) for each in writes),
            "replays": sum(each.is_replay for each in self._requests),
            "events": sum(user.events for user in self._users),
            "failures": self.failures,
            "ms": percentiles([each.ms for each in self._requests]),
            "conversations": sum(len(user.model.conversations) for user in self._users),
            "messages": sum(len(user.model.messages) for user in self._users),
            "deleted_conversations": sum(len(user.model.deleted_conversations) for user in self._users),
        }

    def plot(self, file: Path) -> None:
        """Draws latency over time."""
        from matplotlib.figure import Figure  # noqa: PLC0415 - not needed by the tests

        period = max(2, self._seconds / 60)
        taken = defaultdict(list)
        for request in self._requests:
            taken[period * int((request.at - self._started) / period)].append(request.ms)
        axes = (figure := Figure(figsize=(8, 3), layout="constrained")).subplots()
        for name in ("p50", "p99"):
            axes.plot(sorted(taken), [percentiles(taken[at])[name] for at in sorted(taken)], label=name)
        axes.set(title=f"Requests of {self._count} users", xlabel="seconds", ylabel="milliseconds", yscale="log")
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(file, dpi=120)


def percentiles(ms: Sequence[float]) -> dict[str, float]:
    """Returns the median and the 99th percentile."""
    hundredths = statistics.quantiles(ms, n=100, method="inclusive") if len(ms) > 1 else [*ms] * 99
    return {"p50": round(hundredths[49], 1), "p99": round(hundredths[98], 1)}
