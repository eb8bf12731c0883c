"""Bounded counting: a sorted array of 64-bit keys with columns of numbers beside it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]
_MIX = np.uint64(0x9E3779B97F4A7C15)
_DENSE = 1 << 16


def pair(high: npt.NDArray[np.generic], low: npt.NDArray[np.generic]) -> Keys:
    """Two 32-bit columns as one key."""
    return (high.astype(np.uint64) << np.uint64(32)) | low.astype(np.uint64)


def grouped(keys: Keys) -> tuple[Keys, npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Distinct keys in order; how to sort the rows by key (those of one key stay in order); where each key's begin."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    return ordered[starts], order, starts


def alike(*columns: npt.NDArray[np.generic]) -> tuple[npt.NDArray[np.intp], Numbers]:
    """(the first row of each distinct combination, in order of appearance; how many rows share it)."""
    key = np.zeros(len(columns[0]), np.int64)
    span = 1
    for column in columns:
        low, high = int(column.min()), int(column.max())
        if low == high:
            continue
        span *= high - low + 1
        if span > _DENSE:
            return _alike_mixed(*columns)
        key = key * (high - low + 1) + (column.astype(np.int64) - low)
    return _first_and_count(key, span)


def _first_and_count(key: npt.NDArray[np.int64], span: int) -> tuple[npt.NDArray[np.intp], Numbers]:
    counts = np.bincount(key, minlength=span)
    present = np.flatnonzero(counts)
    place = np.empty(span, np.intp)
    place[key[::-1]] = np.arange(len(key) - 1, -1, -1)  # of repeated indices the last assignment stays: the first row
    first = place[present]
    order = np.argsort(first)
    return first[order], counts[present][order].astype(np.int64)


def _alike_mixed(*columns: npt.NDArray[np.generic]) -> tuple[npt.NDArray[np.intp], Numbers]:
    """The same for columns of wide range: told apart by a 64-bit mix (two in 10^13 combinations collide)."""
    mixed = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        mixed = (mixed ^ column.astype(np.uint64)) * _MIX
        mixed ^= mixed >> np.uint64(29)
    slot = (mixed >> np.uint64(48)).astype(np.int64)
    first, counts = _first_and_count(slot, 1 << 16)
    holder = np.empty(1 << 16, np.uint64)
    holder[slot[first]] = mixed[first]
    if (holder[slot] == mixed).all():
        return first, counts
    _, order, starts = grouped(mixed)  # two combinations share a slot: sort after all
    first = order[starts]
    counts = np.diff(np.append(starts, len(mixed)))
    by_appearance = np.argsort(first)
    return first[by_appearance], counts[by_appearance]


class Tally:
    """Counts and sums per key, at most ``cap`` keys; rows of further keys are only counted, in :attr:`overflow`.

    Which keys are kept depends on the order of rows alone, never on how they were cut into windows: keys that do
    not fit any more are refused in the order of their first appearance.
    """

    __slots__ = ("cap", "columns", "keys", "overflow", "sums")

    def __init__(self, columns: int = 1, cap: int = 4096) -> None:
        self.columns = columns
        self.cap = cap
        self.keys: Keys = np.zeros(0, np.uint64)
        self.sums: Numbers = np.zeros((0, columns), np.int64)
        self.overflow = 0

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, keys: Keys, *columns: npt.NDArray[np.generic], rows: Numbers | None = None) -> None:
        """Adds the rows of each key: column 0 counts them, the others sum ``columns``.

        ``rows``: how many rows each entry stands for (1 each by default), where alike ones were put together before.
        """
        if len(keys) == 0:
            return
        low, high = int(keys.min()), int(keys.max())
        if high - low < _DENSE:
            self._add_dense(keys, low, columns, rows)
            return
        distinct, order, starts = grouped(keys)
        totals = np.empty((len(distinct), 1 + len(columns)), np.int64)
        if rows is None:
            totals[:, 0] = np.diff(np.append(starts, len(keys)))
        else:
            totals[:, 0] = np.add.reduceat(rows[order], starts)
        for place, column in enumerate(columns, 1):
            totals[:, place] = np.add.reduceat(column[order].astype(np.int64), starts)
        self._merge(distinct, totals, keys)

    def _add_dense(self, keys: Keys, low: int, columns: tuple[npt.NDArray[np.generic], ...], rows: Numbers | None) -> None:
        """Keys close together (interned numbers, connections of one window) are counted without sorting."""
        offsets = (keys - np.uint64(low)).astype(np.intp)
        counts = np.bincount(offsets)
        present = np.flatnonzero(counts)
        totals = np.empty((len(present), 1 + len(columns)), np.int64)
        totals[:, 0] = counts[present] if rows is None else np.bincount(offsets, rows)[present]
        for place, column in enumerate(columns, 1):
            totals[:, place] = np.bincount(offsets, column)[present]
        self._merge(present.astype(np.uint64) + np.uint64(low), totals, keys)

    def _merge(self, distinct: Keys, totals: Numbers, keys: Keys) -> None:
        places = np.searchsorted(self.keys, distinct)
        known = np.zeros(len(distinct), np.bool_)
        inside = places < len(self.keys)
        known[inside] = self.keys[places[inside]] == distinct[inside]
        self.sums[places[known]] += totals[known]
        fresh = np.flatnonzero(~known)
        room = self.cap - len(self.keys)
        if len(fresh) > room:
            _, appeared = np.unique(keys, return_index=True)
            earliest = fresh[np.argsort(appeared[fresh], kind="stable")]
            self.overflow += int(totals[earliest[room:], 0].sum())
            fresh = np.sort(earliest[:room])
        if len(fresh):
            self.keys = np.insert(self.keys, places[fresh], distinct[fresh])
            self.sums = np.insert(self.sums, places[fresh], totals[fresh], axis=0)

    @property
    def counts(self) -> Numbers:
        """Rows per key, in order of keys."""
        return self.sums[:, 0]

    @property
    def total(self) -> int:
        """All rows ever added."""
        return int(self.counts.sum()) + self.overflow

    def high(self) -> npt.NDArray[np.int64]:
        """The high halves of keys made by :func:`pair`."""
        return (self.keys >> np.uint64(32)).astype(np.int64)

    def low(self) -> npt.NDArray[np.int64]:
        """The low halves of keys made by :func:`pair`."""
        return (self.keys & np.uint64(0xFFFFFFFF)).astype(np.int64)

    def items(self) -> Iterator[tuple[int, list[int]]]:
        """Keys with their numbers, in order of keys."""
        yield from zip(self.keys.tolist(), self.sums.tolist(), strict=True)

    def top(self, limit: int) -> list[tuple[int, int]]:
        """The most frequent keys with their counts; equal ones in order of keys."""
        order = np.argsort(-self.counts, kind="stable")[:limit]
        return list(zip(self.keys[order].tolist(), self.counts[order].tolist(), strict=True))


def bit_counts(flags: npt.NDArray[np.generic], bits: int = 32, rows: Numbers | None = None) -> Numbers:
    """How many rows have each bit set; ``rows``: how many each entry stands for."""
    places = np.arange(bits, dtype=np.uint32)
    set_ = (flags.astype(np.uint32)[:, None] >> places) & np.uint32(1)
    counts: Numbers = (set_.sum(0) if rows is None else rows @ set_.astype(np.int64)).astype(np.int64)
    return counts


def log_bin(durations_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Which of 64 bins, four per doubling from 1 µs (bin 0: shorter) to 65 ms and beyond (bin 63)."""
    micros = np.maximum(durations_ns, 1000) / 1000.0
    return np.minimum((np.log2(micros) * 4).astype(np.int64), 63)


def bin_start_ns(place: int) -> float:
    """The shortest duration of a bin of :func:`log_bin`, in nanoseconds; that of the bin after it ends it."""
    return float(1000.0 * 2.0 ** (place / 4))
