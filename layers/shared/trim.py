"""Removes unused files from a built layer: python trim.py <artifacts folder of the layer>."""

import gzip
import json
import shutil
import sys
from pathlib import Path
from typing import Any

# The services that our code calls, and their API versions. botocore brings data for 400 more.
SERVICES = {
    "codedeploy": "2014-10-06",
    "cognito-idp": "2016-04-18",
    "dynamodb": "2012-08-10",
    "events": "2015-10-07",
    "lambda": "2015-03-31",
    "sqs": "2012-11-05",
    "ssm": "2014-11-06",
}

# The owners of the root certificates behind AWS endpoints: amazontrust.com/repository recommends Amazon's and
# Starfield's, and DigiCert signed before those. Loading all 126 roots takes longer than the rest of a new connection.
AUTHORITIES = ("Amazon", "DigiCert", "Starfield")
# The template sets AWS_CA_BUNDLE to this file below /opt.
CA_BUNDLE = "aws-ca-bundle.pem"
_CERTIFICATE = "# Issuer: "

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
    "aws_lambda_powertools/utilities/metadata",
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
    # Scanners such as Amazon Inspector read METADATA to list the installed packages.
    "*.dist-info/[!M]*",
)


def main(layer: Path) -> None:
    """Trims *layer* once. Fails if a pattern no longer matches anything."""
    packages = layer / "python"
    for pattern in UNUSED:
        found = list(packages.glob(pattern))
        if not found:
            sys.exit(f"trim.py: the layer no longer has {pattern}")
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in list((packages / "botocore/data").iterdir()):
        if path.is_dir():
            _trim_service(path)
    endpoints = packages / "botocore/data/endpoints.json"
    described = json.loads(endpoints.read_text())
    for partition in described["partitions"]:
        partition["services"] = {name: service for name, service in partition["services"].items() if name in SERVICES}
    endpoints.write_text(json.dumps(described, separators=(",", ":")))
    _, *certificates = (packages / "botocore/cacert.pem").read_text(encoding="utf-8").split(_CERTIFICATE)
    kept = [certificate for certificate in certificates if certificate.partition(" O=")[2].startswith(AUTHORITIES)]
    (layer / CA_BUNDLE).write_text("".join(_CERTIFICATE + certificate for certificate in kept), encoding="utf-8")


def _trim_service(folder: Path) -> None:
    if folder.name not in SERVICES:
        shutil.rmtree(folder)
        return
    for version in list(folder.iterdir()):
        if version.name != SERVICES[folder.name]:
            shutil.rmtree(version)
    for path in list(folder.glob("*/*.json.gz")):
        description = _without_documentation(json.loads(gzip.decompress(path.read_bytes())))
        # Uncompressed, since every cold start reads it.
        path.with_suffix("").write_text(json.dumps(description, separators=(",", ":")))
        path.unlink()


def _without_documentation(value: Any) -> Any:  # noqa: ANN401 - any part of a description
    if isinstance(value, dict):
        return {
            name: _without_documentation(part)
            for name, part in value.items()
            if not (name == "documentation" and isinstance(part, str))
        }
    return [_without_documentation(part) for part in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main(Path(sys.argv[1]))
