"""Is one target unlike its peers: response times, resets, refusals, retransmits."""

from __future__ import annotations

import numpy as np

from lbtop.inference.statistics import Floats, binomial_tail, histogram_rank_test
from lbtop.model.record import dataclass
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.ledgers.targets import BINS_PER_OCTAVE, FIRST_OCTAVE

SAMPLES = 30
TWOFOLD = 2.0
RARE = 1e-3
SHORTEST_DIFFERENCE_S = 0.002
"""Medians closer than this are the same to anybody, whatever their ratio."""
FEWEST = 5
BOUNDS = {"resets": 0.05, "refused": 0.01, "retransmits": 0.02}
"""A rate that is too high whatever the peers do: of connections, of attempts, of segments."""
RARE_SEGMENT = 1e-6
"""Segments are lost in bursts, so they must be rarer to mean the same."""


@dataclass(frozen=True, slots=True)
class Slow:
    target: int
    median_s: float
    peers_s: float
    count: int
    peers_count: int
    p_value: float

    @property
    def ratio(self) -> float:
        return self.median_s / max(self.peers_s, 1e-9)


def slow_targets(facts: ServiceFacts) -> list[Slow]:
    """Targets whose responses take at least twice as long as the others' (medians), by a rank test."""
    times = facts.ledgers.targets.response.astype(np.float64)
    found = []
    for target in range(len(times)):
        mine, others = times[target], times[_peers(facts, target, len(times))].sum(0)
        count, peers = int(mine.sum()), int(others.sum())
        if count < SAMPLES or peers < SAMPLES:
            continue
        median, peers_median = _median_s(mine), _median_s(others)
        if median < TWOFOLD * peers_median or median - peers_median < SHORTEST_DIFFERENCE_S:
            continue
        p_value = histogram_rank_test(mine, others)
        if p_value < RARE / len(times):
            found.append(Slow(target, median, peers_median, count, peers, p_value))
    return found


def _peers(facts: ServiceFacts, target: int, targets: int) -> list[int]:
    """The other targets of its pool: what has other names is other programs."""
    pool = facts.ledgers.names.pool(target)
    return [number for number in range(targets) if number != target and (pool is None or number in pool)]


def _median_s(bins: Floats) -> float:
    place = int(np.searchsorted(np.cumsum(bins), bins.sum() / 2.0))
    return float(2.0 ** (FIRST_OCTAVE + (place + 0.5) / BINS_PER_OCTAVE) / 1e9)


@dataclass(frozen=True, slots=True)
class Differing:
    target: int
    count: int
    of: int
    expected: float
    peers_rate: float | None
    bound: float
    p_value: float


def differing_rates(facts: ServiceFacts, what: str) -> list[Differing]:
    """Targets with a rate at least twice their peers' (binomial test), or above the stated bound."""
    events, trials = _rates(facts, what)
    # whoever ends every connection by a reset does so by habit (an alert after the FIN, a client that is done): only resets
    # that cut off a response are too many by themselves
    certain = facts.ledgers.targets.resets_in_reply if what == "resets" else events
    bound = BOUNDS[what]
    rare = RARE_SEGMENT if what == "retransmits" else RARE
    found = []
    for target in range(len(events)):
        count, of = int(events[target]), int(trials[target])
        others, of_others = int(events.sum() - count), int(trials.sum() - of)
        if count < FEWEST or of < FEWEST:
            continue
        doubt = 0.5 if of_others >= SAMPLES else 3.0  # the rule of three where the peers have few
        peers = (others + doubt) / (of_others + 2 * doubt) if of_others >= FEWEST else None
        if peers is not None and count >= TWOFOLD * peers * of:
            p_value = binomial_tail(count, of, min(peers, 1.0))
            if p_value < rare / len(events):
                found.append(Differing(target, count, of, peers, peers, bound, p_value))
                continue
        count = int(certain[target])
        above = binomial_tail(count, of, bound)
        if count >= FEWEST and count > bound * of and above < rare:
            found.append(Differing(target, count, of, bound, None, bound, above))
    return found


def _rates(facts: ServiceFacts, what: str) -> tuple[np.ndarray, np.ndarray]:
    """(events, of how many) per target."""
    ledger = facts.ledgers.targets
    data = ledger.connections - ledger.health_connections
    if what == "resets":
        # kept-alive connections carry many requests, each of which might have been cut off
        return ledger.resets_by_target + ledger.resets_in_reply, np.maximum(data, ledger.requests)
    if what == "refused":
        return ledger.refused, ledger.refused + data
    segments = facts.ledgers.load.segments
    return segments[:, 1], segments[:, 0]
