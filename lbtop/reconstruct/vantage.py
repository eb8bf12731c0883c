"""Where the capture was taken: seen from whose packets are in it, and from how long handshakes take there.

At a host the handshake's first half (SYN to SYN-ACK) of what it accepts takes no time, and the second half (SYN-ACK to ACK) of
what it opens.
"""

from __future__ import annotations

from collections.abc import Set

from lbtop.model.judgement import Evidence
from lbtop.reconstruct.census import Census
from lbtop.reconstruct.pairing import Chains
from lbtop.reconstruct.relays import is_infrastructure
from lbtop.reconstruct.roles import Leg, Overrides, Roles
from lbtop.reconstruct.tallies import Endpoint, EndpointTally

NEARLY_ALL = 0.95
NODES = 8
AT_ONCE = 0.1
SOON = 0.25
FEW = 3
ENOUGH = 10
NOTICEABLE_NS = 100_000


CERTAIN = frozenset({"told", "clients-near-servers-away"})
"""Signals that leave no doubt where the capture was taken: the others are what is usual."""


def vantage_of(census: Census, roles: Roles, overrides: Overrides) -> tuple[str, list[Evidence]]:
    """``target``, ``load_balancer``, ``mirror``, ``client`` or ``unknown``, with what it rests on."""
    serving = {end: tally for end, tally in census.endpoints.items() if tally.connections and end not in roles.inside}
    targets = {address for (address, _), leg in roles.legs.items() if leg is Leg.TARGET}
    if serving and not targets and (overrides.balancers or overrides.only_targets):
        detail = "no connection in view ends at a target, as these are given: the targets' side of the balancer is missing"
        return overrides.vantage or "unknown", [Evidence("targets-not-in-view", "operator", detail)]
    if overrides.vantage:
        return overrides.vantage, [Evidence("told", "operator", f"the operator says so: {overrides.vantage}")]
    if not targets:
        return "unknown", [Evidence("no-target", "roles", "no target is in view")]
    legs = {endpoint: roles.legs.get(endpoint) for endpoint in serving}
    if any(leg is Leg.FRONT for leg in legs.values()):
        # Everybody looks up names, and others' lookups pass here too.
        plain = {endpoint: tally for endpoint, tally in serving.items() if not is_infrastructure(endpoint, tally)}
        told = {end[0] for end, leg in legs.items() if leg is Leg.FRONT and end not in roles.chains.fronts}
        share = max((_share_with(plain, hosts | told, ends) for hosts, ends in _machines(roles.chains)), default=0.0)
        if share >= NEARLY_ALL or roles.chains.rewritten:
            detail = f"both legs of the balancer are in view, and {share:.0%} of the connections are of one of them"
            return "load_balancer", [Evidence("both-legs", "addresses", detail)]
        detail = f"both legs are in view, but only {share:.0%} of the connections are theirs"
        return "mirror", [Evidence("both-legs-and-more", "addresses", detail)]
    away = _servers_away(serving)
    caller = _caller_at_hand(serving, away)
    if caller is not None and (len(targets) > 1 or len(serving) == 1):
        return _at_caller(caller, roles)
    if away and _many_at_hand(serving):
        detail = "many clients' packets come straight from them and the servers' over a router: this is the clients' side"
        return "client", [Evidence("clients-near-servers-away", "ttl", detail)]
    if len(targets) > 1:
        return "mirror", [Evidence("several-targets", "addresses", f"{len(targets)} target hosts are in view")]
    share = _share_with(serving, targets)
    detail = f"{share:.0%} of the connections have the one target as an end"
    if share < NEARLY_ALL:
        return "mirror", [Evidence("target-and-more", "addresses", f"only {detail}")]
    if away:
        detail = "one target is in view, but its packets have come over a router: the capture was taken somewhere on the way"
        return "mirror", [Evidence("target-is-away", "ttl", detail)]
    return "target", [Evidence("one-target", "addresses", detail)]


def _machines(chains: Chains) -> list[tuple[set[int], set[Endpoint]]]:
    """The balancers in view, each by all addresses it has there; and the backs to which it goes under its clients' addresses."""
    machines: list[tuple[set[int], set[Endpoint]]] = []
    for (front, back), link in chains.links.items():
        hosts, ends = {front[0], *link.callers}, set[Endpoint]() if link.callers else {back}
        same = [machine for machine in machines if machine[0] & hosts]
        for others, further in same:
            hosts, ends = hosts | others, ends | further
        machines = [machine for machine in machines if machine not in same] + [(hosts, ends)]
    return machines


def _share_with(serving: dict[Endpoint, EndpointTally], hosts: set[int], endpoints: Set[Endpoint] = frozenset()) -> float:
    """How much of the connections has one of the hosts as an end, or goes to one of the endpoints."""
    total = sum(tally.connections for tally in serving.values())
    mine = sum(
        tally.connections if endpoint[0] in hosts or endpoint in endpoints else tally.share_of(hosts) * tally.connections
        for endpoint, tally in serving.items()
    )
    return mine / total if total else 0.0


def _servers_away(serving: dict[Endpoint, EndpointTally]) -> bool:
    """Whether the servers' packets have crossed a router: their time to live is none that a host starts with."""
    known = sum(tally.hops_known for tally in serving.values())
    near = sum(tally.near_servers for tally in serving.values())
    return known >= FEW and near <= (1 - NEARLY_ALL) * known


def _many_at_hand(serving: dict[Endpoint, EndpointTally]) -> bool:
    """Whether more clients than a balancer has nodes are on this side of every router."""
    known = sum(tally.hops_known for tally in serving.values())
    near = sum(tally.near_clients for tally in serving.values())
    clients = {client for tally in serving.values() for client, part in tally.clients.items() if part.connections}
    return len(clients) > NODES and near >= NEARLY_ALL * known


def _caller_at_hand(serving: dict[Endpoint, EndpointTally], away: bool) -> tuple[set[int], float] | None:
    """The addresses that open the connections, where the capture's clock says that they are this host."""
    callers: dict[int, list[int]] = {}
    for tally in serving.values():
        for client, part in tally.clients.items():
            sums = callers.setdefault(client, [0, 0, 0])
            for index, value in enumerate((part.handshakes, part.connect_ns, part.ack_ns)):
                sums[index] += value
    if len(callers) > FEW + 1 or any(tally.unnamed for tally in serving.values()):
        return None
    handshakes, connect_ns, ack_ns = (sum(column) for column in zip(*callers.values(), strict=True)) if callers else (0, 0, 0)
    if handshakes < (FEW if away else ENOUGH) or connect_ns < NOTICEABLE_NS * handshakes:
        return None
    share = ack_ns / (connect_ns + ack_ns)
    return (set(callers), share) if share < (SOON if away else AT_ONCE) else None


def _at_caller(caller: tuple[set[int], float], roles: Roles) -> tuple[str, list[Evidence]]:
    addresses, share = caller
    balances = any(
        addresses & set(service.feeders.balancers) and service.feeders.preserved is False for service in roles.services
    )
    detail = f"who opens the connections answers at once ({share:.0%} of the handshake's time): the capture was taken there"
    return ("load_balancer" if balances else "client"), [Evidence("answers-at-once", "timing", detail)]
