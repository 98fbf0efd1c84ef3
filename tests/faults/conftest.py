"""The built functions behind a network that can fail."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import functions, network


@pytest.fixture(scope="session")
def aws(_dynamodb: None) -> Iterator[network.Network]:
    """The network to AWS, where there are the tables."""
    with network.connected() as connected:
        yield connected


@pytest.fixture(scope="session")
def runtime(aws: network.Network, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port at which execution environments are made."""
    with functions.running(built, aws.url, tmp_path_factory.mktemp("runtime") / "log") as port:
        yield port
