"""How long a connection may be silent before something ends it: an interval from the data, never a default."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lbtop.catalog import label, timeouts
from lbtop.model.arrays import median
from lbtop.model.observation import ConnFlag, Side
from lbtop.model.snapshot import Idle
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.ledgers.idle import ORDERLY, RESET, SILENCE, IdleLedger

ORDERLY_ENDINGS = 3
STEADY = 0.1
"""Orderly closes after a silence belong to a timeout where their durations differ by less than this share (or STEADY_S)."""
STEADY_S = 0.6
STOPPED = 1.5
"""Closes at times that differ by less than so many times what their silences differ by came at one moment."""
CLOSE_MATCH = 0.1
"""How far from a known default, in shares of it, the estimate may lie: timers are checked now and then, not exactly."""


def infer_idle(facts: ServiceFacts) -> Idle | None:
    """What silences did to connections; None where no connection was ever silent for long."""
    ledger = facts.ledgers.idle
    if not len(ledger.survived) and not len(ledger.endings) and not ledger.races:
        return None
    cliff, interval, ended_by = _cliff(ledger)
    return Idle(
        cliff_s=cliff,
        interval=interval,
        ended_by=ended_by,
        resets_after_idle=ledger.reset_after_idle,
        matches=_known_default(facts, cliff, interval),
        target_closes_after_s=closes_after(ledger, Side.SERVER),
        keepalive_races=ledger.races,
    )


def _cliff(ledger: IdleLedger) -> tuple[float | None, tuple[float, float] | None, str | None]:
    """(estimate, (longest survived, shortest that ended it], how). A reset or a silent death after a silence comes first;
    else the balancer's own orderly close at a constant age."""
    endings = ledger.endings
    survived = ledger.survived[:, 0] / 1e9
    for tail, word in ((RESET, "rst"), (SILENCE, "silence")):
        killed = np.sort(endings["idle_ns"][endings["tail"] == tail] / 1e9)
        if not len(killed):
            continue
        shortest = _shortest_plausible(killed, survived)
        if shortest is None:
            continue
        below = survived[survived < shortest]
        longest = float(below.max(initial=0.0))
        return round((longest + shortest) / 2, 3), (round(longest, 3), round(shortest, 3)), word
    steady = closes_after(ledger, Side.CLIENT)
    if steady is None:
        return None, None, None
    below = survived[survived < steady]
    return steady, (round(float(below.max(initial=0.0)), 3), steady), "fin"


def _shortest_plausible(killed: npt.NDArray[np.float64], survived: npt.NDArray[np.float64]) -> float | None:
    """The shortest silence that killed, unless many longer ones were survived: then idling was not the cause."""
    for value in killed.tolist():
        if int((survived > value).sum()) <= 0.2 * int((killed >= value).sum()):
            return float(value)
    return None


def closes_after(ledger: IdleLedger, side: Side) -> float | None:
    """After how many seconds of silence one side closes in an orderly way; None where its closes share no age."""
    endings = ledger.endings
    mine = endings[(endings["tail"] == ORDERLY) & (endings["closer"] == side)]
    mine = mine[np.argsort(mine["idle_ns"], kind="stable")]
    silent = mine["idle_ns"] / 1e9
    if len(silent) < ORDERLY_ENDINGS:
        return None
    # the largest group of nearly equal durations
    widths = np.maximum(STEADY * silent, STEADY_S)
    reach = np.searchsorted(silent, silent + widths, "right")
    sizes = reach - np.arange(len(silent))
    first = int(np.argmax(sizes))
    size = int(sizes[first])
    if size < max(ORDERLY_ENDINGS, 0.6 * len(silent)):
        return None
    group = slice(first, first + size)
    when = mine["at_ns"][group] / 1e9
    if float(np.ptp(when)) < STOPPED * max(float(np.ptp(silent[group])), 0.05):
        return None  # they closed at one moment, whatever their silence: somebody was stopped
    if int((ledger.survived[:, 0] / 1e9 > silent[group][-1] * (1 + STEADY)).sum()) > 0.2 * size:
        return None  # longer silences were survived: no limit
    return round(median(silent[group]), 3)


def _known_default(facts: ServiceFacts, cliff: float | None, interval: tuple[float, float] | None) -> str | None:
    """A product's default that the estimate agrees with; named only where the interval is tight enough to mean it."""
    if cliff is None or interval is None:
        return None
    low, high = interval
    matches = []
    for row in timeouts():
        seconds = float(row.seconds)
        within = low < seconds <= high * (1 + CLOSE_MATCH) and low >= seconds * 0.5
        near = abs(cliff - seconds) <= CLOSE_MATCH * seconds
        if high <= seconds * 1.5 and (within or near):
            matches.append((abs(high - seconds), row))
    if not matches:
        return None
    nearest = min(distance for distance, _ in matches)
    names = [f"{label(row.product)} {row.what}" for distance, row in matches if distance == nearest]
    seconds_text = next(row.seconds for distance, row in matches if distance == nearest)
    return f"{seconds_text} s: {'; '.join(dict.fromkeys(names[:3]))}"


def reset_by_tracker(ledger: IdleLedger) -> int:
    """Resets with window 0 and no options: the mark of a connection tracker, not of either end."""
    bare = (ledger.endings["flags"] & np.uint32(ConnFlag.RST_BARE)) != 0
    return int((bare & (ledger.endings["tail"] == RESET)).sum())
