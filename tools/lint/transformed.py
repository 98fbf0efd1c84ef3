"""The template after SAM's transform, which AWS then deploys: `python -m tools.lint.transformed [PARAMETER=VALUE ...]`."""

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

_TEMPLATE = Path(__file__).resolve().parent.parent.parent / "template.yaml"
# The transform takes no code but what sam has uploaded.
_UPLOADED = "s3://bucket/key"
# By which it tells the partition in ARNs.
_REGION = "us-east-1"


def transformed(parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What SAM makes of `template.yaml` with *parameters*, and with its defaults for the others.

    What was made for a resource has its `Metadata`, so that what it suppresses is suppressed there as well.
    """
    template: dict[str, Any] = yaml_parse(_TEMPLATE.read_text())
    for name, value in (parameters or {}).items():
        # What comes out holds for this value alone, whatever conditions make of others.
        template["Parameters"][name] |= {"Default": value, "AllowedValues": [value]}
    for part in (*template["Globals"].values(), *template["Resources"].values()):
        properties = part.get("Properties", part)
        properties.update({name: _UPLOADED for name in ("CodeUri", "ContentUri") if name in properties})
    # No managed policy has to be looked up by its name.
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=_REGION))
    result = translator.translate(template, {}, passthrough_metadata=True)
    # SAM has types of its own for text and maps.
    plain: dict[str, Any] = json.loads(json.dumps(result))
    return plain


if __name__ == "__main__":
    # It warns that it was not told which of its features AWS has on.
    logging.getLogger("samtranslator").setLevel(logging.ERROR)
    json.dump(transformed(dict(argument.split("=", 1) for argument in sys.argv[1:])), sys.stdout, indent=2)
