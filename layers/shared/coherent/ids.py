"""Ids: 16 characters of `[0-9A-Za-z]` that sort by creation time."""

import re
import secrets

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BASE = len(_ALPHABET)
_TIME_DIGITS = 9
_RANDOM_DIGITS = 7

PATTERN = "^[0-9A-Za-z]{16}$"
RULE = "an id of 16 letters and digits"


def new(now_ns: int, after: str | None = None) -> str:
    """Returns a new id for the time *now_ns* (nanoseconds since 1970, as `time.time_ns` returns).

    With *after* the id is greater than that one, even if that one comes from a clock that is ahead. Nine digits
    are the microseconds and last until the year 2398. Seven digits are random: two ids of the same microsecond are
    equal once in 3.5 trillion. The alphabet is in ASCII order, so DynamoDB sorts ids by time.
    """
    microseconds = now_ns // 1000
    if after is not None:
        microseconds = max(microseconds, _microseconds(after) + 1)
    return _digits(microseconds, _TIME_DIGITS) + _digits(secrets.randbelow(_BASE**_RANDOM_DIGITS), _RANDOM_DIGITS)


def is_id(text: object) -> bool:
    """Returns whether *text* is a well-formed id."""
    return isinstance(text, str) and re.fullmatch(PATTERN, text) is not None


def created_at(id: str) -> float:
    """Returns the creation time of *id* in seconds since 1970."""
    return _microseconds(id) / 1_000_000


def _microseconds(id: str) -> int:
    microseconds = 0
    for digit in id[:_TIME_DIGITS]:
        microseconds = microseconds * _BASE + _ALPHABET.index(digit)
    return microseconds


def _digits(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, _BASE)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
