"""What can go wrong, in the product's own words; the edge gives each its HTTP status."""

_TOLD = 10


class CoherentError(Exception):
    """The base of them all. Its text is shown to the client, so it names parameters and never internals."""


class InvalidRequest(CoherentError):
    """The request cannot be carried out as it is; each of *faults* reads `<parameter>: <what would be right>`."""

    def __init__(self, *faults: str) -> None:
        more = [f"and {len(faults) - _TOLD} more"] if len(faults) > _TOLD else []
        super().__init__("; ".join([*faults[:_TOLD], *more]))
        self.faults = faults


class Unauthenticated(CoherentError):
    """Nobody is known to be asking."""

    def __init__(self) -> None:
        super().__init__("Authorization: must be 'Bearer ' and a valid access token")


class PathNotFound(CoherentError):
    """Nothing is served at this path."""

    def __init__(self) -> None:
        super().__init__("There is no such path, or not with this method")


class NotFound(CoherentError):
    """The user has no such *noun* as the *parameter* names, whether or not somebody else has."""

    def __init__(self, noun: str, parameter: str = "id") -> None:
        super().__init__(f"{parameter}: no such {noun}")


class Changed(CoherentError):
    """The *noun* is no longer in a state that the client made a condition."""

    def __init__(self, noun: str) -> None:
        super().__init__(f"If-Match: must name the {noun}'s present ETag; it has changed, so retrieve it again")


class IdempotencyKeyReused(CoherentError):
    """The same key came with other attributes before, so it names another request."""

    def __init__(self) -> None:
        super().__init__("Idempotency-Key: must be a new one for new attributes; this one was used with others")


class BodyTooLarge(CoherentError):
    """The body is longer than the service reads."""


class UnsupportedMediaType(CoherentError):
    """The body is of a kind that the service does not read."""


class Unavailable(CoherentError):
    """The database throttled or did not answer in time, after retries; the same request may succeed in a moment."""

    def __init__(self) -> None:
        super().__init__("The service is busy; try again in a moment")
