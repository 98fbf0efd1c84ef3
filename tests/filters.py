"""The combinations of list filters, and how many partitions each of them reads."""

import itertools


def _combinations(*flags: str) -> list[dict[str, str]]:
    names = (*flags, "group_id")
    return [
        {name: value for name, value in zip(names, values, strict=True) if value}
        for values in itertools.product(*[(None, "true", "false")] * len(flags), (None, "friends"))
    ]


COMBINATIONS = _combinations("muted", "archived", "pinned")
INBOX_COMBINATIONS = _combinations("muted", "archived", "pinned", "unread")


def partitions(query: dict[str, str]) -> int:
    """Returns the number of partitions that *query* reads: the table's own, or one for each value of each open flag."""
    flags = len({"muted", "archived", "pinned"} & query.keys())
    return 1 if not query else 2 ** (3 - flags)


def inbox_partitions(query: dict[str, str]) -> int:
    """Returns the number of partitions of an index that a page of the inbox reads."""
    return 1 << (4 - len(query.keys() - {"group_id"}))
