"""Strong ETags: a resource's version number in quotes (RFC 9110, 8.8.3)."""

import re
from typing import NamedTuple

from coherent import errors

_MAX_TAGS = 100
_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
# The values that If-Match and If-None-Match may have.
PATTERN = rf"(?:\*|{_TAG}(?:[ \t]*,[ \t]*{_TAG}){{0,{_MAX_TAGS - 1}}})"
_VERSION_TAG = re.compile(r'(W/)?"([1-9][0-9]{0,17})"')


class Tag(NamedTuple):
    """An ETag of this service, sent by a client."""

    is_weak: bool
    version: int


def header(version: int) -> dict[str, str]:
    """Returns the ETag header of *version*."""
    return {"ETag": f'"{version}"'}


def parse(name: str, value: str) -> list[Tag] | None:
    """Returns the ETags in the header *name*, or None for `*`. ETags of other services are left out.

    Raises `errors.InvalidRequest`.
    """
    value = value.strip()
    if value == "*":
        return None
    if not re.fullmatch(PATTERN, value):
        raise errors.InvalidRequest(f'{name}: must be * or up to {_MAX_TAGS} ETags, such as "3", "4"')
    return [Tag(bool(weak), int(version)) for weak, version in _VERSION_TAG.findall(value)]
