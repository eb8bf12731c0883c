"""What a finding's rule is. One function per finding; its docstring is its `lbtop explain` page."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lbtop.model.judgement import Finding, Severity
from lbtop.model.record import dataclass
from lbtop.model.snapshot import Service, SourceFrame
from lbtop.reconstruct.facts import ServiceFacts


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """Everything a rule may look at: one service as judged, and the facts behind it."""

    service: Service
    facts: ServiceFacts
    source: SourceFrame
    services: tuple[Service, ...]


Check = Callable[[Context], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class Rule:
    id: str
    severity: Severity  # the usual one; a finding may be raised (session-cookie-in-plaintext) or lowered
    summary: str  # "fires when …", one line
    check: Check

    @property
    def explanation(self) -> str:
        """What it means, how it is inferred, how to confirm it, how to mend it (the check's docstring)."""
        return self.check.__doc__ or ""


RULES: dict[str, Rule] = {}


def rule(id: str, severity: Severity, summary: str) -> Callable[[Check], Check]:
    """Registers a check. Importing the module that holds it is all that is needed (see findings/__init__.py)."""

    def register(check: Check) -> Check:
        if id in RULES:
            raise ValueError(f"finding {id} is registered twice")
        RULES[id] = Rule(id, severity, summary, check)
        return check

    return register
