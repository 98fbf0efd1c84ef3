"""The combinations of list filters, and how many partitions each of them reads."""

import itertools
from collections.abc import Collection

_FLAGS = ("muted", "archived", "pinned")


def combinations(flags: Collection[str]) -> list[dict[str, str]]:
    """Returns each combination of values of *flags*, with and without a group."""
    values = itertools.product(*[(None, "true", "false")] * len(flags), (None, "friends"))
    return [{name: value for name, value in zip((*flags, "group_id"), each, strict=True) if value} for each in values]


COMBINATIONS = combinations(_FLAGS)
INBOX_COMBINATIONS = combinations((*_FLAGS, "unread"))


def partitions(query: dict[str, str]) -> int:
    """Returns the number of partitions that *query* reads: the table's own, or one for each value of each open flag."""
    return 1 if not query else 1 << 3 - len(set(_FLAGS) & query.keys())


def inbox_partitions(query: dict[str, str]) -> int:
    """Returns the number of partitions that *query* of the inbox reads: one for each value of each open flag."""
    return 1 << 4 - len({*_FLAGS, "unread"} & query.keys())
