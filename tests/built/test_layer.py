"""The layer holds what the functions need, and little else."""

import json
import marshal
import re
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import trim
from botocore.loaders import Loader

from tests.built.conftest import run
from tests.template import FUNCTIONS, ROOT

MOST_BYTES = 15 * 1024 * 1024
# Where a request to each service goes in each partition of AWS, and for which region and service it is signed.
_ENDPOINTS = """
import json
import botocore.session

CALLS = {
    "codedeploy": ("put_lifecycle_event_hook_execution_status", {}),
    "dynamodb": ("get_item", {"TableName": "messages", "Key": {}}),
    "lambda": ("invoke", {"FunctionName": "function"}),
    "sqs": ("send_message", {"QueueUrl": "https://sqs/queue", "MessageBody": "letter"}),
}

class Sent(Exception):
    pass

def note(request, **_):
    signature = request.headers["Authorization"].decode()
    raise Sent(request.url, signature.partition("Credential=")[2].split("/")[2:4])

session = botocore.session.get_session()
partitions = session.get_component("data_loader").load_data("partitions")["partitions"]
found = {}
for partition in partitions:
    for service, (operation, given) in CALLS.items():
        region = partition["outputs"]["implicitGlobalRegion"]
        client = session.create_client(service, region)
        client.meta.events.register("before-send", note)
        try:
            getattr(client, operation)(**given)
        except Sent as sent:
            found[f"{service} in {region}"] = sent.args
print(json.dumps(found))
"""


@pytest.fixture
def packages(built: Path) -> Path:
    """The folder of the layer's packages."""
    return built / "SharedLayer/python"


def test_it_is_small(packages: Path) -> None:
    assert size(packages) <= MOST_BYTES


def test_all_of_it_is_compiled(packages: Path) -> None:
    sources = list(packages.rglob("*.py"))
    # Those of packages have gone.
    assert {source.relative_to(packages).parts[0] for source in sources} == {"coherent"}
    assert all(map(compiled, sources))
    assert (packages / "botocore/session.pyc").exists()


def test_functions_are_compiled(built: Path) -> None:
    sources = list(built.glob("*/app.py"))
    assert len(sources) == len(FUNCTIONS)
    assert all(map(compiled, sources))


def test_bytecode_is_good_whatever_becomes_of_the_times_of_files(built: Path) -> None:
    # Unchecked hashes (PEP 552): neither the zip file of a deployment nor another build makes it stale or different.
    assert {path.read_bytes()[4:8] for path in built.rglob("*.pyc")} == {b"\x01\0\0\0"}


def test_the_build_for_aws_is_small_and_of_lambdas_python() -> None:
    packages = ROOT / ".aws-sam/build/SharedLayer/python"
    if not packages.exists():
        pytest.skip("there is no build for AWS: run sam build")
    assert size(packages) <= MOST_BYTES
    bytecode = list(packages.rglob("*.pyc"))
    if not bytecode:
        pytest.skip("it was built without a Python 3.13, as it said")
    # What 3.13 begins its files with.
    assert {path.read_bytes()[:2] for path in bytecode} == {(3571).to_bytes(2, "little")}


def compiled(source: Path) -> list[Path]:
    return list((source.parent / "__pycache__").glob(f"{source.stem}.*.pyc"))


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_botocore_knows_the_services_that_are_called(packages: Path) -> None:
    sources = [*ROOT.glob("functions/*/app.py"), *ROOT.glob("layers/shared/coherent/**/*.py")]
    called = {
        name
        for source in sources
        for name in re.findall(r'(?:create_client|client\.connect)\(\s*"([\w-]+)"', source.read_text())
    }
    data = packages / "botocore/data"
    assert {path.name for path in data.iterdir() if path.is_dir()} == trim.SERVICES.keys() == called
    endpoints = json.loads((data / "endpoints.json").read_text())
    assert {name for partition in endpoints["partitions"] for name in partition["services"]} == called


def test_its_clients_find_every_service_in_every_partition(built: Path) -> None:
    trimmed = run(built, "sweep_purges", _ENDPOINTS)
    untrimmed = subprocess.run([sys.executable, "-c", _ENDPOINTS], capture_output=True, text=True, check=True)
    assert trimmed == json.loads(untrimmed.stdout)
    assert len(trimmed) >= 8 * len(trim.SERVICES)


def test_only_whole_rows_and_their_values_pass_as_they_are(packages: Path) -> None:
    shapes = json.loads((packages / "botocore/data/dynamodb/2012-08-10/service-2.json").read_text())["shapes"]
    passed = {name for name, shape in shapes.items() if shape.get("document")}
    untrimmed = Loader().load_service_model("dynamodb", "service-2")["shapes"]
    of_values = {name for name, shape in untrimmed.items() if shape.get("value") == {"shape": "AttributeValue"}}
    # The former is below AttributeValue, the latter in metrics that nobody asks for.
    assert passed == {"AttributeValue"} | of_values - {"MapAttributeValue", "ItemCollectionKeyAttributeMap"}


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
