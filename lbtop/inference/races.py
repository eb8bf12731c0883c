"""How many requests an hour will cross the close of a kept-alive connection: what was not seen yet can be expected.

A target that closes after T of silence lets a connection idle; the balancer uses it again whenever it has a request. Where that
moment falls within one round trip around T, request and FIN cross. Of the silences that reach T/2, those that were ended by a
request before T give the rate of reuse there, and those that reached T how often it comes to the point (a hazard rate, its
error from the number of reuses: Poisson).
"""

from __future__ import annotations

import math

import numpy as np

from lbtop.inference.idle import closes_after
from lbtop.model.observation import Side
from lbtop.model.record import dataclass
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.ledgers.idle import ORDERLY
from lbtop.reconstruct.ledgers.tally import bin_start_ns

REUSES = 3
"""Fewer reuses near the close tell no rate."""
EXTRAPOLATION = 0.5
"""Log of how far (one standard deviation) the rate at T may lie from the rate over the half before it."""
NEAR = 0.1
SPREAD = 1.645
"""Standard deviations to either side that hold nine in ten."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Races per hour, and an interval that holds the number of such an hour nine times in ten."""

    per_hour: float
    interval: tuple[float, float]
    reuses: int
    closes: int


def forecast_races(facts: ServiceFacts) -> Forecast | None:
    """From races that were seen, where there are any. None where targets do not close first, nothing is reused near the close,
    or the round trip is not known."""
    ledger = facts.ledgers.idle
    hours = max(facts.ended_ns - facts.started_ns, 0) / 3.6e12
    if ledger.races and hours:
        root = math.sqrt(ledger.races)
        low, high = max(root - SPREAD / 2, 0.0) ** 2, (math.sqrt(ledger.races + 1.0) + SPREAD / 2) ** 2
        return Forecast(round(ledger.races / hours, 2), (round(low / hours, 2), round(high / hours, 2)), 0, ledger.races)
    closing = closes_after(ledger, Side.SERVER)
    trips = facts.ledgers.stacks.round_trips
    if closing is None or not hours or not trips.sum() or not facts.balancers:
        return None
    round_trip_s = bin_start_ns(int(np.searchsorted(np.cumsum(trips), trips.sum() / 2)) + 1) / 1e9
    silences = ledger.survived[:, 0] / 1e9
    reused = silences[(silences >= closing / 2) & (silences < closing * (1 + NEAR))]
    ended = ledger.endings
    closed = ended[(ended["tail"] == ORDERLY) & (ended["closer"] == Side.SERVER)]["idle_ns"] / 1e9
    closes = int((np.abs(closed - closing) <= NEAR * closing).sum())
    if len(reused) < REUSES or not closes:
        return None
    exposure = closes * closing / 2 + float(np.minimum(reused - closing / 2, closing / 2).sum())
    expected = closes / hours * len(reused) / exposure * round_trip_s
    relative = math.sqrt(1.0 / len(reused) + EXTRAPOLATION**2) * SPREAD
    low, high = expected * math.exp(-relative), expected * math.exp(relative)
    interval = (max(0.0, low - SPREAD * math.sqrt(low)), high + SPREAD * math.sqrt(high) + 1.0)
    return Forecast(round(expected, 2), (round(interval[0], 2), round(interval[1], 2)), len(reused), closes)
