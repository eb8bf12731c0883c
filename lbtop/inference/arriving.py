"""What arrives at the targets, taken apart into signals for the questions of the termination inference."""

from __future__ import annotations

import numpy as np

from lbtop import catalog
from lbtop.inference.identity import EVERYWHERE, ProductMarks
from lbtop.inference.sockets import FEW_ADDRESSES, forwarded_everywhere, tcp_signals
from lbtop.inference.weighing import Question
from lbtop.model.figures import percent
from lbtop.model.observation import Protocol7, ProxyFlag, ReqFlag
from lbtop.model.record import dataclass, replace
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.ledgers.exposure import BACK, CLEAR, ENCRYPTED
from lbtop.reconstruct.ledgers.heads import BROWSER_BITS, HTTP, HTTPS

FEWEST_FRONTS, SPARE_CONNECTIONS = 3, 5
"""So many connections in front are compared with those to the targets; so many more of these may be chance."""


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
    clocked: int  # TLS connections opened by the clock: most likely health checks as well, not among the others either

    @property
    def total(self) -> int:
        return self.tls + self.ssh + self.plain + self.datagrams_tls + self.datagrams_plain + self.opaque + self.datagrams_opaque


def arrivals(facts: ServiceFacts) -> Arrivals:
    exposure = facts.ledgers.exposure
    every = exposure.connections[BACK]
    udp = exposure.datagrams[BACK]
    data = np.maximum(every - exposure.checks, 0)
    tcp = np.maximum(data - udp, 0)
    tcp[Protocol7.TLS] = max(tcp[Protocol7.TLS] - exposure.clocked, 0)
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
        clocked=max(exposure.clocked, facts.ledgers.handshakes.checks.total),
    )
    return seen if seen.total else _by_heads(facts, seen)


def _by_heads(facts: ServiceFacts, seen: Arrivals) -> Arrivals:
    """In the middle of things no connection may have ended yet: then heads and hellos say what arrives."""
    http = len(facts.ledgers.heads.connections)
    shakes = facts.ledgers.handshakes
    return replace(seen, tls=max(shakes.back.hellos - shakes.checks.total, 0), plain=http, http=http)


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
    tcp_signals(facts, question)


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
    tcp_signals(facts, question)
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
