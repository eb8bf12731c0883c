"""Which targets were in service when: what was dealt at a time can only have gone to one of these."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lbtop.model.arrays import median
from lbtop.reconstruct.facts import ServiceFacts
from lbtop.reconstruct.ledgers.load import CHECKS, CHECKS_BAD, OPENED, PROBED, REQUESTS

MOST_ABSENT = 4.6
"""A target is out of service where it misses this many arrivals it should have had (e^-4.6 is one in a hundred)."""


def service_epochs(facts: ServiceFacts, targets: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.intp]]:
    """Which targets were in service in each epoch, and the epoch of each bin of the load series."""
    series = facts.ledgers.load.series
    bins = max(series.used(), 1)
    counts = (series.counts[OPENED] + series.counts[REQUESTS])[:bins][:, targets]
    serving = np.zeros((bins, len(targets)), np.bool_)
    everything = counts.sum(1).astype(np.float64)
    for place in range(len(targets)):
        there = np.flatnonzero(counts[:, place])
        first, last = int(there[0]), int(there[-1])
        while_there = everything[first : last + 1].sum()
        share = counts[:, place].sum() / while_there if while_there else 0.0
        if everything[:first].sum() * share < MOST_ABSENT:
            first = 0
        if everything[last + 1 :].sum() * share < MOST_ABSENT:
            last = bins - 1
        serving[first : last + 1, place] = True
    # a target that answers its health checks is in service, whether or not anybody is sent there
    well = (series.counts[CHECKS] - series.counts[CHECKS_BAD] + series.counts[PROBED])[:bins][:, targets]
    for place in range(len(targets)):
        checked = np.flatnonzero(well[:, place])
        if len(checked) >= 3:
            reach = int(median(np.diff(checked))) * 2
            for check in checked.tolist():
                serving[max(check - reach, 0) : check + reach + 1, place] = True
    serving[~serving.any(1)] = True
    changed = np.concatenate(([False], (serving[1:] != serving[:-1]).any(1)))
    epoch = np.cumsum(changed)
    return serving[np.concatenate(([0], np.flatnonzero(changed)))], epoch


def epoch_at(facts: ServiceFacts, epoch_of_bin: npt.NDArray[np.intp], times: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """The epoch of each time (nanoseconds): a time before or after the series is of its first or last one."""
    series = facts.ledgers.load.series
    places = np.clip((times - series.start_ns) // series.width_ns, 0, len(epoch_of_bin) - 1)
    found: npt.NDArray[np.intp] = epoch_of_bin[places]
    return found
