"""Where the capture was taken: seen from whose packets are in it, and from how long handshakes take there.

At a host the handshake's first half (SYN to SYN-ACK) of what it accepts takes no time, and the second half (SYN-ACK to ACK) of
what it opens.
"""

from __future__ import annotations

from collections.abc import Set

from lbtop.model.judgement import Evidence
from lbtop.reconstruct.census import Census
from lbtop.reconstruct.roles import Leg, Overrides, Roles
from lbtop.reconstruct.tallies import Endpoint, EndpointTally

NEARLY_ALL = 0.95
AT_ONCE = 0.1
ENOUGH = 10
NOTICEABLE_NS = 100_000


def vantage_of(census: Census, roles: Roles, overrides: Overrides) -> tuple[str, list[Evidence]]:
    """``target``, ``load_balancer``, ``mirror``, ``client`` or ``unknown``, with what it rests on."""
    if overrides.vantage:
        return overrides.vantage, [Evidence("told", "operator", f"the operator says so: {overrides.vantage}")]
    serving = {endpoint: tally for endpoint, tally in census.endpoints.items() if tally.connections}
    targets = {address for (address, _), leg in roles.legs.items() if leg is Leg.TARGET}
    if not targets:
        return "unknown", [Evidence("no-target", "roles", "no target is in view")]
    legs = {endpoint: roles.legs.get(endpoint) for endpoint in serving}
    if any(leg is Leg.FRONT for leg in legs.values()):
        own = {address for (address, _), leg in legs.items() if leg is Leg.FRONT} | set(roles.chains.callers())
        share = _share_with(serving, own, roles.chains.backs)
        if share >= NEARLY_ALL:
            detail = f"both legs of the balancer are in view, and {share:.0%} of the connections are of one of them"
            return "load_balancer", [Evidence("both-legs", "addresses", detail)]
        detail = f"both legs are in view, but only {share:.0%} of the connections are theirs"
        return "mirror", [Evidence("both-legs-and-more", "addresses", detail)]
    caller = _caller_at_hand(serving)
    if len(targets) == 1:
        if caller is not None and len(serving) == 1:
            return _at_caller(census, caller, roles)
        share = _share_with(serving, targets)
        if share >= NEARLY_ALL:
            return "target", [
                Evidence("one-target", "addresses", f"{share:.0%} of the connections have the one target as an end")
            ]
        return "mirror", [
            Evidence("target-and-more", "addresses", f"only {share:.0%} of the connections have the one target as an end")
        ]
    if caller is not None:
        return _at_caller(census, caller, roles)
    return "mirror", [Evidence("several-targets", "addresses", f"{len(targets)} target hosts are in view")]


def _share_with(serving: dict[Endpoint, EndpointTally], hosts: set[int], endpoints: Set[Endpoint] = frozenset()) -> float:
    """How much of the connections has one of the hosts as an end, or goes to one of the endpoints."""
    total = sum(tally.connections for tally in serving.values())
    mine = sum(
        tally.connections if endpoint[0] in hosts or endpoint in endpoints else tally.share_of(hosts) * tally.connections
        for endpoint, tally in serving.items()
    )
    return mine / total if total else 0.0


def _caller_at_hand(serving: dict[Endpoint, EndpointTally]) -> tuple[int, float] | None:
    """The one address that opens nearly everything, where the capture's clock says that it is this host."""
    opened: dict[int, list[int]] = {}
    for tally in serving.values():
        for client, part in tally.clients.items():
            sums = opened.setdefault(client, [0, 0, 0, 0])
            for index, value in enumerate((part.connections, part.handshakes, part.connect_ns, part.ack_ns)):
                sums[index] += value
    total = sum(tally.connections for tally in serving.values())
    for client, (connections, handshakes, connect_ns, ack_ns) in opened.items():
        if connections < NEARLY_ALL * total or handshakes < ENOUGH or connect_ns < NOTICEABLE_NS * handshakes:
            continue
        if ack_ns < AT_ONCE * (connect_ns + ack_ns):
            return client, ack_ns / (connect_ns + ack_ns)
    return None


def _at_caller(census: Census, caller: tuple[int, float], roles: Roles) -> tuple[str, list[Evidence]]:
    address, share = caller
    balances = any(address in service.feeders.balancers and service.feeders.preserved is False for service in roles.services)
    detail = (
        f"the end that opens the connections answers at once ({share:.0%} of the handshake's time): the capture was taken there"
    )
    return ("load_balancer" if balances else "client"), [Evidence("answers-at-once", "timing", detail)]
