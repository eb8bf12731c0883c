"""Application sessions: issued where, seen first where, lost where."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from lbtop.inference.statistics import Floats, log_mean_exp
from lbtop.model.judgement import Mechanism
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
_RANDOM_ORPHANS = np.array([0.4, 0.5, 0.6, 0.67, 0.75, 0.8, 0.9])


STRETCH = 6
"""Sessions whose first sights are judged together: pinned sessions only lose their target at times."""
STRETCHES = 12
_DISTURBED, _DISTURBED_START = 0.1, 0.6
"""How often a stretch of pinned sessions holds many from elsewhere: a target went, or the capture has just begun."""
_ANY_RATE = np.array([0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95])


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

    def likelihoods(self, mechanisms: list[Mechanism], alone: float) -> dict[Mechanism, float]:
        """Log-likelihood of where sessions were issued, for sticky mechanisms and for none, relative to the better.

        ``alone``: how likely this is the only target, where sessions cannot come from elsewhere, pinned or not.

        Unpinned, most sessions seen at one of several targets were issued elsewhere, all the time. Pinned ones come from
        elsewhere only where the capture begins in the middle of them, and after their own target was lost.
        """
        count = max(1, min(len(self.order) // STRETCH, STRETCHES))
        sticky, totals = 0.0, []
        for place, stretch in enumerate(np.array_split(self.order, count)):
            size = min(len(stretch), STRETCH)
            elsewhere = size * float(stretch.mean())
            disturbed = _DISTURBED_START if place == 0 else _DISTURBED
            usual = _log_binomial(elsewhere, size, np.minimum(_STICKY_ORPHANS + (1.0 - self.answered), 0.95))
            other = _log_binomial(elsewhere, size, _ANY_RATE)
            sticky += float(
                np.logaddexp(math.log(1 - disturbed) + log_mean_exp(usual), math.log(disturbed) + log_mean_exp(other))
            )
            totals.append(_log_binomial(elsewhere, size, _RANDOM_ORPHANS))
        spread = log_mean_exp(np.sum(totals, axis=0))
        none = float(np.logaddexp(math.log(alone) + sticky, math.log(1 - alone) + spread))
        best = max(sticky, none)
        return {m: max((none if m is Mechanism.NONE else sticky) - best, -6.0) for m in mechanisms}


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
    orphans = int((late & elsewhere).sum())
    return SessionFacts(
        len(rows),
        orphans,
        ledger.lost(ROTATING),
        ledger.lost_elsewhere(ROTATING),
        int((late & came_back).sum()),
        orphans,
        _answered(facts),
        elsewhere[came_back],
    )


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
