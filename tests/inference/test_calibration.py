"""Of the mechanisms given at 0.9, nine in ten are right: over simulated services of every kind, many with little to go by."""

from __future__ import annotations

import math

import numpy as np

from lbtop.model.judgement import Mechanism
from tests.inference.simulated import Requests, http_facts, pinned, sessions_of, stickiness
from tests.scoreboard import made_up

RUNS = 240
HIDDEN = frozenset({Mechanism.LB_COOKIE, Mechanism.APP_COOKIE})
TRUTHS: dict[str, frozenset[Mechanism]] = {
    "balancer's cookie": frozenset({Mechanism.LB_COOKIE}),
    "address": frozenset({Mechanism.SOURCE_IP}),
    "nothing": frozenset({Mechanism.NONE}),
    "a cookie that does nothing": frozenset({Mechanism.NONE}),
    "something out of view": HIDDEN,
}


def simulated(rng: np.random.Generator, truth: str) -> dict[Mechanism, float]:
    """The candidates for one service with this truth, of random size and shape."""
    users, each, targets = int(rng.integers(4, 60)), int(rng.integers(2, 12)), int(rng.integers(2, 6))
    at, user = sessions_of(rng, users, each)
    address = user // int(rng.choice([1, 2, 3, 8]))
    anew = rng.integers(0, targets, len(at))
    key = address if truth == "address" else user
    keeps = truth not in ("nothing", "a cookie that does nothing")
    target = np.where(rng.random(len(at)) < rng.choice([0, 0, 0.05, 0.1]), anew, pinned(rng, key, targets)) if keeps else anew
    brought = np.full(len(at), "cookie" in truth)
    brought[np.unique(user, return_index=True)[1]] = False
    return dict(stickiness(http_facts(Requests(at, user, address, target, brought), targets)).verdict.candidates)


def test_confidence_means_what_it_says() -> None:
    rng = np.random.default_rng(20)
    sure: list[bool] = []
    given: list[bool] = []
    score = 0.0
    for _ in range(RUNS):
        truth = str(rng.choice(list(TRUTHS)))
        candidates = simulated(rng, truth)
        best = max(candidates, key=lambda mechanism: candidates[mechanism])
        right = best in TRUTHS[truth]
        score += math.log(sum(p for mechanism, p in candidates.items() if mechanism in TRUTHS[truth])) / RUNS
        if candidates[best] >= 0.8:
            given.append(right)
        if candidates[best] >= 0.9:
            sure.append(right)
    assert len(given) > RUNS / 2
    assert np.mean(given) >= 0.9
    assert np.mean(sure) >= 0.95
    assert score > -0.4


def test_probabilities_mean_what_they_say_over_a_wider_crowd() -> None:
    """Three hundred services of sizes and habits drawn more widely: how often candidates of about one probability are true."""
    bins: dict[str, list[tuple[float, bool]]] = {"doubted": [], "given": [], "sure": []}
    for probability, true in made_up.services(300):
        name = "sure" if probability >= 0.95 else "given" if probability >= 0.8 else "doubted" if probability < 0.05 else ""
        if name:
            bins[name].append((probability, true))
    shares = {name: float(np.mean([true for _, true in entries])) for name, entries in bins.items()}
    print({name: (len(entries), round(shares[name], 3)) for name, entries in bins.items()})
    assert shares["sure"] >= 0.97
    assert shares["given"] >= 0.75
    assert shares["doubted"] <= 0.02
