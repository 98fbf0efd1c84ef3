"""The waits between attempts. They depend on the age of the event alone, so no row stores them."""

import secrets

# The waits after the first attempts that fail, in seconds.
_WAITS = (5, 60, 5 * 60, 30 * 60, 2 * 60 * 60, 6 * 60 * 60)
# SQS hides a message for at most 12 hours after it was received, which was up to a visibility timeout (180 s) ago.
_LAST_WAIT = 12 * 60 * 60 - 180
GIVE_UP_SECONDS = 3 * 24 * 60 * 60
_BUDGET_SECONDS = 60


def after_failure(age: float) -> int | None:
    """Returns the seconds from an attempt that failed to the next one, or None if the next one would be too late.

    *age* is that of the event in seconds, when the attempt began.
    """
    passed, wait = 0, _LAST_WAIT
    for each in _WAITS:
        passed += each
        if age < passed:
            wait = each
            break
    return _within(age, wait)


def after_exhaustion(age: float) -> int | None:
    """Returns the seconds that an event of this *age* waits after the webhook's budget was exhausted, or None.

    The wait grows with the age: if many events wait for one endpoint, looking at each of them every minute would cost
    more than delivering them.
    """
    longest = min(max(_BUDGET_SECONDS, age / 2), _LAST_WAIT)
    # Jitter from the OS: events that were sent together must not return together.
    return _within(age, round(secrets.SystemRandom().uniform(1, longest)))


def _within(age: float, wait: int) -> int | None:
    return wait if age + wait <= GIVE_UP_SECONDS else None
