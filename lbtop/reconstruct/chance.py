"""What a balancer that pins nobody would do: the probability that two assignments in a row meet the same target."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]

PRIOR = 4.0
"""Assignments that the shares of the epoch before are worth: they only matter until a few new ones were seen."""
ROUNDS = 50
"""Rounds of expectation and maximisation at most; even shares take three, very uneven ones tens."""


def assignment_shares(firsts: Counts, moved_to: Counts, moved_from: Counts) -> Shares:
    """Shares of new assignments per target; all 0 where there were none.

    New assignments are first arrivals and moves. Of a balancer that chooses at random, moves alone would flatten the
    shares (an assignment to the same target is no move), so the unseen "moves" to the same target are filled in by
    expectation (EM on the truncated multinomial).
    """
    seen = (firsts + moved_to).astype(np.float64)
    total = seen.sum()
    if total <= 0:
        return np.zeros(len(seen))
    shares: Shares = seen / total
    for _ in range(ROUNDS):
        filled = seen + moved_from * shares / np.maximum(1.0 - shares, 1e-3)
        closer: Shares = filled / filled.sum()
        if np.abs(closer - shares).max() < 1e-3:
            return closer
        shares = closer
    return shares


def same_target_chance(
    firsts: Counts, moved_to: Counts, moved_from: Counts, serving: npt.NDArray[np.bool_], before: Shares
) -> tuple[float, Shares]:
    """The sum of squared shares of new assignments in one epoch, and the shares to carry into the next.

    ``serving``: targets with any arrival in the epoch. ``before``: the shares of earlier epochs, which count as
    :data:`PRIOR` assignments over the targets still in service. The plain sum of squares of m observed shares is too large by
    (1 - S) / m; that is taken off.
    """
    left = np.where(serving, before[: len(serving)], 0.0)
    alive = int(serving.sum())
    if left.sum() > 0:
        left = left / left.sum()
        expected = float((left**2).sum())
    else:
        left = serving / max(alive, 1)
        expected = 1.0 / max(alive, 1)
    shares = assignment_shares(firsts, moved_to, moved_from)
    count = int(firsts.sum() + moved_to.sum())
    if count == 0:
        return expected, left
    receiving = int((shares > 0).sum())
    squares = float((shares**2).sum())
    if count > 1:
        squares = min(max((count * squares - 1.0) / (count - 1.0), 1.0 / receiving), 1.0)
    chance = (count * squares + PRIOR * expected) / (count + PRIOR)
    return chance, (count * shares + PRIOR * left) / (count + PRIOR)
