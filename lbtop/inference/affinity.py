"""What pins a client to a target, and how well: affinity by key, the mechanism in effect, what breaks it."""

from __future__ import annotations

from lbtop.catalog import balancer_cookie
from lbtop.inference.assignment import balancing_of
from lbtop.inference.breaks import find_breaks
from lbtop.inference.pinning import mechanism_in_effect
from lbtop.inference.sessions import session_facts
from lbtop.inference.statistics import Floats, affinity_interval, affinity_of
from lbtop.inference.view import View, view_of
from lbtop.model.judgement import Mechanism
from lbtop.model.snapshot import KeyAffinity, Stickiness, Termination
from lbtop.model.text import SafeText
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.keytable import CROSSED
from lbtop.reconstruct.ledgers.affinity import Measure


def infer_stickiness(facts: ServiceFacts, termination: Termination) -> Stickiness | None:
    """The verdict with its evidence; None where nothing but health checks arrived."""
    ledger = facts.ledgers.affinity
    if not ledger.connections.tables and not ledger.requests.tables:
        return None
    view = view_of(facts, termination)
    sessions = session_facts(facts)
    verdict = mechanism_in_effect(facts, view, sessions, termination)
    by_key = tuple(_key_affinity(key, *measure) for key, measure in _in_order(view) if len(measure[0].slots))
    explaining = _explaining_key(view, verdict.value)
    measured = explaining or view.user or view.address
    affinity, interval, keys, returns = _measured(view, measured, verdict.value)
    breaks = find_breaks(facts, view.measures.get(measured) if measured else None, verdict.value, affinity)
    return Stickiness(
        verdict=verdict,
        cookie=_cookie(view, verdict.value),
        balancing=balancing_of(facts, view.measures, measured, verdict.value, view.layer),
        key=explaining,
        affinity=affinity,
        affinity_interval=interval,
        keys=keys,
        returns=returns,
        by_key=by_key,
        breaks=breaks.breaks,
        cookie_lifetime=breaks.lifetime,
        sessions=sessions.sessions,
        sessions_lost=sessions.lost,
        orphan_requests=sessions.orphans,
    )


def _in_order(view: View) -> list[tuple[str, tuple[Measure, int]]]:
    first = ("source_ip", "source_net", "forwarded_for", "forwarded_net", "proxy_source")
    rank = {key: place for place, key in enumerate(first)}
    return sorted(view.measures.items(), key=lambda item: (rank.get(item[0], 9), not item[0].startswith("cookie:"), item[0]))


def _sums(measure: Measure, lane: int) -> tuple[Floats, Floats, Floats]:
    return measure.same[:, lane].sum(1), measure.chance[:, lane].sum(1), measure.returns[:, lane].sum(1)


def _key_affinity(key: str, measure: Measure, lane: int) -> KeyAffinity:
    same, chance, returns = _sums(measure, lane)
    value = affinity_of(float(same.sum()), float(chance.sum()), float(returns.sum()))
    return KeyAffinity(key, value, affinity_interval(same, chance, returns), int((returns > 0).sum()), int(returns.sum()))


def _explaining_key(view: View, mechanism: Mechanism | None) -> str | None:
    if mechanism is Mechanism.SOURCE_IP:
        return _narrowest(view)
    if mechanism in (Mechanism.LB_COOKIE, Mechanism.APP_COOKIE, Mechanism.WEIGHTED_TARGET_GROUP):
        # a cookie whose values are targets is what was dealt to users, never the unit that is dealt
        return view.user or view.address
    return None


def _narrowest(view: View) -> str | None:
    """The address, or its network where whole networks keep together."""
    if view.network is not None:
        measure, lane = view.measures[view.network]
        crossed = measure.returns[:, lane, CROSSED].sum()
        chance, same = measure.chance[:, lane, CROSSED].sum(), measure.same[:, lane, CROSSED].sum()
        together = affinity_of(float(same), float(chance), float(crossed))
        spread = int((measure.slots["aux_changes"] > 0).sum())
        if together is not None and together > 0.9 and crossed >= 10 and spread >= 3:
            return view.network
    return view.address


def _measured(
    view: View, key: str | None, mechanism: Mechanism | None
) -> tuple[float | None, tuple[float, float] | None, int, int]:
    if key is None or key not in view.measures:
        return None, None, 0, 0
    measure, lane = view.measures[key]
    same, chance, returns = _sums(measure, lane)
    if mechanism in (Mechanism.LB_COOKIE, Mechanism.APP_COOKIE) and view.balancer_cookies:
        brings = measure.slots["marks_any"] != 0  # clients that never return the cookie are measured apart
        if brings.any():
            same, chance, returns = same[brings], chance[brings], returns[brings]
    value = affinity_of(float(same.sum()), float(chance.sum()), float(returns.sum()))
    return value, affinity_interval(same, chance, returns), int((returns > 0).sum()), int(returns.sum())


def _cookie(view: View, mechanism: Mechanism | None) -> SafeText | None:
    if mechanism not in (Mechanism.SOURCE_IP, Mechanism.NONE) or view.balancer_cookies:
        wanted = mechanism.value if mechanism is not None else None
        ranked = sorted(view.balancer_cookies.items(), key=lambda item: (-item[1], len(item[0]), item[0]))
        for name, _ in ranked:
            row = balancer_cookie(name)
            if wanted is None or mechanism in (Mechanism.SOURCE_IP, Mechanism.NONE) or row is None or row.kind == wanted:
                return SafeText(name)
    if mechanism is Mechanism.LB_COOKIE:
        if view.target_cookie:
            return SafeText(view.target_cookie.removeprefix("cookie:"))
        if view.inserted:
            return SafeText(view.inserted[0])
    if mechanism is Mechanism.APP_COOKIE and view.user:
        return SafeText(view.user.removeprefix("cookie:"))
    return None
