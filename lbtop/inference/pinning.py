"""What pins clients to a target: everything that speaks for a mechanism or against it, weighed."""

from __future__ import annotations

import math

import numpy as np

from lbtop.catalog import balancer_cookie
from lbtop.inference.assignment import regularity
from lbtop.inference.breaks import find_breaks
from lbtop.inference.clients import named_targets
from lbtop.inference.mechanism import (
    ADDRESS,
    ADDRESS_UNMARKED,
    LAYER4,
    MOST,
    RETURNS_PER_KEY,
    USER,
    USER_UNMARKED,
    Kind,
    Weighing,
    kinds_of,
    prior,
    weigh,
)
from lbtop.inference.sessions import ANSWERED_ENOUGH, STRETCH, SessionFacts, ticket_likelihoods
from lbtop.inference.statistics import affinity_of, log_mean_exp
from lbtop.inference.view import View, constant_cookie
from lbtop.inference.zones import zones
from lbtop.model.judgement import Mechanism, Mode, Verdict
from lbtop.model.snapshot import Termination
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.keytable import PLAIN
from lbtop.reconstruct.ledgers.affinity import Measure

PRESENT_ONLY = 0.25
OWN_COOKIE = 0.7
RESTLESS_BETWEEN = (0.3, 0.9)
STEADY_KEYS, STEADY_ARRIVALS, RESTLESS_SHARE, RESTLESS_MOST = 5, 6, 0.5, 2.5
NAMED_ENOUGH, NAMED_MOST = 4, 8
"""Requests that name a target before it is asked whether they reached it; what they count for at most."""
_HONOURED = 0.96
"""How often a request reaches the target its cookie names, where that decides: targets go, cookies grow old."""
_IGNORED = np.array([0.1, 0.2, 0.33, 0.5, 0.6])
ALONE_CHECKED, ALONE, ALONE_DIRECT = 0.03, 0.4, 0.9
"""How likely a single target in view is the only one: its health is checked, there is a balancer, there is none in view."""


def mechanism_in_effect(facts: ServiceFacts, view: View, sessions: SessionFacts, termination: Termination) -> Verdict[Mechanism]:
    weighing = Weighing(prior(view.layer), [view.layer_evidence])
    marked = bool(view.balancer_cookies)
    user = view.measures.get(view.user or "")
    address = view.measures.get(view.address or "")
    if view.layer == 4:
        if address is not None:
            weigh(weighing, _kinds("address", *address), LAYER4, "addresses")
        elif user is not None:
            weigh(weighing, _kinds("user", *user), LAYER4, "sessions")
    else:
        if user is not None:
            weigh(weighing, _kinds("user", *user), USER if marked else USER_UNMARKED, "sessions")
        if address is not None:
            kinds = _kinds("address", *address, user is not None, _sessions_by_address(facts), marked)
            regular = (user is not None and regularity(user[0].firsts) > 0.5) or zones(facts) is not None
            weigh(weighing, kinds, ADDRESS if marked else ADDRESS_UNMARKED, "addresses", regular, marked)
    measured = address if view.layer == 4 and address is not None else user if user is not None else address
    if measured is not None:
        _weigh_restless(weighing, facts, *measured)
    _weigh_groups(weighing, view, facts)
    if len(facts.targets) == 1 and len(sessions.order) >= STRETCH and sessions.answered >= ANSWERED_ENOUGH:
        expires = bool(view.balancer_cookies or view.inserted)
        _weigh_sessions(weighing, sessions, _alone(facts, termination), expires, view.layer == 7)
    # what is present is no proof that it is in effect: without anything that returned, it says little
    _weigh_presence(weighing, view, facts, 1.0 if len(weighing.evidence) > 1 else PRESENT_ONLY)
    _weigh_named_targets(weighing, view, facts, _alone(facts, termination) if len(facts.targets) == 1 else 0.0)
    _weigh_tickets(weighing, facts, termination)
    return weighing.verdict(_settled_by(facts, view, termination))


def _kinds(
    of: str,
    measure: Measure,
    lane: int,
    unknown_users_only: bool = False,
    users: dict[int, int] | None = None,
    marked: bool = False,
) -> dict[int, Kind]:
    returns, same, chance = (array[:, lane] for array in (measure.returns, measure.same, measure.chance))
    others = None
    if users is not None:
        others = np.array([max(users.get(int(value), 2) - 1, 1) for value in measure.slots["value"]], np.float64)
    kinds = kinds_of(of, returns, same, chance, others=others)
    if unknown_users_only:
        # what is known of the same user was already counted by its session: here clients that have none, and where a
        # balancer's cookie is in view also requests that come before it
        alone = kinds_of(of, returns, same, chance, measure.slots["aux"] == 0)
        if marked and PLAIN in kinds:
            alone[PLAIN] = kinds[PLAIN]
        kinds = {stratum: kind for stratum, kind in kinds.items() if stratum & 1} | {
            stratum: kind for stratum, kind in alone.items() if not stratum & 1
        }
    return kinds


def _sessions_by_address(facts: ServiceFacts) -> dict[int, int]:
    """How many sessions each client address was last seen with."""
    found: dict[int, int] = {}
    for rows in facts.ledgers.affinity.session_rows():
        owners, counts = np.unique(rows["aux"][rows["arrivals"] >= 2], return_counts=True)
        for owner, count in zip(owners.tolist(), counts.tolist(), strict=True):
            found[owner] = max(found.get(owner, 0), count)
    return found


def _weigh_presence(weighing: Weighing, view: View, facts: ServiceFacts, worth: float) -> None:
    """Direct evidence: a balancer's cookie that comes back, is inserted in view, or whose values stand for targets."""
    if Mechanism.LB_COOKIE not in weighing.weights:
        return
    total = facts.ledgers.affinity.request_count
    by_kind: dict[Mechanism, list[str]] = {}
    for name, count in view.balancer_cookies.items():
        row = balancer_cookie(name)
        kind = Mechanism(row.kind) if row is not None and row.kind != "other" else Mechanism.LB_COOKIE
        by_kind.setdefault(kind, []).append(f"{name} ({count} of {total} requests)")
    if Mechanism.LB_COOKIE in by_kind or Mechanism.APP_COOKIE in by_kind:
        by_kind.pop(Mechanism.WEIGHTED_TARGET_GROUP, None)  # within the group something finer is in evidence
    for kind, names in by_kind.items():
        shift = {kind: 4.0 * worth}
        if Mechanism.APP_COOKIE not in by_kind:
            shift[Mechanism.APP_COOKIE] = -OWN_COOKIE  # whoever sets a cookie of its own seldom follows another
        weighing.add("balancer_cookie", "cookies", f"a balancer's cookie comes back: {', '.join(names)}", shift)
    if view.inserted and not by_kind:
        detail = f"set on the clients' leg and by no target: {', '.join(view.inserted)}"
        weighing.add("inserted_cookie", "cookies", detail, {Mechanism.LB_COOKIE: 3.0 * worth})
    if len(facts.targets) == 1 and not by_kind and not view.inserted:
        constant = constant_cookie(facts, view.measures)
        if constant:
            detail = f"{constant.removeprefix('cookie:')} is set by no target, and everybody brings the same value of it here"
            weighing.add("constant_cookie", "cookies", detail, {Mechanism.LB_COOKIE: 2.5 * worth})
            view.target_cookie = constant
    if view.target_cookie and not by_kind and len(facts.targets) > 1:
        detail = f"each value of {view.target_cookie.removeprefix('cookie:')} stands for one target, whoever brings it"
        weighing.add("target_cookie", "cookies", detail, {Mechanism.LB_COOKIE: 4.0 * worth})


def _weigh_restless(weighing: Weighing, facts: ServiceFacts, measure: Measure, lane: int) -> None:
    """Keys that come back more often than chance and yet move again and again for no reason in view: what pins does not look so.

    Where something pins, keys break at moments (a target comes or goes) or with age, and each seldom otherwise.
    """
    affinity = affinity_of(
        float(measure.same[:, lane].sum()), float(measure.chance[:, lane].sum()), float(measure.returns[:, lane].sum())
    )
    if affinity is None or not RESTLESS_BETWEEN[0] < affinity < RESTLESS_BETWEEN[1]:
        return
    steady = int((measure.slots["arrivals"] >= STEADY_ARRIVALS).sum())
    found = find_breaks(facts, (measure, lane), Mechanism.SOURCE_IP, affinity)
    if steady < STEADY_KEYS or found.restless < RESTLESS_SHARE * steady:
        return
    weighing.add(
        "restless_keys",
        "breaks",
        f"{found.restless} of {steady} keys with {STEADY_ARRIVALS} arrivals or more moved twice and more for no reason in view",
        {Mechanism.NONE: min(found.restless / 4.0, RESTLESS_MOST)},
    )


def _weigh_named_targets(weighing: Weighing, view: View, facts: ServiceFacts, alone: float) -> None:
    """A cookie that names a target in words: did its requests go there? Tells from one target alone, too, for there those of
    other targets' names arrive only where the cookie decides nothing. ``alone``: how likely there is no other target."""
    if Mechanism.LB_COOKIE not in weighing.weights:
        return
    for name, here, brought in named_targets(facts):
        if brought < NAMED_ENOUGH or name not in view.balancer_cookies:
            continue
        rate, effective = min(here / brought, 1.0), min(brought / RETURNS_PER_KEY, NAMED_MOST)
        honoured = effective * (rate * math.log(_HONOURED) + (1 - rate) * math.log1p(-_HONOURED))
        ignored = log_mean_exp(effective * (rate * np.log(_IGNORED) + (1 - rate) * np.log1p(-_IGNORED)))
        best = max(honoured, ignored)
        none = math.log(max(alone * math.exp(honoured - best) + (1 - alone) * math.exp(ignored - best), 1e-9))
        weighing.add(
            "named_target",
            "cookies",
            f"{name} names a target, and {here} of {brought} requests that bring it went there",
            {Mechanism.LB_COOKIE: max(honoured - best, -MOST), Mechanism.NONE: max(none, -MOST)},
        )


def _weigh_groups(weighing: Weighing, view: View, facts: ServiceFacts) -> None:
    """Groups of targets that users move within and not between: what a target-group cookie pins."""
    if Mechanism.WEIGHTED_TARGET_GROUP not in weighing.weights or view.user is None:
        return
    if not any(name.startswith("AWSALBTG") for name in view.balancer_cookies):
        return
    measure, _ = view.measures[view.user]
    moves = measure.moves[measure.moves["marks"] != 0]
    homes = np.bincount(np.concatenate((measure.slots["last"], measure.slots["first"])).astype(np.intp))
    groups = linked(moves["source"].tolist(), moves["destination"].tolist(), np.flatnonzero(homes).tolist())
    if len(groups) < 2 or len(moves) < 10:
        return
    sizes = ", ".join(str(len(group)) for group in groups)
    weighing.add(
        "target_groups",
        "groups",
        f"{len(moves)} moves of users all stay within groups of {sizes} targets",
        {Mechanism.WEIGHTED_TARGET_GROUP: min(len(moves) / 4.0, 6.0)},
    )


def linked(sources: list[int], destinations: list[int], members: list[int]) -> list[list[int]]:
    """Members that moves connect with each other, as groups."""
    group = {member: member for member in members}

    def root(member: int) -> int:
        while group.setdefault(member, member) != member:
            member = group[member]
        return member

    for source, destination in zip(sources, destinations, strict=True):
        group[root(source)] = root(destination)
    found: dict[int, list[int]] = {}
    for member in sorted(group):
        found.setdefault(root(member), []).append(member)
    return list(found.values())


def _alone(facts: ServiceFacts, termination: Termination) -> float:
    """How likely the one target in view is the only one. Whoever checks health has a choice; without any balancer in
    evidence, that all sessions began here says nothing."""
    ledger = facts.ledgers.targets
    if facts.checkers or ledger.health_checks.any() or ledger.bare_checks.any() or ledger.probes.any():
        return ALONE_CHECKED
    heads = facts.ledgers.heads
    balanced = facts.balancers or facts.vips or heads.proxies or heads.forwarded
    return ALONE if balanced or termination.verdict.value in (Mode.OFFLOAD, Mode.L4_TLS, Mode.BRIDGING) else ALONE_DIRECT


def _weigh_sessions(weighing: Weighing, sessions: SessionFacts, alone: float, expires: bool, by_request: bool) -> None:
    """Orphans: sessions that return here although no response in view issued them. With one target in view this is what
    tells stickiness from none; with all of them it says only whether there are more."""
    weighing.add(
        "orphans",
        "sessions",
        f"{int(sessions.order.sum())} of {len(sessions.order)} sessions seen here were issued elsewhere, "
        f"{sessions.judged_orphans} of {sessions.judged} after the warm-up; of {sessions.issued} issued here "
        f"{sessions.issued_returned} came back",
        sessions.likelihoods(list(weighing.weights), alone, expires, by_request),
    )


def _weigh_tickets(weighing: Weighing, facts: ServiceFacts, termination: Termination) -> None:
    """Refused session tickets: inside TLS they measure missing affinity. Accepted ones say little: keys may be shared."""
    ledger = facts.ledgers.sessions
    if termination.verdict.value is not Mode.PASSTHROUGH or ledger.tickets_offered < 5:
        return
    sticky, none = ticket_likelihoods(ledger.tickets_offered, ledger.tickets_accepted)
    best = max(sticky, none)
    weighing.add(
        "tickets",
        "tls",
        f"{ledger.tickets_accepted} of {ledger.tickets_offered} offered TLS sessions were accepted",
        {m: max((none if m is Mechanism.NONE else sticky) - best, -4.0) for m in weighing.weights},
    )


def _settled_by(facts: ServiceFacts, view: View, termination: Termination) -> str:
    if termination.verdict.value is Mode.BRIDGING and not facts.ledgers.targets.requests.any():
        return (
            "the requests inside TLS: live on a target with --tls-plaintext, a capture with its keys (--keylog), or one on the "
            "clients' side of the balancer"
        )
    if len(facts.targets) == 1:
        return "a capture of a second target over the same time: from one target alone returns to another one cannot be seen"
    if view.user is None and view.address is None:
        return "something that tells users apart: forwarded addresses, session cookies, or the clients' side of the balancer"
    if view.layer != 4 and not view.balancer_cookies and not view.inserted:
        return "the Set-Cookie headers on the clients' side of the balancer, or several users behind one address"
    return "more returning clients: several users behind one address, or one user from several addresses"
