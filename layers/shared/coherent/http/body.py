"""Request bodies: the size limit, the media types, UTF-8 and JSON."""

import base64
import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn, TypeVar

from coherent import errors
from coherent.http import forms

if TYPE_CHECKING:
    from coherent.parameters import Parameters

    P = TypeVar("P", bound=Parameters)

# The longest message with the longest attachments fits in every encoding.
MAX_BYTES = 512 * 1024
JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"


def parse(model: "type[P]", body: str, content_type: str, *, is_base64: bool) -> "P":
    """Returns the body, JSON or form, as *model*. An empty body has no attributes.

    Raises `errors.InvalidRequest`, `errors.BodyTooLarge` or `errors.UnsupportedMediaType`.
    """
    if not body:
        return model.parse({}, text=True)
    media_type, *parameters = [part.strip().lower() for part in content_type.split(";")]
    if media_type not in (JSON, _FORM):
        raise errors.UnsupportedMediaType(f"Content-Type: must be {JSON} or {_FORM}")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip(' "') not in ("utf-8", "utf8"):
            raise errors.UnsupportedMediaType("Content-Type: the charset must be UTF-8")
    text = _decode(body, is_base64=is_base64)
    if media_type == JSON:
        return model.parse(_parse_json(text), text=False)
    return parse_pairs(model, forms.parse(text))


def parse_pairs(model: "type[P]", pairs: Sequence[tuple[str, object]]) -> "P":
    """Returns the text *pairs* of a form or query string as *model*. Raises `errors.InvalidRequest`."""
    repeated = _repeated(pairs)
    try:
        parameters = model.parse(dict(pairs), text=True)
    except errors.InvalidRequest as error:
        raise errors.InvalidRequest(*repeated, *error.faults) from None
    if repeated:
        raise errors.InvalidRequest(*repeated)
    return parameters


def _decode(body: str, *, is_base64: bool) -> str:
    try:
        content = base64.b64decode(body) if is_base64 else body.encode()
        text = content.decode()
    except ValueError:
        raise errors.InvalidRequest("body: must be UTF-8") from None
    if len(content) > MAX_BYTES:
        raise errors.BodyTooLarge(f"body: must be at most {MAX_BYTES} bytes")
    return text


def _parse_json(text: str) -> dict[str, object]:
    try:
        value = json.loads(text, object_pairs_hook=_unique_names, parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        raise errors.InvalidRequest('body: must be well-formed JSON, such as {"is_pinned": true}') from None
    if not isinstance(value, dict):
        raise errors.InvalidRequest('body: must be a JSON object, such as {"is_pinned": true}')
    return value


def _reject_constant(name: str) -> NoReturn:
    # Python's parser accepts NaN and Infinity, which JSON does not have (RFC 8259, 6).
    raise ValueError(name)


def _unique_names(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    if repeated := _repeated(pairs):
        raise errors.InvalidRequest(*repeated)
    return dict(pairs)


def _repeated(pairs: Sequence[tuple[str, object]]) -> list[str]:
    if len(dict(pairs)) == len(pairs):
        return []
    counts = Counter(name for name, _ in pairs)
    return [
        f"{name[: errors.MAX_ECHOED_NAME_LENGTH]}: must be given only once"
        for name, count in counts.items()
        if count > 1
    ]
