"""Whose TLS arrives at the targets: the balancer's own (bridging) or the clients' (passthrough), signal by signal."""

from __future__ import annotations

from lbtop.inference.sockets import FEW_ADDRESSES, MANY_STACKS, tcp_signals
from lbtop.inference.weighing import Question
from lbtop.model.figures import percent, plural, size
from lbtop.model.observation import Protocol7, ProxyFlag
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.ledgers.exposure import BACK

FEWEST_OFFERS, MOST_STORES = 4, 2
"""So many sessions offered to several targets are compared; a balancer may keep one for each of its threads."""
NEARLY_ALL = 0.9
SOME_REFUSED = 0.25
"""A target that was started anew refuses some sessions of a balancer as well."""
ONE_REQUEST = 3_000
"""Bytes that a client's handshake and one request take at most, usually: a post-quantum hello and cookies included."""
ENOUGH_OFFERS, ENOUGH_HELLOS = 8, 5
FEWEST_TURNS = 5
LATE_SHARE = 0.6
"""A busy balancer answers late now and then; clients far away always do."""


def tls_signals(facts: ServiceFacts, question: Question) -> None:
    """Whose TLS it is that arrives: the balancer's own (bridging) or the clients' (passthrough)."""
    shakes = facts.ledgers.handshakes
    families: dict[int, set[int]] = {}
    hellos = grease = 0
    for key, numbers in shakes.families.items():
        families.setdefault(key & 0xFFFFFFFF, set()).add(key >> 32)
        hellos += numbers[0]
        grease += numbers[1]
    clients = len(families)
    if hellos:
        every = len(set().union(*families.values()))
        # Of few addresses each may be a proxy of another product: what tells clients apart is several stacks behind one.
        count = every if clients > FEW_ADDRESSES else max(map(len, families.values()))
        # one stack from a balancer's few addresses is the balancer's; from many clients' own it may be a fleet of one kind
        fleet = facts.clients_preserved is not False and clients > FEW_ADDRESSES
        enough = min(1.0, hellos / 20) * (0.5 if fleet else 1.0)
        detail = _stacks(every, hellos) + (f", at most {count} from one address" if count < every else "")
        question.signal("one-family", enough if every == 1 else 0.4 * enough if every == 2 else 0, detail)
        question.signal("many-families", min(1.0, (count - 1) / MANY_STACKS) if count > 2 else 0, detail)
        share = grease / hellos
        question.signal("grease", min(1.0, share * 2), f"{percent(share)} of the hellos carry GREASE, as browsers' do")
        _names(facts, question, hellos, 0.5 if fleet else 1.0)
        _resumption(facts, question, hellos, count)
        _multiplexing(facts, question, count, clients)
        _stores(facts, question, families)
        _checks(facts, question, families)
    _turns(facts, question)
    tcp_signals(facts, question)
    addresses = len(facts.ledgers.stacks.clients) or clients
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


def _stores(facts: ServiceFacts, question: Question, families: dict[int, set[int]]) -> None:
    """Whoever holds a session for every target knows the targets apart. A client that a TCP proxy deals out does not, and
    offers one target what another has issued."""
    kept: dict[int, list[list[int]]] = {}
    for key, numbers in facts.ledgers.handshakes.stores.items():
        kept.setdefault(key >> 32, []).append(numbers)
    offers = targets = every = theirs = feeding = whole = 0
    for client, rows in kept.items():
        hellos, offered, resumed, names, squares = (sum(column) for column in zip(*rows, strict=True))
        at = sum(row[2] > 0 for row in rows)
        every += hellos
        own = len(families.get(client, ())) == 1 and hellos * squares == names * names
        if own and len(rows) > 1:
            feeding += hellos
            whole += hellos - resumed
        if own and at > 1 and resumed >= NEARLY_ALL * offered and hellos - offered <= MOST_STORES * len(rows):
            offers += offered
            theirs += hellos
            targets = max(targets, at)
    if offers >= FEWEST_OFFERS and 2 * theirs > every:
        detail = (
            f"{offers} TLS sessions offered, each to the one of {targets} targets that takes it: whoever opens the connections "
            "keeps sessions for every target"
        )
        question.signal("sessions-kept-per-target", min(1.0, offers / ENOUGH_OFFERS) * theirs / every, detail)
    tried, taken = (sum(row[column] for rows in kept.values() for row in rows) for column in (1, 2))
    if tried >= ENOUGH_OFFERS:
        refused = 1 - taken / tried
        detail = f"{percent(refused)} of {tried} TLS sessions offered were refused: who offers them got them from other servers"
        question.signal("sessions-refused", (refused - SOME_REFUSED) / SOME_REFUSED, detail)
    exposure = facts.ledgers.exposure
    connections = int(exposure.connections[BACK, Protocol7.TLS])
    if 2 * feeding > every and whole and connections:
        each = int(exposure.sent[BACK, Protocol7.TLS]) / connections * feeding / whole
        detail = (
            f"one TLS stack of one address at {max(map(len, kept.values()))} targets, {size(int(each))} sent for every whole "
            "handshake: few are spent on many requests, as a balancer's pools do"
        )
        question.signal("pools-per-target", (each - ONE_REQUEST) / ONE_REQUEST * feeding / every, detail)


def _checks(facts: ServiceFacts, question: Question, families: dict[int, set[int]]) -> None:
    """What a balancer's health checks say inside TLS is hidden, but not with whose TLS stack they say it: its own."""
    shakes = facts.ledgers.handshakes
    watched: dict[int, int] = {}
    for key, _ in shakes.watched.items():
        watched[key >> 32] = watched.get(key >> 32, 0) + 1
    checking: dict[int, set[int]] = {}
    for key, _ in shakes.checks.items():
        checking.setdefault(key & 0xFFFFFFFF, set()).add(key >> 32)
    if all(watched.get(client, 0) > 1 and stacks <= checking[client] for client, stacks in families.items()):
        number = sum(numbers[0] for _, numbers in shakes.families.items())
        detail = f"{number} hellos come with the TLS stack that asks {max(watched.values())} targets by the clock"
        question.signal("stack-of-the-checks", min(1.0, number / ENOUGH_HELLOS), detail)


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
