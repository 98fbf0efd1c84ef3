"""Indexes that lag: queries of an index of the conversations are answered from an older state of the table."""

import copy
import json
import os
import random
import threading
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from moto.core.models import DEFAULT_ACCOUNT_ID, botocore_stubber
from moto.dynamodb.models import dynamodb_backends

if TYPE_CHECKING:
    from collections.abc import Callable

# In states.
MAX_LAG = 8


class Lag:
    """The states of the table, for `Wire.fault`. All partitions of an index lag alike, or each by itself.

    Without *lags*, queries are answered from the current state.
    """

    def __init__(self, chance: random.Random, *, lags: bool, is_alike: bool) -> None:
        """Begins without a state."""
        self._chance, self.is_alike, self.lags = chance, is_alike, lags
        self._table: Any = dynamodb_backends[DEFAULT_ACCOUNT_ID][os.environ["AWS_DEFAULT_REGION"]].tables[
            os.environ["CONVERSATIONS_TABLE_NAME"]
        ]
        # moto executes the queries of a page in threads.
        self._lock = threading.Lock()
        self._states: list[Any] = []
        self._page = ""
        # The oldest state that has answered a query.
        self.oldest = 0
        # Called once, between the queries of the next page and the read of its rows.
        self.before_rows: Callable[[], object] | None = None

    @property
    def newest(self) -> int:
        """The number of the current state."""
        return len(self._states) - 1

    def remember(self) -> None:
        """Adds the current state."""
        self._states.append(copy.deepcopy(self._table.items))

    def begin_page(self) -> None:
        """Chooses anew how much the indexes lag."""
        self._page = str(self._chance.random())

    def __call__(self, request: AWSPreparedRequest) -> AWSResponse | None:
        """Responds to queries of an index."""
        assert isinstance(request.body, bytes)
        body = json.loads(request.body)
        if "RequestItems" in body and self.before_rows:
            act, self.before_rows = self.before_rows, None
            act()
        if "IndexName" not in body or not self.lags:
            return None
        values = json.dumps(
            [value for name, value in sorted(body["ExpressionAttributeValues"].items()) if name != ":cursor"]
        )
        lag = random.Random(self._page + values * (not self.is_alike)).randint(0, MAX_LAG)  # noqa: S311 - repeatable
        with self._lock:
            number = max(0, self.newest - lag)
            self.oldest = min(self.oldest, number)
            current, self._table.items = self._table.items, copy.deepcopy(self._states[number])
            try:
                response: AWSResponse | None = botocore_stubber("before-send", request)
            finally:
                self._table.items = current
        return response
