"""The statistics, against exact values and each other."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lbtop.inference.statistics import (
    affinity_interval,
    affinity_of,
    binomial_tail,
    chi_square_tail,
    gini,
    histogram_rank_test,
    holm,
    normal_tail,
    normalised,
)
from lbtop.reconstruct.chance import assignment_shares, same_target_chance


@pytest.mark.parametrize(("x", "degrees", "tail"), [(3.841, 1, 0.05), (5.991, 2, 0.05), (9.210, 2, 0.01), (16.919, 9, 0.05)])
def test_chi_square_tail(x: float, degrees: int, tail: float) -> None:
    assert chi_square_tail(x, degrees) == pytest.approx(tail, rel=0.02)


def test_binomial_tail_is_exact() -> None:
    assert binomial_tail(3, 5, 0.5) == pytest.approx(0.5)
    assert binomial_tail(0, 5, 0.1) == 1.0
    assert binomial_tail(5, 5, 0.1) == pytest.approx(1e-5)
    assert binomial_tail(60, 1000, 0.05) == pytest.approx(
        sum(math.comb(1000, k) * 0.05**k * 0.95 ** (1000 - k) for k in range(60, 1001)), rel=1e-6
    )


def test_holm_steps_down() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_gini_of_known_shares() -> None:
    assert gini(np.array([1.0, 1.0, 1.0])) == pytest.approx(0.0)
    assert gini(np.array([0.0, 0.0, 1.0])) == pytest.approx(2 / 3)


def test_normal_tail() -> None:
    assert normal_tail(1.959964) == pytest.approx(0.025, rel=1e-4)


def test_probabilities_sum_to_one() -> None:
    assert sum(normalised({"a": -1000.0, "b": -1001.0}).values()) == pytest.approx(1.0)


def test_affinity_has_no_value_where_chance_is_certain() -> None:
    assert affinity_of(10, 10, 10) is None
    assert affinity_of(10, 0, 0) is None
    assert affinity_interval(np.array([5.0]), np.array([5.0]), np.array([5.0])) is None


def test_faithful_keys_leave_doubt_that_shrinks_with_their_number() -> None:
    few = affinity_interval(np.full(5, 9.0), np.full(5, 3.0), np.full(5, 9.0))
    many = affinity_interval(np.full(500, 9.0), np.full(500, 3.0), np.full(500, 9.0))
    assert few is not None and many is not None
    assert few[1] == many[1] == 1.0
    assert few[0] < 0.6 < 0.98 < many[0]


def test_rank_test_finds_a_shift_and_nothing_else() -> None:
    rng = np.random.default_rng(1)
    bins = np.arange(60)
    same = [np.histogram(rng.normal(30, 5, 400), bins)[0].astype(float) for _ in range(2)]
    assert histogram_rank_test(same[0], same[1]) > 0.01
    later = np.histogram(rng.normal(34, 5, 400), bins)[0].astype(float)
    assert histogram_rank_test(same[0], later) < 1e-6


def test_moves_alone_tell_the_shares_of_a_random_balancer() -> None:
    """Assignments to the same target are no moves: they are filled in by expectation."""
    rng = np.random.default_rng(2)
    truth = np.array([0.7, 0.2, 0.1])
    sequence = rng.choice(3, 20_000, p=truth)
    moved = sequence[1:] != sequence[:-1]
    to = np.bincount(sequence[1:][moved], minlength=3)
    source = np.bincount(sequence[:-1][moved], minlength=3)
    assert assignment_shares(np.zeros(3, np.int64), to, source) == pytest.approx(truth, abs=0.02)


def test_chance_follows_the_targets_in_service() -> None:
    nothing = np.zeros(6, np.int64)
    before = np.array([1, 1, 1, 0, 0, 0]) / 3
    serving = np.array([0, 0, 0, 1, 1, 1], bool)
    chance, _ = same_target_chance(nothing, nothing, nothing, serving, before)
    assert chance == pytest.approx(1 / 3)
    one = np.array([0, 0, 0, 1, 0, 0], bool)
    chance, _ = same_target_chance(nothing, nothing, nothing, one, before)
    assert chance == pytest.approx(1.0)
    firsts = np.array([40, 40, 0, 0, 0, 0])
    chance, shares = same_target_chance(firsts, nothing, nothing, np.array([1, 1, 1, 0, 0, 0], bool), before)
    assert chance == pytest.approx(0.5, abs=0.02)  # the third is draining: it gets nothing new
    assert shares[2] < 0.05
