"""Keeps lbtop below a share of one processor: reads less where it must, more again where it can."""

from __future__ import annotations

import time
from collections.abc import Callable

_WINDOW_S = 2.0
_COMFORT = 0.5
"""Of the share allowed: below it there is room for the next step back."""
_PATIENCE_S = 10.0
"""Comfort must last so long before more is read again; twice as long each time that turned out to be too early."""
_LONGEST_PATIENCE_S = 300.0


class Budget:
    """``share`` of one processor, 0..1; ``steps``: how many times less can be read. ``step`` 0 reads everything.

    ``spent`` gives the processor seconds of the whole process, ``clock`` seconds.
    """

    def __init__(
        self,
        share: float,
        steps: int,
        *,
        spent: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.share = share
        self.step = 0
        self.used = 0.0
        """Share of one processor that the last window took."""
        self._steps = steps
        self._spent, self._clock = spent, clock
        self._from = clock(), spent()
        self._calm_since = self._from[0]
        self._stepped_back = -_LONGEST_PATIENCE_S
        self._patience = _PATIENCE_S

    def look(self) -> bool:
        """To be called often: whether ``step`` changed."""
        now = self._clock()
        began, before = self._from
        if now - began < _WINDOW_S:
            return False
        spent = self._spent()
        self.used = (spent - before) / (now - began)
        self._from = now, spent
        if self.used > self.share:
            self._calm_since = now
            if self.step == self._steps:
                return False
            if now - self._stepped_back < self._patience:
                self._patience = min(2 * self._patience, _LONGEST_PATIENCE_S)
            self.step += 1
            return True
        if self.used > self.share * _COMFORT:
            self._calm_since = now
        elif self.step and now - self._calm_since >= self._patience:
            self.step -= 1
            self._calm_since = self._stepped_back = now
            return True
        return False
