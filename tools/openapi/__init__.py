"""Writes `openapi.json`, the description of the API that the reference page shows."""

from pathlib import Path

FILE = Path(__file__).resolve().parent.parent.parent / "functions/retrieve_docs/openapi.json"
