"""AWS clients: deadlines, truncated responses, and the data that botocore reads."""

from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from coherent import deadline, errors
from coherent.storage import client

from tests.handlers import Context
from tests.template import TEMPLATE
from tests.wire import Content, response

# A call of each service without parameters.
LISTS = {"dynamodb": "list_tables", "sqs": "list_queues"}


def test_longest_request_ends_before_the_function_times_out() -> None:
    # botocore-stubs does not type the settings of a client.
    config: Any = client.connect("dynamodb").meta.config
    attempts = config.retries["total_max_attempts"]
    # botocore waits up to 1 s and then 2 s between attempts, plus up to 5 s if the response has x-amz-retry-after.
    waits = sum(2**attempt + 5 for attempt in range(attempts - 1))
    longest = attempts * (config.connect_timeout + config.read_timeout) + waits
    assert longest < TEMPLATE["Globals"]["Function"]["Timeout"] < 29


@pytest.mark.parametrize("service", LISTS)
def test_request_that_could_outlive_the_invocation_is_not_sent(service: str) -> None:
    sent: list[AWSPreparedRequest] = []

    def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        sent.append(request)
        return response(request, {})

    connected: Any = client.connect(service)
    connected.meta.events.register_first("before-send", send)
    make_request = getattr(connected, LISTS[service])
    within: Any = deadline.within
    with within(Context(20)):
        make_request()
    assert len(sent) == 1
    # An attempt takes up to 3 s, after a wait of up to 7 s.
    with within(Context(9.9)), pytest.raises(errors.Unavailable):
        make_request()
    make_request()


@pytest.mark.parametrize("service", LISTS)
@pytest.mark.parametrize(("truncated", "is_complete"), [(2, True), (3, False)])
def test_truncated_response_is_retried(service: str, truncated: int, is_complete: bool) -> None:
    content = b'{"TableNames": ["conversations"], "QueueUrls": ["dead letters"]}'
    sent: list[AWSPreparedRequest] = []

    def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        sent.append(request)
        headers = HTTPHeaders()
        headers["Content-Length"] = str(len(content))
        return AWSResponse(request.url, 200, headers, Content(content[:20] if len(sent) <= truncated else content))

    connected: Any = client.connect(service)
    connected.meta.events.register_first("before-send", send)
    make_request = getattr(connected, LISTS[service])
    if is_complete:
        assert {"dynamodb": ["conversations"], "sqs": ["dead letters"]}[service] in make_request().values()
    else:
        with pytest.raises(errors.Unavailable):
            make_request()
    assert len(sent) == 3
