"""Findings: one function per rule, in the modules below; the worst first, one per fact.

Importing this package registers every rule. Adding one is writing one function under ``@rule``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module

from lbtop.findings.capture import whole_input
from lbtop.findings.precedence import most_specific
from lbtop.findings.rule import RULES, Context, Rule
from lbtop.model.judgement import Finding
from lbtop.model.observation import SourceStats
from lbtop.model.record import replace
from lbtop.model.snapshot import SourceFrame

__all__ = ["RULES", "Context", "Rule", "find"]

for _module in ("capture", "tls", "exposure", "affinity", "load", "targets", "time", "datagrams"):
    import_module(f"lbtop.findings.{_module}")


def find(contexts: Sequence[Context], source: SourceFrame | None = None, stats: SourceStats | None = None) -> tuple[Finding, ...]:
    """Every finding of every service, the worst first; equal ones in the order of services, rules and subjects.

    A rule about the whole input (its finding's ``service`` is None) is reported once however many services there are;
    ``source`` and ``stats`` are asked where there is none at all.
    """
    if not contexts and source is not None and stats is not None:
        return tuple(whole_input(source, stats))
    found: list[tuple[int, int, Finding]] = []
    seen: set[tuple[str, str | None, str]] = set()
    for place, context in enumerate(contexts):
        findings = [finding for rule in RULES.values() for finding in rule.check(context)]
        for order, finding in enumerate(most_specific(findings)):
            key = (finding.id, finding.service, finding.subject)
            if key not in seen:
                seen.add(key)
                found.append((place, order, finding))
    found.sort(key=lambda entry: (entry[2].severity.rank, entry[0], entry[1]))
    return tuple(finding for _, _, finding in found)


def accept(findings: Sequence[Finding], accepted: Iterable[str]) -> tuple[Finding, ...]:
    """The same findings, those named by ``ID`` or ``ID@service`` marked as accepted."""
    names = frozenset(accepted)
    return tuple(
        replace(finding, accepted=True) if finding.id in names or f"{finding.id}@{finding.service}" in names else finding
        for finding in findings
    )
