"""TCP stacks of those who open a service's connections: what a hop that ends TCP cannot keep."""

from __future__ import annotations

import numpy as np

from lbtop.model.observation import Orientation
from lbtop.reconstruct.arrivals import columns
from lbtop.reconstruct.ledgers.tally import Tally, log_bin
from lbtop.reconstruct.window import ServiceWindow

LATE_NS, LATE_TIMES = 5_000_000, 4
"""So much beyond the round trip, and so many times it: more than a client computes at its own end of the connection."""
_CLIENT_BITS, _STACK_BITS, _TTL_BITS = 28, 28, 8


class StackLedger:
    """Folds OPENED (stacks) and CONNECTION (round trips) rows of the last leg, health checks left out."""

    def __init__(self) -> None:
        self.combinations = Tally(cap=16384)  # client, SYN stack, TTL on arrival
        self.connections = 0  # counted connections
        self.with_syn = 0
        self.round_trips = np.zeros(64, np.int64)  # SYN to ACK: one round trip, wherever it was captured; see log_bin
        self.clients = Tally(cap=16384)  # client addresses
        self.turns = 0  # TLS handshakes whose client's answer to the server's hello was timed, and the round trip below it
        self.late_turns = 0  # of these, answers much later than the round trip: whoever shakes hands is not who opened

    def fold(self, window: ServiceWindow) -> None:
        self._stacks(window)
        rows = columns(window, "connections")
        if len(rows):
            timed = np.flatnonzero(~window.health["connections"] & (rows["ack_ns"] > 0))
            trip, turn, opening = (rows[name][timed] for name in ("ack_ns", "turn_ns", "connect_ns"))
            whole = opening > 0
            self.round_trips += np.bincount(log_bin((opening + trip)[whole]), minlength=64)
            self.turns += int(np.count_nonzero(turn))
            self.late_turns += int(np.count_nonzero((turn > trip + LATE_NS) & (turn > LATE_TIMES * trip)))

    def _stacks(self, window: ServiceWindow) -> None:
        rows = columns(window, "opened")
        if len(rows) == 0:
            return
        data = ~window.health["opened"] & (rows["proto"] == 6)
        client = rows["client"][data].astype(np.uint64)
        stack = rows["stack"][data].astype(np.uint64)
        self.connections += len(client)
        self.clients.add(client)
        self.with_syn += int(np.count_nonzero(rows["orientation"][data] == Orientation.SYN))
        inside = (client < np.uint64(1 << _CLIENT_BITS)) & (stack < np.uint64(1 << _STACK_BITS))
        keys = (client << np.uint64(_STACK_BITS + _TTL_BITS)) | (stack << np.uint64(_TTL_BITS))
        self.combinations.add((keys | rows["ttl_c"][data].astype(np.uint64))[inside])

    def seen(self) -> list[tuple[int, int, int, int]]:
        """(client, stack, TTL, connections) of every combination; stack 0: the SYN was not seen."""
        return [
            (key >> (_STACK_BITS + _TTL_BITS), (key >> _TTL_BITS) & ((1 << _STACK_BITS) - 1), key & 0xFF, numbers[0])
            for key, numbers in self.combinations.items()
        ]
