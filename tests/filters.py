"""The combinations of filters that a client may give, what each of them lists and what it has to read."""

import itertools
from typing import Any

COMBINATIONS = [
    {name: value for name, value in zip(("muted", "archived", "pinned", "group_id"), values, strict=True) if value}
    for values in itertools.product(*[(None, "true", "false")] * 3, (None, "friends"))
]


def partitions(query: dict[str, str]) -> int:
    """How many partitions hold what *query* may match: the table's own, or those of the flags it leaves open."""
    flags = len({"muted", "archived", "pinned"} & query.keys())
    return 1 if not query else 2 ** (3 - flags)


def matches(conversation: dict[str, Any], query: dict[str, str]) -> bool:
    """Whether the filters of *query* keep *conversation*."""
    state = {
        "muted": str(conversation["is_muted"]).lower(),
        "archived": str(conversation["archived_at"] is not None).lower(),
        "pinned": str(conversation["is_pinned"]).lower(),
        "group_id": conversation["group_id"],
    }
    return query.items() <= state.items()
