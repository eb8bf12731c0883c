"""Grouping rows by columns, and numbering what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from lbtop.model.observation import Rows

FEW = 8

Keys = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int32]


def endpoint_keys(rows: Rows) -> Keys:
    """The server's address number and port in one number."""
    keys: Keys = (rows["server"].astype(np.uint64) << np.uint64(16)) | rows["server_port"]
    return keys


def keys_of(endpoints: Iterable[tuple[int, int]]) -> Keys:
    """The same of endpoints given as address number and port."""
    return np.array([address << 16 | port for address, port in endpoints], np.uint64)


def groups(
    *columns: npt.NDArray[np.unsignedinteger], among: npt.NDArray[np.bool_] | None = None
) -> Iterator[tuple[tuple[int, ...], npt.NDArray[np.intp]]]:
    """Indices of equal rows of several columns, in order of first appearance (never of the numbers themselves).

    ``among``: the rows to look at; the indices count all rows.
    """
    rows = np.arange(len(columns[0])) if among is None else np.flatnonzero(among)
    if not len(rows):
        return
    picked = columns if among is None else tuple(column[rows] for column in columns)
    if all((column == column[0]).all() for column in picked):
        yield tuple(int(column[0]) for column in picked), rows
        return
    _, first, inverse = np.unique(_one_key(picked), return_index=True, return_inverse=True)
    members = np.split(np.argsort(inverse, kind="stable"), np.cumsum(np.bincount(inverse))[:-1])
    for index in np.argsort(first, kind="stable"):
        at = int(first[index])
        yield tuple(int(column[at]) for column in picked), rows[members[index]]


def repeated(*columns: npt.NDArray[np.unsignedinteger], at_least: int) -> npt.NDArray[np.bool_]:
    """Rows of which there are so many equal ones."""
    _, inverse, counts = np.unique(_one_key(columns), return_inverse=True, return_counts=True)
    return np.greater_equal(counts[inverse], at_least)


def in_order(keys: Keys) -> npt.NDArray[np.intp]:
    """Indices that sort the keys, equal ones in order of their rows."""
    if not len(keys) or len(keys) > 1 << 16 or int(keys.max()) >> 48:
        return np.argsort(keys, kind="stable")
    # Keys with their rows below them: plain numbers are sorted several times faster than their indices.
    packed = (keys << np.uint64(16)) | np.arange(len(keys), dtype=np.uint64)
    packed.sort()
    return (packed & np.uint64(0xFFFF)).astype(np.intp)


def _one_key(columns: tuple[npt.NDArray[np.unsignedinteger], ...]) -> Keys:
    """One number per row that is equal exactly where all columns are."""
    key = columns[0].astype(np.uint64)
    bits = 8 * columns[0].itemsize
    for column in columns[1:]:
        width = 8 * column.itemsize
        if bits + width > 64:
            key, bits = np.unique(key, return_inverse=True)[1].astype(np.uint64), 32
        key = (key << np.uint64(width)) | column
        bits += width
    return key


class Numbering:
    """Dense numbers for 64-bit keys, in order of arrival."""

    def __init__(self) -> None:
        self.keys: Keys = np.zeros(0, np.uint64)  # by number
        self._sorted: Keys = np.zeros(0, np.uint64)
        self._numbers: Numbers = np.zeros(0, np.int32)  # of the sorted keys

    def __len__(self) -> int:
        return len(self.keys)

    def of(self, keys: Keys) -> Numbers:
        """The number of every key, -1 for unknown ones."""
        numbers = np.full(len(keys), -1, np.int32)
        if not len(keys) or not len(self.keys):
            return numbers
        if len(self.keys) <= FEW:  # a comparison each is cheaper than a search
            for number, key in enumerate(self.keys):
                numbers[keys == key] = number
            return numbers
        place = np.minimum(np.searchsorted(self._sorted, keys), len(self._sorted) - 1)
        return np.where(self._sorted[place] == keys, self._numbers[place], numbers)

    def add(self, keys: Keys) -> None:
        """Numbers further keys, none of which is known yet."""
        self.keys = np.concatenate([self.keys, keys])
        order = np.argsort(self.keys, kind="stable")
        self._sorted, self._numbers = self.keys[order], order.astype(np.int32)


def first_seen(keys: Keys) -> Keys:
    """The distinct keys in order of first appearance."""
    distinct, first = np.unique(keys, return_index=True)
    return distinct[np.argsort(first, kind="stable")]
