"""When keys changed their target, why, and how long a cookie lived."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lbtop.inference.presence import Absence, absences
from lbtop.model.address import endpoint_text
from lbtop.model.arrays import distinct
from lbtop.model.judgement import Mechanism
from lbtop.model.observation import Rows
from lbtop.model.record import dataclass, field
from lbtop.model.snapshot import Break, CookieLifetime
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.keytable import span_edges
from lbtop.reconstruct.ledgers.affinity import Measure

SPLIT_NS = 2_000_000_000
"""First requests of a client this close together were in flight before any mapping existed."""
MASS = 5
MASS_SHARE = 0.2
REPORTED = 64
LIFETIME_BREAKS = 3
LIFETIME_GAIN = 8.0
"""Log-likelihood that a lifetime must gain over breaks at a constant rate."""
LIFETIME_HAZARD = 0.03
"""Share of returns beyond a lifetime since issue that break: far less than 1 - chance, for one renewed by luck lives on."""
LIFETIME_CROSSED = 0.8
LIFETIME_LEAST_NS = 1_000_000_000
"""Lifetimes of cookies are whole seconds."""
SLACK = 2.0
"""Expiry is checked in steps (HAProxy keeps dates in units of four seconds): a lifetime may be exceeded by its own length."""
ONE_MOMENT = 0.85
"""Share of unexplained moves that one moment must explain to be preferred over a lifetime."""
EARLY_BREAKS = 0.15
"""Breaks before the lifetime that may have another cause."""
_COOKIES = (Mechanism.LB_COOKIE, Mechanism.APP_COOKIE, Mechanism.WEIGHTED_TARGET_GROUP)
HABITUAL_MOVES, HABITUAL_SHARE = 3, 0.2
"""A key with more moves than this, and with so many among its arrivals, was never pinned."""


@dataclass(slots=True)
class Breaks:
    breaks: tuple[Break, ...] = ()
    lifetime: CookieLifetime | None = None
    causes: dict[str, int] = field(default_factory=dict)  # moves by cause
    restless: int = 0  # keys that moved twice or more for no reason in view


def find_breaks(
    facts: ServiceFacts, measured: tuple[Measure, int] | None, mechanism: Mechanism | None, affinity: float | None
) -> Breaks:
    """Moves of the measured key, grouped in time by cause. Empty where keys do not keep their target to begin with."""
    if measured is None or mechanism is Mechanism.NONE or affinity is None or affinity < 0.3:
        return Breaks()
    measure, _ = measured
    moves = measure.moves
    if not len(moves):
        return Breaks()
    away = absences(facts)
    visible_cookie = mechanism in _COOKIES and bool((measure.slots["marks_any"] != 0).any())
    causes = _causes(measure, away, facts, visible_cookie, mechanism)
    chance = float(measure.chance[:, 0].sum() / max(measure.returns[:, 0].sum(), 1.0))
    lifetime, fits = fit_lifetime(measure.kept, moves, causes == "unknown", min(chance, 0.9))
    at_once = _at_one_moment(causes, moves, len(measure.slots))
    if lifetime is not None and fits.sum() >= at_once.sum() and at_once.sum() < ONE_MOMENT * (causes == "unknown").sum():
        # age since issue ends cookies; a table of addresses forgets by silence alone
        of_cookie = mechanism in _COOKIES or (mechanism is None and lifetime.model == "since_issue")
        causes[fits] = "cookie_expired" if of_cookie else "idle"
        lifetime = lifetime if of_cookie else None
        at_once &= ~fits
    else:
        lifetime = None
    at_once &= ~_habitual(measure)
    if at_once.sum() >= max(MASS, MASS_SHARE * len(measure.slots)):
        causes[at_once] = "remap"
    by_cause = dict(zip(*(part.tolist() for part in np.unique(causes, return_counts=True)), strict=True))
    _, times = np.unique(moves["serial"][causes == "unknown"], return_counts=True)
    return Breaks(tuple(_grouped(facts, moves, causes)), lifetime, by_cause, int((times >= 2).sum()))


def _causes(
    measure: Measure, away: list[Absence], facts: ServiceFacts, visible_cookie: bool, mechanism: Mechanism | None
) -> npt.NDArray[np.str_]:
    """One cause per move, from what happened to targets between the key's arrival before it and the move."""
    moves = measure.moves
    slack = 2 * facts.ledgers.load.series.width_ns
    causes = np.full(len(moves), "unknown", "U24")
    at_ns, before_ns = moves["at_ns"], moves["at_ns"] - moves["gap_ns"]
    gone = np.zeros(len(moves), np.bool_)
    added = np.zeros(len(moves), np.bool_)
    between = np.zeros(len(moves), np.bool_)
    for absence in away:
        left = not absence.leading
        came = not absence.trailing
        if left:
            gone |= (moves["source"] == absence.target) & (at_ns >= absence.start_ns - slack) & (at_ns <= absence.end_ns + slack)
            between |= (before_ns <= absence.start_ns + slack) & (at_ns >= absence.start_ns - slack)
        if came:
            added |= (
                (moves["destination"] == absence.target)
                & (before_ns <= absence.end_ns + slack)
                & (at_ns >= absence.end_ns - slack)
            )
            between |= (before_ns <= absence.end_ns + slack) & (at_ns >= absence.end_ns - slack)
    causes[between] = "remap"
    causes[added] = "target_added"
    causes[gone] = "target_gone"
    causes[gone & added] = "targets_replaced"
    settled = gone | added
    early = (moves["first_return"] == 1) & (moves["gap_ns"] < SPLIT_NS) & ~settled
    renamed = np.zeros(len(moves), np.bool_)
    if mechanism is Mechanism.APP_COOKIE or (mechanism is None and not visible_cookie):
        renamed = _renamed(measure) & ~settled
    causes[renamed] = "reissued"
    early &= _moved_once(moves, ~settled & ~renamed)  # whose first requests were split stays where the mapping says
    if mechanism in _COOKIES or (mechanism is None and measure.key.startswith("cookie:")):
        causes[early] = "first_request_split"
    if visible_cookie:
        causes[(moves["marks"] == 0) & ~early & ~settled] = "cookie_not_returned"
        if mechanism is Mechanism.WEIGHTED_TARGET_GROUP:
            causes[(moves["marks"] != 0) & ~settled] = "within_group"
    return causes


def _moved_once(moves: Rows, counted: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which moves are the only one of their key, among those counted."""
    _, place = np.unique(moves["serial"], return_inverse=True)
    once: npt.NDArray[np.bool_] = np.bincount(place, counted)[place] == 1
    return once


def _renamed(measure: Measure) -> npt.NDArray[np.bool_]:
    """Which moves follow a re-issue of the key's value: where the value decides, a new one is a new assignment."""
    moves, reissued = measure.moves, measure.reissued
    renamed = np.zeros(len(moves), np.bool_)
    for serial in np.intersect1d(moves["serial"], reissued[:, 0]).tolist():
        mine = np.flatnonzero(moves["serial"] == serial)
        times = reissued[reissued[:, 0] == serial, 1]
        after = np.searchsorted(times, moves["at_ns"][mine] - moves["gap_ns"][mine])
        renamed[mine] = after < np.searchsorted(times, moves["at_ns"][mine])
    return renamed


def fit_lifetime(
    kept: npt.NDArray[np.uint32], moves: Rows, unexplained: npt.NDArray[np.bool_], chance: float
) -> tuple[CookieLifetime | None, npt.NDArray[np.bool_]]:
    """The lifetime that separates what was survived from what broke, counted from the last response or from issue.

    Below it keys return to their target, beyond it they are assigned anew (and meet their old target by ``chance``). Of the
    two models the one that explains the returns better than a constant rate of breaks is taken, if it does so at all.
    The interval is (longest survived, shortest that broke], where the longest may be luck.
    """
    nothing = np.zeros(len(moves), np.bool_)
    candidates = np.flatnonzero(unexplained)
    if len(candidates) < LIFETIME_BREAKS or not kept.shape[1]:
        return None, nothing
    edges = span_edges()
    lucky = int(1.92 / -np.log(min(max(chance, 0.05), 0.95)))  # survivals beyond the limit that a 95 % interval allows for
    best: tuple[float, CookieLifetime, npt.NDArray[np.bool_]] | None = None
    for row, (model, column) in enumerate((("since_last_response", "gap_ns"), ("since_issue", "age_ns"))):
        broke = np.sort(moves[column][candidates].astype(np.float64))
        for limit in broke[: int(EARLY_BREAKS * len(broke)) + 1].tolist():
            if limit < LIFETIME_LEAST_NS:
                continue
            early, late = int((broke < limit).sum()), int((broke >= limit).sum())
            place = int(np.searchsorted(edges, limit, "right")) - 1
            below, beyond = float(kept[row, :place].sum()), float(kept[row, place:].sum())
            if late < LIFETIME_BREAKS or below < LIFETIME_BREAKS:
                continue
            gain = _log_rates(early, below) + _log_rates(late, beyond) - _log_rates(early + late, below + beyond)
            hazard = LIFETIME_HAZARD if column == "age_ns" else 0.5 * (1.0 - chance)
            if gain < LIFETIME_GAIN or late < hazard * (late + beyond):
                continue
            fits = unexplained & (moves[column] >= limit)
            before_ns = moves["age_ns"] - moves["gap_ns"]
            if column == "age_ns" and (fits & (before_ns < SLACK * limit)).sum() < LIFETIME_CROSSED * fits.sum():
                continue  # a key moves soon after the limit, not at some later time
            total = np.cumsum(kept[row, :place][::-1])
            survived = place - 1 - int(np.searchsorted(total, lucky + 1))
            low, high = float(edges[max(survived, 0)]) / 1e9, limit / 1e9
            found = CookieLifetime(model, round((low + high) / 2, 3), (round(low, 3), round(high, 3)))
            if best is None or gain > best[0] + 1e-9:
                best = (gain, found, fits)
    return (None, nothing) if best is None else (best[1], best[2])


def _log_rates(events: float, others: float) -> float:
    """Log-likelihood of so many events among so many trials at their own rate."""
    total = events + others
    return sum(count * float(np.log(count / total)) for count in (events, others) if count > 0)


def _at_one_moment(causes: npt.NDArray[np.str_], moves: Rows, keys: int) -> npt.NDArray[np.bool_]:
    """The most unexplained moves that one moment explains: the mapping changed, without a target coming or going.

    A key's first return after the change may come much later; what they share is a moment that lies in all their gaps.
    """
    chosen = np.zeros(len(moves), np.bool_)
    unknown = np.flatnonzero(causes == "unknown")
    if len(unknown) < max(MASS, MASS_SHARE * keys):
        return chosen
    starts = moves["at_ns"][unknown] - moves["gap_ns"][unknown]
    ends = moves["at_ns"][unknown]
    times = np.concatenate((starts, ends))
    steps = np.concatenate((np.ones(len(starts), np.int64), -np.ones(len(ends), np.int64)))
    order = np.lexsort((-steps, times))
    moment = times[order][int(np.argmax(np.cumsum(steps[order])))]
    chosen[unknown[(starts <= moment) & (ends >= moment)]] = True
    return chosen


def _habitual(measure: Measure) -> npt.NDArray[np.bool_]:
    """Which moves are of keys that move all the time, such as users of a part of the service that is not sticky.

    Some of them always move at any one moment: that is no event.
    """
    keys, place, counts = np.unique(measure.moves["serial"], return_inverse=True, return_counts=True)
    slots = measure.slots[np.argsort(measure.slots["serial"], kind="stable")]
    at = np.minimum(np.searchsorted(slots["serial"], keys), max(len(slots) - 1, 0))
    arrivals = np.where(slots["serial"][at] == keys, slots["arrivals"][at], 0) if len(slots) else np.zeros(len(keys))
    often: npt.NDArray[np.bool_] = (counts > HABITUAL_MOVES) & (counts > HABITUAL_SHARE * arrivals)
    return often[place]


def _grouped(facts: ServiceFacts, moves: Rows, causes: npt.NDArray[np.str_]) -> list[Break]:
    """Moves of one cause that are close in time make one break; the largest first, then in order of time."""
    span = max(int(moves["at_ns"][-1] - moves["at_ns"][0]), 1)
    apart = max(2_000_000_000, span // 10)
    groups: list[npt.NDArray[np.intp]] = []
    for cause in dict.fromkeys(causes.tolist()):
        mine = np.flatnonzero(causes == cause)
        by_source = cause in ("target_gone", "targets_replaced")
        keys = moves["source"][mine] if by_source else np.zeros(len(mine), np.uint16)
        for source in dict.fromkeys(keys.tolist()):
            part = mine[keys == source]
            cuts = np.flatnonzero(np.diff(moves["at_ns"][part]) > apart) + 1
            groups += np.split(part, cuts)
    found = [_break(facts, moves[group], str(causes[group[0]])) for group in groups]
    largest = sorted(found, key=lambda entry: (-entry.keys, entry.time_ns))[:REPORTED]
    return sorted(largest, key=lambda entry: (entry.time_ns, entry.cause))


def _break(facts: ServiceFacts, rows: Rows, cause: str) -> Break:
    return Break(
        time_ns=int(rows["at_ns"][0]),
        keys=len(distinct(rows["serial"])),
        from_=_only(facts, rows["source"].tolist()),
        to=_only(facts, rows["destination"].tolist()),
        cause=cause,
    )


def _only(facts: ServiceFacts, targets: Sequence[int]) -> str | None:
    """The target, where it is one and the same for all."""
    if len(set(targets)) != 1 or targets[0] >= len(facts.targets):
        return None
    address, port = facts.targets[targets[0]]
    return endpoint_text(facts.addresses[address], port)
