"""Writes `openapi.json`, the description of the API that the reference page shows."""

import tomllib
from pathlib import Path

FILE = Path(__file__).resolve().parent.parent.parent / "functions/retrieve_docs/openapi.json"
TEXTS = tomllib.loads((Path(__file__).parent / "texts.toml").read_text())
