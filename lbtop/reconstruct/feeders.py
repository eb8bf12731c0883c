"""Who feeds the endpoints of one port: balancer nodes, or the clients under their own addresses.

Nobody says so on the wire. What tells: headers that name somebody else as the client (a proxy's own addresses), health
checks, how many addresses there are and how much comes from each. Few addresses without any of these can be a
balancer or a handful of clients: then :attr:`Feeders.preserved` is None.
"""

from __future__ import annotations

from collections.abc import Iterable

from lbtop.model.judgement import Evidence
from lbtop.model.record import dataclass
from lbtop.reconstruct.tallies import ClientTally, EndpointTally

FEW = 8
"""At most so many addresses can be taken for balancer nodes on their number alone."""

NODES = 4
"""More addresses than this must each be busy to be taken for nodes."""

BUSY = 20
MOST = 0.9


@dataclass(frozen=True, slots=True)
class Feeders:
    balancers: tuple[int, ...]  # addresses that open the connections on behalf of clients
    checkers: tuple[int, ...]  # addresses that only check health: nodes of a balancer that keeps client addresses
    preserved: bool | None  # the targets see the clients' own addresses
    evidence: tuple[Evidence, ...]


NOBODY = Feeders((), (), None, ())


def merged(tallies: Iterable[EndpointTally]) -> dict[int, ClientTally]:
    """What every client address did at several endpoints together, in order of appearance."""
    total: dict[int, ClientTally] = {}
    for tally in tallies:
        for client, part in tally.clients.items():
            whole = total.setdefault(client, ClientTally())
            whole.connections += part.connections
            whole.requests += part.requests
            whole.forwarded += part.forwarded
            whole.proxied += part.proxied
            whole.checks += part.checks
            whole.attempts += part.attempts
    return total


def _forwards(tally: ClientTally) -> bool:
    return tally.proxied > 0 or (tally.requests > 0 and tally.forwarded >= MOST * tally.requests)


def forwards(endpoint: EndpointTally) -> bool:
    """Whether most of what an endpoint gets is passed on by proxies that say so."""
    passed_on = sum(part.connections for part in endpoint.clients.values() if _forwards(part))
    return passed_on > 0 and passed_on >= MOST * sum(part.connections for part in endpoint.clients.values())


def feeders(tallies: list[EndpointTally], relays: frozenset[int] = frozenset()) -> Feeders:
    """Judges one group of endpoints. ``relays``: addresses proven to pass on what they accept themselves."""
    clients = merged(tallies)
    unnamed = sum(tally.unnamed for tally in tallies)
    checkers = tuple(client for client, tally in clients.items() if tally.only_checks)
    users = {client: tally for client, tally in clients.items() if tally.connections and not tally.only_checks}
    total = sum(tally.connections for tally in users.values()) + unnamed

    known = tuple(client for client in users if client in relays)
    if known and sum(users[client].connections for client in known) >= MOST * total:
        detail = f"{len(known)} address{'es' * (len(known) > 1)} in view on both sides open the connections to the targets"
        return Feeders(known, checkers, False, (Evidence("relay-in-view", "addresses", detail),))

    forwarders = tuple(client for client, tally in users.items() if _forwards(tally))
    passed_on = sum(users[client].connections for client in forwarders)
    if forwarders and passed_on >= MOST * total and not (unnamed and len(forwarders) > FEW):
        detail = (
            f"{len(forwarders)} address{'es' * (len(forwarders) > 1)} open {passed_on} of {total} connections and name "
            "other addresses as the clients"
        )
        return Feeders(forwarders, checkers, False, (Evidence("names-clients", "http-headers", detail),))

    if len(users) > FEW or unnamed:
        number = f"{len(users)}" if not unnamed else f"more than {len(users)}"
        detail = f"{number} client addresses reach the targets themselves, {total} connections"
        return Feeders((), checkers, True, (Evidence("many-clients", "addresses", detail),))

    both = tuple(client for client, tally in users.items() if tally.checks or tally.attempts > 1)
    if both and all(users[client].checks or client in both for client in users):
        checks = sum(users[client].checks + users[client].attempts for client in both)
        detail = f"the addresses that open the connections also check health ({checks} checks and probes)"
        return Feeders(tuple(users), checkers, False, (Evidence("feeds-and-checks", "health-checks", detail),))

    each = total / len(users) if users else 0
    if len(users) > NODES and each < BUSY:
        detail = (
            f"{len(users)} client addresses open {total} connections ({each:.0f} each): too many and too quiet for balancer nodes"
        )
        return Feeders((), checkers, None, (Evidence("several-clients", "addresses", detail),))
    if len(users) == 1:
        detail = f"one address opens all {total} connections: a balancer, or a single client"
    else:
        detail = f"{len(users)} addresses open {total} connections ({each:.0f} each): balancer nodes, or a few clients"
    return Feeders(tuple(users), checkers, None, (Evidence("few-addresses", "addresses", detail),))
