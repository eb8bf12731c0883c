"""Application sessions: issued where, seen first where, lost where."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lbtop.inference.statistics import log_mean_exp
from lbtop.model.judgement import Mechanism
from lbtop.reconstruct.facts import ServiceFacts

WARM_UP = 0.2
"""Share of the time in view during which sessions that began before it are still turning up."""
ROTATING = 0.5
"""A session cookie that the issuing target itself replaces this often carries state: a new value is no new session."""
_STICKY_ORPHANS = np.array([0.002, 0.01, 0.03, 0.08, 0.15])
_SHARED_TICKET_KEYS = 0.5
"""How often targets behind one balancer can open each other's tickets."""
_RANDOM_ORPHANS = np.array([0.4, 0.5, 0.6, 0.67, 0.75, 0.8, 0.9])


@dataclass(slots=True)
class SessionFacts:
    sessions: int | None  # distinct sessions presented or issued; None where no session cookie is in view
    orphans: int | None  # sessions first seen after the warm-up with a value that no response in view issued
    lost: int | None  # requests with a session that were answered as new
    lost_elsewhere: int  # of these, at a target that had not issued the session (or nobody in view had)
    judged: int  # sessions presented for the first time after the warm-up
    judged_orphans: int

    def likelihoods(self, mechanisms: list[Mechanism]) -> dict[Mechanism, float]:
        """Log-likelihood of the orphans, for sticky mechanisms and for none, relative to the better."""
        effective = min(self.judged, 40)
        rate = self.judged_orphans / self.judged
        sticky, none = (
            log_mean_exp(effective * (rate * np.log(shares) + (1 - rate) * np.log1p(-shares)))
            for shares in (_STICKY_ORPHANS, _RANDOM_ORPHANS)
        )
        best = max(sticky, none)
        return {m: max((none if m is Mechanism.NONE else sticky) - best, -6.0) for m in mechanisms}


def session_facts(facts: ServiceFacts) -> SessionFacts:
    """Counts over all session cookies of a service."""
    ledger = facts.ledgers.sessions
    began = facts.ledgers.affinity.session_rows()
    if not began and ledger.presented.sum() == 0:
        return SessionFacts(None, None, None, 0, 0, 0)
    first_ns = min((int(rows["first_ns"].min()) for rows in began if len(rows)), default=0)
    last_ns = max((int(rows["last_ns"].max()) for rows in began if len(rows)), default=0)
    warm_ns = first_ns + math.ceil(WARM_UP * (last_ns - first_ns))
    sessions = orphans = judged = 0
    for rows in began:
        issued = (rows["flags"] & 1) != 0
        late = rows["first_ns"] > warm_ns
        sessions += len(rows)
        orphans += int((late & ~issued).sum())
        judged += int((late & (~issued | (rows["arrivals"] >= 2))).sum())
    return SessionFacts(sessions, orphans, ledger.lost(ROTATING), ledger.lost_elsewhere(ROTATING), judged, orphans)


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
