"""A change of a conversation or message."""

import hashlib
import json
from collections.abc import Mapping
from typing import NamedTuple

# How long the feed keeps a change.
KEPT_SECONDS = 7 * 24 * 60 * 60
TYPES = tuple(f"{noun}.{verb}" for noun in ("conversation", "message") for verb in ("created", "updated", "deleted"))

# The JSON of an event.
Event = dict[str, object]


class Change(NamedTuple):
    """A change of a user's resource.

    *object* is the resource as GET shows it, or for a deletion as it was last. A deletion has a *version* of its own,
    above the last one. *created_at* is in Unix seconds.
    """

    user_id: str
    type: str
    resource_id: str
    version: int
    object: Mapping[str, object]
    created_at: int

    @property
    def is_deletion(self) -> bool:
        """Whether the resource was deleted."""
        return self.type.endswith(".deleted")

    @property
    def event_id(self) -> str:
        """The id of the change's event. It only depends on what has changed, so a retry has the same id."""
        identity = json.dumps([self.type, self.user_id, self.resource_id, self.version])
        return hashlib.sha256(identity.encode()).hexdigest()[:32]

    def event(self) -> Event:
        """Returns the event that the event bus and webhooks get."""
        return {
            "id": self.event_id,
            "type": self.type,
            "user_id": self.user_id,
            "resource_id": self.resource_id,
            "version": self.version,
            "payload": {"object": self.object},
        }
