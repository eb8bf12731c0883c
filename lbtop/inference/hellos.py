"""Whose TLS arrives at the targets: the balancer's own (bridging) or the clients' (passthrough), signal by signal."""

from __future__ import annotations

from lbtop.inference.sockets import FEW_ADDRESSES, MANY_STACKS, tcp_signals
from lbtop.inference.weighing import Question
from lbtop.model.figures import percent, plural, size
from lbtop.model.observation import Protocol7, ProxyFlag
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.ledgers.exposure import BACK

FEWEST_TURNS = 5
LATE_SHARE = 0.6
"""A busy balancer answers late now and then; clients far away always do."""


def tls_signals(facts: ServiceFacts, question: Question) -> None:
    """Whose TLS it is that arrives: the balancer's own (bridging) or the clients' (passthrough)."""
    shakes = facts.ledgers.handshakes
    families: dict[int, int] = {}
    clients: set[int] = set()
    grease = 0
    for key, numbers in shakes.families.items():
        families[key >> 32] = families.get(key >> 32, 0) + numbers[0]
        clients.add(key & 0xFFFFFFFF)
        grease += numbers[1]
    hellos = sum(families.values())
    if hellos:
        count = len(families)
        # one stack from a balancer's few addresses is the balancer's; from many clients' own it may be a fleet of one kind
        fleet = facts.clients_preserved is not False and len(clients) > FEW_ADDRESSES
        enough = min(1.0, hellos / 20) * (0.5 if fleet else 1.0)
        question.signal("one-family", enough if count == 1 else 0.4 * enough if count == 2 else 0, _stacks(count, hellos))
        question.signal("many-families", min(1.0, (count - 1) / MANY_STACKS) if count > 2 else 0, _stacks(count, hellos))
        share = grease / hellos
        question.signal("grease", min(1.0, share * 2), f"{percent(share)} of the hellos carry GREASE, as browsers' do")
        _names(facts, question, hellos, 0.5 if fleet else 1.0)
        _resumption(facts, question, hellos, len(families))
        _multiplexing(facts, question, len(families), len(clients))
    _turns(facts, question)
    tcp_signals(facts, question)
    addresses = len(facts.ledgers.stacks.clients) or len(clients)
    if facts.clients_preserved is not False and addresses > FEW_ADDRESSES:
        strength = min(1.0, addresses / 12) * (1.0 if hellos else 0.4)  # addresses can be kept by who ends TLS, too
        question.signal("many-addresses", strength, f"{addresses} source addresses, no balancer's address among them")
    heads = facts.ledgers.heads
    if heads.proxies:
        if heads.proxy_flag(ProxyFlag.SSL_CLIENT):
            bits = heads.proxy_flag(ProxyFlag.SSL_CLIENT)
            detail = f"{bits} PROXY headers say that the client's TLS ended before them, and TLS follows"
            question.prove("proxy-ssl-client", "proxy-header", True, detail)
        question.signal("names-the-client", 1, f"{heads.proxies} connections begin with a PROXY header, then TLS")


def _stacks(count: int, hellos: int) -> str:
    return f"{count} TLS stack{'s' * (count != 1)} in {hellos:,} client hellos (resumption and padding left out)"


def _names(facts: ServiceFacts, question: Question, hellos: int, worth: float) -> None:
    names: dict[int, int] = {}
    for key, numbers in facts.ledgers.handshakes.sni_families.items():
        names[key >> 32] = names.get(key >> 32, 0) + numbers[0]
    named = hellos - names.pop(0, 0)
    share = named / hellos
    question.signal(
        "no-sni", worth * min(1.0, hellos / 4) if share <= 0.05 else 0, f"{percent(1 - share)} of the hellos name no server"
    )
    question.signal("sni", 1 if share >= 0.5 else 0, f"{percent(share)} of the hellos name a server")
    if len(names) > 1:
        question.signal("several-sni", min(1.0, len(names) / 4), f"{len(names)} different server names")


def _resumption(facts: ServiceFacts, question: Question, hellos: int, families: int) -> None:
    shakes = facts.ledgers.handshakes
    shared, offers = shakes.shared_sessions()
    addresses = len({key & 0xFFFFFFFF for key, _ in shakes.families.items()})
    offered = sum(numbers[4] for _, numbers in shakes.families.items())
    if families <= 2 and addresses > FEW_ADDRESSES:  # clients behind two nodes of a TCP proxy share sessions, too
        detail = f"{shared} TLS session{'s' * (shared != 1)} offered {offers} times from several of {addresses} client addresses"
        if shared and offers >= max(5, 3 * shared) and offers >= 0.5 * shakes.sessions.total:
            question.prove("session-from-many-addresses", "resumption", True, detail)
        question.signal("shared-sessions", min(1.0, shared / 3), detail)
        without = hellos - offered
        if hellos >= 2 * addresses and without <= addresses / 4:
            detail = (
                f"only {without} of {hellos:,} hellos from {addresses} addresses offer no session: newcomers have none to offer"
            )
            question.signal("resumes-at-first-contact", 1, detail)
    own, holders = shakes.repeated_sessions()
    if not shared and holders >= 5:
        detail = f"{own} TLS sessions come back, each from the address that offered it before ({holders} addresses)"
        question.signal("own-sessions", min(1.0, holders / 10), detail)
    if families <= 2 and addresses <= FEW_ADDRESSES and hellos >= 10:
        share = offered / hellos
        detail = f"{offered:,} of {hellos:,} hellos from {addresses} address{'es' * (addresses != 1)} offer a session"
        question.signal("resumes-steadily", share if share >= 0.5 else 0, detail)
        again = [numbers[0] for _, numbers in shakes.sessions.items() if numbers[0] > 1]
        holders = 2 * len(facts.targets) * addresses  # a balancer keeps one session per target, thread and node
        detail = f"{plural(len(again), 'TLS session')} offered again and again, {sum(again):,} times in all"
        if sum(again) >= 8 and len(again) <= holders:
            question.signal("session-reused", min(1.0, (sum(again) / len(again) - 1) / 4), f"{detail}: few hold them")
        elif len(again) > max(8, holders):
            question.signal("many-holders", min(1.0, len(again) / (2 * holders)), f"{detail}: many hold them")


def _multiplexing(facts: ServiceFacts, question: Question, families: int, addresses: int) -> None:
    """Few connections that carry much more than one client's page views: a balancer's pool."""
    exposure = facts.ledgers.exposure
    connections = int(exposure.connections[BACK, Protocol7.TLS])
    if families <= 2 and addresses <= FEW_ADDRESSES and connections:
        each = int(exposure.sent[BACK, Protocol7.TLS]) / connections
        detail = f"{connections} TLS connections on which the client sent {size(int(each))} each: many requests on every one"
        question.signal("shared-connections", min(1.0, (each - 5_000) / 15_000), detail)


def _turns(facts: ServiceFacts, question: Question) -> None:
    """Who shakes hands answers the server's hello after one round trip of its own. Where TCP is answered at once and TLS much
    later, TCP ends at a proxy near by and TLS at a client further away."""
    stacks = facts.ledgers.stacks
    if stacks.turns >= FEWEST_TURNS and facts.vantage != "client":
        share = stacks.late_turns / stacks.turns
        detail = (
            f"in {percent(share)} of {stacks.turns:,} TLS handshakes the client answers much later than TCP's round trip: "
            "whoever shakes hands is further away than whoever opened the connection"
        )
        question.signal("late-answers", (share - LATE_SHARE) / (1.0 - LATE_SHARE), detail)
