"""Takes out of a built layer what no function reads: python trim.py <folder of the layer's packages>."""

import gzip
import json
import shutil
import sys
from pathlib import Path
from typing import Any

# All that our code calls, with the version of their API; the data of the other 400 services is most of botocore.
SERVICES = {"codedeploy": "2014-10-06", "dynamodb": "2012-08-10", "lambda": "2015-03-31", "sqs": "2012-11-05"}

# DynamoDB's rows, keys and parameters. Their JSON on the wire is what botocore hands out and takes in, but for binary
# values, of which we have none. As documents they pass as they are, and are not walked through value by value.
ROWS = {
    "AttributeMap",
    "AttributeValue",
    "ExpressionAttributeValueMap",
    "Key",
    "PutItemInputAttributeMap",
}

# Who owns the roots that the certificates of AWS's endpoints go back to. amazontrust.com/repository recommends Amazon's
# and Starfield's; DigiCert signed before those, and stays for any partition where it still does. Each new connection
# reads all that there are, and 126 of them take longer than all else about it.
AUTHORITIES = ("Amazon", "DigiCert", "Starfield")

_EACH = "# Issuer: "

UNUSED = (
    "bin",
    "annotated_types/test_cases.py",
    "aws_lambda_powertools/event_handler/*.py",
    "aws_lambda_powertools/event_handler/*/*.py",
    "aws_lambda_powertools/utilities/auth_alpha",
    "aws_lambda_powertools/utilities/circuit_breaker",
    "aws_lambda_powertools/utilities/data_masking",
    "aws_lambda_powertools/utilities/feature_flags",
    "aws_lambda_powertools/utilities/idempotency",
    "aws_lambda_powertools/utilities/kafka",
    "aws_lambda_powertools/utilities/parameters",
    "aws_lambda_powertools/utilities/parser",
    "aws_lambda_powertools/utilities/streaming",
    "aws_lambda_powertools/utilities/validation",
    "botocore/data/*/*/examples-1.json",
    "botocore/data/*/*/waiters-2.json*",
    "dateutil/zoneinfo",
    "pydantic/experimental",
    "pydantic/mypy.py",
    "pydantic/v1",
    "urllib3/contrib/emscripten",
    # All but METADATA, by which scanners such as Amazon Inspector tell what is installed.
    "*.dist-info/[!M]*",
)


def main(packages: Path) -> None:
    """Trims *packages*, once. Ends the build where something is no longer where it was."""
    for pattern in UNUSED:
        found = list(packages.glob(pattern))
        if not found:
            sys.exit(f"trim.py: there is no {pattern} in the layer any more")
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in list((packages / "botocore/data").iterdir()):
        if path.is_dir():
            _trim_service(path)
    endpoints = packages / "botocore/data/endpoints.json"
    described = json.loads(endpoints.read_text())
    for partition in described["partitions"]:
        partition["services"] = {name: service for name, service in partition["services"].items() if name in SERVICES}
    _write(endpoints, json.dumps(described, separators=(",", ":")))
    bundle = packages / "botocore/cacert.pem"
    _, *certificates = bundle.read_text(encoding="utf-8").split(_EACH)
    kept = [certificate for certificate in certificates if certificate.partition(" O=")[2].startswith(AUTHORITIES)]
    _write(bundle, "".join(_EACH + certificate for certificate in kept))


def _trim_service(folder: Path) -> None:
    if folder.name not in SERVICES:
        shutil.rmtree(folder)
        return
    for version in list(folder.iterdir()):
        if version.name != SERVICES[folder.name]:
            shutil.rmtree(version)
    for path in list(folder.glob("*/*.json.gz")):
        description = _without_documentation(json.loads(gzip.decompress(path.read_bytes())))
        if path.name == "service-2.json.gz" and folder.name == "dynamodb":
            for name in ROWS:
                description["shapes"][name] = {"type": "structure", "members": {}, "document": True}
            # Where to look for ARNs of tables in other accounts. We call ours by name, so each call would look in vain.
            for operation in description["operations"].values():
                operation.pop("operationContextParams", None)
        # Not compressed, since it is read at each start.
        _write(path.with_suffix(""), json.dumps(description, separators=(",", ":")))
        path.unlink()


def _without_documentation(value: Any) -> Any:  # noqa: ANN401 - any part of a description
    if isinstance(value, dict):
        return {
            name: _without_documentation(part)
            for name, part in value.items()
            if not (name == "documentation" and isinstance(part, str))
        }
    return [_without_documentation(part) for part in value] if isinstance(value, list) else value


def _write(path: Path, text: str) -> None:
    # A new file: the one that is there may be a link into a cache that other environments are made of.
    path.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
