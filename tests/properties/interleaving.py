"""Runs tasks in threads one at a time, and another one after each request to DynamoDB; requests can fail."""

import json
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ReadTimeoutError
from moto.core.models import botocore_stubber

from tests.wire import Content, cancelled_transaction, error_response

# With "outage" the next requests of the thread, which are botocore's retries, fail too.
_FAULTS = [
    "throttled", "conflict", "outage", "failed", "timed out", "killed", "failed after", "timed out after",
    "killed after",
]  # fmt: skip
_RETRIES = 2
_MAX_SECONDS = 60


class KilledError(BaseException):
    """Lambda stops the function: the code under test does not catch this."""


class Interleaving:
    """A fault of `Wire`: each request of any thread meets a fault with the probability *likelihood*."""

    def __init__(self, chance: random.Random, likelihood: float = 0) -> None:
        """Lets all requests pass until `run`."""
        self._chance, self.likelihood = chance, likelihood
        # The writes of all transactions that were applied, each with its task or None.
        self.applied: list[tuple[int | None, dict[str, Any]]] = []
        self._outages: dict[int, int] = {}
        self._responses: dict[str, AWSResponse] = {}
        # moto is not thread-safe. The threads of a task's own pools do not wait for their turn.
        self._lock = threading.RLock()
        self._tasks: dict[int, int] = {}
        self._turns: list[threading.Semaphore] = []
        self._has_paused = threading.Semaphore(0)

    def run(self, tasks: Sequence[Callable[[], object]]) -> None:
        """Runs *tasks* to their ends. Raises the first failure of one."""
        self._turns = [threading.Semaphore(0) for _ in tasks]
        running = set(range(len(tasks)))

        def work(number: int) -> None:
            self._tasks[threading.get_ident()] = number
            self._wait(self._turns[number])
            try:
                tasks[number]()
            finally:
                del self._tasks[threading.get_ident()]
                running.remove(number)
                self._has_paused.release()

        with ThreadPoolExecutor(len(tasks)) as pool:
            futures = [pool.submit(work, number) for number in running]
            while running:
                self._turns[self._chance.choice(sorted(running))].release()
                self._wait(self._has_paused)
        for future in futures:
            future.result()

    def put(self, attribute: str) -> list[dict[str, Any]]:
        """Returns all rows with *attribute* that transactions have put, in this order."""
        written = [write["Put"]["Item"] for _, write in self.applied if "Put" in write]
        return [row for row in written if attribute in row]

    def pause(self) -> int | None:
        """Lets others run, and returns the number of this task, or None outside one."""
        task = self._tasks.get(threading.get_ident())
        if task is not None:
            self._has_paused.release()
            self._wait(self._turns[task])
        return task

    def __call__(self, request: AWSPreparedRequest) -> AWSResponse | None:
        """Applies *request* when it is its turn, and returns the response or a fault."""
        task = self.pause()
        with self._lock:
            fault = self._fault()
            if fault == "throttled":
                return error_response(request, 400, "ProvisionedThroughputExceededException")
            if fault == "conflict" and b"TransactItems" in (request.body or b""):
                return cancelled_transaction(request, "TransactionConflict")
            response = None if fault in ("failed", "timed out", "killed") else self._apply(request, task)
        if fault.startswith("failed"):
            return error_response(request, 500, "InternalServerError")
        if fault.startswith("timed out"):
            raise ReadTimeoutError(endpoint_url=request.url)
        if fault.startswith("killed"):
            raise KilledError
        return response

    def _fault(self) -> str:
        thread = threading.get_ident()
        if self._outages.get(thread):
            self._outages[thread] -= 1
            return "failed"
        fault = self._chance.choice(_FAULTS) if self._chance.random() < self.likelihood else ""
        if fault == "outage":
            self._outages[thread] = _RETRIES
        return "failed" if fault == "outage" else fault

    def _apply(self, request: AWSPreparedRequest, task: int | None) -> AWSResponse:
        assert isinstance(request.body, bytes)
        body = json.loads(request.body)
        # Like DynamoDB, applies transactions with the same token only once.
        token = body.get("ClientRequestToken", "")
        if token in self._responses:
            return self._responses[token]
        answered = botocore_stubber("before-send", request)
        assert answered
        response = AWSResponse(request.url, answered.status_code, HTTPHeaders(), Content(answered.content))
        if token and response.status_code == 200:
            self._responses[token] = response
            self.applied += [(task, write) for write in body["TransactItems"]]
        return response

    @staticmethod
    def _wait(turn: threading.Semaphore) -> None:
        assert turn.acquire(timeout=_MAX_SECONDS), "A task waits for ever"
