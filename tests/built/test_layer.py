"""The layer holds what the functions need, and little else."""

import json
import marshal
import re
import ssl
from pathlib import Path

import pytest
import trim

from tests.template import ROOT

MOST_BYTES = 15 * 1024 * 1024


@pytest.fixture
def packages(built: Path) -> Path:
    """The folder of the layer's packages."""
    return built / "SharedLayer/python"


def test_it_is_small(packages: Path) -> None:
    assert sum(path.stat().st_size for path in packages.rglob("*") if path.is_file()) <= MOST_BYTES


def test_all_of_it_is_compiled(packages: Path) -> None:
    sources = list(packages.rglob("*.py"))
    # Those of packages have gone.
    assert {source.relative_to(packages).parts[0] for source in sources} == {"coherent"}
    for source in sources:
        assert list((source.parent / "__pycache__").glob(f"{source.stem}.*.pyc"))
    assert (packages / "botocore/session.pyc").exists()


def test_a_function_is_compiled(built: Path) -> None:
    for source in built.glob("*/app.py"):
        assert list((source.parent / "__pycache__").glob("app.*.pyc"))


def test_botocore_knows_the_services_that_are_called(packages: Path) -> None:
    sources = [*ROOT.glob("functions/*/app.py"), *ROOT.glob("layers/shared/coherent/**/*.py")]
    called = {name for source in sources for name in re.findall(r'create_client\(\s*"([\w-]+)"', source.read_text())}
    data = packages / "botocore/data"
    assert {path.name for path in data.iterdir() if path.is_dir()} == trim.SERVICES.keys() == called
    endpoints = json.loads((data / "endpoints.json").read_text())
    assert {name for partition in endpoints["partitions"] for name in partition["services"]} == called


def test_only_whole_rows_and_their_values_pass_as_they_are(packages: Path) -> None:
    shapes = json.loads((packages / "botocore/data/dynamodb/2012-08-10/service-2.json").read_text())["shapes"]
    passed = {name for name, shape in shapes.items() if shape.get("document")}
    assert passed == trim.ROWS


def test_it_trusts_the_roots_of_awss_endpoints(packages: Path) -> None:
    bundle = packages / "botocore/cacert.pem"
    trusted = {
        part[0][1] for root in ssl.create_default_context(cafile=bundle).get_ca_certs() for part in root["subject"][-1:]
    }
    # What amazontrust.com/repository asks of a trust store of one's own.
    assert trusted >= {
        "Starfield Services Root Certificate Authority - G2",
        *(f"Amazon Root CA {number}" for number in range(1, 5)),
    }
    assert len(trusted) < 20


def test_stack_traces_tell_where_a_module_is_in_lambda(packages: Path) -> None:
    compiled = marshal.loads((packages / "botocore/session.pyc").read_bytes()[16:])  # noqa: S302 - our own build
    assert compiled.co_filename == "/opt/python/botocore/session.py"


def test_what_is_installed_can_still_be_told(packages: Path) -> None:
    kept = {path.name for folder in packages.glob("*.dist-info") for path in folder.iterdir()}
    assert kept == {"METADATA"}


def test_building_leaves_the_tools_own_packages_as_they_were(packages: Path) -> None:
    # They are links to the same files, where an installer shares its cache.
    trimmed = packages / "botocore/data/endpoints.json"
    others = ROOT.glob(".venv/lib/python*/site-packages/botocore/data/endpoints.json")
    assert all(other.stat().st_size > 10 * trimmed.stat().st_size for other in others)
    assert trimmed.stat().st_nlink == 1
