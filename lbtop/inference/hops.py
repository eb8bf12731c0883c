"""The hops of a request and what protects each."""

from __future__ import annotations

from lbtop.inference.arriving import browser_signals
from lbtop.inference.identity import EVERYWHERE, ProductMarks, best_product, stands_between
from lbtop.inference.sockets import forwarded_everywhere
from lbtop.inference.weighing import Question
from lbtop.model.judgement import UNKNOWN, Mode, Verdict
from lbtop.model.snapshot import Hop
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.ledgers.handshakes import Negotiated
from lbtop.reconstruct.ledgers.heads import HTTPS

VERSIONS = {
    0x0002: "SSL 2.0", 0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", 0x0304: "TLS 1.3",
    0xFEFF: "DTLS 1.0", 0xFEFD: "DTLS 1.2", 0xFEFC: "DTLS 1.3",
}  # fmt: skip

CLIENT, CDN, PROXY, BALANCER, TARGET = "client", "cdn", "proxy", "load_balancer", "target"
CALLER = "caller"
"""Who opens the targets' connections, where nothing tells whether that is a balancer or a client."""
_OPEN = {"tls": "tls", "ssh": "tls", "plain": "plain", "quic": "tls", "datagrams": "plain"}


def version_name(number: int) -> str:
    """``TLS 1.3`` for 0x0304; the number itself where it has no name."""
    return VERSIONS.get(number, f"0x{number:04x}")


def negotiated_versions(leg: Negotiated) -> tuple[str, ...]:
    """Names of the versions negotiated on a leg, in order of age."""
    return tuple(version_name(key) for key, _ in leg.versions.items())


def hops(facts: ServiceFacts, arriving: str, verdict: Verdict[Mode], marks: ProductMarks) -> tuple[Hop, ...]:
    """From the client to the target. ``arriving``: what reaches the targets (tls, plain, quic, datagrams)."""
    shakes = facts.ledgers.handshakes
    last = _OPEN.get(arriving, "unknown") if verdict.candidates and len(verdict.candidates) < len(Mode) else "unknown"
    back_versions = negotiated_versions(shakes.back)
    direct = not has_balancer(facts, verdict.value) and best_product(marks)[0] == UNKNOWN
    if direct and verdict.value in (None, Mode.PASSTHROUGH, Mode.NONE):
        return (Hop(CALLER if facts.balancers else CLIENT, TARGET, last, True, back_versions),)
    front_seen = facts.pairs.front_connections > 0
    first, first_versions = _first_hop(facts, verdict, front_seen)
    near = Hop(BALANCER, TARGET, last, True, back_versions)
    if marks.cdns and any(product not in marks.cdns for product in marks.scores):
        outer = "tls" if browsers_over_tls(facts) or first == "tls" else "unknown"
        return (
            Hop(CLIENT, CDN, outer, False),
            Hop(CDN, BALANCER, first, front_seen, first_versions),
            near,
        )
    if first == "plain" and front_seen and told_of_tls(facts, marks):
        # a proxy further out ended the clients' TLS and went on in clear: the hop in view is not the clients' own
        return (Hop(CLIENT, PROXY, "tls", False), Hop(PROXY, BALANCER, first, True, first_versions), near)
    return (Hop(CLIENT, BALANCER, first, front_seen, first_versions), near)


def told_of_tls(facts: ServiceFacts, marks: ProductMarks) -> bool:
    """Nearly every request says that its client came over TLS, in a proxy's company (a client alone may say anything)."""
    heads = facts.ledgers.heads
    company = forwarded_everywhere(facts) or bool(marks.headers_everywhere or marks.shapes_everywhere)
    return company and heads.requests > 0 and bool(heads.forwarded_proto[HTTPS] >= EVERYWHERE * heads.requests)


def browsers_over_tls(facts: ServiceFacts) -> bool:
    """Browsers say, by what they only do over HTTPS, that their own hop was TLS."""
    question = Question("tls_front", "tls", "plain")
    browser_signals(facts, question)
    return question.probability >= 0.8


def has_balancer(facts: ServiceFacts, mode: Mode | None) -> bool:
    """Something distributes: a known balancer address, a front in view, PROXY headers, several targets for the same clients."""
    known = bool(facts.balancers) and stands_between(facts, mode)
    dealt = len(facts.targets) > 1 and not facts.chosen_by_name
    return known or dealt or bool(facts.vips or facts.pairs.front_connections or facts.ledgers.heads.proxies)


def _first_hop(facts: ServiceFacts, verdict: Verdict[Mode], seen: bool) -> tuple[str, tuple[str, ...]]:
    pairs = facts.pairs
    shakes = facts.ledgers.handshakes
    if seen and pairs.front_tls + pairs.front_plain:
        over_tls = pairs.front_tls >= pairs.front_plain
        if pairs.front_tls and pairs.front_plain and verdict.value in (Mode.OFFLOAD, Mode.L4_TLS, Mode.NONE):
            over_tls = verdict.value is not Mode.NONE  # both ways in: as most requests came
        return ("tls" if over_tls else "plain"), negotiated_versions(shakes.front)
    if verdict.value is Mode.NONE:
        return "plain", ()
    if verdict.value is Mode.PASSTHROUGH:
        return "tls", negotiated_versions(shakes.back)
    if verdict.value in (Mode.OFFLOAD, Mode.L4_TLS):
        return "tls", proxy_versions(facts)
    if verdict.value is Mode.BRIDGING:
        return "tls", ()
    return "unknown", ()


def proxy_versions(facts: ServiceFacts) -> tuple[str, ...]:
    """TLS versions of the clients' hop as PROXY headers tell them (``TLSv1.3`` becomes ``TLS 1.3``)."""
    names = [facts.strings[key].decode("latin-1") for key, _ in facts.ledgers.heads.proxy_tls.items()]
    known = {f"TLSv1.{minor}": f"TLS 1.{minor}" for minor in "0123"} | {"TLSv1": "TLS 1.0", "SSLv3": "SSL 3.0"}
    return tuple(sorted(known[name] for name in names if name in known))
