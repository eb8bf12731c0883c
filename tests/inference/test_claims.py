"""Two claims about chance, each over four hundred simulated services."""

from __future__ import annotations

import numpy as np

from lbtop.inference.balance import infer_skew
from lbtop.model.judgement import Mechanism
from tests.inference.simulated import Requests, http_facts, pinned, sessions_of, stickiness

RUNS = 400


def test_a_healthy_sticky_service_is_called_skewed_at_most_one_time_in_twenty() -> None:
    """60 sessions of 20 requests on 3 targets: a plain multinomial test on requests would cry skew three times in four."""
    called = plain = 0
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        at, user = sessions_of(rng, 60, 20)
        target = pinned(rng, user)
        facts = http_facts(Requests(at, user, user, target, np.ones(len(at), bool)))
        skew = infer_skew(facts, stickiness(facts))
        assert skew is not None and skew.metric == "requests"
        called += skew.significant
        counts = np.bincount(target, minlength=3)
        plain += float(((counts - 400.0) ** 2 / 400.0).sum()) > 9.21  # chi-square, 2 degrees of freedom, p < 0.01
    assert called <= RUNS / 20
    assert plain >= 0.7 * RUNS
    print(f"called skewed {called} of {RUNS}, by a plain multinomial test {plain}")


def test_a_random_balancer_through_a_deploy_has_an_interval_that_holds_zero() -> None:
    """Three targets replaced by three others: pooled shares would give +0.17. Nineteen intervals in twenty should hold 0."""
    held, values, named = 0, [], 0
    for seed in range(RUNS):
        rng = np.random.default_rng(1000 + seed)
        at, user = sessions_of(rng, 60, 20)
        target = rng.integers(0, 3, len(at)) + np.where(at > np.median(at), 3, 0)
        found = stickiness(http_facts(Requests(at, user, user, target, np.zeros(len(at), bool)), 6))
        assert found.affinity is not None and found.affinity_interval is not None
        held += found.affinity_interval[0] <= 0 <= found.affinity_interval[1]
        values.append(found.affinity)
        named += found.verdict.value is Mechanism.NONE
    print(f"{held} of {RUNS} intervals hold 0, mean affinity {np.mean(values):+.4f}, none {named}")
    assert held >= 0.92 * RUNS
    assert abs(float(np.mean(values))) < 0.01
    assert named >= 0.99 * RUNS
