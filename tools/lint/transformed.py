"""Prints a template as AWS deploys it, after SAM's transform: `python -m tools.lint.transformed [PARAMETER=VALUE ...]`.

`--template infra/monitoring.yaml` prints a nested template instead of `template.yaml`.
"""

import argparse
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parent.parent.parent
TEMPLATE = ROOT / "template.yaml"
# The transform accepts only code that sam has uploaded.
_UPLOADED = "s3://bucket/key"
# The partition in ARNs depends on it.
_REGION = "us-east-1"


def load(path: Path) -> dict[str, Any]:
    """Returns a template as it is written, with merge keys and aliases expanded."""
    # Through JSON, so that no two parts share an object, which the transform would change in place.
    template: dict[str, Any] = json.loads(json.dumps(yaml_parse(path.read_text())))
    return template


def transformed(parameters: Mapping[str, str] | None = None, path: Path = TEMPLATE) -> dict[str, Any]:
    """Returns the template after SAM's transform with these *parameters*, and defaults for all others.

    Resources that SAM generates have the `Metadata` of their source, so its suppressions apply to them too.
    """
    template = load(path)
    for name, value in (parameters or {}).items():
        # The result depends on this value, whatever the conditions say, so no other value is allowed.
        template["Parameters"][name] |= {"Default": value, "AllowedValues": [value]}
    if "Transform" not in template:
        return template
    for part in (*template["Globals"].values(), *template["Resources"].values()):
        properties = part.get("Properties", part)
        properties.update({name: _UPLOADED for name in ("CodeUri", "ContentUri") if name in properties})
    # There are no managed policies to look up by name.
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=_REGION))
    result = translator.translate(template, {}, passthrough_metadata=True)
    # SAM has its own types of text and maps.
    plain: dict[str, Any] = json.loads(json.dumps(result))
    return plain


def main() -> None:
    """Prints the template that the command line names, as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tools.lint.transformed", description=__doc__)
    parser.add_argument("--template", type=Path, default=TEMPLATE)
    parser.add_argument("parameters", nargs="*", metavar="PARAMETER=VALUE")
    options = parser.parse_args()
    # It warns that it cannot ask AWS for its feature flags.
    logging.getLogger("samtranslator").setLevel(logging.ERROR)
    parameters = dict(parameter.split("=", 1) for parameter in options.parameters)
    json.dump(transformed(parameters, options.template), sys.stdout, indent=2)


if __name__ == "__main__":
    main()
