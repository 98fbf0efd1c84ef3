"""Dead letters: rejected events, with the reason."""

import json
import os
from typing import Any

from coherent.storage import client

# SQS takes 1 MiB.
MAX_BYTES = 1_000_000
# SQS takes neither these nor surrogates (https://www.w3.org/TR/xml/#charsets); JSON escapes control characters anyway.
_UNSUPPORTED = ("\ufffe", "\uffff")


class DeadLetters:
    """The dead-letter queue that the environment names."""

    def __init__(self) -> None:
        self._sqs: Any = client.connect("sqs")

    def bury(self, reason: str, event: dict[str, Any]) -> None:
        """Sends *event* to the queue."""
        self._sqs.send_message(QueueUrl=os.environ["DEAD_LETTERS_URL"], MessageBody=encode(reason, event))


def encode(reason: str, event: dict[str, Any]) -> str:
    """Returns the JSON of a dead letter: `{"reason", "event"}`.

    If that is too long for SQS, the event's detail is cut: `{"reason", "event", "detail", "detail_bytes"}`, where
    `detail` is the beginning of its JSON.
    """
    dead_letter = to_json({"reason": reason, "event": event})
    if len(dead_letter.encode()) <= MAX_BYTES:
        return dead_letter
    detail = to_json(event.get("detail"))
    envelope = {name: value for name, value in event.items() if name in ("id", "source", "detail-type", "time")}
    # A character takes up to six bytes in JSON.
    summary = {"reason": reason, "event": envelope, "detail": detail[: MAX_BYTES // 8]}
    return to_json(summary | {"detail_bytes": len(detail.encode())})


def to_json(value: object) -> str:
    """Returns *value* as JSON that SQS takes."""
    # For surrogates, this escape is that of JSON.
    text = json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace").decode()
    for character in _UNSUPPORTED:
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
