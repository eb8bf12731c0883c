"""Where TLS ends: bridging, passthrough, offload, TLS termination at layer 4, or none.

Logical proofs first, then weighed evidence (:mod:`lbtop.inference.weighing`). What arrives at the targets decides which
questions are open. TLS arrives: is it the balancer's own (bridging) or the clients' (passthrough)? Plaintext arrives: was
the hop before it TLS, and does the balancer read HTTP (offload) or not (TLS termination at layer 4)?
Where the answer stays open the verdict is `unknown`, with the candidates and with what would settle it.
"""

from __future__ import annotations

from collections.abc import Mapping

from lbtop.inference.arriving import Arrivals, arrivals, front_signals, layer_signals
from lbtop.inference.hellos import tls_signals
from lbtop.inference.hops import hops
from lbtop.inference.identity import ProductMarks, product_marks
from lbtop.inference.sockets import forwarded_everywhere
from lbtop.inference.weighing import PROOF, Question
from lbtop.model.address import ip_text
from lbtop.model.figures import percent, plural
from lbtop.model.judgement import DECISION_THRESHOLD, UNKNOWN, Evidence, Mode, Verdict
from lbtop.model.record import dataclass, replace
from lbtop.model.snapshot import Termination
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.ledgers.heads import HTTP, HTTPS

MIXED_SHARE, MIXED_CONNECTIONS = 0.02, 3
"""A service is mixed when this share and this number of data connections come in each of two modes (contract: Mode)."""

READ_AGAIN = 0.5
"""Of the connections of a readable front that feeds the targets at least this share shows requests again there."""
PART = 0.1
"""So much of the requests is a listener's; less may be what some clients write themselves."""
FEWEST_DUE = 3
"""So many hellos at the targets, none of them a front's: one may have come through a front that is not in view."""

CLIENTS_SIDE = "on the clients' side"

FEW_FAMILIES = 2
"""So few TLS stacks may be one client's: then it is no mirror of many."""


@dataclass(frozen=True, slots=True)
class Leaning:
    """Candidates for one kind of arrival, and what they rest on."""

    candidates: Mapping[Mode, float]
    evidence: tuple[Evidence, ...]
    settled_by: str | None


def infer_termination(facts: ServiceFacts) -> Termination:
    """The service's mode (its majority's), its hops, and connections per mode where it is mixed."""
    seen = arrivals(facts)
    marks = product_marks(facts)
    by_kind = _by_kind(seen)
    kind = max(by_kind, key=lambda name: by_kind[name])
    if seen.total == 0 and seen.clocked and bridging_question(facts).proven is None:
        leaning = _only_clocked(seen)
    elif seen.total == 0 and seen.clocked:
        leaning = _tls_arrives(facts, seen)
    elif by_kind[kind] == 0 or seen.opaque + seen.datagrams_opaque > 4 * by_kind[kind]:
        leaning = _nothing_readable(seen)
    else:
        leaning = _lean(kind, facts, marks, seen)
    verdict: Verdict[Mode] = Verdict(leaning.candidates, leaning.evidence, leaning.settled_by)
    if verdict.value is not None:
        verdict = Verdict(leaning.candidates, leaning.evidence, None)
    by_mode = _by_mode(kind, seen, facts, marks, verdict)
    return Termination(verdict, hops(facts, kind, verdict, marks), by_mode)


def _by_kind(seen: Arrivals) -> dict[str, int]:
    return {
        "tls": seen.tls,
        "plain": seen.plain,
        "ssh": seen.ssh,
        "quic": seen.datagrams_tls,
        "datagrams": seen.datagrams_plain,
    }


def _lean(kind: str, facts: ServiceFacts, marks: ProductMarks, seen: Arrivals) -> Leaning:
    if kind == "tls":
        return _tls_arrives(facts, seen)
    if kind == "plain":
        return _plain_arrives(facts, marks, seen)
    if kind == "ssh":
        detail = f"{seen.ssh} SSH connections: their encryption ends where they end"
        evidence = Evidence("ssh", "protocol", detail, Mode.PASSTHROUGH.value, PROOF)
        return Leaning(_candidates({Mode.PASSTHROUGH: 0.97, Mode.BRIDGING: 0.03}), (evidence,), None)
    if kind == "quic" and facts.vantage == "client" and facts.vantage_certain:
        return _behind_the_first_hop(CLIENTS_SIDE)
    if kind == "quic":
        detail = f"{seen.datagrams_tls} QUIC or DTLS flows: their encryption ends where they end"
        evidence = Evidence("encrypted-datagrams", "protocol", detail, Mode.PASSTHROUGH.value, PROOF)
        return Leaning(_candidates({Mode.PASSTHROUGH: 0.97, Mode.BRIDGING: 0.03}), (evidence,), None)
    detail = f"{seen.datagrams_plain} flows of a recognised clear datagram protocol"
    evidence = Evidence("clear-datagrams", "protocol", detail, Mode.NONE.value, PROOF)
    return Leaning(_candidates({Mode.NONE: 0.97, Mode.L4_TLS: 0.03}), (evidence,), None)


def _nothing_readable(seen: Arrivals) -> Leaning:
    number = seen.opaque + seen.datagrams_opaque
    settled = "a capture that holds the first bytes of connections (start it before they open, without a short snap length)"
    if number:
        detail = f"no protocol was recognised in {number} connections"
    elif seen.checks:
        detail = f"{seen.checks} health checks and no data connection: checks need not speak as clients do"
        settled = "a capture with clients' connections in it"
    else:
        detail = "no data connection is in view"
    evidence = Evidence("opaque", "protocol", detail)
    return Leaning(_candidates({mode: 1.0 for mode in Mode}), (evidence,), settled)


def _only_clocked(seen: Arrivals) -> Leaning:
    """TLS by the clock and nothing else: a balancer's health checks, or a monitor's questions. Neither speaks as clients do."""
    detail = f"all {seen.clocked} TLS connections were opened by the clock, as health checks and monitors do"
    evidence = Evidence("only-by-the-clock", "protocol", detail)
    candidates = _candidates({Mode.BRIDGING: 0.5, Mode.PASSTHROUGH: 0.5})
    return Leaning(candidates, (evidence,), "a capture with clients' connections in it")


def bridging_question(facts: ServiceFacts) -> Question:
    """TLS arrives: is it the balancer's own (yes: bridging) or the clients' (no: passthrough)?"""
    pairs = facts.pairs
    question = Question("bridging", Mode.BRIDGING.value, Mode.PASSTHROUGH.value)
    if pairs.hellos_front and pairs.hellos_back:
        least = min(pairs.hellos_front, pairs.hellos_back)
        if pairs.randoms_on_both:
            detail = f"{pairs.randoms_on_both} of {least} ClientHello.random values stand on both legs: the same hellos"
            question.prove("same-random", "client-hello", False, detail)
        elif (due := facts.ledgers.handshakes.due) >= FEWEST_DUE:
            detail = (
                f"none of {due} ClientHello.random values that reach the targets stands in front, where others came at the same "
                "time: two different sessions"
            )
            question.prove("different-random", "client-hello", True, detail)
    elif pairs.same_isn and pairs.same_isn >= 0.5 * pairs.front_connections:
        detail = f"{pairs.same_isn} connections keep their initial sequence number across the balancer: one TCP connection"
        question.prove("same-tcp", "tcp-stack", False, detail)
    tls_signals(facts, question)
    return question


def _tls_arrives(facts: ServiceFacts, seen: Arrivals) -> Leaning:
    question = bridging_question(facts)
    pairs = facts.pairs
    if question.proven is None and pairs.front_plain >= 3 and not pairs.front_tls:
        detail = f"{pairs.front_plain} plain connections in front, TLS to the targets: the balancer adds the encryption"
        candidates = _candidates({Mode.BRIDGING: 0.5, Mode.PASSTHROUGH: 0.25, Mode.NONE: 0.25})
        seen_in_front = Evidence("plain-in-tls-out", "front-leg", detail)
        return Leaning(candidates, (seen_in_front,), "nothing: plain in and TLS out is none of the modes, see the hops")
    if facts.vantage == "load_balancer" and facts.vantage_certain and not facts.vips and facts.clients_preserved:
        return _behind_the_first_hop("on the load balancer, and shows the clients' side of it only")
    if facts.vantage == "client":
        if facts.vantage_certain and not (pairs.paired or pairs.hellos_front):
            return _behind_the_first_hop(CLIENTS_SIDE)  # whose stacks arrive at the first hop is no question
        if question.proven is None and len(facts.ledgers.handshakes.families) <= FEW_FAMILIES:
            return _behind_the_first_hop(CLIENTS_SIDE, question.evidence())
    if facts.may_be_front_of and question.probability < DECISION_THRESHOLD:
        return _may_be_a_front(facts)
    candidates = _candidates({Mode.BRIDGING: question.probability, Mode.PASSTHROUGH: 1 - question.probability})
    evidence = question.evidence()
    if not len(facts.ledgers.handshakes.families) and question.proven is None:
        detail = f"{seen.tls} TLS connections without a client's hello in view: nothing to judge whose TLS it is by"
        if seen.clocked:
            detail += f" ({seen.clocked} others were opened by the clock, as health checks are)"
        settled = "a capture that holds TLS handshakes: start it before connections open"
        return Leaning(candidates, (Evidence("no-hello", "client-hello", detail), *evidence), settled)
    if question.probability > 0.5 and (facts.clients_preserved is True or facts.ledgers.heads.proxies > 0):
        detail = "the targets are told the clients' own addresses below HTTP: TLS is ended and begun again at layer 4"
        evidence = (*evidence, Evidence("layer-4-bridging", "addresses", detail, Mode.BRIDGING.value, None))
    settled = "the clients' side of the balancer: passthrough shows the same ClientHello.random on both sides, bridging never"
    if facts.clients_preserved is None and not pairs.front_connections:
        settled = f"whether there is a load balancer at all; if so, {settled}"
    return Leaning(candidates, evidence, settled)


def _behind_the_first_hop(where: str, evidence: tuple[Evidence, ...] = ()) -> Leaning:
    """What follows the clients' own hop is not in view."""
    candidates = _candidates({Mode.BRIDGING: 0.3, Mode.PASSTHROUGH: 0.3, Mode.OFFLOAD: 0.3, Mode.L4_TLS: 0.1})
    detail = f"the capture was taken {where}: TLS on this hop says nothing about the next"
    settled = "a capture at a target: what arrives there"
    return Leaning(candidates, (Evidence("first-hop-only", "vantage", detail), *evidence), settled)


def _may_be_a_front(facts: ServiceFacts) -> Leaning:
    """What arrives at a target arrives at a balancer's front just the same."""
    candidates = _candidates({Mode.PASSTHROUGH: 0.5, Mode.BRIDGING: 0.25, Mode.OFFLOAD: 0.2, Mode.L4_TLS: 0.05})
    callers = ", ".join(ip_text(facts.addresses[number]) for number in facts.may_be_front_of)
    if facts.may_be_front_of == (facts.targets[0][0],):
        detail = f"{callers} passes on what arrives at other ports: whether also what arrives here, nothing in view tells"
    else:
        detail = f"{callers} calls several servers, and nobody in view calls it: it may pass on what arrives here"
    settled = "what you know: is this a load balancer's address (--lb), or a target of its own (--target)"
    return Leaning(candidates, (Evidence("may-be-a-front", "addresses", detail),), settled)


def plain_questions(facts: ServiceFacts, marks: ProductMarks, seen: Arrivals) -> tuple[Question, Question]:
    """Plaintext arrives: was the clients' hop TLS, and does the balancer read HTTP?"""
    pairs = facts.pairs
    front = Question("tls_front", "tls", Mode.NONE.value)
    layer = Question("layer7", Mode.OFFLOAD.value, Mode.L4_TLS.value)
    if pairs.front_tls + pairs.front_plain:
        detail = f"in front, {pairs.front_tls} connections are TLS and {pairs.front_plain} readable"
        if _both_in_front(facts) and (share := _share_over_tls(facts)) is not None:
            detail += f"; {percent(share)} of what reaches the targets came over TLS"
            front.prove("front-leg-tls" if share >= 0.5 else "front-leg-plain", "front-leg", share >= 0.5, detail)
        elif _both_in_front(facts) and facts.ledgers.heads.requests and pairs.front_tls <= pairs.front_plain:
            detail += f"; of what the readable ones ask for only {plural(pairs.heads, 'request')} came to the targets"
            front.signal("readable-front-unseen", 1, detail)
        elif pairs.front_tls > pairs.front_plain:
            front.prove("front-leg-tls", "front-leg", True, detail)
        elif pairs.paired:
            front.prove("front-leg-plain", "front-leg", False, detail)
        else:
            front.signal("front-leg-unpaired", 1, detail + ", none of them paired with what arrives at the targets")
    elif pairs.same_isn and pairs.same_isn >= 0.5 * pairs.front_connections:
        detail = f"{pairs.same_isn} readable connections keep their initial sequence number across the balancer"
        front.prove("same-tcp", "tcp-stack", False, detail)
    if facts.vantage == "client" and len(facts.targets) == 1:
        front.signal("clients-own-hop", 1, "the capture was taken where the connections are opened, and they are readable there")
    front_signals(facts, marks, front, seen)
    layer_signals(facts, marks, layer, seen)
    return front, layer


def _both_in_front(facts: ServiceFacts) -> bool:
    pairs = facts.pairs
    return _counts(min(pairs.front_tls, pairs.front_plain), pairs.front_tls + pairs.front_plain)


def _share_over_tls(facts: ServiceFacts) -> float | None:
    """How much came over TLS where clients reach the balancer both ways; None where nothing tells.

    The requests themselves say so, or those of the readable front are seen again at the targets: one that only sends its clients
    elsewhere feeds nothing.
    """
    pairs, heads = facts.pairs, facts.ledgers.heads
    if not heads.requests:
        return None
    _, http, https, _ = heads.forwarded_proto.tolist()
    if https and (http or _silence_is_http(facts)):
        return float(https / heads.requests)
    if pairs.heads >= MIXED_CONNECTIONS and pairs.heads >= READ_AGAIN * pairs.front_plain:
        return pairs.front_tls / (pairs.front_tls + pairs.front_plain)
    return None


def _silence_is_http(facts: ServiceFacts) -> bool:
    """One proxy passes on all requests, and says https of a part of them: its plain listener does not say http."""
    heads = facts.ledgers.heads
    https = heads.forwarded_proto[HTTPS] / max(heads.requests, 1)
    said = (heads.forwarded_proto[HTTP] + heads.forwarded_proto[HTTPS]) / max(heads.requests, 1)
    return forwarded_everywhere(facts) and not heads.forwarded_proto[HTTP] and https >= PART and 1 - said >= PART


def _plain_arrives(facts: ServiceFacts, marks: ProductMarks, seen: Arrivals) -> Leaning:
    front, layer = plain_questions(facts, marks, seen)
    tls, http = front.probability, layer.probability
    candidates = _candidates({Mode.OFFLOAD: tls * http, Mode.L4_TLS: tls * (1 - http), Mode.NONE: 1 - tls})
    over_tls = Mode.OFFLOAD.value if http >= 0.5 else Mode.L4_TLS.value
    told = tuple(replace(item, favours=over_tls) if item.favours == front.yes else item for item in front.evidence())
    evidence = told + (layer.evidence() if tls >= 0.3 else ())
    return Leaning(candidates, _by_weight(evidence), _what_settles_plain(tls, http))


def _what_settles_plain(tls: float, http: float) -> str:
    if 1 - DECISION_THRESHOLD < tls < DECISION_THRESHOLD:
        told = "PROXY protocol v2 with TLS details" if http < 0.5 else "X-Forwarded-Proto on every request"
        return f"the clients' side of the balancer, or its listener's configuration: is their hop TLS? {told} would say so"
    return "the balancer's configuration: does its listener read HTTP, or pass bytes on?"


def _by_weight(evidence: tuple[Evidence, ...]) -> tuple[Evidence, ...]:
    """Proofs first, then the heaviest."""
    return tuple(sorted(evidence, key=lambda item: -(item.weight if item.weight is not None else 100.0)))


def _candidates(weights: Mapping[Mode, float]) -> dict[Mode, float]:
    """Probabilities that sum to 1, in the order of :class:`Mode`."""
    whole = sum(weights.values())
    return {mode: weights[mode] / whole for mode in Mode if weights.get(mode, 0.0) > 0}


def _by_mode(
    kind: str, seen: Arrivals, facts: ServiceFacts, marks: ProductMarks, verdict: Verdict[Mode]
) -> Mapping[str, int] | None:
    """Data connections per mode, where there are enough in two of them."""
    counts: dict[str, int] = {}
    for other, connections in _by_kind(seen).items():
        if not _counts(connections, seen.total):
            continue
        leaning = verdict if other == kind else Verdict(_lean(other, facts, marks, seen).candidates)
        for token, part in _split(other, leaning, connections, facts).items():
            counts[token] = counts.get(token, 0) + part
    counts = {token: part for token, part in counts.items() if token != UNKNOWN and _counts(part, seen.total)}
    return counts if len(counts) > 1 else None


def _counts(connections: int, total: int) -> bool:
    return connections >= MIXED_CONNECTIONS and connections >= MIXED_SHARE * total


def _split(kind: str, leaning: Verdict[Mode], connections: int, facts: ServiceFacts) -> dict[str, int]:
    """Plain connections by what their requests say of the client's hop; everything else is of one mode."""
    if kind == "plain":
        http, https = facts.ledgers.heads.connections_by_proto(_silence_is_http(facts))
        if _counts(http, connections) and _counts(https, connections):
            return {Mode.OFFLOAD.value: https, Mode.NONE.value: http}
        share = _share_over_tls(facts) if _both_in_front(facts) and not (http and https) else None
        if share is not None and _counts(round(min(share, 1 - share) * connections), connections):
            over_tls = max(Mode.OFFLOAD, Mode.L4_TLS, key=lambda mode: leaning.candidates.get(mode, 0.0))
            return {over_tls.value: round(share * connections), Mode.NONE.value: connections - round(share * connections)}
    return {leaning.token: connections}
