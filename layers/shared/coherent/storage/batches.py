"""Batches of entries for those AWS requests that may reject some of them: PutEvents and SendMessageBatch."""

from collections.abc import Callable, Iterable, Iterator

from coherent import errors
from coherent.storage.dynamodb import back_off, translate_errors

# The limit of both requests.
_MAX_ENTRIES = 10
_ATTEMPTS = 6

Batch = list[dict[str, str]]


def send_in_batches(
    entries: Iterable[dict[str, str]], text: str, max_bytes: int, send: Callable[[Batch], Batch]
) -> None:
    """Sends *entries* in batches, whose attributes *text* have at most *max_bytes* together.

    *send* makes one request and returns the entries that AWS rejected. They are sent again. Raises
    `errors.Unavailable` if AWS rejects them six times, throttles, fails or does not respond.
    """
    for batch in _batches(entries, text, max_bytes):
        _send(batch, send)


def _send(batch: Batch, send: Callable[[Batch], Batch]) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        with translate_errors():
            batch = send(batch)
        if not batch:
            return
        if attempt < _ATTEMPTS:
            back_off(attempt)
    raise errors.Unavailable


def _batches(entries: Iterable[dict[str, str]], text: str, max_bytes: int) -> Iterator[Batch]:
    batch: Batch = []
    size = 0
    for entry in entries:
        length = len(entry[text].encode())
        if batch and (len(batch) == _MAX_ENTRIES or size + length > max_bytes):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += length
    if batch:
        yield batch
