"""Flows of datagrams: how many, and QUIC connections that go on from another port."""

from __future__ import annotations

import numpy as np

from lbtop.model.observation import Protocol7, Rows
from lbtop.reconstruct.arrivals import Part, counted
from lbtop.reconstruct.window import ServiceWindow

UDP = 17
FLOWS_KEPT = 1 << 14
FLOW = np.dtype(
    [
        ("first_ns", "i8"),
        ("last_ns", "i8"),
        ("client", "u4"),
        ("answered", "u4"),
        ("target", "u2"),
        ("began", "u1"),
        ("pad", "u1"),
    ]
)


class DatagramLedger:
    """Folds ``opened`` and ``connections`` of the back leg, datagrams only."""

    def __init__(self) -> None:
        self.flows = 0
        self.connections = 0  # flows and connections of any kind
        self.quic: Rows = np.zeros(0, FLOW)  # the latest flows where QUIC is spoken; ``began``: with a handshake
        self._other: Rows = np.zeros(0, FLOW)  # flows without one, which may be QUIC that moved

    def fold(self, window: ServiceWindow) -> None:
        opened, _ = counted(window, "opened")
        self.connections += len(opened)
        datagrams = int((opened["proto"] == UDP).sum())
        self.flows += datagrams
        rows, target = counted(window, "connections")
        if not len(rows) or not (rows["proto"] == UDP).any():
            return
        chosen = (rows["proto"] == UDP) & (rows["first_data_ns"] != 0)
        quic = rows["protocol7"] == Protocol7.QUIC
        unnamed = rows["protocol7"] == Protocol7.UNKNOWN
        self.quic = np.concatenate((self.quic, _flows(rows, target, chosen & quic, 1)))[-FLOWS_KEPT:]
        self._other = np.concatenate((self._other, _flows(rows, target, chosen & unnamed, 0)))[-FLOWS_KEPT:]

    def moved(self) -> tuple[int, int]:
        """(QUIC connections that went on from another port or address, those of them that nobody answered any more).

        A flow without a handshake to a QUIC service, from an address that had a QUIC connection before, is one that moved.
        """
        if not len(self.quic) or not len(self._other):
            return 0, 0
        began = {int(row["client"]): int(row["first_ns"]) for row in self.quic[::-1]}
        moved = lost = 0
        for row in self._other:
            if began.get(int(row["client"]), int(row["first_ns"])) < int(row["first_ns"]):
                moved += 1
                lost += int(row["answered"]) <= STATELESS_RESETS
        return moved, lost


STATELESS_RESETS = 3
"""Datagrams back that may all be stateless resets (RFC 9000 section 10.3): fewer than a living connection answers."""


def _flows(rows: Part, target: np.ndarray, chosen: np.ndarray, began: int) -> Rows:
    made = np.zeros(int(chosen.sum()), FLOW)
    made["first_ns"] = rows["first_data_ns"][chosen]
    made["last_ns"] = rows["last_ns"][chosen]
    made["client"] = rows["client"][chosen]
    made["answered"] = rows["packets_s"][chosen]
    made["target"] = target[chosen]
    made["began"] = began
    return made
