"""The built layer: it has all that the functions need, compiled, and little else."""

import gzip
import json
import marshal
import re
import ssl
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import trim

from tests.built.conftest import run
from tests.template import FUNCTIONS, ROOT, TEMPLATE

MAX_BYTES = 18 * 1024 * 1024
# Prints, for each service in each partition of AWS, the URL of a request and the region and service it is signed for.
_ENDPOINTS = """
import json
import botocore.session

CALLS = {
    "codedeploy": ("put_lifecycle_event_hook_execution_status", {}),
    "cognito-idp": ("list_users", {"UserPoolId": "eu-west-1_pool"}),
    "dynamodb": ("get_item", {"TableName": "messages", "Key": {}}),
    "events": ("put_events", {"Entries": [{}]}),
    "lambda": ("invoke", {"FunctionName": "function"}),
    "sqs": ("send_message", {"QueueUrl": "https://sqs/queue", "MessageBody": "dead letter"}),
    "ssm": ("get_parameter", {"Name": "master-key"}),
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
# Prints which shapes the clients of a function treat as documents.
_DOCUMENTS = """
import json, os
from coherent.storage import client
model = client.connect("dynamodb").meta.service_model
shapes = map(model.shape_for, model.shape_names)
print(json.dumps(sorted(shape.name for shape in shapes if getattr(shape, "is_document_type", False))))
"""


@pytest.fixture
def layer(built: Path) -> Path:
    """The folder of the layer, which Lambda mounts at /opt."""
    return built / "SharedLayer"


@pytest.fixture
def packages(layer: Path) -> Path:
    """The folder of the layer's packages."""
    return layer / "python"


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def bytecode(source: Path) -> Path:
    (found,) = (source.parent / "__pycache__").glob(f"{source.stem}.*.pyc")
    return found


def test_layer_is_small(layer: Path) -> None:
    assert size(layer) <= MAX_BYTES


def test_all_modules_have_source_and_bytecode(built: Path, packages: Path) -> None:
    sources = [*packages.rglob("*.py"), *built.glob("*/*.py")]
    assert len({source.parent for source in sources if source.name == "app.py"}) == len(FUNCTIONS)
    assert {bytecode(source) for source in sources} == set(built.rglob("*.pyc"))


def test_bytecode_does_not_depend_on_file_times(built: Path) -> None:
    # Unchecked hashes (PEP 552): neither a deployment's zip file nor another build makes the bytecode stale.
    assert {path.read_bytes()[4:8] for path in built.rglob("*.pyc")} == {b"\x01\0\0\0"}


def test_stack_traces_name_the_path_in_lambda(packages: Path) -> None:
    content = bytecode(packages / "botocore/session.py").read_bytes()
    compiled = marshal.loads(content[16:])  # noqa: S302 - our own build
    assert compiled.co_filename == "/opt/python/botocore/session.py"


def test_build_for_aws_is_small_and_compiled_for_python_3_13() -> None:
    layer = ROOT / ".aws-sam/build/SharedLayer"
    if not layer.exists():
        pytest.skip("there is no build for AWS: run sam build")
    assert size(layer) <= MAX_BYTES
    compiled = list(layer.rglob("*.pyc"))
    if not compiled:
        pytest.skip("no Python 3.13 was found for the build")
    # The magic number of Python 3.13.
    assert {path.read_bytes()[:2] for path in compiled} == {(3571).to_bytes(2, "little")}


def test_botocore_has_data_of_the_called_services_only(packages: Path) -> None:
    sources = [*ROOT.glob("functions/*/*.py"), *ROOT.glob("layers/shared/coherent/**/*.py")]
    called = {
        name
        for source in sources
        for name in re.findall(r'(?:create_client|client\.connect)\(\s*"([\w-]+)"', source.read_text())
    }
    data = packages / "botocore/data"
    assert {path.name for path in data.iterdir() if path.is_dir()} == trim.SERVICES.keys() == called
    endpoints = json.loads((data / "endpoints.json").read_text())
    assert {name for partition in endpoints["partitions"] for name in partition["services"]} == called


def test_service_models_lack_only_their_documentation(packages: Path) -> None:
    original = files("botocore") / "data"
    for service, version in trim.SERVICES.items():
        path = f"{service}/{version}/service-2.json"
        with (original / f"{path}.gz").open("rb") as compressed:
            model: Any = json.loads(gzip.decompress(compressed.read()))
        trimmed = json.loads((packages / "botocore/data" / path).read_text())
        assert trimmed == _without_documentation(model), service


def _without_documentation(part: Any) -> Any:
    match part:
        case dict():
            return {
                name: _without_documentation(value)
                for name, value in part.items()
                if name != "documentation" or not isinstance(value, str)
            }
        case list():
            return [_without_documentation(value) for value in part]
    return part


def test_overlay_of_the_dynamodb_model_is_used(built: Path) -> None:
    overlay = ROOT / "layers/shared/coherent/storage/botocore_data/dynamodb/2012-08-10/service-2.sdk-extras.json"
    shapes = sorted(json.loads(overlay.read_text())["merge"]["shapes"])
    assert run(built, "create_conversation", _DOCUMENTS, AWS_DEFAULT_REGION="eu-west-1") == shapes


def test_clients_find_every_service_in_every_partition(built: Path) -> None:
    trimmed = run(built, "sweep_purges", _ENDPOINTS)
    untrimmed = subprocess.run([sys.executable, "-c", _ENDPOINTS], capture_output=True, text=True, check=True)
    assert trimmed == json.loads(untrimmed.stdout)
    assert len(trimmed) >= 8 * len(trim.SERVICES)


def test_ca_bundle_has_the_roots_of_aws_endpoints(layer: Path) -> None:
    assert TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]["AWS_CA_BUNDLE"] == f"/opt/{trim.CA_BUNDLE}"
    context = ssl.create_default_context(cafile=layer / trim.CA_BUNDLE)
    trusted = {part[0][1] for root in context.get_ca_certs() for part in root["subject"][-1:]}
    # The roots that amazontrust.com/repository recommends.
    assert trusted >= {
        "Starfield Services Root Certificate Authority - G2",
        *(f"Amazon Root CA {number}" for number in range(1, 5)),
    }
    assert len(trusted) < 20
    all_roots = (layer / "python/botocore/cacert.pem").read_bytes()
    assert all_roots == (files("botocore") / "cacert.pem").read_bytes()


def test_installed_packages_can_be_listed(packages: Path) -> None:
    kept = {path.name for folder in packages.glob("*.dist-info") for path in folder.iterdir()}
    assert kept == {"METADATA"}


def test_build_does_not_change_other_environments(packages: Path) -> None:
    # An installer may hard-link files into its cache, which other environments share.
    trimmed = packages / "botocore/data/endpoints.json"
    others = ROOT.glob(".venv/lib/python*/site-packages/botocore/data/endpoints.json")
    assert all(other.stat().st_size > 10 * trimmed.stat().st_size for other in others)
    assert trimmed.stat().st_nlink == 1
