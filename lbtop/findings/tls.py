"""Findings about TLS itself: old versions, broken ciphers, certificates, and services that are of two minds."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import UTC, datetime

from lbtop import catalog
from lbtop.findings.commands import probe, tls
from lbtop.findings.exposure import hop_words
from lbtop.findings.rule import Context, rule
from lbtop.inference.hops import version_name
from lbtop.model.figures import percent, plural
from lbtop.model.judgement import Evidence, Finding, Mode, Severity
from lbtop.reconstruct.ledgers.handshakes import Negotiated

OLDEST = 0x0303
"""TLS 1.2: RFC 8996 deprecates what is older."""
DTLS_OLDEST = 0xFEFD
ENOUGH_CERTIFICATES = 2


def _weak(version: int, cipher: int) -> str | None:
    """Why this combination is weak; None where it is not."""
    old = version > DTLS_OLDEST if version >= 0xFE00 else version < OLDEST
    if old:
        return version_name(version)
    row = catalog.ciphers().get(cipher)
    return f"{row.name}: {row.broken}" if row and row.broken != "-" else None


@rule("weak-tls", Severity.WARNING, "a TLS version below 1.2 or a broken cipher is negotiated")
def weak_tls(context: Context) -> Iterator[Finding]:
    """TLS older than 1.2, or a broken cipher, is negotiated.

    What it means. TLS 1.0 and 1.1 are deprecated (RFC 8996): no authenticated encryption, SHA-1 in the handshake, fit for
    downgrade attacks, and forbidden by PCI DSS. RC4, 3DES, export, NULL and anonymous suites give little or no protection.

    How it is inferred. From server hellos: what was agreed on, not what was offered. One leg is judged at a time; health
    checks do not count.

    How to confirm. `openssl s_client` with the version forced, or the command below for the connections in this capture.

    How to mend. Raise the minimum version on whoever negotiates it: the balancer's listener for the clients' hop, the targets
    (or the balancer's client side) for the hop behind.
    """
    shakes = context.facts.ledgers.handshakes
    hops = context.service.termination.hops
    passthrough = context.service.termination.verdict.value is Mode.PASSTHROUGH
    for leg, hop in ((shakes.front, hops[0] if hops else None), (shakes.back, hops[-1] if hops else None)):
        if leg is shakes.front and passthrough:
            continue  # the same handshakes, seen before the balancer
        found = _weak_counts(leg)
        if not found or hop is None:
            continue
        count = sum(found.values())
        listed = ", ".join(f"{reason} ({number:,})" for reason, number in list(found.items())[:4])
        row = catalog.products().get(context.service.load_balancer.product)
        advice = ["raise the targets' minimum to TLS 1.2 and remove the broken ciphers"] if leg is shakes.back else []
        if row is not None and row.tls_policy != "-":
            advice.append(f"{row.label}: {row.tls_policy}")
        yield Finding(
            id="weak-tls",
            severity=Severity.WARNING,
            title=f"Weak TLS {hop_words(f'{hop.from_}->{hop.to}')}: {listed}",
            detail=f"{count:,} of {leg.versions.total:,} handshakes agreed on it.",
            service=context.service.service,
            evidence=(Evidence("negotiated", "server-hello", f"{listed} of {leg.versions.total:,} handshakes"),),
            advice=tuple(advice or ["raise the listener's minimum to TLS 1.2 and remove the broken ciphers"]),
            confirm=(
                tls(context, "tls.handshake.type == 2", ("ip.src", "tls.handshake.version", "tls.handshake.ciphersuite")),
                probe(context, "-tls1_1"),
            ),
            subject="front" if leg is shakes.front else "back",
        )


def _weak_counts(leg: Negotiated) -> dict[str, int]:
    """Handshakes per reason, the most frequent first."""
    found: dict[str, int] = {}
    for version, cipher, count in leg.cipher_counts():
        reason = _weak(version, cipher)
        if reason is not None:
            found[reason] = found.get(reason, 0) + count
    return dict(sorted(found.items(), key=lambda entry: (-entry[1], entry[0])))


@rule(
    "certificate-problem",
    Severity.WARNING,
    "a certificate in view is expired, not yet valid, or differs between targets",
)
def certificate_problem(context: Context) -> Iterator[Finding]:
    """A target's certificate is expired, not yet valid, or not the one its peers show.

    What it means. Clients (or a balancer that checks) refuse such a target: some requests fail and others do not, depending
    on where they land. Many balancers do not check at all, and nobody notices until one does.

    How it is inferred. Up to TLS 1.2 the certificate crosses in clear: its dates are compared with the time of the capture,
    and the targets of one service with each other. TLS 1.3 encrypts it: nothing can be said there.

    How to confirm. `openssl s_client -connect TARGET` and read the dates, target by target.

    How to mend. Renew and deploy the certificate to every target; a differing one is usually a target that missed the last
    deployment.
    """
    shakes = context.facts.ledgers.handshakes
    now = context.source.ended_ns
    by_target: dict[int, dict[int, int]] = {}
    for key, numbers in shakes.certificates.items():
        by_target.setdefault(key >> 32, {})[key & 0xFFFFFFFF] = numbers[0]
    names = [target.target for target in context.service.targets]
    for certificate, (not_before, not_after) in shakes.validity.items():
        where = [names[target] for target, shown in by_target.items() if certificate in shown and target < len(names)]
        if not where or not not_after:
            continue
        problem = None
        if not_after < now:
            problem = f"expired on {_day(not_after)}"
        elif not_before > now:
            problem = f"is not valid before {_day(not_before)}"
        if problem:
            yield _certificate(context, f"The certificate of {_listed(where)} {problem}", where, str(certificate))
    shown_by = {target: frozenset(shown) for target, shown in by_target.items() if sum(shown.values()) >= ENOUGH_CERTIFICATES}
    groups: dict[frozenset[int], list[int]] = {}
    for target, shown in shown_by.items():
        groups.setdefault(shown, []).append(target)
    apart = len(groups) > 1 and all(not (a & b) for a in groups for b in groups if a is not b)
    if apart and _several_share(groups):
        odd = [
            names[target] for shown, targets in groups.items() if len(targets) == 1 for target in targets if target < len(names)
        ]
        title = f"{_listed(odd)} show{'s' if len(odd) == 1 else ''} another certificate than the other targets"
        yield _certificate(context, title, odd, "differs")


def _several_share(groups: dict[frozenset[int], list[int]]) -> bool:
    """Some targets agree: one of their own each (as behind a balancer that does not check) is a habit, not a problem."""
    return any(len(targets) > 1 for targets in groups.values())


def _certificate(context: Context, title: str, where: list[str], subject: str) -> Finding:
    return Finding(
        id="certificate-problem",
        severity=Severity.WARNING,
        title=title,
        detail="Clients that check refuse it; which requests fail depends on the target they reach.",
        service=context.service.service,
        evidence=(Evidence("certificate", "certificate", title),),
        advice=("renew the certificate and deploy it to every target",),
        confirm=tuple(
            f"openssl s_client -connect {shlex.quote(target)} </dev/null 2>/dev/null | openssl x509 -noout -subject -dates"
            for target in where[:3]
        ),
        subject=subject,
    )


def _day(at_ns: int) -> str:
    try:
        return datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d")
    except (OverflowError, ValueError, OSError):
        return "a date out of range"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


@rule("mixed-termination", Severity.WARNING, "2 % and three data connections in each of two modes")
def mixed_termination(context: Context) -> Iterator[Finding]:
    """Some of a service's connections are protected differently from the others.

    What it means. One port takes two kinds of traffic: TLS for some clients and plaintext for others, or plaintext whose clients
    used TLS and plaintext whose clients did not. The weaker way is open to everybody, and often nobody knows that it is.

    How it is inferred. Per connection, health checks left out: a mode counts when at least 2 % and three of the data connections
    come in it.

    How to confirm. Count connections by their first bytes, or requests by X-Forwarded-Proto.

    How to mend. Redirect the plain listener to the encrypted one, or give each its own target port, so that policy can differ.
    """
    by_mode = context.service.termination.by_mode
    if not by_mode:
        return
    total = sum(by_mode.values())
    ordered = sorted(by_mode.items(), key=lambda entry: (-entry[1], entry[0]))
    listed = ", ".join(f"{mode} {percent(count / total)} ({plural(count, 'connection')})" for mode, count in ordered)
    yield Finding(
        id="mixed-termination",
        severity=Severity.WARNING,
        title=f"Two kinds of protection on one port: {listed}",
        detail=f"The verdict {context.service.termination.verdict.token} is not about all of port {context.service.port}.",
        service=context.service.service,
        evidence=(Evidence("by-mode", "connections", listed),),
        advice=("redirect the plain listener to the TLS one, or give each its own target port",),
        confirm=(tls(context, "tls.handshake.type == 1", ("ip.src", "tcp.srcport")),),
    )
