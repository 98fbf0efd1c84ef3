"""Prints `template.yaml` after SAM's transform: `python -m tools.lint.transformed [ENVIRONMENT] [NAME=VALUE ...]`."""

import functools
import json
import logging
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parent.parent.parent
TEMPLATE = ROOT / "template.yaml"


def load(path: Path) -> dict[str, Any]:
    """Returns a template as it is written, with merge keys and aliases expanded."""
    # The nested templates in infra/ contain nothing that SAM transforms: this is what AWS deploys.
    # Through JSON, so that no two parts share an object, which the transform would change in place.
    return dict(json.loads(_as_json(path.read_text())))


# Parsing template.yaml takes 0.2 s, and tests load it often.
@functools.cache
def _as_json(text: str) -> str:
    return json.dumps(yaml_parse(text))


def transformed(parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Returns `template.yaml` after SAM's transform with these *parameters*, and defaults for all others."""
    template = load(TEMPLATE)
    for name, value in (parameters or {}).items():
        # The result depends on this value, not only on conditions, so no other value is allowed.
        template["Parameters"][name] |= {"Default": value, "AllowedValues": [value]}
    for part in (*template["Globals"].values(), *template["Resources"].values()):
        properties = part.get("Properties", part)
        # The transform accepts only code that sam has uploaded.
        properties.update({name: "s3://bucket/key" for name in ("CodeUri", "ContentUri") if name in properties})
    # There are no managed policies to look up by name. The partition in ARNs depends on the region.
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name="us-east-1"))
    # Resources that SAM generates get the `Metadata` of their source, so its suppressions apply to them too.
    result = translator.translate(template, {}, passthrough_metadata=True)
    # SAM has its own types of text and maps.
    return dict(json.loads(json.dumps(result)))


def settings(arguments: Iterable[str]) -> dict[str, str]:
    """Returns the parameters that *arguments* set, themselves or as names of environments in `samconfig.toml`."""
    parameters: dict[str, str] = {}
    for argument in arguments:
        if "=" in argument:
            name, value = argument.split("=", 1)
            parameters[name] = value
        else:
            environment = tomllib.loads((ROOT / "samconfig.toml").read_text())[argument]["deploy"]["parameters"]
            parameters |= settings(environment.get("parameter_overrides", []))
    return parameters


if __name__ == "__main__":
    # It warns that it cannot ask AWS for its feature flags.
    logging.getLogger("samtranslator").setLevel(logging.ERROR)
    if sys.argv[1:] == ["-"]:
        # For tests: a JSON list of arguments on each line, because the imports take longer than a transform.
        for line in sys.stdin:
            print(json.dumps(transformed(settings(json.loads(line)))), flush=True)
    else:
        json.dump(transformed(settings(sys.argv[1:])), sys.stdout, indent=2)
