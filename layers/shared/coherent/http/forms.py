"""Form bodies (application/x-www-form-urlencoded), with arrays and objects as PHP and Rails write them."""

import re
from urllib.parse import parse_qsl

from coherent import errors

_ARRAY = re.compile(r"(?P<name>[^\[\]]+)(?:\[(?P<key>[^\[\]]+)\])?\[(?P<index>[0-9]{0,4})\]")


def parse(text: str) -> list[tuple[str, object]]:
    """Returns the attributes of a form: `a=1`, the array `a[]=1&a[]=2`, and the object of arrays `a[x][]=1&a[y][]=2`.

    Arrays may have indexes, as PHP and qs write them: `a[0]=1&a[1]=2`. Empty pairs are skipped. Raises
    `errors.InvalidRequest`.
    """
    if text.lstrip().startswith(("{", "[")):
        raise errors.InvalidRequest("body: looks like JSON; send it with Content-Type: application/json")
    pairs = "&".join(filter(None, text.split("&")))
    try:
        named = parse_qsl(pairs, keep_blank_values=True, strict_parsing=True, errors="strict") if pairs else []
    except UnicodeDecodeError:
        raise errors.InvalidRequest("body: must be UTF-8, percent-encoded") from None
    except ValueError:
        raise errors.InvalidRequest("body: must be a well-formed form, such as is_pinned=true") from None
    attributes: list[tuple[str, object]] = []
    arrays: dict[str, dict[str | None, dict[int, str]]] = {}
    highest: dict[tuple[str, str | None], int] = {}
    for name, value in named:
        array = _ARRAY.fullmatch(name)
        if array is None:
            attributes.append((name, value))
        else:
            path = array["name"], array["key"]
            elements = arrays.setdefault(array["name"], {}).setdefault(array["key"], {})
            index = int(array["index"] or highest.get(path, -1) + 1)
            if index in elements:
                raise errors.InvalidRequest(f"{name[: errors.MAX_ECHOED_NAME_LENGTH]}: must be given only once")
            elements[index] = value
            highest[path] = max(index, highest.get(path, -1))
    for name, keyed in arrays.items():
        # A name that is both an array and an object is returned twice, which `body.parse_pairs` rejects.
        attributes += [(name, _in_order(elements)) for key, elements in keyed.items() if key is None]
        if objects := {key: _in_order(elements) for key, elements in keyed.items() if key is not None}:
            attributes.append((name, objects))
    return attributes


def _in_order(elements: dict[int, str]) -> list[str]:
    return [elements[index] for index in sorted(elements)]
