"""Proxies in front of the balancer: addresses that stand for others, a CDN's nodes above all.

Behind such a proxy the address the balancer adds is the proxy's, not a user's. It is recognised by what it does: nearly all
its requests name somebody else further left, and not always the same. Users behind it can write what they like into that
header; a user who does so every time, under several names, is treated as a proxy too, which only changes how he is counted.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lbtop.model.arrays import distinct
from lbtop.model.observation import Rows

MAX_ADDRESSES = 1024
Addresses = npt.NDArray[np.uint32]

LEVELS = 2  # a CDN's edge and its shield
SAMPLE = 4096
ENOUGH = 10
NEARLY_ALL = 0.95
SEVERAL = 3


class Forwarders:
    """Counts, per forwarded address, how often it names somebody else further left, and how many. Of requests that are no
    health checks: those a proxy sends for itself, and names nobody."""

    def __init__(self) -> None:
        self._tallies: dict[int, tuple[int, int, frozenset[int]]] = {}

    def fold(self, requests: Rows, checks: npt.NDArray[np.bool_]) -> None:
        rows = requests[:SAMPLE]
        if checks[:SAMPLE].any():
            rows = rows[~checks[:SAMPLE]]
        if not (rows["forwarded_count"] > 1).any() and not (rows["real_ip"] > 0).any():
            return
        for level in range(LEVELS):
            here = rows[f"forwarded{level}"]
            further = [rows[f"forwarded{left}"] for left in range(level + 1, 4)] + [rows["real_ip"]]
            self._count(here, [np.where(named == here, 0, named) for named in further])
            rows = rows[np.isin(here, np.fromiter(self.proxies, np.uint32))]
            if not len(rows):
                break

    def _count(self, here: Addresses, further: list[Addresses]) -> None:
        naming = np.zeros(len(here), np.bool_)
        for named in further:
            naming |= named > 0
        rows = np.flatnonzero(here)
        if not len(rows):
            return
        addresses, first, inverse = np.unique(here[rows], return_index=True, return_inverse=True)
        seen = np.bincount(inverse)
        often = np.bincount(inverse, weights=naming[rows]).astype(np.int64)
        # Only who names somebody, now or before, is looked at one by one: users behind no proxy never do.
        known = np.isin(addresses, np.fromiter(self._tallies, np.uint32, len(self._tallies)))
        chosen = np.flatnonzero((often > 0) | known)
        for group in chosen[np.argsort(first[chosen], kind="stable")].tolist():
            address = int(addresses[group])
            total, before, names = self._tallies.get(address, (0, 0, frozenset[int]()))
            if not total and len(self._tallies) >= MAX_ADDRESSES:
                continue
            if often[group] and len(names) < SEVERAL:
                members = rows[inverse == group]
                for named in further:
                    others = named[members]
                    names |= frozenset(distinct(others[others > 0])[:SEVERAL].tolist())
            self._tallies[address] = total + int(seen[group]), before + int(often[group]), names

    @property
    def proxies(self) -> frozenset[int]:
        """Address numbers of what was recognised so far."""
        return frozenset(
            address
            for address, (total, naming, names) in self._tallies.items()
            if total >= ENOUGH and naming >= NEARLY_ALL * total and len(names) >= SEVERAL
        )
