"""Stretches of time over which the same targets are in service, and the key tables that are settled at their ends."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lbtop.model.record import dataclass, field
from lbtop.reconstruct.arrivals import U64, Targets
from lbtop.reconstruct.chance import same_target_chance
from lbtop.reconstruct.keytable import LANES, KeyTable, next_cut

LONGEST = 16_384
"""Arrivals after which an epoch ends anyway: shares drift."""
SEQUENCE_KEPT = 4096
ADDRESS_KEYS = ("source_ip", "forwarded_for", "proxy_source")
END = 1 << 62


@dataclass(slots=True, eq=False)
class Unit:
    """One kind of arrival (connection or request): its epochs, and the tables that are folded with it."""

    tables: dict[str, KeyTable] = field(default_factory=dict)
    seen: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((3, 8), np.int64))  # see keytable.next_cut
    clock: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(3, np.int64))
    shares: dict[tuple[str, int], npt.NDArray[np.float64]] = field(default_factory=dict)
    sequence: Targets = field(default_factory=lambda: np.zeros(0, np.uint16))  # targets of the latest arrivals, in order
    sources: npt.NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))  # who connected

    def table(self, key: str, cap: int) -> KeyTable:
        found = self.tables.get(key)
        if found is None:
            found = self.tables[key] = KeyTable(cap, key.startswith("cookie:") or key in ADDRESS_KEYS)
        return found

    def widen(self, target: Targets) -> None:
        """Room for these target numbers."""
        have, top = self.seen.shape[1], int(target.max(initial=0)) + 1
        if top > have:
            wider = np.zeros((3, 2 * top), np.int64)
            wider[:, :have] = self.seen
            self.seen = wider

    def remember(self, targets: Targets, sources: npt.NDArray[np.generic]) -> None:
        """Keeps the latest arrivals in order: target, and who connected."""
        self.sequence = np.concatenate((self.sequence, targets[-SEQUENCE_KEPT:]))[-SEQUENCE_KEPT:]
        self.sources = np.concatenate((self.sources, sources[-SEQUENCE_KEPT:].astype(np.uint32)))[-SEQUENCE_KEPT:]

    def cut(self, target: Targets, seq: U64) -> Iterator[tuple[int, int, bool]]:
        """Ranges of sequence numbers, each within one epoch, and whether the epoch ends there. Ask for the next range only
        after everything in this one was folded."""
        start, first = 0, 0
        while start < len(target):
            place = next_cut(target, start, len(target), self.seen, self.clock, LONGEST)
            if place < len(target):
                yield first, int(seq[place]), True
                first = int(seq[place])
            start = place
        yield first, END, False

    def chances(self, key: str, table: KeyTable) -> list[tuple[float, npt.NDArray[np.float64]]]:
        """Chance and shares of the open epoch, per lane."""
        assigned = table.share_rows
        width = max(assigned.shape[1], self.seen.shape[1])
        counts = np.zeros((5, width), np.int64)
        counts[:, : assigned.shape[1]] = assigned
        serving = np.zeros(width, np.bool_)
        serving[: self.seen.shape[1]] = self.seen[0] > 0
        result = []
        for lane in range(LANES):
            before = np.zeros(width)
            known = self.shares.get((key, lane))
            if known is not None:
                before[: len(known)] = known
            result.append(same_target_chance(counts[0], counts[1 + 2 * lane], counts[2 + 2 * lane], serving, before))
        return result

    def end_epoch(self) -> None:
        """Settles every table with the chance of the epoch that ends."""
        for key, table in self.tables.items():
            chances = self.chances(key, table)
            table.settle(chances[0][0], chances[1][0])
            for lane, (_, shares) in enumerate(chances):
                self.shares[key, lane] = shares
        self.seen[0] = 0
        self.clock[0] = 0
        self.clock[2] = 0
