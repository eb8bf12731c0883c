"""Weighing evidence: signals of one cause share one capped weight, and the sum is a log-odds.

A question has two answers. Every signal says how far it is there (strength 0 to 1) and the table of weights how much
it then speaks for *yes* (positive) or *no* (negative), in natural log-odds. Signals of one group come from the same cause:
their sum is capped, or one cause would manufacture certainty. A proof is outside all this and settles the question.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

from lbtop.model.judgement import Evidence
from lbtop.model.record import dataclass, field

PROOF = 8.0
"""Log-odds of a logical proof: 0.9997. Not 1: captures lie, and an address can be renumbered."""

_WEIGHTS = Path(__file__).parent / "weights.tsv"


@cache
def weights() -> dict[tuple[str, str], float]:
    """(question, signal) -> log-odds; a question's prior is the signal ``prior``."""
    return {key: value for key, (_, value) in _rows().items()}


@cache
def groups() -> dict[tuple[str, str], str]:
    """(question, signal) -> group."""
    return {key: group for key, (group, _) in _rows().items()}


@cache
def _rows() -> dict[tuple[str, str], tuple[str, float]]:
    lines = [line for line in _WEIGHTS.read_text("utf-8").splitlines() if line and line[0] != "#"]
    cells = [line.split("\t") for line in lines[1:]]
    return {(question, signal): (group, float(weight)) for question, group, signal, _, weight in cells}


CAP = 5.0
"""What one group can say at most: 0.993 by itself."""
CAPS = {("bridging", "one-stack"): 2.0}
"""Groups that can say less. One TLS stack that names no server, resumes and keeps connections is a balancer's, seldom that of a
single program that calls the targets by their addresses: 0.88 at most. With a name it is as often the one as the other."""


@dataclass(slots=True, eq=False)
class Question:
    """Evidence for and against one yes-or-no question. ``yes`` and ``no`` are what the evidence favours, for display."""

    name: str
    yes: str
    no: str
    signals: dict[str, tuple[float, str]] = field(default_factory=dict)  # signal -> strength, detail
    proofs: list[Evidence] = field(default_factory=list)

    def signal(self, name: str, strength: float | bool, detail: str) -> None:
        """Notes a signal that is there to some degree; nothing at strength 0."""
        if (self.name, name) not in weights():
            raise ValueError(f"{self.name}: no weight for the signal {name}")
        if strength > 0:
            self.signals[name] = (min(float(strength), 1.0), detail)

    def prove(self, name: str, group: str, answer: bool, detail: str) -> None:
        """Settles the question. Proofs that contradict each other settle nothing: one of them rests on a mistake."""
        self.proofs.append(Evidence(name, group, detail, self.yes if answer else self.no, None))

    @property
    def proven(self) -> bool | None:
        """The answer, where proofs agree on one."""
        answers = {proof.favours for proof in self.proofs}
        return next(iter(answers)) == self.yes if len(answers) == 1 else None

    def contributions(self) -> dict[str, float]:
        """What each signal adds to the log-odds after its group's cap."""
        raw = {name: strength * weights()[self.name, name] for name, (strength, _) in self.signals.items()}
        totals: dict[str, float] = {}
        for name, value in raw.items():
            group = groups()[self.name, name]
            totals[group] = totals.get(group, 0.0) + value
        caps = {group: CAPS.get((self.name, group), CAP) for group in totals}
        scales = {group: min(1.0, caps[group] / abs(total)) if total else 1.0 for group, total in totals.items()}
        return {name: value * scales[groups()[self.name, name]] for name, value in raw.items()}

    @property
    def log_odds(self) -> float:
        if self.proven is not None:
            return PROOF if self.proven else -PROOF
        return weights().get((self.name, "prior"), 0.0) + sum(self.contributions().values())

    @property
    def probability(self) -> float:
        """That the answer is yes."""
        return 1.0 / (1.0 + math.exp(-self.log_odds))

    def evidence(self) -> tuple[Evidence, ...]:
        """Proofs, then the signals, the heaviest first."""
        shares = self.contributions()
        weighed = [
            Evidence(
                name, groups()[self.name, name], self.signals[name][1], self.yes if share > 0 else self.no, round(abs(share), 2)
            )
            for name, share in sorted(shares.items(), key=lambda entry: (-abs(entry[1]), entry[0]))
        ]
        return (*self.proofs, *weighed)
