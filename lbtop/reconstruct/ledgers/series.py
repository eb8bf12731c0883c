"""Counts per target over time in a fixed number of bins that grow wider as time goes on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BINS = 256
FIRST_WIDTH_NS = 1 << 24  # 17 ms


class Series:
    """``counts[column, bin, target]``; bin ``b`` begins at ``start_ns + b * width_ns``. Widths are powers of two, begun at
    a multiple of the width, so that the same rows give the same bins however they were cut into windows."""

    __slots__ = ("columns", "counts", "start_ns", "width_ns")

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.start_ns = -1
        self.width_ns = FIRST_WIDTH_NS
        self.counts: npt.NDArray[np.int64] = np.zeros((columns, BINS, 0), np.int64)

    def add(self, column: int, times: npt.NDArray[np.int64], targets: npt.NDArray[np.uint16]) -> None:
        """Counts rows. Rows before the first bin count in it."""
        if not len(times):
            return
        if self.start_ns < 0:
            self.start_ns = int(times.min()) // self.width_ns * self.width_ns
        top = int(targets.max()) + 1
        have = self.counts.shape[2]
        if top > have:
            wider = np.zeros((self.columns, BINS, max(top, 2 * have)), np.int64)
            wider[:, :, :have] = self.counts
            self.counts = wider
        last = int(times.max())
        while last - self.start_ns >= BINS * self.width_ns:
            self._double()
        bins = np.maximum((times - self.start_ns) // self.width_ns, 0)
        width = self.counts.shape[2]
        flat = np.bincount(bins * width + targets, minlength=BINS * width)
        self.counts[column] += flat.reshape(BINS, width)

    def _double(self) -> None:
        """Two bins become one, aligned to the wider bins."""
        wide = 2 * self.width_ns
        aligned = self.start_ns // wide * wide
        shift = (self.start_ns - aligned) // self.width_ns
        padded = np.zeros((self.columns, 2 * BINS, self.counts.shape[2]), np.int64)
        padded[:, shift : shift + BINS] = self.counts
        self.counts = padded[:, 0::2] + padded[:, 1::2]
        self.start_ns, self.width_ns = aligned, wide

    def times(self) -> npt.NDArray[np.int64]:
        """When each bin begins, in nanoseconds."""
        return self.start_ns + np.arange(BINS, dtype=np.int64) * self.width_ns

    def used(self) -> int:
        """Bins up to the last one with anything in it."""
        filled = np.flatnonzero(self.counts.sum((0, 2)))
        return int(filled[-1]) + 1 if len(filled) else 0
