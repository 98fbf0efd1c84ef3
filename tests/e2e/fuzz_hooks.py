"""What Schemathesis has to know of us beyond `openapi.json`."""

from typing import Any

import schemathesis


@schemathesis.hook
def map_body(_context: schemathesis.HookContext, body: Any) -> Any:
    """JSON Schema holds 800.0 to be an integer; the contract refuses it as a time."""
    if isinstance(body, dict):
        return {
            name: int(value) if isinstance(value, float) and value.is_integer() else value
            for name, value in body.items()
        }
    return body
