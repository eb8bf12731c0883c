"""Who feeds the endpoints of one port: balancer nodes, or the clients under their own addresses.

Nobody says so on the wire. What tells: headers that name somebody else as the client (a proxy's own addresses), health
checks, how many addresses there are and how much comes from each. Who forwards or checks is a node; an address beside it
that never does is a client of its own: a backup, a monitor, a developer. Few addresses without any of these can be a balancer
or a handful of clients: then :attr:`Feeders.preserved` is None.
"""

from __future__ import annotations

from collections.abc import Iterable

from lbtop.model.judgement import Evidence
from lbtop.model.record import dataclass, replace
from lbtop.reconstruct.tallies import ClientTally, EndpointTally

FEW = 8
"""At most so many addresses can be taken for balancer nodes on their number alone."""

NODES = 4
"""More addresses than this must each be busy to be taken for nodes."""

BUSY = 20
MOST = 0.9
OFTEN = 3
"""Who checked so often keeps checking: its fellows would have been seen to check as well."""


@dataclass(frozen=True, slots=True)
class Feeders:
    balancers: tuple[int, ...]  # addresses that open the connections on behalf of clients
    checkers: tuple[int, ...]  # addresses that only check health: nodes of a balancer that keeps client addresses
    preserved: bool | None  # the targets see the clients' own addresses
    evidence: tuple[Evidence, ...]
    choosing: bool = False  # every endpoint is asked under a name of its own: who asks chose it himself, nobody dealt


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


def _forwards(tally: ClientTally, share: float = MOST) -> bool:
    return tally.proxied > 0 or (tally.requests > 0 and tally.forwarded >= share * tally.requests)


def forwards(endpoint: EndpointTally) -> bool:
    """Whether most of what an endpoint gets is passed on by proxies that say so."""
    users = {client: part for client, part in endpoint.clients.items() if not part.only_checks}
    passing = tuple(client for client, part in users.items() if _forwards(part, 0.5))
    return bool(passing) and 2 * _load(users, passing) >= _load(users, tuple(users))


def feeders(tallies: list[EndpointTally], relays: frozenset[int] = frozenset()) -> Feeders:
    """Judges one group of endpoints. ``relays``: addresses proven to pass on what they accept themselves."""
    return replace(_judged(tallies, relays), choosing=_asked_by_name(tallies))


def _asked_by_name(tallies: list[EndpointTally]) -> bool:
    names = [{name for name in tally.names if name > 1} for tally in tallies]
    return len(names) > 1 and all(names) and len(set().union(*names)) == sum(map(len, names))


def _judged(tallies: list[EndpointTally], relays: frozenset[int]) -> Feeders:
    clients = merged(tallies)
    unnamed = sum(tally.unnamed for tally in tallies)
    checkers = tuple(client for client, tally in clients.items() if tally.only_checks)
    users = {client: tally for client, tally in clients.items() if tally.connections and not tally.only_checks}
    total = sum(tally.connections for tally in users.values()) + unnamed
    asked = sum(tally.requests for tally in tallies) - sum(tally.requests for tally in clients.values())
    load = sum(tally.load for tally in users.values()) + max(unnamed, asked)

    known = tuple(client for client in users if client in relays)
    if known and _load(users, known) >= MOST * load:
        detail = f"{_addresses(known)} in view on both sides open the connections to the targets"
        return Feeders(known, checkers, False, (Evidence("relay-in-view", "addresses", detail),))

    forwarders = tuple(client for client, tally in users.items() if _forwards(tally))
    few = not (unnamed and len(forwarders) > FEW)
    if forwarders and few and _load(users, forwarders) >= MOST * load:
        return Feeders(forwarders, checkers, False, (_names_clients(users, forwarders, total),))

    passing = tuple(client for client, tally in users.items() if client in relays or _forwards(tally, 0.5))
    if passing and len(passing) <= FEW and 2 * _load(users, passing) >= load:
        if known == passing:
            detail = f"{_addresses(known)} of {len(users)} in view on both sides: the others open connections of their own"
            return Feeders(known, checkers, False, (Evidence("relay-in-view", "addresses", detail),))
        return Feeders(passing, checkers, False, (_names_clients(users, passing, total),))

    if len(users) > FEW or unnamed:
        number = f"{len(users)}" if not unnamed else f"more than {len(users)}"
        detail = f"{number} client addresses reach the targets themselves, {total} connections"
        return Feeders((), checkers, True, (Evidence("many-clients", "addresses", detail),))

    both = tuple(client for client, tally in users.items() if tally.checks or tally.attempts > 1)
    if len(both) < len(users):  # clients, too, may try in vain or open a connection for later: here only whole checks count
        both = tuple(client for client, tally in users.items() if tally.checks >= OFTEN)
    if both and 2 * _load(users, both) >= load:
        checks = sum(users[client].checks + users[client].attempts for client in both)
        whose = "the addresses" if len(both) == len(users) else f"{len(both)} of {len(users)} addresses"
        detail = f"{whose} that open the connections also check health ({checks} checks and probes)"
        return Feeders(both, checkers, False, (Evidence("feeds-and-checks", "health-checks", detail),))

    maybe = passing or both or tuple(users)
    each = total / len(users) if users else 0
    if len(users) > NODES and each < BUSY:
        detail = (
            f"{len(users)} client addresses open {total} connections ({each:.0f} each): too many and too quiet for balancer nodes"
        )
        return Feeders(passing, checkers, None, (Evidence("several-clients", "addresses", detail),))
    if len(users) == 1:
        detail = f"one address opens all {total} connections: a balancer, or a single client"
    else:
        detail = f"{len(users)} addresses open {total} connections ({each:.0f} each): balancer nodes, or a few clients"
    return Feeders(maybe, checkers, None, (Evidence("few-addresses", "addresses", detail),))


def _load(users: dict[int, ClientTally], among: tuple[int, ...]) -> int:
    return sum(users[client].load for client in among)


def _addresses(clients: tuple[int, ...]) -> str:
    return f"{len(clients)} address{'es' * (len(clients) > 1)}"


def _names_clients(users: dict[int, ClientTally], nodes: tuple[int, ...], total: int) -> Evidence:
    opened, asked = (sum(getattr(users[client], name) for client in nodes) for name in ("connections", "requests"))
    everybody = sum(tally.requests for tally in users.values())
    requests = f" with {asked} of {everybody} requests" if asked > opened else ""
    verb, names = ("opens", "names") if len(nodes) == 1 else ("open", "name")
    detail = f"{_addresses(nodes)} {verb} {opened} of {total} connections{requests} and {names} other addresses as the clients"
    return Evidence("names-clients", "http-headers", detail)
