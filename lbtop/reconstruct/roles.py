"""Who is client, balancer, target, and which port is the service.

An endpoint (address and port that accepts connections) is one of four things: a *target* (the end of the last leg in
view), a *front* (where clients reach a balancer), a *dependency* (something a target itself uses) or *aside* (what a
balancer uses for itself: its resolver, its log server). Proofs decide first (see :mod:`lbtop.reconstruct.pairing`), then what
is likely (:mod:`lbtop.reconstruct.relays`); private and public addresses never decide.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from lbtop.model.judgement import Evidence
from lbtop.model.observation import Rows
from lbtop.model.record import dataclass, field, replace
from lbtop.reconstruct.census import Census
from lbtop.reconstruct.feeders import BUSY, NOBODY, NODES, Feeders, feeders, forwards
from lbtop.reconstruct.inside import inside
from lbtop.reconstruct.pairing import Chains, Link, Links
from lbtop.reconstruct.relays import dependencies, guesses
from lbtop.reconstruct.tallies import Endpoint, EndpointTally

MAX_SERVICES = 256
MAX_TARGETS = 1024
MOST = 0.9

Pair = tuple[Endpoint, Endpoint]


class Leg(IntEnum):
    NONE = 0
    TARGET = 1
    FRONT = 2
    DEPENDENCY = 3
    ASIDE = 4


@dataclass(slots=True, eq=False)
class ServiceRole:
    """One service: its place in the list is its number for good, a target's place is its dense number for good."""

    port: int
    targets: list[Endpoint] = field(default_factory=list)
    vips: list[Endpoint] = field(default_factory=list)
    feeders: Feeders = NOBODY
    evidence: list[Evidence] = field(default_factory=list)
    retired: bool = False  # what was taken for a target proved to be something else


@dataclass(slots=True, eq=False)
class Roles:
    legs: dict[Endpoint, Leg] = field(default_factory=dict)
    place: dict[Endpoint, tuple[int, int]] = field(default_factory=dict)  # service and target numbers; target -1 at the front
    services: list[ServiceRole] = field(default_factory=list)
    chains: Chains = field(default_factory=lambda: Chains({}))
    proxies: frozenset[int] = frozenset()
    doubtful: dict[Endpoint, tuple[int, ...]] = field(default_factory=dict)  # targets that may be fronts, by whose connections
    inside: frozenset[Endpoint] = frozenset()  # what only its own host calls
    caps: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the operator says instead of what would be inferred; addresses as numbers, port 0 is any."""

    targets: frozenset[Endpoint] = frozenset()
    balancers: frozenset[int] = frozenset()
    only_targets: bool = False  # the operator named targets, in view or not: nothing else is one
    vantage: str | None = None

    def is_target(self, endpoint: Endpoint) -> bool:
        return endpoint in self.targets or (endpoint[0], 0) in self.targets


def decide(
    census: Census, links: Links, roles: Roles, overrides: Overrides, opened: Rows, loopback: frozenset[int] = frozenset()
) -> None:
    """Brings ``roles`` up to date. Numbers given before stay; an endpoint changes its leg only on better evidence.

    ``loopback``: numbers of addresses that are every host's own.
    """
    everybody = {endpoint: tally for endpoint, tally in census.endpoints.items() if tally.connections}
    roles.inside = frozenset(end for end in inside(everybody, loopback) if not overrides.is_target(end))
    serving = {endpoint: tally for endpoint, tally in everybody.items() if endpoint not in roles.inside}
    proven = links.proven(serving)
    tools = _tools(proven, serving)
    proven = {pair: link for pair, link in proven.items() if pair not in tools}
    used = {endpoint for pair in tools for endpoint in pair}
    guessed = guesses({end: tally for end, tally in serving.items() if end not in used}, proven, opened)
    likely = {**guessed.links, **proven}
    further = _tools(likely, serving)
    for linked in ({pair: link for pair, link in likely.items() if pair not in further}, proven, {}):
        roles.chains = chains = Chains(linked)
        roles.legs = legs = _legs(serving, chains, overrides)
        if not linked or Leg.TARGET in legs.values():
            break  # links that leave no end of any leg contradict each other
    known = chains.fronts | chains.backs
    # A further listener of a balancer may feed something, too.
    beside = {e: (e[0],) for e, leg in legs.items() if leg is Leg.TARGET and e[0] in {address for address, _ in chains.fronts}}
    doubtful = {**guessed.doubtful, **beside}
    roles.doubtful = {e: by for e, by in doubtful.items() if e not in known and not overrides.is_target(e)}
    legs.update(dict.fromkeys(roles.inside, Leg.ASIDE))
    for endpoint, (_, target) in roles.place.items():
        if target >= 0:
            legs.setdefault(endpoint, Leg.TARGET)  # one that nobody could reach so far
    targets = {endpoint: tally for endpoint, tally in serving.items() if legs[endpoint] is Leg.TARGET}
    relays = chains.callers() | overrides.balancers
    for group in _groups(targets, relays):
        _place(group, targets, relays, roles)
    _add_unreached(census, roles)
    _add_fronts_told(roles, overrides)
    _retire(roles)
    proxies: dict[int, None] = {}
    for service in roles.services:
        if not service.retired:
            proxies.update(dict.fromkeys(service.feeders.balancers))
            proxies.update(dict.fromkeys(address for address, _ in service.vips))
    roles.proxies = frozenset(proxies)


def _tools(proven: dict[Pair, Link], serving: dict[Endpoint, EndpointTally]) -> set[Pair]:
    """What targets use to reach a single server elsewhere, such as a forward proxy: that is theirs and no balancer."""
    backs: dict[Endpoint, set[Endpoint]] = {}
    for front, back in proven:
        backs.setdefault(front, set()).add(back)
    found: set[Pair] = set()
    for front, fed in backs.items():
        others = {address for other, pool in backs.items() if other != front for address, _ in pool}
        if len(fed) == 1 and serving[front].share_of(others) >= MOST:
            found.update((front, back) for back in fed)
    return found


def _legs(serving: dict[Endpoint, EndpointTally], chains: Chains, overrides: Overrides) -> dict[Endpoint, Leg]:
    legs = dict.fromkeys(serving, Leg.TARGET)
    fronts = set(chains.fronts)
    fronts |= {endpoint for endpoint in serving if endpoint[0] in overrides.balancers}
    for endpoint in fronts:
        legs[endpoint] = Leg.FRONT
    for endpoint, of_target in dependencies(serving, fronts, chains.backs - fronts).items():
        legs[endpoint] = Leg.DEPENDENCY if of_target else Leg.ASIDE
    for endpoint in serving:
        if overrides.is_target(endpoint):
            legs[endpoint] = Leg.TARGET
        elif overrides.only_targets and legs[endpoint] is Leg.TARGET:
            legs[endpoint] = Leg.ASIDE
    return legs


def _groups(targets: dict[Endpoint, EndpointTally], relays: frozenset[int]) -> list[list[Endpoint]]:
    """Targets of one port fed by the same addresses; where clients keep their addresses, all targets of the port."""
    fed = {endpoint for endpoint, tally in targets.items() if _is_fed(tally, relays)}
    feeding = {(endpoint[1], client) for endpoint in fed for client in targets[endpoint].clients}
    by_port: dict[tuple[int, bool], list[Endpoint]] = {}
    for endpoint, tally in targets.items():
        only_checked = not tally.requests and any((endpoint[1], client) in feeding for client in tally.clients)
        by_port.setdefault((endpoint[1], endpoint in fed or only_checked), []).append(endpoint)
    groups: list[list[Endpoint]] = []
    for endpoints in by_port.values():
        if len(endpoints) == 1 or feeders([targets[endpoint] for endpoint in endpoints], relays).preserved:
            # Servers that clients reach, and those among them that only a balancer does, are a service each.
            groups.extend(_parts(endpoints, lambda part, end: any(_together(targets[end], targets[other]) for other in part)))
            continue
        groups.extend(_parts(endpoints, lambda part, endpoint: _fed_alike(targets, part, endpoint)))
    return groups


def _parts(endpoints: list[Endpoint], belongs: Callable[[list[Endpoint], Endpoint], bool]) -> list[list[Endpoint]]:
    """The endpoints in parts, in their order; one that belongs to several parts makes one of them."""
    parts: list[list[Endpoint]] = []
    for endpoint in endpoints:
        same = [part for part in parts if belongs(part, endpoint)]
        parts = [part for part in parts if part not in same] + [[*(e for part in same for e in part), endpoint]]
    order = {endpoint: index for index, endpoint in enumerate(endpoints)}
    return sorted((sorted(part, key=order.__getitem__) for part in parts), key=lambda part: order[part[0]])


def _fed_alike(targets: dict[Endpoint, EndpointTally], part: list[Endpoint], endpoint: Endpoint) -> bool:
    """Whether a caller of the endpoint is one of the part's, or what they get is alike."""
    callers = _callers(targets[endpoint])
    shared = any(callers & _callers(targets[other]) for other in part)
    return shared or _zones(targets, part, endpoint) or _alike(targets, part, endpoint)


def _callers(tally: EndpointTally) -> set[int]:
    return {client for client, part in tally.clients.items() if part.connections or part.attempts}


def _together(one: EndpointTally, other: EndpointTally) -> bool:
    """Whether nothing sets two servers of a port apart: a few busy callers that the other has not, and another name or distance.

    A client that is pinned by its address has a server of its own as well, but comes for the same and from as far as the others.
    """
    if one.clients.keys() & other.clients.keys() or not (_has_few_callers(one) or _has_few_callers(other)):
        return True
    return one.usual_name == other.usual_name and _is_near(one) == _is_near(other)


def _has_few_callers(tally: EndpointTally) -> bool:
    return not tally.unnamed and len(tally.clients) <= NODES and tally.connections >= BUSY * len(tally.clients)


def _is_fed(tally: EndpointTally, relays: frozenset[int]) -> bool:
    """Whether it is certain that a few proxies open the endpoint's connections: it is never one with those that clients reach."""
    users = [client for client, part in tally.clients.items() if part.connections and not part.only_checks]
    return not tally.unnamed and bool(users) and (forwards(tally) or all(client in relays for client in users))


def _zones(targets: dict[Endpoint, EndpointTally], part: list[Endpoint], endpoint: Endpoint) -> bool:
    """Nodes of one balancer may each feed the targets of their own zone: what they pass on has one name, and is alike."""
    one, other = targets[part[0]], targets[endpoint]
    if not one.usual_name or one.usual_name != other.usual_name or one.protocol != other.protocol:
        return False
    return forwards(one) and forwards(other)


def _alike(targets: dict[Endpoint, EndpointTally], part: list[Endpoint], endpoint: Endpoint) -> bool:
    """Clients that keep their addresses and are pinned by them meet one target each: the targets share no client at all.

    What they share is a name, a protocol, and that nobody who passes something on says so. A few nodes of one balancer that
    feed a target each look the same, and are one service as well.
    """
    one, other = targets[part[0]], targets[endpoint]
    if not one.usual_name or one.usual_name != other.usual_name or one.protocol != other.protocol:
        return False
    return not forwards(one) and not forwards(other) and _is_near(one) == _is_near(other)


def _is_near(tally: EndpointTally) -> bool:
    return 2 * tally.near_clients >= tally.hops_known > 0


def _place(group: list[Endpoint], targets: dict[Endpoint, EndpointTally], relays: frozenset[int], roles: Roles) -> None:
    known = [roles.place[endpoint][0] for endpoint in group if endpoint in roles.place]
    if known:
        number = min(known)
    elif len(roles.services) < MAX_SERVICES:
        number = len(roles.services)
        roles.services.append(ServiceRole(group[0][1]))
    else:
        roles.caps.add("services")
        return
    service = roles.services[number]
    for endpoint in group:
        if endpoint in roles.place:
            continue
        if len(service.targets) >= MAX_TARGETS:
            roles.caps.add("targets")
            continue
        roles.place[endpoint] = (number, len(service.targets))
        service.targets.append(endpoint)
    service.feeders = feeders([targets[endpoint] for endpoint in service.targets if endpoint in targets], relays)
    kept = roles.chains.keeps_sources(service.targets)
    if kept and not service.feeders.balancers:
        service.feeders = replace(service.feeders, preserved=True)
    service.vips = roles.chains.fronts_of(service.targets)
    service.evidence = [*roles.chains.evidence(service.targets), *service.feeders.evidence]
    for front in service.vips:
        roles.place.setdefault(front, (number, -1))


def _add_unreached(census: Census, roles: Roles) -> None:
    """A port that a service's feeders only tried in vain is a target that is down."""
    by_port: dict[int, list[tuple[int, ServiceRole]]] = {}
    for number, service in enumerate(roles.services):
        if not service.retired:
            by_port.setdefault(service.port, []).append((number, service))
    for endpoint, tally in census.endpoints.items():
        if tally.connections or endpoint in roles.place:
            continue
        for number, service in by_port.get(endpoint[1], ()):
            feeding = {*service.feeders.balancers, *service.feeders.checkers}
            if tally.clients.keys() & feeding and len(service.targets) < MAX_TARGETS:
                roles.place[endpoint] = (number, len(service.targets))
                roles.legs[endpoint] = Leg.TARGET
                service.targets.append(endpoint)
                break


def _add_fronts_told(roles: Roles, overrides: Overrides) -> None:
    """Endpoints of what the operator calls a balancer are fronts of the first service that it feeds."""
    told = [endpoint for endpoint, leg in roles.legs.items() if leg is Leg.FRONT and endpoint[0] in overrides.balancers]
    fed = [
        (number, service)
        for number, service in enumerate(roles.services)
        if overrides.balancers & {*service.feeders.balancers, *service.feeders.checkers}
    ]
    for endpoint in told:
        if endpoint not in roles.place and fed:
            number, service = fed[0]
            roles.place[endpoint] = (number, -1)
            service.vips.append(endpoint)


def _retire(roles: Roles) -> None:
    for number, service in enumerate(roles.services):
        service.retired = not any(
            roles.legs.get(endpoint) is Leg.TARGET and roles.place[endpoint][0] == number for endpoint in service.targets
        )
