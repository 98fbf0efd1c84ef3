"""The base of the state machines: the handlers and the model get the same requests."""

import json
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlencode

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from tests import handlers, model, tables
from tests.model import Model

_EVENT = handlers.event("create_conversation")["requestContext"]
URL = f"https://{_EVENT['domainName']}/{_EVENT['stage']}"

USERS = st.sampled_from(["kevin", "harry"])
CURSORS = st.sampled_from(["starting_after", "ending_before"])
LIMITS = st.integers(1, 100) | st.integers(1, 4)
# If-Match and If-None-Match.
ETAGS = st.none() | st.integers(1, 4).map(model.etag) | st.just("*")
SECONDS = st.none() | st.integers(0, 253_402_300_799)


class Service(RuleBasedStateMachine):
    """Two users of the service. Each response must equal that of the user's model."""

    def __init__(self) -> None:
        """Starts with empty tables."""
        super().__init__()
        tables.clear()
        self.models: Mapping[str, Model] = {user: Model(URL) for user in ("kevin", "harry")}

    @property
    def ids(self) -> list[str]:
        """The ids of everything that ever existed, in the order of creation, and ids before and after all of them."""
        return sorted(["0" * 16, "z" * 16, *(id for model in self.models.values() for id in model.versions)])

    def draw_id(self, likely: Iterable[str], data: st.DataObject) -> str:
        """Draws mostly one of *likely*, else any id that ever existed, or one that never did."""
        newest_first = sorted(likely, reverse=True)
        if not newest_first or data.draw(st.integers(0, 5)) == 5:
            newest_first = self.ids[::-1]
        drawn: str = data.draw(st.sampled_from(newest_first))
        return drawn

    def request(self, user: str, function: str, **given: Any) -> model.Response:
        """Sends a request of *user* to *function*. Fails unless the response is the model's."""
        return model.check(self.models[user], partial(send, user), function, **given)

    def page(self, user: str, function: str, limit: int, cursor: dict[str, str], **filters: str) -> model.Response:
        """Requests a page of a list."""
        return self.request(user, function, query=filters | {"limit": str(limit)} | cursor)


def send(user: str, function: str, **given: Any) -> handlers.Response:
    """Calls *function* with arguments as the model takes them, for `model.check`."""
    if "query" in given:
        given["query"] = {name: [value] for name, value in given["query"].items()}
    if "body" in given:
        is_text = all(isinstance(value, str) for value in given["body"].values())
        given["content_type"] = handlers.FORM if is_text else handlers.JSON
        given["body"] = urlencode(given["body"]) if is_text else json.dumps(given["body"])
    return handlers.call(function, user=user, **given)
