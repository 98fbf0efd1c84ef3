"""Strong ETags: a resource's version number in quotes (RFC 9110, 8.8.3)."""

import re
from typing import NamedTuple

from coherent import errors

_MAX_TAGS = 100
_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
# The values that If-Match and If-None-Match may have. A list may have empty elements (RFC 9110, 5.6.1.2).
PATTERN = rf"(?:\*|(?:,[ \t]*)*{_TAG}(?:[ \t]*(?:,[ \t]*)+{_TAG}){{0,{_MAX_TAGS - 1}}}(?:[ \t]*,)*)"
_VERSION_TAG = re.compile(r'(W/)?"([1-9][0-9]{0,17})"')


class Tags(NamedTuple):
    """The versions in a header's strong and weak ETags; *is_any* if the header is `*`."""

    strong: frozenset[int] = frozenset()
    weak: frozenset[int] = frozenset()
    is_any: bool = False


def header(version: int) -> dict[str, str]:
    """Returns the ETag header of *version*."""
    return {"ETag": f'"{version}"'}


def parse(name: str, value: str) -> Tags:
    """Returns the ETags in the header *name*. Foreign ETags are ignored.

    Raises `errors.InvalidRequest`.
    """
    value = value.strip()
    if value == "*":
        return Tags(is_any=True)
    if not re.fullmatch(PATTERN, value):
        raise errors.InvalidRequest(f'{name}: must be * or up to {_MAX_TAGS} ETags, such as "3", "4"')
    found = _VERSION_TAG.findall(value)
    strong = frozenset(int(version) for weak, version in found if not weak)
    return Tags(strong, frozenset(int(version) for weak, version in found if weak))
