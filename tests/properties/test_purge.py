"""The purge against everything that may go wrong with it: whatever happens, the sweep leaves nothing behind."""

import os
import random
from contextlib import suppress
from typing import Any

import pytest
from aws_lambda_powertools.utilities.batch.exceptions import BatchProcessingError
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ReadTimeoutError
from coherent import errors

from tests import tables
from tests.handlers import call, create, list_messages, purge, send, sweep
from tests.wire import Wire, error_response, response

SEEDS = int(os.environ.get("PURGE_SEEDS", "25"))


class KilledError(BaseException):
    """What becomes of a function that is stopped from outside: nothing in it can catch this."""


class Chaos:
    """Faults at random requests."""

    def __init__(self, wire: Wire, random: random.Random, likelihood: float) -> None:
        """Each request of *wire* meets a fault with this *likelihood*."""
        self._wire, self._random, self._likelihood = wire, random, likelihood

    def __call__(self, request: AWSPreparedRequest) -> AWSResponse | None:
        """One of them, or none."""
        if self._random.random() > self._likelihood:
            return None
        kind = self._random.choice(["throttled", "failed", "timed out", "killed", "killed after", "unprocessed"])
        if kind == "throttled":
            return error_response(request, 400, "ProvisionedThroughputExceededException")
        if kind == "failed":
            return error_response(request, 500, "InternalServerError")
        if kind == "timed out":
            raise ReadTimeoutError(endpoint_url=request.url)
        if kind == "killed":
            raise KilledError
        if kind == "killed after":
            self._wire.kill_after_response = KilledError()
            return None
        if self._wire.requests[-1] == "BatchWriteItem":
            return self._part_of(request)
        return None

    def _part_of(self, request: AWSPreparedRequest) -> AWSResponse:
        ((table_name, writes),) = self._wire.bodies[-1]["RequestItems"].items()
        done = [write for write in writes if self._random.random() < 0.5]
        for write in done:
            tables.delete_message(write["DeleteRequest"]["Key"])
        undone = [write for write in writes if write not in done]
        return response(request, {"UnprocessedItems": {table_name: undone} if undone else {}})


@pytest.mark.usefixtures("tables", "no_backoff")
@pytest.mark.parametrize("seed", range(SEEDS))
def test_once_the_sweep_has_run_nothing_is_left_of_what_was_deleted(seed: int, wire: Wire) -> None:
    chance = random.Random(seed)  # noqa: S311 - so that a failure comes again
    kept = send(create())
    conversations: list[dict[str, Any]] = []
    for _ in range(chance.randint(1, 3)):
        conversation = create()
        for _ in range(chance.choice([0, 1, 24, 25, 26, 51])):
            tables.put_message("kevin", conversation["id"])
        conversations.append(conversation)
    gone = []
    wire.reset()
    chaos = Chaos(wire, chance, likelihood=chance.choice([0.05, 0.2, 0.5]))
    wire.fault = chaos
    for conversation in conversations:
        with suppress(KilledError):
            call("delete_conversation", id=conversation["id"])
    wire.fault = None
    existing = {row["id"]["S"] for row in tables.conversations()}
    gone = [("kevin", conversation["id"]) for conversation in conversations if conversation["id"] not in existing]
    # The conversation and the order go together, whatever happened to the function that deleted it.
    assert sorted(tables.tombstones()) == sorted(f"kevin#{id}" for _, id in gone)
    before = {row["id"]["S"] for row in tables.messages() if row["conversation_id"]["S"] in existing}

    wire.fault = chaos
    if chance.random() < 0.5:
        tables.age_tombstones()
    # The stream delivers at least once, in batches that it cuts as it likes, and gives up after a while.
    for _ in range(chance.randint(0, 4)):
        batch = chance.choices(gone, k=chance.randint(1, 4)) if gone else []
        with suppress(KilledError, BatchProcessingError):
            purge(*batch, seconds=chance.choice([300, 50.01]))
    for _ in range(chance.randint(0, 2)):
        with suppress(KilledError, errors.Unavailable, RuntimeError):
            sweep(seconds=chance.choice([300, 50.01]))
    wire.reset()

    tables.age_tombstones()
    sweep()
    assert tables.tombstones() == []
    assert {row["id"]["S"] for row in tables.messages()} == before
    assert kept in list_messages()
