"""Affinity and mechanism, by simulation: what each balancer does is known, what must be said of it, too."""

from __future__ import annotations

import numpy as np
import pytest

from lbtop.model.judgement import Mechanism, Mode
from tests.inference.simulated import Requests, http_facts, pinned, sessions_of, stickiness, tcp_facts


@pytest.mark.parametrize("shares", [(1, 1, 1), (8, 1, 1), (5, 4, 1)])
def test_unequal_shares_give_a_random_balancer_no_affinity(shares: tuple[int, ...]) -> None:
    values = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        at, user = sessions_of(rng, 80, 15)
        target = rng.choice(3, len(at), p=np.array(shares) / sum(shares))
        found = stickiness(http_facts(Requests(at, user, user, target, np.zeros(len(at), bool))))
        values.append(found.affinity)
    assert abs(float(np.mean(np.array(values, float)))) < 0.05


def test_intervals_hold_the_truth_nine_times_in_ten() -> None:
    """Keys that keep their target with probability a and are dealt anew otherwise, some more faithful than others."""
    held = total = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        at, user = sessions_of(rng, 40, 12)
        faithful = np.where(rng.random(40) < 0.7, 0.9, 0.2)
        truth = 0.7 * 0.9 + 0.3 * 0.2
        target = np.zeros(len(at), np.int64)
        last = rng.integers(0, 3, 40)
        for i, u in enumerate(user):
            if rng.random() > faithful[u]:
                last[u] = rng.integers(0, 3)
            target[i] = last[u]
        found = stickiness(http_facts(Requests(at, user, user, target, np.zeros(len(at), bool))))
        assert found.affinity_interval is not None
        held += found.affinity_interval[0] <= truth <= found.affinity_interval[1]
        total += 1
    assert held >= 0.88 * total


def test_round_robin_is_negative_and_named() -> None:
    rng = np.random.default_rng(5)
    at, user = np.arange(900) * 0.05, np.arange(900) // 9
    found = stickiness(http_facts(Requests(at, user, user, np.arange(900) % 3, np.zeros(900, bool))))
    assert found.affinity is not None and found.affinity < 0
    assert found.balancing == "round_robin" and found.verdict.value is Mechanism.NONE
    at, user = sessions_of(rng, 60, 20)
    found = stickiness(http_facts(Requests(at, user, user, rng.integers(0, 3, len(at)), np.zeros(len(at), bool))))
    assert found.balancing == "random_like"


def users_behind_addresses(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    at, user = sessions_of(rng, 60, 15)
    return at, user, user // 3


def test_a_balancers_cookie_that_works() -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        at, user, address = users_behind_addresses(rng)
        brought = np.ones(len(at), bool)
        brought[np.unique(user, return_index=True)[1]] = False
        found = stickiness(http_facts(Requests(at, user, address, pinned(rng, user), brought)))
        assert found.verdict.value is Mechanism.LB_COOKIE and found.cookie == "AWSALB"
        assert found.affinity == pytest.approx(1.0)


def test_a_balancers_cookie_that_comes_back_and_does_nothing() -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        at, user, address = users_behind_addresses(rng)
        found = stickiness(http_facts(Requests(at, user, address, rng.integers(0, 3, len(at)), np.ones(len(at), bool))))
        assert found.verdict.value is Mechanism.NONE and found.cookie == "AWSALB"


def test_clients_that_ignore_the_cookie_are_measured_apart() -> None:
    rng = np.random.default_rng(6)
    at, user, address = users_behind_addresses(rng)
    ignores = user % 4 == 0
    target = np.where(ignores, rng.integers(0, 3, len(at)), pinned(rng, user))
    found = stickiness(http_facts(Requests(at, user, address, target, ~ignores)))
    assert found.verdict.value is Mechanism.LB_COOKIE and found.affinity == pytest.approx(1.0)
    by_key = {entry.key: entry for entry in found.by_key}
    assert (by_key["cookie:JSESSIONID"].affinity or 0) < 0.9


def test_source_address_wins_only_by_separating_evidence() -> None:
    rng = np.random.default_rng(7)
    at, user, address = users_behind_addresses(rng)
    found = stickiness(http_facts(Requests(at, user, address, pinned(rng, address), np.zeros(len(at), bool))))
    assert found.verdict.value is Mechanism.SOURCE_IP and found.key == "forwarded_for"
    alone = stickiness(http_facts(Requests(at, user, user, pinned(rng, user), np.zeros(len(at), bool))))
    assert alone.verdict.value is None  # one user per address: session and address tie
    assert {m for m, p in alone.verdict.candidates.items() if p > 0.1} >= {Mechanism.SOURCE_IP, Mechanism.LB_COOKIE}
    assert alone.verdict.settled_by


def test_sessions_pinned_without_a_cookie_in_view_stay_undecided() -> None:
    """A stripped balancer cookie and a table over the application's look alike from the targets."""
    rng = np.random.default_rng(8)
    at, user, address = users_behind_addresses(rng)
    found = stickiness(http_facts(Requests(at, user, address, pinned(rng, user), np.zeros(len(at), bool))))
    assert found.verdict.value is None
    likely = {m for m, p in found.verdict.candidates.items() if p > 0.2}
    assert likely == {Mechanism.LB_COOKIE, Mechanism.APP_COOKIE}


def test_layer_four() -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        at = np.sort(rng.uniform(0, 60, 600))
        address = rng.integers(0, 80, 600)
        found = stickiness(tcp_facts(at, address, pinned(rng, address)), Mode.PASSTHROUGH)
        assert found.verdict.value is Mechanism.SOURCE_IP and found.balancing == "hash"
        found = stickiness(tcp_facts(at, address, rng.integers(0, 3, 600)), Mode.PASSTHROUGH)
        assert found.verdict.value is Mechanism.NONE


def test_one_target_alone_measures_no_affinity() -> None:
    rng = np.random.default_rng(9)
    at = np.sort(rng.uniform(0, 60, 300))
    found = stickiness(tcp_facts(at, rng.integers(0, 40, 300), np.zeros(300, np.int64), 1), Mode.PASSTHROUGH)
    assert found.affinity is None and found.affinity_interval is None and found.verdict.value is None
    assert found.verdict.settled_by and "second target" in found.verdict.settled_by


def test_candidates_are_probabilities() -> None:
    rng = np.random.default_rng(10)
    at, user, address = users_behind_addresses(rng)
    found = stickiness(http_facts(Requests(at, user, address, pinned(rng, user), np.ones(len(at), bool))))
    assert sum(found.verdict.candidates.values()) == pytest.approx(1.0)
    assert all(0 < p < 1 for p in found.verdict.candidates.values())


def test_users_pinned_out_of_view_who_share_addresses_are_not_pinned_by_address() -> None:
    """A new user's first request has no name yet: that its second one goes where the first went says nothing of the address."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        at, user = sessions_of(rng, 40, 6)
        address = rng.integers(0, 15, 40)[user]
        found = stickiness(http_facts(Requests(at, user, address, pinned(rng, user), np.zeros(len(at), bool))))
        assert found.verdict.value not in (Mechanism.SOURCE_IP, Mechanism.NONE)
        assert found.verdict.candidates[Mechanism.SOURCE_IP] < 0.5
