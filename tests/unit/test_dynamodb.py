"""Calls cost no more than they have to, and writes that met come again."""

import itertools
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ClientError
from coherent import errors
from coherent.storage import dynamodb

from tests.wire import response


def test_no_call_pays_for_validation_or_for_a_user_agent_of_its_own() -> None:
    client = dynamodb.connect().client
    user_agents: list[Any] = []

    def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        user_agents.append(request.headers["User-Agent"])
        return response(request, {})

    events: Any = client.meta.events
    events.register_first("before-send.dynamodb", send)
    # What botocore would refuse by itself.
    client.get_item(TableName="", Key={})
    # Powertools adds itself.
    assert [user_agent.partition(b" ")[0] for user_agent in user_agents] == [b"coherent-conversations"]


def refuse() -> None:
    response: Any = {"Error": {"Code": "TransactionConflictException"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    raise ClientError(response, "UpdateItem")


def test_writes_that_met_come_again_at_random_and_later_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[list[float]] = []

    def note(seconds: float) -> None:
        waits[-1].append(seconds)

    monkeypatch.setattr("coherent.storage.dynamodb.time.sleep", note)
    for _ in range(50):
        waits.append([])
        with pytest.raises(errors.Unavailable):
            dynamodb.retry_conflicts(refuse)
    longest = [max(nth) for nth in zip(*waits, strict=True)]
    assert [len(each) for each in waits] == [5] * 50
    assert all(after > before for before, after in itertools.pairwise(longest))
    assert 2 < sum(longest) < 3.2
    assert len({each[0] for each in waits}) == 50
