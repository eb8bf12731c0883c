"""When each target was in service, from its arrivals alone: absences that are too long to be chance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lbtop.model.arrays import median
from lbtop.model.record import dataclass
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.ledgers.load import CHECKS, CHECKS_BAD, OPENED, PROBED, REQUESTS

MISSED = 8.0
"""Arrivals a target must have missed, at its usual share, for its silence to be an absence (chance: e^-8 where arrivals
are independent)."""
REPEATED = 3
"""So many checks show an interval."""
UNUSUAL = 10.0
"""And so many times what it misses in its ordinary silences: arrivals of pinned clients come in bursts."""


@dataclass(frozen=True, slots=True)
class Absence:
    """A target without arrivals although the others had some. Times are those of its own arrivals around it."""

    target: int
    start_ns: int
    end_ns: int
    leading: bool  # before its first arrival: it was added at ``end_ns``
    trailing: bool  # after its last arrival: it is gone since ``start_ns``
    missed: float


def absences(facts: ServiceFacts) -> list[Absence]:
    """Every absence of every target, in order of targets and time. Resolution: a bin of the load series.

    Only what a target could have got is missed: where names decide, arrivals under names that it serves.
    """
    series = facts.ledgers.load.series
    if series.start_ns < 0:
        return []
    bins = series.used()
    counts = (series.counts[OPENED] + series.counts[REQUESTS])[:bins].astype(np.float64)
    starts = series.times()[:bins]
    everything = counts.sum(1)
    found: list[Absence] = []
    for target in range(counts.shape[1]):
        mine = counts[:, target]
        there = np.flatnonzero(mine)
        if not len(there):
            continue
        named, served = (part[:bins] for part in facts.ledgers.load.names.over(series, target))
        edges = np.concatenate(([-1], there, [bins]))
        spans = [(a, b) for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True) if b - a > 1]
        silent = np.zeros(bins, np.bool_)
        missed = np.zeros(len(spans))
        # its share is measured where it was there: long silences are left out, for they lower the share they are judged by
        for _ in range(2):
            dealt = (everything - mine)[~silent].sum() * _part(served, named, ~silent)
            share = mine.sum() / max(mine.sum() + dealt, 1.0)
            odds = share / max(1.0 - share, 0.05)
            others = [(everything - mine)[a + 1 : b].sum() * _part(served, named, slice(a + 1, b)) for a, b in spans]
            missed = odds * np.array(others, np.float64)
            away = missed >= np.maximum(MISSED, UNUSUAL * _ordinary(missed))
            for a, b in (span for span, is_away in zip(spans, away.tolist(), strict=True) if is_away):
                silent[a + 1 : b] = True
        for (a, b), count, is_away in zip(spans, missed.tolist(), away.tolist(), strict=True):
            if is_away:
                start = int(starts[a]) if a >= 0 else int(starts[0])
                end = int(starts[b]) if b < bins else int(starts[-1]) + series.width_ns
                found.append(Absence(target, start, end, a < 0, b >= bins, count))
    return found


def checked_until(facts: ServiceFacts, target: int) -> int:
    """Until when the target goes on answering health checks, to the end of the last interval (nanoseconds); 0 where never."""
    series = facts.ledgers.load.series
    if target >= series.counts.shape[2]:
        return 0
    well = np.flatnonzero((series.counts[CHECKS] - series.counts[CHECKS_BAD] + series.counts[PROBED])[:, target] > 0)
    if len(well) < REPEATED:
        return 0
    return int(series.times()[well[-1]] + series.width_ns * (1 + 2 * median(np.diff(well))))


def _part(served: npt.NDArray[np.float64], named: npt.NDArray[np.float64], where: slice | npt.NDArray[np.bool_]) -> float:
    """The part of the named arrivals in these bins that the target could have got; all where nothing was named."""
    total = float(named[where].sum())
    return float(served[where].sum()) / total if total else 1.0


def _ordinary(missed: npt.NDArray[np.float64]) -> float:
    """What a target misses in its ordinary silences: the mean without the longest three, which are what is judged."""
    usual = np.sort(missed)[: max(len(missed) - 3, 0)]
    return float(usual.mean()) if len(usual) else 0.0
