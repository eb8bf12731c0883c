"""Connections that are opened by the clock: health checks, whatever they say inside TLS, and other probes.

Nobody's request is behind them, so their times and their number say nothing about whose traffic a server carries. Who
opens them says a lot: a host that asks several servers of one port at one pace keeps watch over them, as balancers do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from lbtop.model.arrays import distinct, median
from lbtop.model.observation import Rows
from lbtop.model.record import dataclass
from lbtop.reconstruct.columns import endpoint_keys, groups, keys_of

Times = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SHORTEST_NS = 400_000_000
TOLERANCE = 0.03  # of the interval: what a timer and a busy host are late by
FEWEST = 4
WHOLE = 0.7  # of the ticks from the first to the last are there
ABOVE_CHANCE = 3.0
CLEARLY_MORE = 1.5
MOST = 256  # of more openings at one server checks are too small a part to matter
LOOK_AHEAD = 4
CANDIDATES = 16
ROUGHLY = 256  # bytes
SAME_SIZES, NEARLY_ALL = 4, 0.9
LARGEST = 6_000  # bytes of a check, its handshake included
MOST_PAIRS = 64  # of clients and servers that are looked at
SAME_PACE = 0.15
FEW_CALLERS = 8  # a balancer's nodes; more addresses with a clock each are clients that poll
MOST_CALLERS = 16  # of more than these checks are too small a part to matter


@dataclass(frozen=True, slots=True, eq=False)
class Clocked:
    """Which rows of OPENED were opened by the clock, and how many servers one client asked at one pace."""

    mask: Mask
    watched: int


def clocked(opened: Rows, among: Mask | None = None) -> Clocked:
    """Looks at each client's connections to each server by themselves. ``among``: the rows to look at, all without it."""
    mask = np.zeros(len(opened), np.bool_)
    paces: dict[int, list[float]] = {}
    columns = opened["client"], opened["server"], opened["server_port"]
    for (client, _, _), rows in islice(groups(*columns, among=among), MOST_PAIRS):
        if not FEWEST <= len(rows) <= MOST:
            continue
        order = rows[np.argsort(opened["at_ns"][rows], kind="stable")]
        ticks, interval_ns = _ticks(opened["at_ns"][order])
        if interval_ns:
            mask[order[ticks]] = True
            paces.setdefault(client, []).append(interval_ns)
    return Clocked(mask, max((_alike(each) for each in paces.values()), default=0))


class Watches:
    """Which TLS connections were opened by the clock, while they are open; of servers that few addresses watch so.

    Nobody reads inside TLS whether a connection is a health check. That it comes by the clock says so, unless everybody's do:
    a checker has one TLS stack, and clients that a balancer deals out at a steady rate have many.
    """

    def __init__(self) -> None:
        self.connections: set[int] = set()

    def fold(self, window: Mapping[str, Rows], services: Iterable[Sequence[tuple[int, int]]]) -> None:
        """Looks at a window's connections to each service's servers, as far as these speak TLS."""
        opened, shaken, connections = window["opened"], window["handshakes"], window["connections"]
        spoken = distinct(endpoint_keys(shaken))
        if not len(opened) or not len(spoken):
            return
        ends, ended_at = endpoint_keys(opened), endpoint_keys(connections)
        for servers in services:
            mine = keys_of(servers)
            mine = mine[np.isin(mine, spoken)]
            rows = opened[np.isin(ends, mine)] if len(mine) else opened[:0]
            if len(rows) < FEWEST or len(distinct(rows["client"])) > MOST_CALLERS:
                continue
            rows = rows[clocked(rows).mask]
            ended = connections[np.isin(ended_at, mine)]
            if not _are_checks(ended, np.isin(ended["conn"], rows["conn"])):
                continue
            callers = distinct(rows["client"])
            if len(callers) <= FEW_CALLERS:
                for caller in callers.tolist():
                    by_clock = shaken[np.isin(shaken["conn"], rows["conn"][rows["client"] == caller])]
                    self.connections.update(_of_one_stack(by_clock).tolist())

    def of_connections(self, conn: npt.NDArray[np.uint64]) -> Mask:
        if not self.connections:
            return np.zeros(len(conn), np.bool_)
        return np.isin(conn, np.fromiter(self.connections, np.uint64))

    def forget(self, ended: npt.NDArray[np.uint64]) -> None:
        if self.connections:
            self.connections.difference_update(ended.tolist())


def _are_checks(ended: Rows, by_clock: Mask) -> bool:
    """Whether what comes by the clock is not the traffic itself: little of all bytes, or always the same few."""
    sizes = (ended["bytes_c"] + ended["bytes_s"]).astype(np.int64)
    mine = sizes[by_clock]
    if not len(mine):
        return False
    if 2 * mine.sum() <= sizes.sum():
        return True
    # A resumed handshake is shorter than a whole one, and a number in a header has a digit more now and then.
    rough = np.unique(np.round(mine / ROUGHLY), return_counts=True)[1]
    return bool(np.sort(rough)[-SAME_SIZES:].sum() >= NEARLY_ALL * len(mine) and median(mine) <= LARGEST)


def _of_one_stack(handshakes: Rows) -> npt.NDArray[np.uint64]:
    """The connections of the usual TLS stack, where hardly any has another."""
    families, of, counts = np.unique(handshakes["family"], return_inverse=True, return_counts=True)
    if not len(families) or counts.max() < WHOLE * len(handshakes):
        return np.zeros(0, np.uint64)
    connections: npt.NDArray[np.uint64] = handshakes["conn"][of == int(np.argmax(counts))]
    return connections


def _usual(intervals: Times) -> list[int]:
    """The most frequent ones, about equal ones taken together, the shortest first."""
    if not len(intervals):
        return []
    bins = np.floor(np.log(intervals) / np.log1p(TOLERANCE)).astype(np.int64)
    _, of, counts = np.unique(bins, return_inverse=True, return_counts=True)
    often = np.sort(np.argsort(-counts, kind="stable")[:CANDIDATES])
    return [int(median(intervals[of == which])) for which in often.tolist()]


def _alike(paces: list[float]) -> int:
    """How many of them are about the usual one."""
    usual = median(np.array(paces))
    return sum(abs(pace - usual) <= SAME_PACE * usual for pace in paces)


def _ticks(times: Times) -> tuple[Mask, float]:
    """Which moments, in order, follow each other at one interval, and that interval in nanoseconds; 0.0 for none.

    Other moments may lie between them. By chance, too, one moment has another at some distance; a clock's ticks are
    several times as many as that, and hardly one is missing.
    """
    nobody = np.zeros(len(times), np.bool_)
    span = int(times[-1] - times[0])
    ahead = [times[lag:] - times[:-lag] for lag in range(1, min(LOOK_AHEAD + 1, len(times)))]
    intervals = np.concatenate(ahead)
    intervals = intervals[(intervals >= SHORTEST_NS) & (intervals <= (1 + TOLERANCE) * span / (FEWEST - 1))]
    best, found = nobody, 0.0
    for interval in _usual(intervals):
        slack = int(TOLERANCE * interval)
        after = np.searchsorted(times, times + interval - slack)
        follows = after < np.searchsorted(times, times + interval + slack, side="right")
        members = follows.copy()
        members[after[follows]] = True
        count = int(np.count_nonzero(members))
        if count < max(FEWEST, CLEARLY_MORE * np.count_nonzero(best)):
            continue  # the ticks of a multiple are the same ones, and a few by chance
        first, last = np.flatnonzero(members)[[0, -1]]
        due = (times[last] - times[first]) / interval + 1
        chance = len(times) * -np.expm1(-2 * slack * len(times) / span)
        if count >= WHOLE * due and np.count_nonzero(follows) >= ABOVE_CHANCE * chance:
            best, found = members, float(interval)
    return best, found
