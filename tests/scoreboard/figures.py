"""Figures over answers: macro-F1 with its interval, confusion, log score, reliability.

A scenario counts once: its captures share a weight of one, and the bootstrap draws scenarios. Where a capture cannot show the
truth (the truth is ``unknown``), a wrong verdict counts against the mode that was claimed; the right silence counts nowhere.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tests.scoreboard.heldout import scenarios
from tests.scoreboard.sights import Answer, Sight

DRAWS = 2000
FLOOR = 0.001  # the least probability the log score gives the truth, so that one miss does not drown all others
BINS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99, 1.0)


@dataclass(frozen=True, slots=True)
class Interval:
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, slots=True)
class Tally:
    """Weights per class of one scenario: rightly claimed, wrongly claimed, missed."""

    right: Mapping[str, float]
    claimed: Mapping[str, float]
    missed: Mapping[str, float]


def tally(sights: Sequence[Sight], question: str) -> Tally:
    right: Counter[str] = Counter()
    claimed: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    answers = [answer for sight in sights for answer in sight.answers[question]]
    for answer in answers:
        weight = 1 / len(answers)
        if answer.right:
            if answer.said != "unknown":
                right[answer.said if answer.truth == "unknown" else answer.truth] += weight
            continue
        if answer.said != "unknown":
            claimed[answer.said] += weight
        if answer.truth != "unknown":
            missed[answer.truth] += weight
    return Tally(right, claimed, missed)


def macro_f1(tallies: Iterable[Tally]) -> float:
    """The mean over classes of the harmonic mean of precision and recall; classes that neither occur nor are claimed left out."""
    right: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    for one in tallies:
        right.update(one.right)
        errors.update(one.claimed)
        errors.update(one.missed)
    classes = {name for name, weight in (right + errors).items() if weight > 0}
    return sum(2 * right[name] / (2 * right[name] + errors[name]) for name in classes) / len(classes) if classes else math.nan


def f1(sights: Iterable[Sight], question: str, seed: int = 1) -> Interval:
    """Macro-F1 with its 95 % interval from drawing scenarios with replacement."""
    tallies = [tally(members, question) for members in scenarios(sights).values()]
    rng = np.random.default_rng(seed)
    draws = [macro_f1([tallies[i] for i in rng.integers(0, len(tallies), len(tallies))]) for _ in range(DRAWS)]
    low, high = np.nanquantile(draws, [0.025, 0.975]).tolist()
    return Interval(macro_f1(tallies), low, high)


def share(values: Mapping[str, Sequence[bool]], seed: int = 1) -> Interval:
    """Mean over scenarios of the share that holds, with its 95 % bootstrap interval."""
    means = np.array([np.mean(flags) for flags in values.values() if flags])
    if not len(means):
        return Interval(math.nan, math.nan, math.nan)
    rng = np.random.default_rng(seed)
    draws = means[rng.integers(0, len(means), (DRAWS, len(means)))].mean(1)
    low, high = np.quantile(draws, [0.025, 0.975]).tolist()
    return Interval(float(means.mean()), low, high)


def exact(right: int, asked: int, level: float = 0.95) -> Interval:
    """A share with its exact binomial interval (Clopper and Pearson 1934): what a run without error still allows."""

    def tail(p: float, least: int) -> float:
        return sum(math.comb(asked, k) * p**k * (1 - p) ** (asked - k) for k in range(least, asked + 1))

    def solve(least: int, mass: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if tail(middle, least) < mass else (low, middle)
        return low

    if not asked:
        return Interval(math.nan, math.nan, math.nan)
    edge = (1 - level) / 2
    low = solve(right, edge) if right else 0.0
    high = solve(right + 1, 1 - edge) if right < asked else 1.0
    return Interval(right / asked, low, high)


def without_error(sights: Iterable[Sight], question: str) -> Interval:
    """The share of scenarios all of whose captures are answered rightly."""
    found = [
        all(answer.right for sight in members for answer in sight.answers[question]) for members in scenarios(sights).values()
    ]
    return exact(sum(found), len(found))


def confusion(sights: Iterable[Sight], question: str) -> dict[str, Counter[str]]:
    """What was said by what is true, in captures; an accepted answer stands on its own row."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for sight in sights:
        for answer in sight.answers[question]:
            truth = answer.truth if answer.truth != "unknown" or not answer.right else "unknown"
            said = answer.truth if answer.right and answer.truth != "unknown" and answer.said != "unknown" else answer.said
            table[truth][said] += 1
    return dict(table)


def settled(sights: Iterable[Sight], question: str) -> list[tuple[Sight, Answer]]:
    """Answers whose truth is known, whether or not it can be seen."""
    return [(sight, answer) for sight in sights for answer in sight.answers[question] if answer.true_values and answer.candidates]


def log_score(sights: Iterable[Sight], question: str) -> float:
    """Mean log probability of the truth, in nats per scenario; 0 is certainty."""
    by_scenario: dict[str, list[float]] = defaultdict(list)
    for sight, answer in settled(sights, question):
        probability = sum(answer.candidates.get(value, 0.0) for value in answer.true_values)
        by_scenario[sight.scenario].append(math.log(max(FLOOR, probability)))
    return sum(sum(logs) / len(logs) for logs in by_scenario.values()) / len(by_scenario) if by_scenario else math.nan


@dataclass(frozen=True, slots=True)
class Bin:
    low: float
    high: float
    count: int
    said: float  # mean probability
    right: float  # share that was true


def reliability(pairs: Iterable[tuple[float, bool]], edges: Sequence[float] = BINS) -> list[Bin]:
    """Probabilities against how often they were right, by bin; empty bins are left out."""
    rows = sorted(pairs)
    bins = []
    for low, high in itertools.pairwise(edges):
        mine = [(said, right) for said, right in rows if low <= said < high or (high == edges[-1] and said == high)]
        if mine:
            said, right = (float(np.mean(column)) for column in zip(*mine, strict=True))
            bins.append(Bin(low, high, len(mine), said, right))
    return bins


def readings(candidates: Mapping[str, float], true_values: Collection[str]) -> list[tuple[float, bool]]:
    """Probabilities with whether they were the truth; readings that are equally true, as nobody can tell them apart, are one."""
    rows = [(p, False) for value, p in candidates.items() if value not in true_values]
    return [*rows, (sum(candidates.get(value, 0.0) for value in true_values), True)]


def best_candidates(sights: Iterable[Sight], question: str) -> list[tuple[float, bool]]:
    """The best reading's probability and whether it was the truth."""
    return [max(readings(answer.candidates, answer.true_values)) for _, answer in settled(sights, question)]
