"""Does the balancer choose the target with least to do? Counted over the first few thousand choices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lbtop.reconstruct.arrivals import Part, Targets

LOOKED_AT = 8192
"""Beginnings after which enough was seen."""
TARGETS = 32
"""With more targets than this it is not counted: the table of who is busy would cost more than it tells."""


class LeastLoaded:
    """Folds beginnings and ends of what keeps a target busy, in order of ``seq``."""

    def __init__(self) -> None:
        self.busy: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self.looked = 0  # beginnings seen
        self.choices = 0  # made while targets differed in how busy they were
        self.least = 0  # of these, the target was one of the least busy
        self.expected = 0.0  # how many would have been by chance
        self.variance = 0.0

    def fold(self, begun: Part, begun_target: Targets, ended: Part, ended_target: Targets) -> None:
        """``begun``: connections opened or requests; ``ended``: connections or responses."""
        if self.looked >= LOOKED_AT or not len(begun):
            return
        self.looked += len(begun)
        targets = max(int(begun_target.max()), int(ended_target.max(initial=0)), len(self.busy) - 1) + 1
        if not 2 <= targets <= TARGETS:
            return
        seq = np.concatenate((begun["seq"], ended["seq"]))
        who = np.concatenate((begun_target, ended_target))
        step = np.concatenate((np.ones(len(begun), np.int64), -np.ones(len(ended), np.int64)))
        order = np.argsort(seq, kind="stable")
        who, step = who[order], step[order]
        steps = np.zeros((len(order) + 1, targets), np.int64)
        steps[np.arange(1, len(order) + 1), who] = step
        steps[0, : len(self.busy)] = self.busy
        busy = np.maximum(np.cumsum(steps, 0), 0)
        before = busy[:-1]
        lowest = before.min(1)
        among = (before == lowest[:, None]).sum(1)
        told = (step > 0) & (among < targets)
        share = among[told] / targets
        self.choices += int(told.sum())
        self.least += int((before[np.arange(len(order)), who] == lowest)[told].sum())
        self.expected += float(share.sum())
        self.variance += float((share * (1 - share)).sum())
        self.busy = busy[-1]

    @property
    def excess(self) -> float:
        """How often the least busy was chosen beyond chance: 0 chance, 1 always. 0 where too little was seen."""
        room = self.choices - self.expected
        if self.choices < 30 or room <= 0 or self.least - self.expected < 4 * self.variance**0.5:
            return 0.0
        return (self.least - self.expected) / room
