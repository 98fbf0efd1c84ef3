"""The headers of a webhook request, with both signatures."""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook


def headers(event_id: str, body: bytes, secrets: Sequence[str], now: float) -> dict[str, str]:
    """Returns the headers of a request with *body* at *now*. The newest secret is the first of *secrets*.

    Receivers compare `x-protocol-signature` with one signature, so it is of the oldest secret that is valid.
    `webhook-signature` has one of each secret (Standard Webhooks).
    """
    sent_at = datetime.fromtimestamp(int(now), UTC)
    return {
        "content-type": "application/json",
        "user-agent": "coherent-conversations",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": " ".join(Webhook(secret).sign(event_id, sent_at, body.decode()) for secret in secrets),
        "x-protocol-signature": hmac.new(secrets[-1].encode(), body, hashlib.sha256).hexdigest(),
    }
