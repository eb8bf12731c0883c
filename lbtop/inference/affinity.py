"""What pins a client to a target, and how well: affinity by key, the mechanism in effect, what breaks it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lbtop.catalog import balancer_cookie
from lbtop.inference.assignment import balancing_of, regularity
from lbtop.inference.breaks import find_breaks
from lbtop.inference.mechanism import (
    ADDRESS,
    ADDRESS_UNMARKED,
    LAYER4,
    USER,
    USER_UNMARKED,
    Kind,
    Weighing,
    kinds_of,
    prior,
    weigh,
)
from lbtop.inference.sessions import ANSWERED_ENOUGH, STRETCH, SessionFacts, session_facts, ticket_likelihoods
from lbtop.inference.statistics import Floats, affinity_interval, affinity_of
from lbtop.inference.zones import zones
from lbtop.model.arrays import distinct
from lbtop.model.judgement import Evidence, Mechanism, Mode, Verdict
from lbtop.model.snapshot import KeyAffinity, Stickiness, Termination
from lbtop.model.text import SafeText, safe_text
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.keytable import CROSSED, CROSSED_MARKED, PLAIN
from lbtop.reconstruct.ledgers.affinity import Measure

BROUGHT = 0.02
"""A balancer's cookie is in use where at least this share of requests brings it."""
MULTIPLEXED = 0.02
ALONE_CHECKED, ALONE, ALONE_DIRECT = 0.03, 0.4, 0.9
"""How likely a single target in view is the only one: its health is checked, there is a balancer, there is none in view."""
SHARED_WITNESSES = 6
"""Users met behind one value of a cookie before it is taken for a name of the target."""


@dataclass(slots=True)
class View:
    """The measures that matter for one service, in the unit in which its balancer decides."""

    layer: int | None  # 7: per request, 4: per connection, None: undecided
    layer_evidence: Evidence
    measures: dict[str, tuple[Measure, int]]  # key -> measure and lane
    address: str | None  # the key that holds clients' addresses
    network: str | None
    user: str | None  # the session cookie that tells users best
    balancer_cookies: dict[str, int]  # names that come back -> requests that bring them
    inserted: Sequence[str]  # cookies that the balancer adds in view (front leg)
    target_cookie: str | None  # a cookie whose values each stand for one target


def infer_stickiness(facts: ServiceFacts, termination: Termination) -> Stickiness | None:
    """The verdict with its evidence; None where nothing but health checks arrived."""
    ledger = facts.ledgers.affinity
    if not ledger.connections.tables and not ledger.requests.tables:
        return None
    view = _view(facts, termination)
    sessions = session_facts(facts)
    verdict = _mechanism(facts, view, sessions, termination)
    by_key = tuple(_key_affinity(key, *measure) for key, measure in _in_order(view) if len(measure[0].slots))
    explaining = _explaining_key(view, verdict.value)
    measured = explaining if explaining != view.target_cookie else None
    measured = measured or view.user or view.address
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


# -- what is looked at --------------------------------------------------------------------------------------------------


def _view(facts: ServiceFacts, termination: Termination) -> View:
    layer, evidence = balancer_layer(facts, termination)
    measures = facts.ledgers.affinity.measures()
    ledger = facts.ledgers.affinity
    chosen: dict[str, tuple[Measure, int]] = {}
    for (unit, key), measure in measures.items():
        if unit == "request":
            chosen[key] = (measure, 0 if layer == 7 else 1)
    for (unit, key), measure in measures.items():
        if unit == "connection" and (key not in chosen or layer != 7):
            chosen[key] = (measure, 0)
    own = _own_addresses(facts)
    if not own:
        for key in ("source_ip", "source_net"):
            chosen.pop(key, None)
    elif "forwarded_for" in chosen and _keys_seen(chosen, "forwarded_for") == 0:
        chosen.pop("forwarded_for")
    address = next((key for key in ("forwarded_for", "proxy_source", "source_ip") if _keys_seen(chosen, key)), None)
    network = {"forwarded_for": "forwarded_net", "source_ip": "source_net"}.get(address or "")
    total = max(ledger.request_count, 1)
    brought = {
        label: int(ledger.presented[bit])
        for bit, label in enumerate(ledger.balancer_labels)
        if ledger.presented[bit] >= max(2, BROUGHT * total)
    }
    inserted = [
        safe_text(facts.strings[name])
        for name, count in ledger.set_at_front.items()
        if count >= 2 and not ledger.set_at_back.get(name)
    ]
    return View(
        layer, evidence, chosen, address, network if network in chosen else None, _user_key(facts, chosen), brought, inserted,
        _target_cookie(facts, chosen),
    )  # fmt: skip


def balancer_layer(facts: ServiceFacts, termination: Termination | None) -> tuple[int | None, Evidence]:
    """Whether the balancer decides per request (7) or per connection (4), and what says so."""
    ledger, heads = facts.ledgers.affinity, facts.ledgers.heads
    mode = termination.verdict.value if termination is not None else None
    if ledger.several_clients >= max(2, MULTIPLEXED * ledger.consecutive) or ledger.several_users >= max(
        4, 0.1 * ledger.consecutive_users
    ):
        return 7, Evidence(
            "multiplexing", "connections",
            f"{ledger.several_clients} of {ledger.consecutive} consecutive requests on one connection come from another client, "
            f"{ledger.several_users} of {ledger.consecutive_users} from another session: the balancer decides per request",
        )  # fmt: skip
    if mode is Mode.BRIDGING and facts.clients_preserved:
        return 4, Evidence("addresses", "addresses", "TLS anew to the targets from the clients' own addresses, one client each")
    if mode in (Mode.PASSTHROUGH, Mode.L4_TLS):
        return 4, Evidence("mode", "termination", f"{mode.value}: the balancer forwards connections and reads no requests")
    if heads.proxies:
        return 4, Evidence("proxy_header", "proxy", f"{heads.proxies} connections begin with a PROXY header: one client each")
    if heads.requests and heads.forwarded >= 0.5 * heads.requests:
        return 7, Evidence(
            "forwarded", "headers", f"{heads.forwarded} of {heads.requests} requests name their client: something reads them"
        )
    if mode in (Mode.OFFLOAD, Mode.BRIDGING):
        return 7, Evidence("mode", "termination", f"{mode.value}: the balancer speaks HTTP for itself")
    if ledger.marked_requests:
        return 7, Evidence("balancer_cookie", "cookies", f"{ledger.marked_requests} requests bring a balancer's cookie")
    if _own_addresses(facts):
        return 4, Evidence("addresses", "addresses", "the targets see the clients' own addresses: connections are forwarded")
    return None, Evidence("layer", "addresses", "nothing says whether the balancer decides per request or per connection")


def _own_addresses(facts: ServiceFacts) -> bool:
    """Whether connections come from the clients' own addresses."""
    return bool(facts.clients_preserved) or (facts.clients_preserved is None and not facts.balancers)


def _keys_seen(measures: dict[str, tuple[Measure, int]], key: str) -> int:
    return measures[key][0].keys_seen if key in measures else 0


def _user_key(facts: ServiceFacts, measures: dict[str, tuple[Measure, int]]) -> str | None:
    """The session cookie with most returning keys."""
    ledger = facts.ledgers.affinity
    names = [ledger.cookie_keys[name] for name in sorted(ledger.session_names) if name in ledger.cookie_keys]
    there = [key for key in names if key in measures and len(measures[key][0].slots)]
    return max(there, key=lambda key: len(measures[key][0].slots), default=None)


def _target_cookie(facts: ServiceFacts, measures: dict[str, tuple[Measure, int]]) -> str | None:
    """A cookie that no target sets, that users share, and whose values each mean one target."""
    for key, measure in _unset_cookies(facts, measures):
        returns = measure.returns[:, 0][:, (CROSSED, CROSSED_MARKED)].sum(1)
        same = measure.same[:, 0][:, (CROSSED, CROSSED_MARKED)].sum(1)
        shared = returns > 0
        homes = distinct(measure.slots["last"][shared])
        witnesses = float(np.minimum(returns, 2).sum())
        if witnesses >= SHARED_WITNESSES and len(homes) >= 2 and same.sum() >= 0.97 * returns.sum():
            return key
    return None


def _constant_cookie(facts: ServiceFacts, measures: dict[str, tuple[Measure, int]]) -> str | None:
    """With one target in view: a cookie that no target sets, with one value that nearly everybody brings from the second
    request on. A balancer's name for this target looks so; so does a choice that a page's script stores."""
    total = facts.ledgers.affinity.request_count
    for key, measure in _unset_cookies(facts, measures):
        if measure.keys_seen <= 2 and len(measure.slots) and measure.slots["aux_changes"].max() >= SHARED_WITNESSES:
            began = facts.ledgers.sessions.presented.sum()
            if began and 0.8 * began <= measure.arrivals < 0.98 * total:
                return key
    return None


def _unset_cookies(facts: ServiceFacts, measures: dict[str, tuple[Measure, int]]) -> Iterator[tuple[str, Measure]]:
    """Cookies that come in requests and that no response of a target in view ever set."""
    ledger = facts.ledgers.affinity
    set_here = {ledger.cookie_keys[name] for name in ledger.set_at_back if name in ledger.cookie_keys}
    for key, (measure, _) in measures.items():
        if key.startswith("cookie:") and key not in set_here and len(measure.slots):
            yield key, measure


# -- the verdict ----------------------------------------------------------------------------------------------------------


def _mechanism(facts: ServiceFacts, view: View, sessions: SessionFacts, termination: Termination) -> Verdict[Mechanism]:
    weighing = Weighing(prior(view.layer), [view.layer_evidence])
    _weigh_presence(weighing, view, facts)
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
            weigh(weighing, kinds, ADDRESS if marked else ADDRESS_UNMARKED, "addresses", regular)
    _weigh_groups(weighing, view, facts)
    if len(facts.targets) == 1 and len(sessions.order) >= STRETCH and sessions.answered >= ANSWERED_ENOUGH:
        _weigh_sessions(weighing, sessions, _alone(facts, termination))
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


def _weigh_presence(weighing: Weighing, view: View, facts: ServiceFacts) -> None:
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
        weighing.add("balancer_cookie", "cookies", f"a balancer's cookie comes back: {', '.join(names)}", {kind: 4.0})
    if view.inserted and not by_kind:
        detail = f"set on the clients' leg and by no target: {', '.join(view.inserted)}"
        weighing.add("inserted_cookie", "cookies", detail, {Mechanism.LB_COOKIE: 3.0})
    if len(facts.targets) == 1 and not by_kind and not view.inserted:
        constant = _constant_cookie(facts, view.measures)
        if constant:
            detail = f"{constant.removeprefix('cookie:')} is set by no target, and everybody brings the same value of it here"
            weighing.add("constant_cookie", "cookies", detail, {Mechanism.LB_COOKIE: 2.5})
            view.target_cookie = constant
    if view.target_cookie and not by_kind and len(facts.targets) > 1:
        detail = f"each value of {view.target_cookie.removeprefix('cookie:')} stands for one target, whoever brings it"
        weighing.add("target_cookie", "cookies", detail, {Mechanism.LB_COOKIE: 4.0})


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
    if facts.checkers or facts.ledgers.targets.health_checks.any() or facts.ledgers.targets.probes.any():
        return ALONE_CHECKED
    heads = facts.ledgers.heads
    balanced = facts.balancers or facts.vips or heads.proxies or heads.forwarded
    return ALONE if balanced or termination.verdict.value in (Mode.OFFLOAD, Mode.L4_TLS, Mode.BRIDGING) else ALONE_DIRECT


def _weigh_sessions(weighing: Weighing, sessions: SessionFacts, alone: float) -> None:
    """Orphans: sessions that return here although no response in view issued them. With one target in view this is what
    tells stickiness from none; with all of them it says only whether there are more."""
    weighing.add(
        "orphans",
        "sessions",
        f"{int(sessions.order.sum())} of {len(sessions.order)} sessions seen here were issued elsewhere, "
        f"{sessions.judged_orphans} of {sessions.judged} after the warm-up",
        sessions.likelihoods(list(weighing.weights), alone),
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
    if termination.verdict.value is Mode.BRIDGING:
        return "the requests inside TLS: a capture on the clients' side of the balancer, or the targets' decrypted requests"
    if len(facts.targets) == 1:
        return "a capture of a second target over the same time: from one target alone returns to another one cannot be seen"
    if view.user is None and view.address is None:
        return "something that tells users apart: forwarded addresses, session cookies, or the clients' side of the balancer"
    if view.layer != 4 and not view.balancer_cookies and not view.inserted:
        return "the Set-Cookie headers on the clients' side of the balancer, or several users behind one address"
    return "more returning clients: several users behind one address, or one user from several addresses"


# -- what is reported -----------------------------------------------------------------------------------------------------


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
        if mechanism is Mechanism.LB_COOKIE and view.target_cookie:
            return view.target_cookie
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
