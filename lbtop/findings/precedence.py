"""One fact fires one finding, the most specific (contract, end of the table of findings)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lbtop.model.judgement import Finding


class Precedence(NamedTuple):
    """Where one of ``specific`` fires, ``general`` does not: the same fact, said less well.

    ``same_subject``: only where both speak of the same target or address (or one of them of none in particular).
    ``within_s``: only where both happened, and within this time of each other (or one of them has no time).
    """

    specific: frozenset[str]
    general: str
    same_subject: bool = False
    within_s: float | None = None


PRECEDENCE: tuple[Precedence, ...] = (
    Precedence(
        frozenset({"nat-concentration", "heavy-client", "long-session-skew", "zone-imbalance", "affinity-remap"}),
        "hot-target",
    ),
    Precedence(frozenset({"target-gone", "target-flapping"}), "hot-target"),
    Precedence(frozenset({"target-flapping"}), "target-gone", same_subject=True),
    Precedence(frozenset({"target-gone", "target-flapping"}), "affinity-remap", within_s=60.0),
    Precedence(frozenset({"keepalive-race"}), "target-closes-first"),
    Precedence(frozenset({"idle-reset"}), "resets"),
    Precedence(frozenset({"keepalive-race"}), "resets"),
    Precedence(frozenset({"upstream-timeout"}), "resets"),
    Precedence(frozenset({"plaintext-backend-hop"}), "plaintext-end-to-end"),
    Precedence(frozenset({"stickiness-unsupported"}), "emergent-affinity"),
)


def most_specific(findings: Sequence[Finding]) -> list[Finding]:
    """The findings of one service without those that a more specific one already says. The order stays."""
    return [finding for finding in findings if not any(_says_it(finding, entry, findings) for entry in PRECEDENCE)]


def _says_it(finding: Finding, entry: Precedence, findings: Sequence[Finding]) -> bool:
    if finding.id != entry.general:
        return False
    return any(other.id in entry.specific and _same_fact(finding, other, entry) for other in findings)


def _same_fact(general: Finding, specific: Finding, entry: Precedence) -> bool:
    if entry.same_subject and general.subject and specific.subject and general.subject != specific.subject:
        return False
    if entry.within_s is None or general.at_ns is None or specific.at_ns is None:
        return True
    return abs(general.at_ns - specific.at_ns) <= entry.within_s * 1e9
