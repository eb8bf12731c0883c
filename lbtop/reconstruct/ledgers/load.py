"""What each target carried: over time, by cost of connections, by client, and how its health checks went."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lbtop.model.observation import ConnFlag, End, RespFlag
from lbtop.reconstruct.arrivals import U64, clients_of, columns, counted, distinct, numbers
from lbtop.reconstruct.ledgers.leastloaded import LeastLoaded
from lbtop.reconstruct.ledgers.series import BINS, Series
from lbtop.reconstruct.ledgers.tally import Tally, pair
from lbtop.reconstruct.window import NO_TARGET, ServiceWindow

OPENED, REQUESTS, CHECKS, CHECKS_BAD, REFUSED, ANSWERED, PROBED = range(7)
"""Columns of the series."""
COST_BINS = 64
MAX_NAMES = 16
BYTES, DURATION = range(2)
CHECK_OK, CHECK_ERROR, CHECK_UNANSWERED = range(3)
_NODES = 32
DENSE_CELLS = 1 << 16


class Names:
    """Who was asked for by name, and when: arrivals that nobody but some targets could have got, for they serve that name."""

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}  # SNI and Host (string numbers), densely; further ones are all the last
        self.series = Series(1)  # by name instead of by target
        self.served = np.zeros((MAX_NAMES, 0), np.bool_)  # which target got which

    def fold(self, times: npt.NDArray[np.int64], names: npt.NDArray[np.uint32], target: npt.NDArray[np.uint16]) -> None:
        named = names > 1
        if not named.any():
            return
        times, names, target = times[named], names[named], target[named]
        width = int(target.max()) + 1
        if width > self.served.shape[1]:
            wider = np.zeros((MAX_NAMES, width), np.bool_)
            wider[:, : self.served.shape[1]] = self.served
            self.served = wider
        for name in distinct(names, MAX_NAMES)[: max(MAX_NAMES - 1 - len(self.numbers), 0)]:
            self.numbers.setdefault(name, len(self.numbers))
        dense = np.full(len(names), MAX_NAMES - 1, np.uint16)
        for name, number in self.numbers.items():
            dense[names == name] = number
        self.served[dense, target] = True
        self.series.add(0, times, dense)

    def over(self, series: Series, target: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Arrivals that named somebody, by the bins of another series: all, and those under names that the target serves."""
        counts = self.series.counts[0]
        times = self.series.times() + self.series.width_ns // 2
        bins = np.clip((times - series.start_ns) // series.width_ns, 0, BINS - 1)
        here = self.served[: counts.shape[1], target] if target < self.served.shape[1] else np.zeros(counts.shape[1], np.bool_)
        every, mine = np.zeros(BINS), np.zeros(BINS)
        np.add.at(every, bins, counts.sum(1))
        np.add.at(mine, bins, counts[:, : len(here)][:, here].sum(1))
        return every, mine


class LoadLedger:
    """Folds ``opened``, ``requests``, ``responses`` and ``connections`` of the back leg."""

    def __init__(self) -> None:
        self.series = Series(7)
        self.costs = np.zeros((2, 0, COST_BINS, 2), np.float64)  # [bytes or seconds, target, log2 bin, (connections, sum)]
        self.by_client = Tally(columns=3, cap=8192)  # (client, target): connections, bytes, milliseconds
        self.requests_by_client = Tally(columns=1, cap=8192)  # (client, target): requests
        self.by_node = Tally(columns=1, cap=_NODES * 256)  # (who connects, target): connections
        self.least_connections = LeastLoaded()
        self.least_requests = LeastLoaded()
        self.requests_by_node = Tally(columns=1, cap=_NODES * 256)  # (who connects, target): requests
        self.names = Names()
        self.checks = np.zeros((0, 3), np.int64)
        self.segments = np.zeros((0, 2), np.int64)  # segments of connections with data, of these sent again
        self.check_delay_ns = np.zeros((0, 2), np.int64)  # sum and longest

    def fold(self, window: ServiceWindow) -> None:
        self._grow(max((int(t.max()) + 1 for t in (_known(t) for t in window.target.values()) if len(t)), default=0))
        rows, target = counted(window, "opened")
        self.series.add(OPENED, rows["at_ns"], target)
        _count_pairs(self.by_node, rows["client"], target)
        rows, target = counted(window, "requests")
        self.series.add(REQUESTS, rows["at_ns"], target)
        if len(rows):
            _add_by_pair(self.requests_by_client, clients_of(window), target)
            _count_pairs(self.requests_by_node, rows["client"], target)
        self.names.fold(rows["at_ns"], rows["host"], target)
        hellos, at = counted(window, "handshakes")
        self.names.fold(hellos["at_ns"], hellos["sni"], at)
        self.least_connections.fold(*counted(window, "opened"), *counted(window, "connections"))
        self.least_requests.fold(*counted(window, "requests"), *counted(window, "responses"))
        self._fold_connections(window)
        self._fold_responses(window)

    def _grow(self, targets: int) -> None:
        have = len(self.checks)
        if targets > have:
            costs = np.zeros((2, targets, COST_BINS, 2))
            costs[:, :have] = self.costs
            self.costs = costs
            self.segments = np.concatenate((self.segments, np.zeros((targets - have, 2), np.int64)))
            self.checks = np.concatenate((self.checks, np.zeros((targets - have, 3), np.int64)))
            self.check_delay_ns = np.concatenate((self.check_delay_ns, np.zeros((targets - have, 2), np.int64)))

    def _fold_connections(self, window: ServiceWindow) -> None:
        rows, target = columns(window, "connections"), window.target["connections"]
        flags = rows["flags"]
        # a balancer's check that says no more than that it is its own
        bare = (flags & np.uint32(ConnFlag.PROXIED_LOCAL | ConnFlag.SYNACK)) == ConnFlag.PROXIED_LOCAL | ConnFlag.SYNACK
        bare &= (rows["requests"] == 0) & (target != NO_TARGET)
        self.series.add(PROBED, rows["at_ns"][bare], target[bare])
        rows, target = counted(window, "connections")
        if not len(rows):
            return
        refused = (rows["flags"] & np.uint32(ConnFlag.REFUSED)) != 0
        self.series.add(REFUSED, rows["at_ns"][refused], target[refused])
        data = rows["first_data_ns"] != 0
        probed = ~data & ~refused & ((rows["flags"] & np.uint32(ConnFlag.SYNACK)) != 0)
        self.series.add(PROBED, rows["at_ns"][probed], target[probed])
        rows, target = rows.where(data), target[data]
        if not len(rows):
            return
        for place, names in enumerate((("packets_c", "packets_s"), ("retransmits_c", "retransmits_s"))):
            count = rows[names[0]].astype(np.float64) + rows[names[1]]
            self.segments[:, place] += np.bincount(target, count, len(self.segments)).astype(np.int64)
        total = (rows["bytes_c"] + rows["bytes_s"]).astype(np.int64)
        lasted = np.maximum(rows["last_ns"] - rows["opened_ns"], 0)
        lasted = np.where(rows["end"] == End.EXPIRED, np.maximum(rows["last_ns"] - rows["first_data_ns"], 0), lasted)
        for kind, cost in ((BYTES, total.astype(np.float64)), (DURATION, lasted / 1e9)):
            unit = 1.0 if kind == BYTES else 1e-6
            bins = np.clip(np.frexp(np.maximum(cost / unit, 1.0))[1] - 1, 0, COST_BINS - 1)
            flat = target.astype(np.intp) * COST_BINS + bins
            size = self.costs.shape[1] * COST_BINS
            self.costs[kind, :, :, 0] += np.bincount(flat, minlength=size).reshape(-1, COST_BINS)
            self.costs[kind, :, :, 1] += np.bincount(flat, cost, size).reshape(-1, COST_BINS)
        _add_by_pair(self.by_client, numbers(rows, "client"), target, total, lasted // 1_000_000)

    def _fold_responses(self, window: ServiceWindow) -> None:
        rows, target, health = columns(window, "responses"), window.target["responses"], window.health["responses"]
        if not len(rows):
            return
        data = ~health & (target != NO_TARGET) & ((rows["flags"] & np.uint32(RespFlag.UNANSWERED)) == 0)
        self.series.add(ANSWERED, rows["at_ns"][data], target[data])
        checks = health & (target != NO_TARGET)
        if not checks.any():
            return
        rows, target = rows.where(checks), target[checks]
        unanswered = (rows["flags"] & np.uint32(RespFlag.UNANSWERED)) != 0
        error = ~unanswered & (rows["status"] >= 400)
        outcome = np.where(unanswered, CHECK_UNANSWERED, np.where(error, CHECK_ERROR, CHECK_OK))
        np.add.at(self.checks, (target.astype(np.intp), outcome), 1)
        np.add.at(self.check_delay_ns[:, 0], target, rows["delay_ns"])
        np.maximum.at(self.check_delay_ns[:, 1], target, rows["delay_ns"])
        self.series.add(CHECKS, rows["at_ns"], target)
        self.series.add(CHECKS_BAD, rows["at_ns"][outcome != CHECK_OK], target[outcome != CHECK_OK])


def _known(target: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    known: npt.NDArray[np.uint16] = target[target != NO_TARGET]
    return known


def _count_pairs(tally: Tally, who: npt.NDArray[np.uint32], target: npt.NDArray[np.uint16]) -> None:
    """Counts (who, target) where few connect; where many do, they are clients and no nodes."""
    if not len(who):
        return
    values = np.ascontiguousarray(who)
    nodes = distinct(values, _NODES + 1)
    if len(nodes) > _NODES:
        return
    for node in nodes:
        counts = np.bincount(target[values == node])
        there = np.flatnonzero(counts)
        tally.add(pair(np.full(len(there), node, np.uint32), there), rows=counts[there].astype(np.int64))


def _add_by_pair(tally: Tally, who: U64, target: npt.NDArray[np.uint16], *columns: npt.NDArray[np.int64]) -> None:
    """Adds rows per (who, target): counted in a table where that is small enough, which spares sorting them."""
    width = int(target.max(initial=0)) + 1
    cells = (int(who.max(initial=0)) + 1) * width
    if cells > max(DENSE_CELLS, 4 * len(who)):
        tally.add(pair(who, target), *columns)
        return
    flat = who.astype(np.int64) * width + target
    counts = np.bincount(flat, minlength=cells)
    there = np.flatnonzero(counts)
    sums = [np.bincount(flat, values, cells)[there].astype(np.int64) for values in columns]
    tally.add(pair(there // width, there % width), *sums, rows=counts[there].astype(np.int64))
