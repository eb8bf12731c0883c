"""Whose TCP connections arrive: a hop that ends TCP shows its one stack, one that forwards packets leaves the clients' own."""

from __future__ import annotations

from lbtop.inference.identity import EVERYWHERE
from lbtop.inference.weighing import Question
from lbtop.model.figures import plural
from lbtop.model.record import dataclass
from lbtop.reconstruct.facts import ServiceFacts

FEW_ADDRESSES = 8
"""Balancers have few nodes; more source addresses than this are clients' own, or pretended to be."""
MANY_STACKS = 4
DIFFERENT = 3
"""So many kinds of stacks from so many addresses: a pair of nodes has two at most."""


@dataclass(frozen=True, slots=True)
class Stacks:
    """TCP stacks of those who open the connections.

    A *kind* is a SYN's options and window with the TTL it set out with (64, 128 or 255); a *combination* has the TTL on arrival,
    which differs by distance as well: the edges of one CDN share a kind and come from many distances.
    """

    addresses: int
    kinds: int
    kinds_from_one: int
    combinations: int
    combinations_from_one: int
    connections: int

    @property
    def own(self) -> float:
        """How clearly these are the clients' own stacks (0..1): whatever ends TCP shows its one stack, a pair of nodes two."""
        many = self.addresses > FEW_ADDRESSES
        if self.kinds_from_one >= MANY_STACKS or (many and self.kinds >= MANY_STACKS):
            return 1.0
        if self.kinds_from_one == 3 or (many and self.kinds == 3) or min(self.kinds, self.addresses) >= DIFFERENT:
            return 0.8
        if self.combinations_from_one >= MANY_STACKS or (many and self.combinations >= MANY_STACKS):
            return 0.5
        return 0.3 if many and self.kinds == 2 else 0.0

    def __str__(self) -> str:
        return (
            f"{plural(self.kinds, 'TCP stack')} (SYN options, window, initial TTL), {self.combinations} with the TTL on arrival, "
            f"from {plural(self.addresses, 'address', 'addresses')}"
        )


def initial_ttl(ttl: int) -> int:
    """What a TTL was set out with: the next of 64, 128, 255."""
    return 64 if ttl <= 64 else 128 if ttl <= 128 else 255


def tcp_stacks(facts: ServiceFacts) -> Stacks:
    """Distinct stacks, all and per address; where SYNs were seen, connections without one are left out."""
    kinds: dict[int, set[tuple[int, int]]] = {}
    combinations: dict[int, set[tuple[int, int]]] = {}
    total = 0
    seen = facts.ledgers.stacks.seen()
    with_syn = any(stack for _, stack, _, _ in seen)
    for client, stack, ttl, count in seen:
        if with_syn and stack == 0:
            continue
        total += count
        kinds.setdefault(client, set()).add((stack, initial_ttl(ttl)))
        combinations.setdefault(client, set()).add((stack, ttl))
    return Stacks(
        addresses=len(kinds),
        kinds=len(set().union(*kinds.values())),
        kinds_from_one=max(map(len, kinds.values()), default=0),
        combinations=len(set().union(*combinations.values())),
        combinations_from_one=max(map(len, combinations.values()), default=0),
        connections=total,
    )


def tcp_signals(facts: ServiceFacts, question: Question) -> None:
    """A hop that ends TCP keeps nobody's stack: what ends TLS ends TCP, and so does what reads HTTP."""
    stacks = tcp_stacks(facts)
    own = stacks.own
    if facts.clients_preserved is False and (stacks.kinds_from_one < MANY_STACKS or forwarded_everywhere(facts)):
        own = 0.0  # nodes of a proxy (a CDN's edges) have paths of their own
    detail = f"{stacks}: the clients' own"
    if own >= 1.0:
        question.prove("own-stacks", "tcp-stack", False, detail)
    else:
        question.signal("own-stacks", own, detail)
        alone = question.name == "bridging" and stacks.kinds == 1 and stacks.addresses > FEW_ADDRESSES
        if alone:
            detail = f"one TCP stack behind {stacks.addresses} addresses"
            question.signal("one-stack-many-addresses", min(1.0, stacks.addresses / 20), detail)


def forwarded_everywhere(facts: ServiceFacts) -> bool:
    """Nearly every request names a forwarded client: what feeds the targets is a proxy."""
    heads = facts.ledgers.heads
    return heads.requests > 0 and heads.forwarded >= EVERYWHERE * heads.requests


def own_addresses(facts: ServiceFacts) -> bool:
    """Whether connections come from the clients' own addresses: many, or few whose stacks differ as no balancer's nodes do.

    One address with many stacks hides its clients, whatever it is.
    """
    if facts.clients_preserved is None and facts.balancers:
        stacks = tcp_stacks(facts)
        return min(stacks.kinds, stacks.addresses) >= DIFFERENT
    return facts.clients_preserved is not False
