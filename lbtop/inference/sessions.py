"""Application sessions: issued where, seen first where, lost where."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from lbtop.inference.statistics import Floats, log_mean_exp
from lbtop.model.judgement import Mechanism
from lbtop.model.observation import Rows
from lbtop.model.record import dataclass, field
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.keytable import ISSUED, SLOT
from lbtop.reconstruct.ledgers.load import ANSWERED, REQUESTS

ANSWERED_ENOUGH = 0.7
"""With fewer answers in view, where sessions were issued cannot be judged."""
WARM_UP = 0.2
"""Share of the time in view during which sessions that began before it are still turning up."""
ROTATING = 0.5
"""A session cookie that the issuing target itself replaces this often carries state: a new value is no new session."""
_STICKY_ORPHANS = np.array([0.002, 0.01, 0.03, 0.08, 0.15])
_SHARED_TICKET_KEYS = 0.5
"""How often targets behind one balancer can open each other's tickets."""
_RANDOM_ORPHANS = np.array([0.4, 0.5, 0.6, 0.67, 0.75, 0.8, 0.9, 0.95])


STRETCH = 6
"""Sessions whose first sights are judged together: pinned sessions only lose their target at times."""
STRETCHES = 12
_DISTURBED, _DISTURBED_START = 0.05, 0.6
"""How often a stretch of pinned sessions holds many from elsewhere: a target went, or the capture has just begun."""
_GOES_ON, ONE_EVENT = 0.8, 0.1
"""How often the next stretch is disturbed by the same event: all of its strangers came within this share of the time."""
QUIET_BINS = 24
_WAVE = 0.4
"""How often users begin together: those issued here are then seen at once, and the others only with their next request."""
_ANY_RATE = np.array([0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95])
_WAVE_RATE = np.array([0.03, 0.2, 0.4, 0.6, 0.8, 0.97])
RANDOM_LEAST = 0.4
_HASHED_ORPHANS = np.array([0.4, 0.5, 0.6, 0.67, 0.75, 0.8, 0.9, 0.97, 0.995])
"""Also nearly all: what has no cookie yet may all go to one target, which then issues every session."""
ISSUED_ENOUGH, ISSUED_MOST = 4, 16
_ANY_RETURN = np.array([0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97])
_HASHED_RETURN = np.array([0.05, 0.12, 0.2, 0.3, 0.4, 0.5])
HASH_LOSES, LOST_AGAIN = 0.4, 2.0
"""A hash over a cookie loses a session until the hash agrees with who issued it, and then never again; chance goes on losing."""
_HASHES = 0.3
"""How often what follows the application's cookie is a hash over it and not a table of who issued it."""


@dataclass(slots=True)
class SessionFacts:
    sessions: int | None  # distinct sessions presented or issued; None where no session cookie is in view
    orphans: int | None  # sessions first seen after the warm-up with a value that no response in view issued
    lost: int | None  # requests with a session that were answered as new
    lost_elsewhere: int  # of these, at a target that had not issued the session (or nobody in view had)
    judged: int = 0  # sessions that came back, the first sight of each after the warm-up
    judged_orphans: int = 0
    answered: float = 1.0  # share of the requests whose answer is in view: what was issued in the others is unknown
    order: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))  # all that came back: issued elsewhere?
    issued: int = 0  # sessions that a target in view issued, and of these the ones that came back
    issued_returned: int = 0
    lost_share: float = 0.0  # of the requests that present a session, those answered as new
    unseen: float = 0.5  # of sessions issued elsewhere that come here at all, how many are expected not to be in view
    renamed: bool = False  # targets gave new names to sessions of others, as at a login
    seen_ns: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))  # when each of ``order`` was first seen
    quiet: float = 0.0  # how much less likely without pinning the times are in which only the target's own sessions came

    def likelihoods(
        self, mechanisms: list[Mechanism], alone: float, expires: bool = False, by_request: bool = True
    ) -> dict[Mechanism, float]:
        """Log-likelihood of where sessions were issued and whether they came back, relative to the best.

        ``alone``: how likely this is the only target, where sessions cannot come from elsewhere, pinned or not.
        ``expires``: a balancer's cookie is in view, which may have grown old by the time strangers come.
        ``by_request``: the balancer decides per request, so that unpinned strangers come at any time.

        Unpinned, most sessions seen at one of several targets were issued elsewhere, all the time, and those issued here come
        back now and then, as the others come. Pinned ones come from elsewhere only where the capture begins in the middle of
        them, and after their own target was lost. A hash of the application's cookie pins them, too, but where the hash says
        and not where they were issued: then those issued here mostly leave for good, and strangers stay.
        """
        sticky, spread, hashed = self._from_elsewhere(expires)
        any_return, usual = self._came_back(_ANY_RETURN), 1.0 - self.unseen
        as_others = self._came_back(np.clip(np.linspace(usual - 0.25, usual + 0.35, 7), 0.05, 0.98))
        if self.lost or self.renamed:  # then some come back under other names, which other targets gave them
            as_others = any_return
        sticky += max(any_return, as_others)
        hashed += self._came_back(_HASHED_RETURN)
        if self.lost_share > HASH_LOSES:
            hashed -= LOST_AGAIN
        spread += as_others + (self.quiet if by_request else 0.0)
        none = float(np.logaddexp(math.log(alone) + sticky, math.log(1 - alone) + spread))
        app = float(np.logaddexp(math.log(1 - _HASHES) + sticky, math.log(_HASHES) + hashed))
        found = {m: none if m is Mechanism.NONE else app if m is Mechanism.APP_COOKIE else sticky for m in mechanisms}
        best = max(found.values())
        return {m: max(value - best, -6.0) for m, value in found.items()}

    def _from_elsewhere(self, expires: bool) -> tuple[float, float, float]:
        """How well pinning, spreading and hashing explain where the sessions seen here were issued."""
        count = max(1, min(len(self.order) // STRETCH, STRETCHES))
        wave, spread, hashed = math.log(_WAVE), [], []
        undisturbed, during = 0.0, -math.inf
        for place, (stretch, goes_on) in enumerate(zip(np.array_split(self.order, count), self._events(count), strict=True)):
            size = min(len(stretch), STRETCH)
            elsewhere = size * float(stretch.mean())
            begins = _DISTURBED_START if place == 0 else _DISTURBED
            remains = _GOES_ON if goes_on else begins
            usual = _log_binomial(elsewhere, size, np.minimum(_STICKY_ORPHANS + (1.0 - self.answered), 0.95))
            other = _log_binomial(elsewhere, size, _ANY_RATE)
            undisturbed, during = (
                float(np.logaddexp(undisturbed + math.log(1 - begins), during + math.log(1 - remains))) + log_mean_exp(usual),
                float(np.logaddexp(undisturbed + math.log(begins), during + math.log(remains))) + log_mean_exp(other),
            )
            wave += log_mean_exp(_log_binomial(elsewhere, size, _WAVE_RATE))
            spread.append(_log_binomial(elsewhere, size, _RANDOM_ORPHANS))
            hashed.append(_log_binomial(elsewhere, size, _HASHED_ORPHANS))
        dealt = log_mean_exp(np.sum(spread, axis=0))
        if float(self.order.mean()) >= RANDOM_LEAST and not expires:
            dealt = float(np.logaddexp(dealt, wave))
        return float(np.logaddexp(undisturbed, during)), dealt, log_mean_exp(np.sum(hashed, axis=0))

    def _events(self, count: int) -> list[bool]:
        """Of each stretch of sessions, whether its strangers came with the event that brought those of the stretch before:
        a target that goes hands its sessions over within a short time, however many they are."""
        if len(self.seen_ns) != len(self.order):
            return [False] * count
        within = ONE_EVENT * float(self.seen_ns[-1] - self.seen_ns[0])
        found, began = [], -math.inf
        for stretch, seen in zip(np.array_split(self.order, count), np.array_split(self.seen_ns, count), strict=True):
            strangers = seen[stretch]
            goes_on = len(strangers) > 0 and float(strangers[-1]) <= began + within
            if len(strangers) and not goes_on:
                began = float(strangers[0])
            found.append(goes_on)
        return found

    def _came_back(self, rates: Floats) -> float:
        """How well these rates explain how many of the sessions issued here came back."""
        if self.issued < ISSUED_ENOUGH:
            return 0.0
        trials = min(self.issued, ISSUED_MOST)
        return log_mean_exp(_log_binomial(trials * self.issued_returned / self.issued, trials, rates))


def _log_binomial(successes: float, trials: int, shares: Floats) -> Floats:
    result: Floats = successes * np.log(shares) + (trials - successes) * np.log1p(-shares)
    return result


def session_facts(facts: ServiceFacts) -> SessionFacts:
    """Counts over all session cookies of a service."""
    ledger = facts.ledgers.sessions
    began = facts.ledgers.affinity.session_rows()
    if not began and ledger.presented.sum() == 0:
        return SessionFacts(None, None, None, 0)
    rows = np.concatenate(began) if began else np.zeros(0, SLOT)
    first_ns = int(rows["first_ns"].min(initial=np.iinfo(np.int64).max))
    warm_ns = first_ns + math.ceil(WARM_UP * (int(rows["last_ns"].max(initial=0)) - first_ns))
    rows = rows[np.argsort(rows["first_ns"], kind="stable")]
    elsewhere = (rows["flags"] & ISSUED) == 0
    came_back = elsewhere | (rows["arrivals"] >= 2)
    late = rows["first_ns"] > warm_ns
    losses = ledger.losses(ROTATING)
    lost = losses.at_home + losses.elsewhere
    orphans = int((late & elsewhere).sum())
    return SessionFacts(
        len(rows),
        orphans,
        lost,
        losses.elsewhere,
        int((late & came_back).sum()),
        orphans,
        _answered(facts),
        elsewhere[came_back],
        int((~elsewhere).sum()),
        int((~elsewhere & (rows["arrivals"] >= 2)).sum()),
        lost / max(int(ledger.presented.sum()), 1),
        _unseen(rows["arrivals"][elsewhere]),
        ledger.renamed() > 0,
        rows["first_ns"][came_back],
        _quiet(facts, rows),
    )


def _quiet(facts: ServiceFacts, rows: Rows) -> float:
    """Log-likelihood of when strangers came and when only the target's own sessions did, unpinned against pinned; at most 0.

    Unpinned users come and go all the time. Pinned ones come from elsewhere at moments, in any number: of that alone
    nothing is known, so what has strangers everywhere is not held against it.
    """
    series = facts.ledgers.sessions.over_time
    used = series.used()
    if not used or not len(rows):
        return 0.0
    edges = np.unique(np.linspace(0, used, QUIET_BINS + 1).astype(np.intp))
    own, strange = (np.add.reduceat(series.counts[column, :used].sum(1), edges[:-1]) for column in (0, 1))
    times = series.start_ns + edges * series.width_ns
    returned = rows[(rows["arrivals"] >= 2) & ((rows["flags"] & ISSUED) != 0)]
    alive = (returned["first_ns"] < times[1:, None]) & (returned["last_ns"] >= times[:-1, None])
    met = np.minimum(np.minimum(own, alive.sum(1)), STRETCH)
    quiet, met = (strange == 0)[met > 0], met[met > 0]
    if not len(met):
        return 0.0
    undisturbed = met[:, None] * np.log1p(-_RANDOM_ORPHANS)  # all that came are the target's own, by how many are not
    unpinned = log_mean_exp(undisturbed[quiet].sum(0) + np.log1p(-np.exp(undisturbed[~quiet])).sum(0))
    pinned = -math.log((len(met) + 1) * math.comb(len(met), int(quiet.sum())))
    return min(unpinned - pinned, 0.0)


def _unseen(arrivals: npt.NDArray[np.uint32]) -> float:
    """The share of sessions from elsewhere that came here not once, from how many came once and twice (Chao 1984)."""
    if not len(arrivals):
        return 0.5
    once, twice = int((arrivals == 1).sum()), int((arrivals == 2).sum())
    missed = once * (once - 1) / (2 * (twice + 1))
    return missed / (missed + len(arrivals))


def _answered(facts: ServiceFacts) -> float:
    """The share of requests whose answer is in view; 0 where no target was seen to issue a session."""
    ledger, series = facts.ledgers.affinity, facts.ledgers.load.series
    if not any(name in ledger.set_at_back for name in ledger.session_names):
        return 0.0
    return min(1.0, float(series.counts[ANSWERED].sum()) / max(float(series.counts[REQUESTS].sum()), 1.0))


def ticket_likelihoods(offered: int, accepted: int) -> tuple[float, float]:
    """Log-likelihoods of the accepted TLS sessions: clients come back to their target, or to any.

    A ticket opens at the target that issued it, or everywhere where keys are shared: then both look alike.
    """
    effective = min(offered, 40)
    rate = (offered - accepted) / offered

    def likelihood(refused: np.ndarray) -> float:
        return log_mean_exp(effective * (rate * np.log(refused) + (1 - rate) * np.log1p(-refused)))

    sticky = likelihood(_STICKY_ORPHANS)
    apart = likelihood(_RANDOM_ORPHANS)
    shared = _SHARED_TICKET_KEYS
    return sticky, math.log(shared * math.exp(max(sticky, -700.0)) + (1 - shared) * math.exp(max(apart, -700.0)))
