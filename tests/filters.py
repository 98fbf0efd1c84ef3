"""The combinations of list filters, and how many partitions each of them reads."""

import itertools

COMBINATIONS = [
    {name: value for name, value in zip(("muted", "archived", "pinned", "group_id"), values, strict=True) if value}
    for values in itertools.product(*[(None, "true", "false")] * 3, (None, "friends"))
]


def partitions(query: dict[str, str]) -> int:
    """Returns the number of partitions that *query* reads: the table's own, or one for each value of each open flag."""
    flags = len({"muted", "archived", "pinned"} & query.keys())
    return 1 if not query else 2 ** (3 - flags)
