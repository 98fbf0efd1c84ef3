"""The client gives up before the function is stopped, and the function before API Gateway."""

from typing import Any

from coherent import dynamodb

from tests.template import TEMPLATE


def test_the_longest_request_ends_before_the_functions_timeout() -> None:
    # botocore's stubs know none of its settings.
    config: Any = dynamodb.connect().meta.config
    attempts = config.retries["total_max_attempts"]
    # botocore waits up to 1 s and then 2 s between attempts, and up to 5 s more each time DynamoDB asks for it.
    waits = sum(2**attempt + 5 for attempt in range(attempts - 1))
    longest = attempts * (config.connect_timeout + config.read_timeout) + waits
    assert longest < TEMPLATE["Globals"]["Function"]["Timeout"] < 29
