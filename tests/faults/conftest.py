"""The built functions in execution environments, behind a network that can fail."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.built import environments
from tests.faults.network import Network, connected


@pytest.fixture(scope="session")
def network(_dynamodb: None) -> Iterator[Network]:
    """The network to AWS, which has the tables."""
    with connected() as network:
        yield network


@pytest.fixture(scope="session")
def runtime(network: Network, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the runtime that creates execution environments."""
    with environments.running(built, network.url, tmp_path_factory.mktemp("runtime") / "log") as port:
        yield port
