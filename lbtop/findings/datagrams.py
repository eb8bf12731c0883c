"""Findings about services that speak in datagrams."""

from __future__ import annotations

from collections.abc import Iterator

from lbtop.findings.commands import tshark
from lbtop.findings.rule import Context, rule
from lbtop.findings.words import plural
from lbtop.model.judgement import Evidence, Finding, Mechanism, Severity

MOSTLY = 0.5
FLOWS = 10
MOVED = 3
FLOW_FIELDS = ("ip.src", "udp.srcport", "ip.dst")


@rule("udp-affinity", Severity.INFO, "a datagram service depends on flow-hash affinity")
def udp_affinity(context: Context) -> Iterator[Finding]:
    """Clients of a datagram service keep their target by the hash of their flows alone.

    What it means. Datagrams have no connection that a balancer could follow: it hashes addresses (and perhaps ports), and
    forgets a flow after two minutes of silence. State that targets keep about clients depends on that hash: a change of
    targets, a new address or port of the client, and it is gone.

    How it is inferred. More than half of the service's connections are flows of datagrams (not QUIC, which carries its own
    connection ids), and clients return to their target far beyond chance, by their address.

    How to confirm. Count targets per client address.

    How to mend. Keep the state outside the targets, or accept it: a consistent hash limits what a change of targets moves.
    """
    ledger = context.facts.ledgers.datagrams
    sticky = context.service.stickiness
    if ledger.flows < FLOWS or ledger.flows < MOSTLY * ledger.connections or len(ledger.quic) >= MOSTLY * ledger.flows:
        return
    if sticky is None or sticky.verdict.value is not Mechanism.SOURCE_IP:
        return
    yield Finding(
        id="udp-affinity",
        severity=Severity.INFO,
        title=f"{plural(ledger.flows, 'datagram flow')}: clients keep their target by the hash of their address alone",
        detail="A silent flow is forgotten (by an NLB after 120 s), and a change of targets moves clients without a sign.",
        service=context.service.service,
        evidence=sticky.verdict.evidence[:3],
        advice=("keep what targets know about clients outside of them, or use a consistent hash",),
        confirm=(tshark(context, f"udp.port == {context.service.port}", FLOW_FIELDS) + " | sort | uniq -c",),
    )


@rule("quic-migration-lost", Severity.WARNING, "QUIC connections die when their port or address changes")
def quic_migration_lost(context: Context) -> Iterator[Finding]:
    """QUIC connections do not survive a change of port or address.

    What it means. QUIC lets a connection move to another network or port; a balancer that hashes addresses and
    ports sends it to a target that does not know it. Phones and NATs do this all the time.

    How it is inferred. Flows to a QUIC service that begin without a handshake, from an address that had a
    connection: it went on from another port. Those that get no answer, or at most a few stateless resets, died; at
    least three, and half of them.

    How to confirm. Look for flows without an Initial packet.

    How to mend. Balance by connection id (QUIC-LB, an NLB's QUIC listener with server ids), or by source address.
    """
    moved, lost = context.facts.ledgers.datagrams.moved()
    if lost < MOVED or lost < MOSTLY * moved:
        return
    yield Finding(
        id="quic-migration-lost",
        severity=Severity.WARNING,
        title=f"{lost} of {plural(moved, 'QUIC connection')} died when they went on from another port",
        detail="Their datagrams reached a target that does not know them and were not answered.",
        service=context.service.service,
        evidence=(Evidence("migration", "quic", f"{lost} of {moved} flows without a handshake were not answered"),),
        advice=("balance QUIC by connection id (an NLB's QUIC listener with server ids) or by source address",),
        confirm=(
            tshark(context, f"udp.port == {context.service.port} && !quic.long.packet_type", ("ip.src", "udp.srcport", "ip.dst")),
        ),
    )
