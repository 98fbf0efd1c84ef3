"""Form bodies (application/x-www-form-urlencoded), with arrays and objects as PHP and Rails write them."""

import re
from urllib.parse import parse_qsl

from coherent import errors

_ARRAY = re.compile(r"(?P<name>[^\[\]]+)(?:\[(?P<key>[^\[\]]+)\])?\[\]")


def parse(text: str) -> list[tuple[str, object]]:
    """Returns the attributes of a form: `a=1`, the array `a[]=1&a[]=2`, and the object of arrays `a[x][]=1&a[y][]=2`.

    Raises `errors.InvalidRequest`.
    """
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        raise errors.InvalidRequest("body: must be a well-formed form, such as is_pinned=true") from None
    attributes: list[tuple[str, object]] = []
    arrays: dict[str, list[str]] = {}
    objects: dict[str, dict[str, list[str]]] = {}
    for name, value in pairs:
        array = _ARRAY.fullmatch(name)
        if not array:
            attributes.append((name, value))
        elif array["key"] is None:
            arrays.setdefault(array["name"], []).append(value)
        else:
            objects.setdefault(array["name"], {}).setdefault(array["key"], []).append(value)
    return [*attributes, *arrays.items(), *objects.items()]
