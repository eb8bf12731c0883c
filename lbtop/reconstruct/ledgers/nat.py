"""What tells users or devices behind one address apart: distinct User-Agents, TCP stacks, TLS stacks, timestamp clocks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lbtop.reconstruct.arrivals import clients_of, counted
from lbtop.reconstruct.keytable import PairCounter
from lbtop.reconstruct.ledgers.tally import Tally
from lbtop.reconstruct.window import ServiceWindow

CLOCKS_KEPT = 1 << 14
ADDRESSES = 1 << 16
FEATURES = ("user_agents", "tcp_stacks", "tls_stacks")


class NatLedger:
    """Folds ``opened``, ``requests``, ``handshakes`` and ``connections`` of the back leg, by client address number."""

    def __init__(self) -> None:
        self.pairs = {feature: PairCounter(64) for feature in FEATURES}
        self.connections = Tally(cap=8192)  # by who connects
        self.requests = Tally(cap=8192)  # by client address
        self.clocks: npt.NDArray[np.int64] = np.zeros((0, 3), np.int64)  # who connects, when, TCP timestamp of the SYN

    def fold(self, window: ServiceWindow) -> None:
        opened, _ = counted(window, "opened")
        if len(opened):
            self.connections.add(opened["client"].astype(np.uint64))
            self._pair("tcp_stacks", opened["client"], opened["stack"])
        requests, _ = counted(window, "requests")
        if len(requests):
            client = clients_of(window)
            self.requests.add(client)
            self._pair("user_agents", client.astype(np.uint32), requests["user_agent"])
        hellos, _ = counted(window, "handshakes")
        if len(hellos):
            self._pair("tls_stacks", hellos["client"], hellos["family"])
        ended, _ = counted(window, "connections")
        timed = ended["tsval_c"] != 0
        if len(self.clocks) < CLOCKS_KEPT and timed.any():
            fresh = np.stack([ended[name][timed].astype(np.int64) for name in ("client", "opened_ns", "tsval_c")], 1)
            self.clocks = np.concatenate((self.clocks, fresh))[:CLOCKS_KEPT]

    def _pair(self, feature: str, address: npt.NDArray[np.uint32], value: npt.NDArray[np.generic]) -> None:
        counter = self.pairs[feature]
        counter.widen(min(int(address.max()) + 1, ADDRESSES))
        counter.fold(np.ascontiguousarray(address), value.astype(np.uint64))

    def distinct(self, feature: str, address: int) -> int:
        """How many distinct values of a feature came from an address."""
        counts = self.pairs[feature].count_rows
        return int(counts[address]) if address < len(counts) else 0
