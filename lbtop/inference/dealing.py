"""Random numbers for resampling, the same for the same question on every machine.

A counter run through SplitMix64's finaliser, on whole arrays. (numpy.random would cost ten milliseconds to import, which is more
than everything that is dealt here.)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SEED = 20_240_229
DEALT_SINGLY = 96
"""More units than this in one class are dealt by the normal approximation of the multinomial distribution (where every share
is worth a few units), fewer one by one."""
FEWEST = 5.0


class Dice:
    """Uniform, normal and multinomial numbers from one seed; every call goes on where the last one ended."""

    def __init__(self, seed: int = SEED) -> None:
        self._at = np.uint64(seed) << np.uint64(32)

    def uniform(self, count: int) -> Floats:
        """Numbers in [0, 1)."""
        with np.errstate(over="ignore"):
            state = (self._at + np.arange(1, count + 1, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        self._at += np.uint64(count)
        result: Floats = ((state ^ (state >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return result

    def normal(self, count: int) -> Floats:
        """Standard normal numbers (Box and Muller)."""
        half = (count + 1) // 2
        radius = np.sqrt(-2.0 * np.log1p(-self.uniform(half)))
        angle = 2.0 * np.pi * self.uniform(half)
        return np.concatenate((radius * np.cos(angle), radius * np.sin(angle)))[:count]

    def multinomial(self, count: int, shares: Floats, deals: int) -> Floats:
        """How many of ``count`` units fell to each share, in so many independent deals: [deal, share]."""
        places = len(shares)
        alive = shares > 0
        if count > DEALT_SINGLY and (count * shares[alive]).min(initial=np.inf) >= FEWEST:
            root = np.sqrt(shares)
            z = self.normal(deals * places).reshape(deals, places)
            dealt: Floats = count * shares + np.sqrt(count) * (root * z - shares * (z @ root)[:, None])
            np.maximum(dealt, 0.0, out=dealt)
            return dealt
        total = np.zeros((deals, places))
        edges = np.cumsum(shares)[:-1]
        row = np.arange(deals)
        step = max(1, min(count, (1 << 18) // deals))
        for begin in range(0, count, step):
            size = min(step, count - begin)
            fell = np.searchsorted(edges, self.uniform(deals * size), "right") + np.repeat(row, size) * places
            total += np.bincount(fell, minlength=deals * places).reshape(deals, places)
        return total
