"""What is looked at to say what pins clients: the measures in the unit in which the balancer decides, and who is who."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lbtop.inference.sockets import own_addresses
from lbtop.model.arrays import distinct
from lbtop.model.judgement import Evidence, Mode
from lbtop.model.record import dataclass
from lbtop.model.snapshot import Termination
from lbtop.model.text import safe_text
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.keytable import CROSSED, CROSSED_MARKED
from lbtop.reconstruct.ledgers.affinity import Measure

BROUGHT = 0.02
"""A balancer's cookie is in use where at least this share of requests brings it."""
MULTIPLEXED = 0.02
SHARED_WITNESSES = 6
"""Users met behind one value of a cookie before it is taken for a name of the target."""
MOST_BRING = 0.8
"""Of a cookie that this share of all requests bring, every user is a witness."""


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


def view_of(facts: ServiceFacts, termination: Termination) -> View:
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
    own = own_addresses(facts)
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
    if own_addresses(facts):
        return 4, Evidence("addresses", "addresses", "the targets see the clients' own addresses: connections are forwarded")
    return None, Evidence("layer", "addresses", "nothing says whether the balancer decides per request or per connection")


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
        # few values: each further user who brings one and reaches its target would have done so by chance only half the time
        everybody = measure.arrivals >= MOST_BRING * facts.ledgers.affinity.request_count and bool(shared.all())
        witnesses = max(float(np.minimum(returns, 2).sum()), float(_users(facts, measures) - len(shared)) if everybody else 0.0)
        if witnesses >= SHARED_WITNESSES and len(homes) >= 2 and same.sum() >= 0.97 * returns.sum():
            return key
    return None


def _users(facts: ServiceFacts, measures: dict[str, tuple[Measure, int]]) -> int:
    """How many users came back, told by sessions or by addresses."""
    keys = [_user_key(facts, measures), "forwarded_for", "source_ip"]
    return max((len(measures[key][0].slots) for key in keys if key in measures), default=0)


def constant_cookie(facts: ServiceFacts, measures: dict[str, tuple[Measure, int]]) -> str | None:
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
