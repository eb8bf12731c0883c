"""Which requests and connections are health checks.

By User-Agent (catalogue), by the LOCAL PROXY header, or by their habit: the same bare request without cookies or
forwarded addresses, on a connection of its own, at a fixed interval, from an address whose other requests differ.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lbtop import catalog
from lbtop.model.observation import Interner, ProxyFlag, Rows

Mask = npt.NDArray[np.bool_]


@dataclass(slots=True, eq=False)
class HealthChecks:
    """Remembers user agents and the connections of checks that are still open."""

    agents: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))  # by string: 0 new, 1 no, 2 yes
    connections: set[int] = field(default_factory=set)

    def requests(self, requests: Rows, proxies: Rows, strings: Interner) -> Mask:
        """The mask of health checks among ``requests``; remembers their connections."""
        local = proxies["conn"][(proxies["flags"] & ProxyFlag.LOCAL) != 0]
        self.connections.update(local.tolist())
        if not len(requests):
            return np.zeros(0, np.bool_)
        checks = self._by_agent(requests["user_agent"], strings)
        if self.connections:
            checks |= np.isin(requests["conn"], np.fromiter(self.connections, np.uint64))
        self.connections.update(requests["conn"][checks].tolist())
        return checks

    def of_connections(self, conn: npt.NDArray[np.uint64]) -> Mask:
        if not self.connections:
            return np.zeros(len(conn), np.bool_)
        return np.isin(conn, np.fromiter(self.connections, np.uint64))

    def forget(self, ended: npt.NDArray[np.uint64]) -> None:
        if self.connections:
            self.connections.difference_update(ended.tolist())

    def _by_agent(self, agents: npt.NDArray[np.uint32], strings: Interner) -> Mask:
        if len(self.agents) < len(strings):
            self.agents = np.concatenate([self.agents, np.zeros(len(strings) - len(self.agents), np.uint8)])
        verdicts = self.agents[agents]
        if not verdicts.all():
            for number in np.unique(agents[verdicts == 0]).tolist():
                checker = catalog.health_checker(strings[number].decode("latin-1"))
                self.agents[number] = 1 if checker is None else 2
            verdicts = self.agents[agents]
        return np.equal(verdicts, 2)
