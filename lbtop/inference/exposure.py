"""Who can read a service's traffic, and which classes of secret they would find in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lbtop import catalog
from lbtop.inference.hops import CLIENT, version_name
from lbtop.model.observation import Interner, SecretKind
from lbtop.model.snapshot import Exposure, Hop, Sensitive, Termination, TlsFacts
from lbtop.model.text import SafeText, safe_text
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.ledgers.exposure import BACK, CLEAR, DIRECT, ENCRYPTED, FRONT
from lbtop.reconstruct.ledgers.handshakes import Negotiated
from lbtop.reconstruct.ledgers.tally import Tally

LISTED = 20
"""At most so many fingerprints and names, the most frequent ones."""


def infer_exposure(facts: ServiceFacts, termination: Termination) -> Exposure:
    """Bytes and connections of the last leg by readability; secrets by class and hop; what TLS negotiated.

    TLS facts are of the hop next to the targets where that is TLS, else of the clients' hop where it is in view.
    """
    ledger = facts.ledgers.exposure
    shakes = facts.ledgers.handshakes
    clear, encrypted = [int(protocol) for protocol in CLEAR], [int(protocol) for protocol in ENCRYPTED]
    return Exposure(
        plaintext_bytes=int(ledger.bytes[BACK, clear].sum()),
        tls_bytes=int(ledger.bytes[BACK, encrypted].sum()),
        plaintext_connections=ledger.readable(BACK),
        tls_connections=ledger.encrypted(BACK),
        sensitive=tuple(_sensitive(facts, termination)),
        tls=_tls(shakes.back if shakes.back.hellos else shakes.front, facts.strings),
    )


def _sensitive(facts: ServiceFacts, termination: Termination) -> Iterator[Sensitive]:
    """In order of hop, then of kind."""
    hops = termination.hops
    found = list(facts.ledgers.exposure.found(apart=beside_the_balancer(facts, hops)))
    for leg in (FRONT, BACK, DIRECT):
        hop = hops[max(len(hops) - 2, 0)] if leg == FRONT else hops[-1]
        where = f"{hop.from_}->{hop.to}" if leg != DIRECT else f"{CLIENT}->{hop.to}"
        for of_leg, kind, count, distinct, first_ns, last_ns in found:
            if of_leg == leg:
                yield Sensitive(secret_name(kind), count, distinct, where, first_ns, last_ns)


def beside_the_balancer(facts: ServiceFacts, hops: tuple[Hop, ...]) -> bool:
    """Whether its nodes are known, so that whoever else opens connections is a client of his own."""
    return facts.clients_preserved is False and bool(facts.balancers) and len(hops) > 1


def secret_name(kind: int) -> str:
    """The contract's word for a class of secret."""
    return SecretKind(kind).name.lower()


def _tls(leg: Negotiated, strings: Interner) -> TlsFacts:
    ciphers: dict[str, int] = {}
    for _, cipher, count in leg.cipher_counts():
        name = catalog.cipher_name(cipher)
        ciphers[name] = ciphers.get(name, 0) + count
    return TlsFacts(
        versions={version_name(key): numbers[0] for key, numbers in leg.versions.items()},
        ja4=_most(leg.ja4, strings),
        sni=_most(leg.sni, strings),
        alpn=_most(leg.alpn, strings),
        resumption_offered=leg.offered,
        resumption_accepted=leg.accepted,
        ciphers=ciphers,
    )


def _most(tally: Tally, strings: Interner) -> Mapping[SafeText, int]:
    named = [(safe_text(strings[key]), count) for key, count in tally.top(LISTED)]
    return dict(sorted(named, key=lambda entry: (-entry[1], entry[0])))
