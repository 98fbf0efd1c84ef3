"""A function gives up before it is stopped, however many requests it makes."""

from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from coherent import deadline, errors
from coherent.storage import client

from tests.handlers import Context
from tests.template import TEMPLATE
from tests.wire import Content, response


def test_the_longest_request_ends_before_the_functions_timeout() -> None:
    # botocore's stubs know none of its settings.
    config: Any = client.connect("dynamodb").meta.config
    attempts = config.retries["total_max_attempts"]
    # botocore waits up to 1 s and then 2 s between attempts, and up to 5 s more each time DynamoDB asks for it.
    waits = sum(2**attempt + 5 for attempt in range(attempts - 1))
    longest = attempts * (config.connect_timeout + config.read_timeout) + waits
    assert longest < TEMPLATE["Globals"]["Function"]["Timeout"] < 29


@pytest.mark.parametrize("service", ["dynamodb", "sqs"])
def test_what_could_outlive_the_invocation_is_not_begun(service: str) -> None:
    sent: list[AWSPreparedRequest] = []

    def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        sent.append(request)
        return response(request, {})

    connected: Any = client.connect(service)
    connected.meta.events.register_first("before-send", send)
    ask = {"dynamodb": "list_tables", "sqs": "list_queues"}[service]
    of: Any = deadline.of
    with of(Context(20)):
        getattr(connected, ask)()
    assert len(sent) == 1
    # An attempt takes up to 3 s, and botocore may wait for 7 s before it would begin another.
    with of(Context(9.9)), pytest.raises(errors.Unavailable):
        getattr(connected, ask)()
    getattr(connected, ask)()


@pytest.mark.parametrize("service", ["dynamodb", "sqs"])
@pytest.mark.parametrize(("truncated", "is_answered"), [(2, True), (3, False)])
def test_an_answer_that_ends_too_early_is_asked_for_again(service: str, truncated: int, is_answered: bool) -> None:
    whole = b'{"TableNames": ["conversations"], "QueueUrls": ["letters"]}'
    sent: list[AWSPreparedRequest] = []

    def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        sent.append(request)
        headers = HTTPHeaders()
        headers["Content-Length"] = str(len(whole))
        return AWSResponse(request.url, 200, headers, Content(whole[:20] if len(sent) <= truncated else whole))

    connected: Any = client.connect(service)
    connected.meta.events.register_first("before-send", send)
    ask = {"dynamodb": "list_tables", "sqs": "list_queues"}[service]
    if is_answered:
        assert [["conversations"], ["letters"]][service == "sqs"] in getattr(connected, ask)().values()
    else:
        with pytest.raises(errors.Unavailable):
            getattr(connected, ask)()
    assert len(sent) == 3
