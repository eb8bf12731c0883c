"""How a balancer spreads what it does not pin: from the order of new assignments."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from lbtop.inference.statistics import Floats, chi_square_tail
from lbtop.model.arrays import distinct
from lbtop.model.judgement import Mechanism
from lbtop.reconstruct.epochs import Unit
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.ledgers.affinity import Measure

ASSIGNMENTS = 20
"""Fewer new assignments tell no algorithm from another."""
RARE = 1e-3
ROUND_ROBIN = 0.6
"""Share of the way from independence to a perfect cycle."""
UNEVEN = 1.2
LEAST_LOADED = 0.7
"""Share of the way from chance to always choosing a least busy target. A perfect round does so, too, and is told before."""
LONGEST_CYCLE = 64

Targets = npt.NDArray[np.uint16]


def balancing_of(
    facts: ServiceFacts,
    measures: dict[str, tuple[Measure, int]],
    key: str | None,
    mechanism: Mechanism | None,
    layer: int | None,
) -> str:
    """round_robin, random_like, hash, weighted, least_loaded or unknown.

    Looked at are new assignments only: first arrivals of keys where keys are pinned, else every request (layer 7) or
    connection. Statistics: repeats within a balancer node's sequence against independence, shares against even ones
    (chi-square), both at 1 in 1000, from 20 assignments on.
    """
    ledger = facts.ledgers.affinity
    pinned = mechanism not in (None, Mechanism.NONE) and key in measures
    if mechanism is None and key in measures:
        measure, lane = measures[key]
        returned, same = measure.returns[:, lane].sum(), measure.same[:, lane].sum()
        pinned = bool(returned and same > 0.8 * returned)
    if pinned and key is not None:
        sequences = [measures[key][0].firsts]
    else:
        sequences = _by_source(ledger.requests if layer == 7 and len(ledger.requests.sequence) else ledger.connections)
    total = sum(len(sequence) for sequence in sequences)
    if total < ASSIGNMENTS or len(distinct(np.concatenate(sequences))) < 2:
        return "unknown"
    counts = np.bincount(np.concatenate(sequences)).astype(np.float64)
    counts = counts[counts > 0]
    mean = counts.mean()
    uneven = chi_square_tail(float(((counts - mean) ** 2 / mean).sum()), len(counts) - 1) < RARE and counts.max() > UNEVEN * mean
    cycle = _weighted_mean([regularity(sequence) for sequence in sequences], sequences)
    repeats = _repeats(sequences)
    if mechanism is Mechanism.SOURCE_IP:
        return "hash" if cycle < ROUND_ROBIN else "round_robin"
    load = facts.ledgers.load
    least = load.least_requests if layer == 7 else load.least_connections
    if cycle < ROUND_ROBIN and least.excess > LEAST_LOADED:
        return "least_loaded"
    if cycle > ROUND_ROBIN or repeats < -3.5:  # several rounds interleaved: a target seldom follows itself
        return "weighted" if uneven else "round_robin"
    if uneven:
        return "weighted" if repeats < 3.5 else "unknown"
    if repeats > 3.5:
        return "unknown"  # runs: neither independent nor in turn
    return "random_like"


def _by_source(unit: Unit) -> list[Targets]:
    """The sequence of each balancer node; all together where connections come from the clients' own addresses."""
    sources = unit.sources
    nodes, counts = np.unique(sources, return_counts=True)
    if len(nodes) > 16:
        return [unit.sequence]
    return [unit.sequence[sources == source] for source in nodes[counts >= 4].tolist()] or [unit.sequence]


def _weighted_mean(values: list[float], sequences: list[Targets]) -> float:
    sizes = np.array([len(sequence) for sequence in sequences], np.float64)
    return float((np.array(values) * sizes).sum() / max(sizes.sum(), 1.0))


def regularity(sequence: Targets) -> float:
    """How far the order of assignments is a fixed cycle: 0 independent, 1 each repeats the one a cycle before.

    The best cycle between two and four times the number of targets; 0 for too few assignments.
    """
    if len(sequence) < ASSIGNMENTS:
        return 0.0
    shares = np.bincount(sequence).astype(np.float64) / len(sequence)
    chance = float((shares**2).sum())
    if chance > 0.95:
        return 0.0
    longest = min(4 * int((shares > 0).sum()), LONGEST_CYCLE, len(sequence) // 3)
    best = 0.0
    for cycle in range(2, longest + 1):
        matches = float((sequence[cycle:] == sequence[:-cycle]).mean())
        spread = math.sqrt(chance * (1 - chance) / (len(sequence) - cycle))
        if matches > chance + 4 * spread:
            best = max(best, (matches - chance) / (1 - chance))
    return best


def _repeats(sequences: list[Targets]) -> float:
    """Standard deviations by which a target follows itself more often than independent assignments would let it."""
    seen = expected = variance = 0.0
    for sequence in sequences:
        if len(sequence) < 4:
            continue
        shares: Floats = np.bincount(sequence).astype(np.float64) / len(sequence)
        chance = float((shares**2).sum())
        pairs = len(sequence) - 1
        seen += float((sequence[1:] == sequence[:-1]).sum())
        expected += chance * pairs
        variance += chance * (1 - chance) * pairs
    return (seen - expected) / math.sqrt(max(variance, 1e-9))
