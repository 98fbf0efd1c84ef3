"""Positions in the inbox: `<10 digits of seconds>.<conversation id>`, which sort by last activity."""

PATTERN = r"^[0-9]{10}\.[0-9A-Za-z]{16}$"
RULE = "the position of an inbox entry, such as 1767225600.xgQQXg3hrtjh7AvZ"


def new(active_at: int, conversation_id: str) -> str:
    """Returns the position of a conversation that was last active at *active_at* (Unix seconds)."""
    return f"{active_at:010}.{conversation_id}"
