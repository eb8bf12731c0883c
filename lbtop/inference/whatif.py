"""What another algorithm, or another number of targets, would have done to the traffic that was captured.

Deterministic algorithms are replayed. A hash whose seed nobody knows is drawn many times, and the answer is an interval: of a
hundred real balancers with this algorithm, ninety lie in it.

Sources of the algorithms: nginx ngx_http_upstream_ip_hash_module.c (`ip_hash`), Karger et al. 1997 and ketama (ring hash),
Eisenbud et al., "Maglev", NSDI 2016.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from lbtop.model.record import dataclass
from lbtop.reconstruct.replayed import Arrivals

DRAWS = 400
RING_POINTS, SPARSE_POINTS = 160, 16
MAGLEV_TABLE = 5_003
"""A prime, like Maglev's default of 65,537, but quicker to fill: shares differ by a fiftieth of a percent with ten targets."""
_SLOW_DRAWS = 40
DURATIONS_VARY = 0.2
SEED = 0x1B709

Assignment = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What would have happened.

    ``peak_to_mean`` is (low, typical, high), all equal where the algorithm is deterministic; shares are of the cost in the
    typical case, hottest first. ``moved``: share of the sessions (clients where there are none) that reach another target when
    the number of targets goes from ``before`` to ``targets``; None where it stays. ``blast_radius``: the largest share of the
    load that one client address alone puts on one target; None where addresses do not decide.
    """

    algorithm: str
    targets: int
    before: int
    exact: bool
    peak_to_mean: tuple[float, float, float]
    observed_peak_to_mean: float
    shares: tuple[float, ...]
    moved: tuple[float, float, float] | None
    blast_radius: float | None
    affinity_kept: float | None
    units: int
    note: str


def predict(arrivals: Arrivals, algorithm: str, targets: int) -> Prediction:
    """Replays the arrivals through an algorithm. Raises KeyError for an unknown one, ValueError without arrivals or targets."""
    if not len(arrivals) or targets < 1:
        raise ValueError("there is nothing to distribute, or nowhere to")
    rule = ALGORITHMS[algorithm]
    before = len(arrivals.targets)
    rng = np.random.default_rng(SEED)
    draws = 1 if rule.exact else (_SLOW_DRAWS if algorithm in ("maglev", "least_connections") else DRAWS)
    peaks, moved, kept = [], [], []
    peaks_known: list[float] = []
    moved_known: list[float] = []
    shares = np.zeros(targets)
    for known in rule.unseeded:
        placed = known(arrivals, targets, 0)
        peaks_known.append(_peak_of(arrivals, placed, targets))
        if targets != before:
            moved_known.append(_moved(arrivals, known(arrivals, before, 0), placed))
    for _ in range(draws):
        seed = int(rng.integers(1, 1 << 62))
        placed = rule.assign(arrivals, targets, seed)
        load = np.bincount(placed, weights=arrivals.cost, minlength=targets)
        peaks.append(float(load.max() / load.mean()))
        shares += np.sort(load / load.sum())[::-1]
        kept.append(_kept(arrivals, placed))
        if targets != before:
            moved.append(_moved(arrivals, rule.assign(arrivals, before, seed), placed))
    by_address = rule.by_address
    return Prediction(
        algorithm, targets, before, rule.exact, _span(peaks, peaks_known), _peak(arrivals), tuple((shares / draws).tolist()),
        _span(moved, moved_known) if moved else None, _largest_address(arrivals) if by_address else None,
        float(np.mean([k for k in kept if k is not None])) if any(k is not None for k in kept) else None,
        len(arrivals), rule.note,
    )  # fmt: skip


def _span(draws: list[float], known: list[float]) -> tuple[float, float, float]:
    """The middle nine tenths of the draws, widened to what the hashes without a seed give."""
    low, middle, high = np.quantile(np.array(draws), [0.05, 0.5, 0.95]).tolist()
    return min([low, *known]), middle, max([high, *known])


def _peak(arrivals: Arrivals) -> float:
    return _peak_of(arrivals, arrivals.target, len(arrivals.targets))


def _peak_of(arrivals: Arrivals, placed: Assignment, targets: int) -> float:
    load = np.bincount(placed, weights=arrivals.cost, minlength=targets)
    return float(load.max() / load.mean())


def _keys(arrivals: Arrivals) -> Assignment:
    """What a user would call "me": the session, else the client's address."""
    known = arrivals.session >= 0
    if not known.any():
        return arrivals.client
    return np.where(known, arrivals.session, arrivals.session.max() + 1 + arrivals.client)


def _kept(arrivals: Arrivals, placed: Assignment) -> float | None:
    """Share of returns that meet the target of the arrival before them."""
    keys = _keys(arrivals)
    order = np.argsort(keys, kind="stable")
    same_key = keys[order][1:] == keys[order][:-1]
    if not same_key.any():
        return None
    same = placed[order][1:] == placed[order][:-1]
    return float(same[same_key].mean())


def _moved(arrivals: Arrivals, old: Assignment, new: Assignment) -> float:
    """Share of keys whose last target under the old number is not their first under the new one."""
    keys = _keys(arrivals)
    last = {int(key): int(target) for key, target in zip(keys, old, strict=True)}
    distinct, first = np.unique(keys, return_index=True)
    return float(np.mean([last[int(key)] != int(new[at]) for key, at in zip(distinct, first, strict=True)]))


def _largest_address(arrivals: Arrivals) -> float:
    load = np.bincount(arrivals.client, weights=arrivals.cost)
    return float(load.max() / load.sum())


# -- the algorithms: from arrivals, a number of targets and a seed to the target of every arrival


def _mix(values: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint64]:
    """64 well-mixed bits per value (the finaliser of SplitMix64)."""
    z = values + np.uint64(seed & 0xFFFFFFFFFFFFFFFF)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _scaled(hashed: npt.NDArray[np.uint64], targets: int) -> Assignment:
    """A hash onto 0 … targets-1 by ranges, as the kernel's reciprocal_scale does."""
    return ((hashed >> np.uint64(32)) * np.uint64(targets) >> np.uint64(32)).astype(np.int64)


def _on_sparse_ring(hashed: npt.NDArray[np.uint64], targets: int, seed: int) -> Assignment:
    """HAProxy's ring: 16 points for each server of weight 1, so that its arcs are far from even."""
    points = _mix(np.arange(targets * SPARSE_POINTS, dtype=np.uint64) + np.uint64(1 << 41), seed ^ 0x2545F4914F6CDD1D)
    order = np.argsort(points)
    return (order[np.searchsorted(points[order], hashed) % len(order)] // SPARSE_POINTS).astype(np.int64)


def _drawn(hashed: npt.NDArray[np.uint64], targets: int, seed: int) -> Assignment:
    """By even ranges or on HAProxy's uneven ring, whichever the seed says: nobody knows which of them it would be."""
    return _on_sparse_ring(hashed, targets, seed) if seed & 1 else _scaled(hashed, targets)


def _source_ip(arrivals: Arrivals, targets: int, seed: int) -> Assignment:
    return _drawn(_mix(arrivals.client.astype(np.uint64) + np.uint64(1), seed), targets, seed)


def _five_tuple(arrivals: Arrivals, targets: int, seed: int) -> Assignment:
    # At layer 7 a request has no tuple of its own; its connection to the balancer is not in view: each is its own draw.
    unit = (
        np.arange(len(arrivals), dtype=np.uint64)
        if arrivals.layer7
        else (arrivals.client << 17 | arrivals.port).astype(np.uint64)
    )
    return _scaled(_mix(unit * np.uint64(0x9E3779B97F4A7C15), seed), targets)


def _round_robin(arrivals: Arrivals, targets: int, seed: int) -> Assignment:
    return np.arange(len(arrivals), dtype=np.int64) % targets


def _random(arrivals: Arrivals, targets: int, seed: int) -> Assignment:
    return _drawn(_mix(np.arange(len(arrivals), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15), seed), targets, seed)


def _least_connections(arrivals: Arrivals, targets: int, seed: int) -> Assignment:
    """Fewest open connections first, the one that waited longest among equals (as HAProxy's leastconn)."""
    placed = np.zeros(len(arrivals), np.int64)
    # another target answers a little sooner or later, and what was open before the capture began is not known
    pace = np.exp(DURATIONS_VARY * np.random.default_rng(seed).standard_normal(len(arrivals)))
    until_ns = (arrivals.at_ns + (arrivals.until_ns - arrivals.at_ns) * pace).astype(np.int64)
    free = [(0, (turn + seed) % targets, turn) for turn in range(targets)]  # open connections, turn, target
    heapq.heapify(free)
    ending: list[tuple[int, int]] = []
    opened = [0] * targets
    turn = targets
    for at in range(len(arrivals)):
        now = int(arrivals.at_ns[at])
        while ending and ending[0][0] <= now:
            _, target = heapq.heappop(ending)
            opened[target] -= 1
            heapq.heappush(free, (opened[target], turn, target))
            turn += 1
        while free[0][0] != opened[free[0][2]]:  # an entry that is out of date
            heapq.heappop(free)
        _, _, target = heapq.heappop(free)
        placed[at] = target
        opened[target] += 1
        heapq.heappush(free, (opened[target], turn, target))
        turn += 1
        heapq.heappush(ending, (int(until_ns[at]), target))
    return placed


def _ip_hash(arrivals: Arrivals, targets: int, seed: int) -> Assignment:
    """nginx `ip_hash`, equal weights: the first three octets."""
    hashed = np.full(len(arrivals), 89, np.int64)
    for octet in range(3):
        hashed = (hashed * 113 + arrivals.octets[:, octet]) % 6271
    return hashed % targets


def _address_modulo(arrivals: Arrivals, targets: int, seed: int) -> Assignment:
    """HAProxy `balance source`, map-based without avalanche, equal weights: the address as a number, modulo."""
    number = np.zeros(len(arrivals), np.int64)
    for octet in range(4):
        number = number << 8 | arrivals.octets[:, octet]
    return number % targets


def _ring_hash(arrivals: Arrivals, targets: int, seed: int) -> Assignment:
    """Consistent hashing of the key, 160 points per target."""
    points = _mix(np.arange(targets * RING_POINTS, dtype=np.uint64) + np.uint64(1 << 40), seed ^ 0x5DEECE66D)
    order = np.argsort(points)
    at = np.searchsorted(points[order], _mix(_keys(arrivals).astype(np.uint64) + np.uint64(1), seed)) % len(order)
    return (order[at] // RING_POINTS).astype(np.int64)


def _maglev(arrivals: Arrivals, targets: int, seed: int) -> Assignment:
    """Maglev hashing of the key: every target fills its share of a prime-sized table in an order of its own."""
    offsets = _mix(np.arange(targets, dtype=np.uint64) + np.uint64(7), seed) % np.uint64(MAGLEV_TABLE)
    skips = _mix(np.arange(targets, dtype=np.uint64) + np.uint64(99), seed) % np.uint64(MAGLEV_TABLE - 1) + np.uint64(1)
    table = _fill_maglev(offsets.astype(np.int64), skips.astype(np.int64), targets)
    return table[(_mix(_keys(arrivals).astype(np.uint64) + np.uint64(1), seed) % np.uint64(MAGLEV_TABLE)).astype(np.int64)]


def _fill_maglev(offsets: Assignment, skips: Assignment, targets: int) -> Assignment:
    """The lookup table (the paper's pseudocode 1): in turns, every target takes the first free slot of its own order."""
    table = [-1] * MAGLEV_TABLE
    place = offsets.tolist()
    step = skips.tolist()
    for turn in range(MAGLEV_TABLE):
        target = turn % targets
        at = place[target]
        while table[at] >= 0:
            at = (at + step[target]) % MAGLEV_TABLE
        table[at] = target
        place[target] = (at + step[target]) % MAGLEV_TABLE
    return np.array(table, np.int64)


def _cookie(arrivals: Arrivals, targets: int, seed: int) -> Assignment:
    """New sessions in turn, returns to where the session began. Requests without a session are new each time."""
    keys = np.where(arrivals.session >= 0, arrivals.session, -1)
    placed = np.zeros(len(arrivals), np.int64)
    home: dict[int, int] = {}
    turn = 0
    for at, key in enumerate(keys.tolist()):
        if key in home:
            placed[at] = home[key]
            continue
        placed[at] = turn % targets
        turn += 1
        if key >= 0:
            home[key] = int(placed[at])
    return placed


@dataclass(frozen=True, slots=True)
class Algorithm:
    assign: Callable[[Arrivals, int, int], Assignment]
    exact: bool
    by_address: bool
    note: str
    unseeded: tuple[Callable[[Arrivals, int, int], Assignment], ...] = ()  # implementations of it that need no seed


ALGORITHMS: dict[str, Algorithm] = {
    "round_robin": Algorithm(_round_robin, True, False, "every arrival to the next target"),
    "random": Algorithm(_random, False, False, "every arrival drawn on its own"),
    "least_connections": Algorithm(
        _least_connections,
        False,
        False,
        "fewest open connections, the longest waiting among equals; durations nearly as they were",
    ),
    "source_ip": Algorithm(_source_ip, False, True, "the client's address hashed, seed unknown", (_address_modulo, _ip_hash)),
    "ip_hash": Algorithm(_ip_hash, True, True, "nginx ip_hash: the first three octets, equal weights"),
    "haproxy_source": Algorithm(_address_modulo, True, True, "HAProxy balance source: the address modulo, equal weights"),
    "five_tuple": Algorithm(_five_tuple, False, False, "address and port hashed: every connection on its own"),
    "ring_hash": Algorithm(_ring_hash, False, False, "consistent hashing of the session, or of the address; seed unknown"),
    "maglev": Algorithm(_maglev, False, False, "Maglev hashing of the session, or of the address; seed unknown"),
    "cookie": Algorithm(_cookie, True, False, "new sessions in turn, returns to their target"),
}
