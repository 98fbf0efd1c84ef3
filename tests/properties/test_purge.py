"""Purges and sweeps under random faults: a final sweep leaves nothing of deleted conversations."""

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
    """Lambda stops the function: the code under test does not catch this."""


class RandomFaults:
    """Injects faults at random requests."""

    def __init__(self, wire: Wire, random: random.Random, likelihood: float) -> None:
        """Injects a fault with this *likelihood* at each request of *wire*."""
        self._wire, self._random, self._likelihood = wire, random, likelihood

    def __call__(self, request: AWSPreparedRequest) -> AWSResponse | None:
        """Responds to *request* with a fault, or returns None to let it pass."""
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
            return self._apply_some(request)
        return None

    def _apply_some(self, request: AWSPreparedRequest) -> AWSResponse:
        ((table_name, writes),) = self._wire.bodies[-1]["RequestItems"].items()
        unprocessed = [write for write in writes if self._random.random() < 0.5]
        for write in writes:
            if write not in unprocessed:
                tables.delete_message(write["DeleteRequest"]["Key"])
        return response(request, {"UnprocessedItems": {table_name: unprocessed} if unprocessed else {}})


@pytest.mark.usefixtures("tables", "no_backoff")
@pytest.mark.parametrize("seed", range(SEEDS))
def test_sweep_finishes_interrupted_purges(seed: int, wire: Wire) -> None:
    chance = random.Random(seed)  # noqa: S311 - seeded, to reproduce failures
    kept = send(create())
    conversations: list[dict[str, Any]] = []
    for _ in range(chance.randint(1, 3)):
        conversation = create()
        for _ in range(chance.choice([0, 1, 24, 25, 26, 51])):
            tables.put_message("kevin", conversation["id"])
        conversations.append(conversation)
    wire.reset()
    faults = RandomFaults(wire, chance, likelihood=chance.choice([0.05, 0.2, 0.5]))
    wire.fault = faults
    for conversation in conversations:
        with suppress(KilledError):
            call("delete_conversation", id=conversation["id"])
    wire.fault = None
    existing = {row["id"]["S"] for row in tables.conversations()}
    deleted = [("kevin", conversation["id"]) for conversation in conversations if conversation["id"] not in existing]
    # A conversation and its tombstone change together, even if the function was killed.
    assert sorted(tables.tombstones()) == sorted(f"kevin#{id}" for _, id in deleted)
    before = {row["id"]["S"] for row in tables.messages() if row["conversation_id"]["S"] in existing}

    wire.fault = faults
    if chance.random() < 0.5:
        tables.age_tombstones()
    # A stream delivers records at least once, in batches of any size, and gives up after some attempts.
    for _ in range(chance.randint(0, 4)):
        batch = chance.choices(deleted, k=chance.randint(1, 4)) if deleted else []
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
