"""The statistics behind verdicts, in numpy alone. Everything random is seeded: the same facts give the same figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lbtop.inference.dealing import Dice
from lbtop.model.arrays import percentiles

Floats = npt.NDArray[np.float64]

GROUPS = 128
"""More keys than this are dealt into so many groups before they are resampled: the interval is the same, the cost is not."""
RESAMPLES = 400


def normal_tail(z: float) -> float:
    """P(Z > z) of the standard normal distribution."""
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def chi_square_tail(x: float, degrees: int) -> float:
    """P(X > x) of the chi-square distribution (Wilson-Hilferty; good to a few parts in a thousand for 2 degrees and more)."""
    if degrees <= 0 or x <= 0:
        return 1.0
    if degrees == 1:
        return math.erfc(math.sqrt(x / 2.0))
    if degrees == 2:
        return math.exp(-x / 2.0)
    spread = 2.0 / (9.0 * degrees)
    return normal_tail(((x / degrees) ** (1.0 / 3.0) - (1.0 - spread)) / math.sqrt(spread))


def student_factor(count: int) -> float:
    """How much wider than a normal one a 95 % interval from ``count`` independent units is (Student's t, two-sided)."""
    if count < 2:
        return 6.5
    quantile = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 10: 2.23}.get(count - 1)
    return (quantile if quantile is not None else 1.96 + 2.4 / (count - 1)) / 1.96


def binomial_tail(successes: int, trials: int, probability: float) -> float:
    """P(at least this many successes)."""
    if successes <= 0:
        return 1.0
    if probability <= 0 or successes > trials:
        return 0.0
    if probability >= 1:
        return 1.0
    if successes <= probability * trials:
        return 1.0 - binomial_tail(trials - successes + 1, trials, 1.0 - probability)
    # from the first term on each is smaller than the one before by a factor that only shrinks
    first = (
        math.lgamma(trials + 1)
        - math.lgamma(successes + 1)
        - math.lgamma(trials - successes + 1)
        + successes * math.log(probability)
        + (trials - successes) * math.log1p(-probability)
    )
    odds = probability / (1.0 - probability)
    term = total = 1.0
    for k in range(successes + 1, trials + 1):
        term *= odds * (trials - k + 1) / k
        total += term
        if term < 1e-12 * total:
            break
    return min(1.0, math.exp(first + math.log(total)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: p-values that may be compared with the level whatever number of tests was made."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected = [0.0] * len(p_values)
    floor = 0.0
    for rank, place in enumerate(order):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = floor
    return corrected


def gini(values: Floats) -> float:
    """Gini coefficient of non-negative values: 0 all equal, towards 1 all in one."""
    total = float(values.sum())
    n = len(values)
    if n == 0 or total <= 0:
        return 0.0
    ordered = np.sort(values)
    return float((2.0 * (np.arange(1, n + 1) * ordered).sum() / (n * total)) - (n + 1.0) / n)


def affinity_of(same: float, chance: float, returns: float) -> float | None:
    """(rate of returns to the same target - chance) / (1 - chance); None where chance leaves nothing to measure."""
    room = returns - chance
    return None if returns <= 0 or room < 0.02 * returns else (same - chance) / room


def affinity_interval(same: Floats, chance: Floats, returns: Floats) -> tuple[float, float] | None:
    """95 % interval of the affinity from resampling keys (one entry per key in each array).

    Few keys widen it as Student's t does. Keys that all came back to their target every time leave nothing to resample: then the
    lower end is the affinity at which as many faithful keys would be seen one time in twenty.
    """
    useful = returns > 0
    same, chance, returns = same[useful], chance[useful], returns[useful]
    keys = len(returns)
    value = affinity_of(float(same.sum()), float(chance.sum()), float(returns.sum()))
    if value is None or keys == 0:
        return None
    expected = float(chance.sum() / returns.sum())
    lowest = max(-1.0, -expected / (1.0 - expected))
    if float(same.sum()) == float(returns.sum()):
        faithful = 0.05 ** (1.0 / keys)
        return max(lowest, (faithful - expected) / (1.0 - expected)), 1.0
    if keys > GROUPS:
        group = np.arange(keys) % GROUPS
        same, chance, returns = (np.bincount(group, column, GROUPS).astype(np.float64) for column in (same, chance, returns))
    units = len(returns)
    weights = _resampled(units)
    resampled_chance = weights @ chance
    room = np.maximum(weights @ returns - resampled_chance, 1e-9)
    values = (weights @ same - resampled_chance) / room
    low, high = percentiles(values, (2.5, 97.5))
    wider = student_factor(keys) * math.sqrt(units / max(units - 1, 1))
    if keys == 1 or low == high:
        error = math.sqrt(max(value + expected, 0.05) * 1.0 / keys)
        low, high = value - error, value + error
        wider = 1.0
    return max(lowest, value - (value - low) * wider), min(1.0, value + (high - value) * wider)


def _resampled(units: int) -> Floats:
    """How often each unit is drawn when as many are drawn with replacement, RESAMPLES times; the same ones every time."""
    drawn = (Dice().uniform(units * RESAMPLES) * units).astype(np.int64)
    row = np.repeat(np.arange(RESAMPLES) * units, units)
    return np.bincount(row + drawn, minlength=RESAMPLES * units).reshape(RESAMPLES, units).astype(np.float64)


def log_mean_exp(values: Floats) -> float:
    """Logarithm of the mean of exponentials."""
    top = float(values.max())
    return top + math.log(float(np.exp(values - top).mean()))


def normalised(log_weights: dict[str, float]) -> dict[str, float]:
    """Probabilities that sum to 1, from logarithms of weights."""
    top = max(log_weights.values())
    weights = {name: math.exp(value - top) for name, value in log_weights.items()}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def histogram_rank_test(first: Floats, second: Floats) -> float:
    """Two-sided p-value of the Mann-Whitney rank test over two histograms with the same bins (normal approximation, ties)."""
    n, m = float(first.sum()), float(second.sum())
    if n <= 0 or m <= 0:
        return 1.0
    both = first + second
    ranks = np.cumsum(both) - (both - 1.0) / 2.0
    statistic = float((first * ranks).sum()) - n * (n + 1.0) / 2.0
    total = n + m
    variance = n * m / 12.0 * (total + 1.0 - float((both**3 - both).sum()) / (total * (total - 1.0)))
    if variance <= 0:
        return 1.0
    return min(1.0, 2.0 * normal_tail(abs(statistic - n * m / 2.0) / math.sqrt(variance)))
