"""Fronts and backs that no single pair of connections proves: what is likely from volumes, times, names, protocols.

Two questions. A host that both accepts and opens connections: does it pass on what it accepts (a balancer), or does it use
something of its own (a target with a database)? And a host that only accepts beside one that only opens: are they
two addresses of one balancer, or strangers? Each sign is a log-odds for "passes on"; a sum above zero decides.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from lbtop.model.arrays import median
from lbtop.model.observation import Protocol7, Rows
from lbtop.model.record import dataclass, field
from lbtop.reconstruct.clock import Clocked, clocked
from lbtop.reconstruct.columns import endpoint_keys, keys_of
from lbtop.reconstruct.feeders import FEW, forwards
from lbtop.reconstruct.pairing import Link
from lbtop.reconstruct.tallies import ENCRYPTED, WEB, ClientTally, Endpoint, EndpointTally

Serving = dict[Endpoint, EndpointTally]

BACKENDS = frozenset(
    {Protocol7.POSTGRES, Protocol7.MYSQL, Protocol7.REDIS, Protocol7.DNS, Protocol7.SMTP, Protocol7.NATS, Protocol7.SYSLOG}
)
"""Protocols in which servers use servers."""

BACKEND_PORTS = frozenset(
    {25, 53, 67, 68, 88, 111, 123, 137, 138, 161, 389, 514, 546, 547, 587, 636, 1433, 1521, 2049, 2181, 2379, 3306, 4222,
     4317, 4318, 5353, 5355, 5432, 5671, 5672, 6379, 8125, 9042, 9092, 11211, 27017}
)  # fmt: skip
"""Registered ports of such protocols, for connections whose protocol was not recognised."""

INFRASTRUCTURE_PORTS = frozenset({53, 67, 68, 123, 137, 138, 161, 514, 546, 547, 1900, 5353, 5355})
"""Name service, time, logs, discovery: what every host uses for itself."""

MAX_CANDIDATES = 64
SHIFTS = 16
ENOUGH_BYTES = 5_000
STRANGERS = -2.0
DOUBTFUL = -3.0
NAMED_OTHERWISE = -6.0  # requests that name their clients would have been met at the front by these
FEEDS_OTHERS = -2.0  # a listener usually has one pool
IMPOSSIBLE = -100.0
MAX_NODES = 4
CONCENTRATES = 5
CLOSELY = 3.0
WATCHES = 1.5
KEPT_ALIVE = 1.5
FEWEST_IN_TIME = 8  # so many moments are not close to others by chance
NEARLY_ALL = 0.95


@dataclass(frozen=True, slots=True)
class Group:
    """Endpoints of one port that belong together."""

    endpoints: tuple[Endpoint, ...]
    callers: frozenset[int]  # of a back: who opens its connections, empty when many do; of a front: the back's, if its own hosts

    @property
    def port(self) -> int:
        return self.endpoints[0][1]

    def total(self, serving: Serving) -> EndpointTally:
        whole = EndpointTally()
        for endpoint in self.endpoints:
            tally = serving[endpoint]
            for column in ("connections", "ended", "bytes_c", "bytes_s", "requests", "hellos", "unnamed"):
                setattr(whole, column, getattr(whole, column) + getattr(tally, column))
            for protocol, count in tally.protocols.items():
                whole.protocols[protocol] = whole.protocols.get(protocol, 0) + count
            for name, count in tally.names.items():
                whole.names[name] = whole.names.get(name, 0) + count
            for client, part in tally.clients.items():
                mine = whole.clients.setdefault(client, ClientTally())
                for column in ("connections", "requests", "forwarded", "proxied"):
                    setattr(mine, column, getattr(mine, column) + getattr(part, column))
        return whole


@dataclass(slots=True, eq=False)
class Guesses:
    """``links``: likely though unproven. ``doubtful``: who may be a front, nobody can tell, by whose back connections."""

    links: dict[tuple[Endpoint, Endpoint], Link] = field(default_factory=dict)
    doubtful: dict[Endpoint, tuple[int, ...]] = field(default_factory=dict)


def guesses(serving: Serving, proven: dict[tuple[Endpoint, Endpoint], Link], opened: Rows) -> Guesses:
    """What is likely besides what is proven."""
    settled = {endpoint for pair in proven for endpoint in pair}
    accepting = {address for address, _ in serving}
    opening = {client for tally in serving.values() for client, part in tally.clients.items() if part.connections}
    passing = {front for front, _ in proven}
    fed = {back for _, back in proven}  # what passes on itself may have a front before it
    backs = [back for back in _backs(serving) if not fed.intersection(back.endpoints) and not _is_infrastructure(back, serving)]
    fronts = [e for e in serving if (e not in settled or e in passing) and not is_infrastructure(e, serving[e])]
    fronts = sorted(fronts, key=lambda e: -serving[e].connections)[:MAX_CANDIDATES]
    found = Guesses()
    for back in backs[:MAX_CANDIDATES]:
        hosts = {address for address, _ in back.endpoints}
        total = back.total(serving)
        best: tuple[float, Group] | None = None
        doubtful: list[Endpoint] = []
        watched = Watched(back, opened)
        for front in _candidates(back, [e for e in fronts if e[0] not in hosts], opening, opened):
            tally = front.total(serving)
            score = _shared(tally, total)
            if not passing.isdisjoint(front.endpoints):
                score += FEEDS_OTHERS
            if front.callers:
                score += _same_host(front, back, tally, total)
            elif back.callers and not back.callers & accepting:
                score += _two_addresses(front, tally, back, serving, watched) + (NAMED_OTHERWISE if forwards(total) else 0.0)
            elif not back.callers and front.port != back.port:
                score += _borrowed(tally, total) + _in_time(front.endpoints, back.endpoints, opened)
            else:
                continue
            if score > 0 and (best is None or score > best[0]):
                best = score, front
            elif score > DOUBTFUL and not front.callers and len(back.endpoints) > 1:
                doubtful += front.endpoints
        if best is None:
            if back.callers:
                found.doubtful.update(dict.fromkeys(doubtful, tuple(sorted(back.callers))))
            continue
        for front_end in best[1].endpoints:
            for back_end in back.endpoints:
                found.links[front_end, back_end] = Link(likely=best[0], callers=dict.fromkeys(sorted(back.callers), 1))
    return found


def _candidates(back: Group, fronts: list[Endpoint], opening: set[int], opened: Rows) -> list[Group]:
    """Who might feed the back: all hosts that open its connections, by the port they accept on; else any that only accept,
    and all of these together whose connections are each close in time to the back's."""
    same: dict[int, list[Endpoint]] = {}
    for endpoint in fronts:
        if endpoint[0] in back.callers:
            same.setdefault(endpoint[1], []).append(endpoint)
    groups = [Group(tuple(endpoints), back.callers) for endpoints in same.values()]
    alone = [Group((endpoint,), frozenset()) for endpoint in fronts if endpoint[0] not in opening]
    if len(alone) > 1 and back.callers and not back.callers & {endpoint[0] for endpoint in fronts}:
        followed = [group.endpoints[0] for group in alone if _in_time(back.endpoints, group.endpoints, opened) >= 1.0]
        if len(followed) > 1:
            groups.append(Group(tuple(followed), frozenset()))
    return groups + alone


def _backs(serving: Serving) -> list[Group]:
    """Groups of endpoints, the busiest first."""
    groups: dict[tuple[int, frozenset[int]], list[Endpoint]] = {}
    for endpoint, tally in serving.items():
        callers = frozenset(client for client, part in tally.clients.items() if part.connections and not part.only_checks)
        few = callers if len(callers) <= FEW and not tally.unnamed else frozenset[int]()
        groups.setdefault((endpoint[1], few), []).append(endpoint)
    backs = [Group(tuple(endpoints), callers) for (_, callers), endpoints in groups.items()]
    return sorted(backs, key=lambda back: -sum(serving[endpoint].connections for endpoint in back.endpoints))


def _is_infrastructure(back: Group, serving: Serving) -> bool:
    return all(is_infrastructure(endpoint, serving[endpoint]) for endpoint in back.endpoints)


def is_infrastructure(endpoint: Endpoint, tally: EndpointTally) -> bool:
    """Name service, time, logs: by protocol, or by port where the protocol says nothing else."""
    protocol = tally.protocol
    if protocol in (Protocol7.DNS, Protocol7.SYSLOG):
        return True
    return protocol in (Protocol7.UNKNOWN, Protocol7.OTHER_CLEAR) and endpoint[1] in INFRASTRUCTURE_PORTS


def _kind(protocol: int) -> str:
    return "http" if protocol in WEB else "tls" if protocol in ENCRYPTED else str(protocol)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else 0.0


def _shared(front: EndpointTally, back: EndpointTally) -> float:
    """What speaks for the same traffic on both sides, whoever the hosts are."""
    score = 0.0
    kinds = _kind(front.protocol), _kind(back.protocol)
    if back.protocol in BACKENDS:
        score += 3.0 if front.protocol == back.protocol else -8.0
    else:
        score += {("tls", "http"): 1.0, ("http", "tls"): -2.0}.get(kinds, 0.0)
    score += _volumes(front, back)
    if front.requests >= 5 and back.requests >= 5:
        score -= 5.0  # a proxy's requests would have been recognised as the same
        asked = _ratio(back.requests, front.requests)
        score += 2.0 if 0.9 < asked < 1.15 else -2.0 if asked < 0.7 or asked > 1.5 else 0.0
    if front.connections >= 10 and 0.95 <= _ratio(back.connections, front.connections) <= 1.05:
        score += 1.0
    if front.names and back.names:
        score += 3.0 if front.usual_name == back.usual_name else -1.0
    return score


def _volumes(front: EndpointTally, back: EndpointTally) -> float:
    """Whether the back carried what the front did; 0 where there is too little to compare. Answers tell the most."""
    if front.ended < 0.5 * front.connections or back.ended < 0.5 * back.connections:
        return 0.0
    for side in (1, 0):
        at_front, at_back = front.payload[side], back.payload[side]
        if at_front > ENOUGH_BYTES and at_back > ENOUGH_BYTES:
            volume = at_back / at_front
            if 0.5 < volume < 2:
                return 2.0 if 0.8 < volume < 1.25 else 0.5
            return 0.0 if side and _may_fit(front, back) else -2.0
    return 0.0


def _may_fit(front: EndpointTally, back: EndpointTally) -> bool:
    """Whether handshakes of some size explain what one side's servers sent more than the other's."""
    (front_least, front_most), (back_least, back_most) = front.answered, back.answered
    return back_most >= front_least / 2 and front_most >= back_least / 2


def _same_host(front: Group, back: Group, tally: EndpointTally, total: EndpointTally) -> float:
    """Speaks for a balancer, against a target that uses something of its own."""
    servers = len(back.endpoints)
    score = 2.0 if servers >= 3 else 1.5 if servers == 2 else -0.5
    if total.protocol == Protocol7.UNKNOWN and back.port in BACKEND_PORTS:
        score -= 4.0
    if len(front.endpoints) >= 2:
        score -= 2.0  # several servers of one kind that all use the same: a shared database is like that
    if len(tally.clients) > FEW:
        score += 1.0
    behind = sum(part.forwarded for part in tally.clients.values())
    ahead = sum(part.forwarded for part in total.clients.values())
    if behind and not ahead:
        score -= 2.0
    return score


class Watched:
    """The back's connections by the clock, looked for when they are first asked for."""

    def __init__(self, back: Group, opened: Rows) -> None:
        self._back, self.opened = back, opened
        self._found: Clocked | None = None

    @property
    def by_clock(self) -> Clocked:
        if self._found is None:
            self._found = clocked(self.opened, _towards(self.opened, self._back.endpoints))
        return self._found


def _two_addresses(front: Group, tally: EndpointTally, back: Group, serving: Serving, watched: Watched) -> float:
    """Speaks for one balancer with an address on either side, against strangers and against two servers of one kind."""
    if len(back.callers) > MAX_NODES or back.callers & set(tally.clients):
        return IMPOSSIBLE
    if set(tally.clients) <= {address for address, _ in back.endpoints}:
        return IMPOSSIBLE  # whoever alone opens the connections to the one is not fed by it
    in_time = _in_time(front.endpoints, back.endpoints, watched.opened)
    watches = 0.0
    by_clock = watched.by_clock if in_time < 1.0 else None
    if by_clock is not None and by_clock.mask.any():
        # Health checks inside TLS follow nobody's connection; what is left tells.
        in_time = _in_time(front.endpoints, back.endpoints, watched.opened[~by_clock.mask])
        if np.count_nonzero(by_clock.mask) == sum(serving[endpoint].connections for endpoint in back.endpoints):
            watches = -WATCHES  # and nothing is left: a monitor
        elif by_clock.watched > 1:
            watches = WATCHES
    covered = tally.connections + sum(serving[endpoint].connections for endpoint in back.endpoints)
    total = sum(other.connections for endpoint, other in serving.items() if not is_infrastructure(endpoint, other))
    score = STRANGERS + in_time + watches + (2.0 if covered >= NEARLY_ALL * total else -1.0)
    few = len(tally.clients) < CONCENTRATES * len(back.callers)
    if few and (in_time < CLOSELY or len(front.endpoints) > 1):
        score -= 6.0  # two servers of one kind, each with its own few callers, look just like this
    if len(front.endpoints) > 1 and any(port == back.port for _, port in front.endpoints):
        score -= 3.0  # two pools of servers of one kind look like that
    if front.port == back.port and any(_came_as_far(endpoint, back, serving) for endpoint in front.endpoints):
        score -= 4.0  # callers over as many routers as everybody else's: clients that were pinned to another server
    return score


def _came_as_far(front: Endpoint, back: Group, serving: Serving) -> bool:
    """Whether the callers of the back are no nearer to their server than the clients of the front are to theirs."""
    known = sum(serving[endpoint].hops_known for endpoint in back.endpoints)
    near = sum(serving[endpoint].near_clients for endpoint in back.endpoints)
    at_front = serving[front]
    return known > 0 and at_front.hops_known > 0 and near / known <= at_front.near_clients / at_front.hops_known < 0.5


def _borrowed(front: EndpointTally, back: EndpointTally) -> float:
    """Speaks for a balancer that opens its connections under the clients' addresses."""
    mine = {client: part.connections for client, part in back.clients.items() if part.connections}
    theirs = {client: part.connections for client, part in front.clients.items() if part.connections}
    shared = [client for client in mine if client in theirs]
    if len(shared) < 3 or len(shared) < 0.9 * len(mine):
        return IMPOSSIBLE
    equal = sum(mine[client] == theirs[client] for client in shared)
    return STRANGERS + 2.0 + (2.0 if equal >= 0.8 * len(shared) else 0.0)


def _in_time(fronts: Iterable[Endpoint], backs: Iterable[Endpoint], opened: Rows) -> float:
    """Are back connections closer to front connections in time than moments picked at random?"""
    at_front = _times(opened, fronts)
    at_back = _times(opened, backs)
    if len(at_front) < 3 or len(at_back) < 5:
        return 0.0
    span = max(int(at_front[-1] - at_front[0]), 1)
    wait = median(_nearest(at_front, at_back))
    moved = np.array(
        [
            median(_nearest(at_front, at_front[0] + (at_back - at_front[0] + span * shift // (SHIFTS + 1)) % span))
            for shift in range(1, SHIFTS + 1)
        ]
    )
    closer = median(moved) / max(wait, 1.0)
    if closer >= 4 and len(at_back) >= FEWEST_IN_TIME:
        return CLOSELY
    if closer >= 2:
        return 1.0
    # Of many more back connections than front ones most answer requests on fronts that are kept alive, whenever those come.
    return -3.0 if closer < 1.3 and 20 <= len(at_back) <= KEPT_ALIVE * len(at_front) else 0.0


def _times(opened: Rows, endpoints: Iterable[Endpoint]) -> npt.NDArray[np.int64]:
    return np.sort(opened["at_ns"][_towards(opened, endpoints)])


def _towards(opened: Rows, endpoints: Iterable[Endpoint]) -> npt.NDArray[np.bool_]:
    """Which connections go to these servers."""
    return np.isin(endpoint_keys(opened), keys_of(endpoints))


def _nearest(events: npt.NDArray[np.int64], moments: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How far the nearest event is from each moment. Before or after: an answer passes the back leg first."""
    place = np.searchsorted(events, moments)
    before = np.abs(moments - events[np.maximum(place - 1, 0)])
    after = np.abs(events[np.minimum(place, len(events) - 1)] - moments)
    nearest: npt.NDArray[np.int64] = np.minimum(before, after)
    return nearest


def dependencies(serving: Serving, fronts: set[Endpoint], backs: set[Endpoint]) -> dict[Endpoint, bool]:
    """Endpoints used by hosts in view for themselves: True where targets use them, False where a balancer or client does."""
    found: dict[Endpoint, bool] = {}
    front_hosts = {address for address, _ in fronts}
    hosts = {address for address, _ in serving}
    rest = {endpoint: tally for endpoint, tally in serving.items() if endpoint not in fronts}
    # Roots are reached from outside, or from a balancer in view; what only hosts of roots reach is theirs.
    roots = {
        endpoint
        for endpoint, tally in rest.items()
        if endpoint in backs or tally.share_of(hosts - front_hosts - {endpoint[0]}) < 0.9
    }
    # Hosts that call each other, a target and the balancer it calls for itself: what names its clients is the target.
    roots = roots or {endpoint for endpoint, tally in rest.items() if forwards(tally)}
    using = {address for address, _ in roots} - front_hosts
    changed = True
    while changed:
        changed = False
        for endpoint, tally in rest.items():
            if endpoint in roots or endpoint in found or tally.share_of(using - {endpoint[0]}) < 0.9:
                continue
            found[endpoint] = True
            using.add(endpoint[0])
            changed = True
    plain = {endpoint for endpoint, tally in serving.items() if not is_infrastructure(endpoint, tally)}
    others = hosts.union(*(serving[endpoint].clients for endpoint in plain))
    for endpoint, tally in rest.items():
        if endpoint in found or endpoint in backs or endpoint in plain:
            continue
        callers = set(tally.clients)
        if callers and callers <= others:
            found[endpoint] = bool(callers & using)
    return found
