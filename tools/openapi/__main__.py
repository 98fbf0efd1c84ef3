"""Writes the OpenAPI document to FILE, or to the reference page's file: `python -m tools.openapi [FILE]`."""

import json
import sys
from pathlib import Path

from tools import openapi
from tools.openapi.document import document

file = Path(sys.argv[1]) if len(sys.argv) > 1 else openapi.FILE
file.write_text(json.dumps(document(), indent=2, ensure_ascii=False) + "\n")
