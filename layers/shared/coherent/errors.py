"""The service's exceptions. `http.response` maps each of them to a status."""

# Longer parameter names are cut in messages, since clients choose them.
MAX_ECHOED_NAME_LENGTH = 64
MAX_FAULTS_IN_MESSAGE = 10


class CoherentError(Exception):
    """The base class. Clients see its text, so it names parameters and never internals."""


class InvalidRequest(CoherentError):
    """The request is malformed. Each fault reads `parameter: rule`."""

    def __init__(self, *faults: str) -> None:
        more = [f"and {len(faults) - MAX_FAULTS_IN_MESSAGE} more"] if len(faults) > MAX_FAULTS_IN_MESSAGE else []
        text = "; ".join([*faults[:MAX_FAULTS_IN_MESSAGE], *more])
        # A name may contain half of a surrogate pair, which UTF-8 cannot encode: Lambda would fail after the handler.
        super().__init__(text.encode(errors="replace").decode())
        self.faults = faults


class Unauthenticated(CoherentError):
    """The request has no authenticated user."""

    def __init__(self) -> None:
        super().__init__("Authorization: must be 'Bearer ' and a valid access token")


class PathNotFound(CoherentError):
    """The API has no such path, or the path does not support the method."""

    def __init__(self) -> None:
        super().__init__("There is no such path, or not with this method")


class NotFound(CoherentError):
    """The *noun* does not exist, or another user owns it. The response does not reveal which."""

    def __init__(self, noun: str, parameter: str = "id") -> None:
        super().__init__(f"{parameter}: no such {noun}")


class NoFeed(CoherentError):
    """The stack keeps no feed of changes."""

    def __init__(self) -> None:
        super().__init__("This service keeps no feed of changes")


class Gone(CoherentError):
    """The changes after the number *after* are no longer kept. The last one is *head*."""

    def __init__(self, after: int, head: int) -> None:
        super().__init__(
            f"starting_after: the changes after {after} are older than seven days; read the resources again, "
            f"then the changes after the head, {head}"
        )


class Forbidden(CoherentError):
    """The user may read the resource but not make this change."""


class PreconditionFailed(CoherentError):
    """A condition in If-Match or If-None-Match failed."""


class IdempotencyKeyReused(CoherentError):
    """The user has already sent this idempotency key with different attributes."""

    def __init__(self) -> None:
        super().__init__("Idempotency-Key: was already used with other attributes; use a new key")


class BodyTooLarge(CoherentError):
    """The body exceeds the size limit."""


class UnsupportedMediaType(CoherentError):
    """The body's Content-Type is not supported."""


class TooManyRequests(CoherentError):
    """The user has sent too much. *seconds* later the request may succeed."""

    def __init__(self, text: str, seconds: int) -> None:
        super().__init__(text)
        self.seconds = seconds


class Unavailable(CoherentError):
    """DynamoDB throttled or did not respond in time, retries included. The request may succeed later."""

    def __init__(self) -> None:
        super().__init__("The service is busy; try again in a moment")


class NotPrepared(CoherentError):
    """The rows of an earlier release are not all prepared for this call. The request will succeed later."""

    def __init__(self) -> None:
        super().__init__("The service is being prepared after an update; try again in a minute")
