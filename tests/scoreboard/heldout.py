"""Every capture judged with weights that were fitted without its balancer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from lbtop.inference.weighing import weights
from scripts.fit_weights import ANSWERS, WEIGHTS, Case, cases, fitted
from tests.corpus import Capture
from tests.scoreboard.sights import Sight, Weights, by_family, judged, weighed


def without(family: str, every: list[Case]) -> Weights:
    """The weights as they are when nothing of this balancer is known; signals that are not fitted keep theirs."""
    rows = [line.split("\t") for line in WEIGHTS.read_text("utf-8").splitlines() if not line.startswith("#")][1:]
    result = dict(weights())
    for question in ANSWERS:
        names = [row[2] for row in rows if row[0] == question]
        prior = np.array([float(row[3]) for row in rows if row[0] == question])
        chosen = [case for case in every if case.question == question and case.balancer.split("-")[0] != family]
        for name, value in zip(names, fitted(chosen, names, prior), strict=True):
            result[question, name] = round(float(value), 2)
    return result


def judge_all(captures: Iterable[Capture]) -> list[Sight]:
    """One sight per capture, by name; committed and unseen captures alike."""
    every = cases()
    sights = []
    for family, members in sorted(by_family(captures).items()):
        with weighed(without(family, every)):
            sights += [judged(capture) for capture in members]
    return sorted(sights, key=lambda sight: (sight.group, sight.name))


def scenarios(sights: Iterable[Sight]) -> dict[str, list[Sight]]:
    """Captures by the recording they come from: rewrites and other vantages of it are one scenario."""
    found: dict[str, list[Sight]] = defaultdict(list)
    for sight in sights:
        found[sight.scenario].append(sight)
    return dict(found)
