"""Execution environments whose requests meet random faults."""

import random
from typing import Any

from tests.built.environments import Environment, Result
from tests.faults.network import FAULTS, SLOW_FAULTS, Network, Route

_WEIGHTS = {name: 1 if name in SLOW_FAULTS else 10 for name in FAULTS if name != "response byte by byte"}


class FaultyEnvironment(Environment):
    """An environment in which a share of the invocations, *likelihood*, meets a random fault."""

    def __init__(self, port: int, network: Network, chance: random.Random, likelihood: float) -> None:
        super().__init__(port)
        self._network, self._chance, self._likelihood = network, chance, likelihood
        # The fault of the last invocation.
        self.fault: str | None = None

    def invoke(self, function: str, event: Any, seconds: float | None = None) -> Result:
        """Invokes *function*, perhaps with a fault."""
        chance = self._chance
        (fault,) = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
        route = Route(FAULTS[fault], chance.randint(1, 4), is_lasting=chance.random() < 0.4)
        self.fault = fault if chance.random() < self._likelihood else None
        self._network.routes[self.pid] = route if self.fault else Route()
        result = super().invoke(function, event, seconds)
        if self.fault and self.fault.startswith("killed"):
            # The kill may still be pending.
            self.close()
        return result
