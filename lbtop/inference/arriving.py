"""What arrives at the targets, taken apart into signals for the questions of the termination inference."""

from __future__ import annotations

import numpy as np

from lbtop import catalog
from lbtop.inference.identity import EVERYWHERE, ProductMarks
from lbtop.inference.weighing import Question
from lbtop.model.figures import percent, plural, size
from lbtop.model.observation import Protocol7, ProxyFlag, ReqFlag
from lbtop.model.record import dataclass, replace
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.ledgers.exposure import BACK, CLEAR, ENCRYPTED
from lbtop.reconstruct.ledgers.heads import BROWSER_BITS, HTTP, HTTPS

FEW_ADDRESSES = 8
"""Balancers have few nodes; more source addresses than this are clients' own, or pretended to be."""
MANY_STACKS = 4
FEWEST_FRONTS, SPARE_CONNECTIONS = 3, 5
"""So many connections in front are compared with those to the targets; so many more of these may be chance."""


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
        if self.kinds_from_one == 3 or (many and self.kinds == 3) or min(self.kinds, self.addresses) >= MANY_STACKS:
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


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Data connections at the targets, health checks left out."""

    tls: int
    ssh: int
    plain: int
    datagrams_tls: int  # QUIC, DTLS
    datagrams_plain: int
    opaque: int  # nothing recognised
    datagrams_opaque: int
    http: int  # of plain
    starttls: int  # of plain: protocols that begin in clear and turn to TLS inside, if they do
    checks: int  # health checks, not among the others

    @property
    def total(self) -> int:
        return self.tls + self.ssh + self.plain + self.datagrams_tls + self.datagrams_plain + self.opaque + self.datagrams_opaque


def arrivals(facts: ServiceFacts) -> Arrivals:
    exposure = facts.ledgers.exposure
    every = exposure.connections[BACK]
    udp = exposure.datagrams[BACK]
    data = np.maximum(every - exposure.checks, 0)
    tcp = np.maximum(data - udp, 0)
    clear = [int(p) for p in CLEAR]
    encrypted = [int(p) for p in ENCRYPTED]
    seen = Arrivals(
        tls=int(tcp[encrypted].sum() - tcp[Protocol7.SSH]),
        ssh=int(tcp[Protocol7.SSH]),
        plain=int(tcp[clear].sum()),
        datagrams_tls=int(udp[encrypted].sum()),
        datagrams_plain=int(udp[clear].sum()),
        opaque=int(tcp[Protocol7.UNKNOWN]),
        datagrams_opaque=int(udp[Protocol7.UNKNOWN]),
        http=int(tcp[[Protocol7.HTTP1, Protocol7.HTTP2, Protocol7.WEBSOCKET]].sum()),
        starttls=int(tcp[[Protocol7.POSTGRES, Protocol7.MYSQL, Protocol7.SMTP]].sum()),
        checks=int(exposure.checks.sum()),
    )
    return seen if seen.total else _by_heads(facts, seen)


def _by_heads(facts: ServiceFacts, seen: Arrivals) -> Arrivals:
    """In the middle of things no connection may have ended yet: then heads and hellos say what arrives."""
    http = len(facts.ledgers.heads.connections)
    return replace(seen, tls=facts.ledgers.handshakes.back.hellos, plain=http, http=http)


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
    _tcp(facts, question)
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


def _tcp(facts: ServiceFacts, question: Question) -> None:
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


def front_signals(facts: ServiceFacts, marks: ProductMarks, question: Question, seen: Arrivals) -> None:
    """Whether the hop before the balancer was TLS, asked of plaintext that arrives."""
    heads = facts.ledgers.heads
    if seen.starttls:
        detail = f"{seen.starttls} connections speak a protocol that turns to TLS inside itself, and did not"
        question.signal("starttls-protocol", seen.starttls / max(seen.plain, 1), detail)
    _forwarded_proto(facts, marks, question)
    browser_signals(facts, question)
    secure = {key: numbers[1] for key, numbers in heads.set_cookies.items() if numbers[1]}
    if secure:
        back = {key: numbers[0] for key, numbers in heads.cookies.items() if key in secure}
        question.signal("secure-set", 1, f"targets set {sum(secure.values())} cookies with Secure over plain TCP")
        if back:
            detail = f"{sum(back.values())} cookies that were set with Secure come back in requests"
            question.signal("secure-returns", min(1.0, sum(back.values()) / 10), detail)
    if heads.proxies:
        tlv, bit = heads.proxy_flag(ProxyFlag.SSL_TLV), heads.proxy_flag(ProxyFlag.SSL_CLIENT)
        if bit >= 0.5 * heads.proxies:
            detail = f"{bit} of {heads.proxies} PROXY headers say the client spoke TLS"
            question.prove("proxy-ssl-client", "proxy-header", True, detail)
        elif tlv >= EVERYWHERE * heads.proxies and not bit:
            question.signal("ssl-bit-clear", 1, f"{tlv} PROXY headers carry TLS details and none says the client spoke TLS")
        ports = dict(heads.proxy_ports.top(64))
        for port, signal in ((443, "destination-443"), (80, "destination-80")):
            share = ports.get(port, 0) / heads.proxies
            question.signal(signal, share if share >= 0.5 else 0, f"PROXY headers name port {port} as what the client reached")
    _tcp(facts, question)


def _forwarded_proto(facts: ServiceFacts, marks: ProductMarks, question: Question) -> None:
    heads = facts.ledgers.heads
    if not heads.requests:
        return
    https, http = heads.forwarded_proto[HTTPS] / heads.requests, heads.forwarded_proto[HTTP] / heads.requests
    company = bool(forwarded_everywhere(facts) or marks.headers_everywhere or marks.shapes_everywhere)
    said = f"X-Forwarded-Proto: https on {percent(https)} of {heads.requests:,} requests"
    if https >= 0.5 and https + http >= EVERYWHERE:
        if company:
            question.signal("https-always", https, said + ", with the same proxy's other headers")
        else:
            question.signal("https-alone", https, said + ", and nothing else of a proxy")
    elif https > http and https > 0:
        question.signal("https-partly", https, said + ": a proxy would put it on every one")
    if http > https and https + http >= EVERYWHERE:
        question.signal("http-always", http, f"X-Forwarded-Proto: http on {percent(http)} of {heads.requests:,} requests")
    ports = dict(heads.forwarded_ports.top(64))
    for port, signal in ((443, "forwarded-port-443"), (80, "forwarded-port-80")):
        share = ports.get(port, 0) / heads.requests
        question.signal(signal, share if share >= 0.5 else 0, f"X-Forwarded-Port: {port} on {percent(share)} of the requests")
    share = heads.flag(ReqFlag.TLS_HEADER) / heads.requests
    detail = f"{percent(share)} of the requests carry headers of a hop that ended TLS"
    question.signal("tls-headers", share if share >= 0.1 else 0, detail)


def browser_signals(facts: ServiceFacts, question: Question) -> None:
    """Tells of browsers that only speak so over HTTPS, per distinct browser: scripts and forgeries are left out."""
    heads = facts.ledgers.heads
    place = {bit: 1 + index for index, bit in enumerate(BROWSER_BITS)}
    consistent: set[int] = set()
    bare: set[int] = set()
    own_https = own_http = prefixed = 0
    for key, numbers in heads.browsers.items():
        count = numbers[0]
        if numbers[place[ReqFlag.BROWSER_UA]] < count:
            continue
        fetch, hints = numbers[place[ReqFlag.SEC_FETCH]], numbers[place[ReqFlag.SEC_CH_UA]]
        brotli = numbers[place[ReqFlag.BR_ZSTD]]
        agent = facts.strings[key >> 32]
        chromium = b"Chrome/" in agent
        if fetch == count and brotli == count and (hints == count or not chromium):
            consistent.add(key >> 32)
        elif not fetch and not hints and not brotli and numbers[place[ReqFlag.UPGRADE_INSECURE]]:
            bare.add(key >> 32)
        own_https += numbers[place[ReqFlag.HTTPS_ORIGIN]]
        own_http += numbers[place[ReqFlag.HTTP_ORIGIN]]
        prefixed += numbers[place[ReqFlag.SECURE_COOKIE_PREFIX]]
    if consistent:
        detail = f"{len(consistent)} browsers send Sec-Fetch and offer br, as they only do over HTTPS (perhaps to a CDN in front)"
        question.signal("consistent-browsers", min(1.0, 0.6 + 0.2 * (len(consistent) - 1)), detail)
    elif len(bare) >= 3:
        detail = f"{len(bare)} browsers send neither Sec-Fetch nor br, as over plain HTTP"
        question.signal("browsers-without-tells", min(1.0, len(bare) / 6), detail)
    question.signal("https-origin", min(1.0, own_https / 5), f"{own_https} requests come from an https:// page of this host")
    question.signal("http-origin", min(1.0, own_http / 5), f"{own_http} requests come from an http:// page of this host")
    question.signal("secure-prefix", min(1.0, prefixed / 5), f"{prefixed} requests carry __Secure- or __Host- cookies")
    if facts.ledgers.heads.versions.keys.tolist() == [20] and consistent:
        question.signal("h2-browser", 1, "browsers speak HTTP/2 in clear, which they never do themselves")


def layer_signals(facts: ServiceFacts, marks: ProductMarks, question: Question, seen: Arrivals) -> None:
    """Whether the balancer reads HTTP, asked of plaintext that arrives."""
    heads = facts.ledgers.heads
    if heads.requests == 0:
        if seen.plain > seen.http:
            question.signal("not-http", 1, "what arrives is no HTTP: nothing between could read it as such")
        return
    named = [product for product in marks.scores if "http-headers" in marks.scores[product]]
    forwarded = heads.forwarded / heads.requests
    if marks.headers_everywhere:
        listed = ", ".join(marks.headers_everywhere[:3])
        question.signal("product-headers", 1, f"{listed} on (nearly) every request")
    if forwarded >= EVERYWHERE:
        detail = f"forwarded client addresses on {percent(forwarded)} of {heads.requests:,} requests"
        question.signal("forwarded-always", forwarded, detail)
    elif forwarded > 0:
        detail = f"forwarded client addresses on only {percent(forwarded)} of {heads.requests:,} requests"
        question.signal("forwarded-partly", forwarded, detail)
    if marks.shapes_everywhere:
        question.signal("product-shape", 1, f"requests are written as {catalog_names(marks.shapes_everywhere)} writes them")
    bare = 1 - max(forwarded, heads.forwarded_proto[[HTTP, HTTPS]].sum() / heads.requests)
    if not named and bare >= 0.5:
        detail = f"{percent(bare)} of {heads.requests:,} requests carry nothing a proxy adds, and are not written as one writes"
        question.signal("nothing-added", bare * min(1.0, heads.requests / 20), detail)
    clients, agents, several = heads.shared_connections()
    if clients:
        detail = f"{clients} connections carry requests of several clients"
        question.signal("clients-share-connections", min(1.0, clients / 2), detail)
    if agents:
        detail = f"{agents} connections carry requests of several user agents"
        question.signal("agents-share-connections", min(1.0, agents / 2), detail)
    elif several >= 10 and len(heads.browsers) >= 3:
        question.signal("one-agent-each", 1, f"each of {several} connections with several requests carries one user agent's")
    _connections_of_its_own(facts, question, seen)
    if heads.proxies:
        question.signal("proxy-header", min(1.0, heads.proxies / 5), f"{heads.proxies} connections begin with a PROXY header")
    _tcp(facts, question)
    addresses = len(facts.ledgers.stacks.clients)
    if facts.clients_preserved is True and addresses > FEW_ADDRESSES:
        question.signal("many-addresses", min(1.0, addresses / 24), f"{addresses} source addresses")


def _connections_of_its_own(facts: ServiceFacts, question: Question, seen: Arrivals) -> None:
    """At layer 4 every connection to a target answers one in front. One that opens many more reads requests.

    Only where the balancer itself is in view: elsewhere some of its fronts may not be.
    """
    front, back = facts.pairs.front_connections, seen.total
    if facts.vantage == "load_balancer" and front >= FEWEST_FRONTS and back >= 2 * front + SPARE_CONNECTIONS:
        detail = f"{back:,} connections to the targets for {front:,} in front: at layer 4 there would be one for each"
        question.prove("more-than-one-each", "connections", True, detail)


def catalog_names(products: list[str]) -> str:
    """Names of products for people, each once."""
    return " or ".join(dict.fromkeys(catalog.label(product) for product in products))
