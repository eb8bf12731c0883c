"""Bounded counting: the same as counting in a dictionary, whatever the windows, until the cap."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lbtop.reconstruct.ledgers.tally import Tally, alike, bit_counts, log_bin, pair

KEYS = st.lists(st.one_of(st.integers(0, 20), st.integers(0, 2**64 - 1)), max_size=60)


@given(st.lists(KEYS, max_size=5))
def test_counts_are_those_of_a_dictionary(windows: list[list[int]]) -> None:
    tally = Tally(columns=2, cap=1000)
    for window in windows:
        keys = np.array(window, np.uint64)
        tally.add(keys, np.array([key % 7 for key in window], np.int64))
    every = [key for window in windows for key in window]
    assert {key: numbers[0] for key, numbers in tally.items()} == Counter(every)
    assert {key: numbers[1] for key, numbers in tally.items()} == {key: every.count(key) * (key % 7) for key in every}
    assert tally.total == len(every)
    assert tally.keys.tolist() == sorted(set(every))


@given(KEYS, st.integers(0, 60))
def test_which_keys_are_kept_depends_on_their_order_alone(keys: list[int], cut: int) -> None:
    whole, parts = Tally(cap=4), Tally(cap=4)
    whole.add(np.array(keys, np.uint64))
    for part in (keys[:cut], keys[cut:]):
        parts.add(np.array(part, np.uint64))
    assert whole.keys.tolist() == parts.keys.tolist() == sorted(list(dict.fromkeys(keys))[:4])
    assert whole.counts.tolist() == parts.counts.tolist()
    assert whole.total == parts.total == len(keys)


COLUMNS = st.integers(1, 40).flatmap(
    lambda size: st.lists(st.lists(st.integers(0, 2**32 - 1), min_size=size, max_size=size), min_size=1, max_size=3)
)


@given(COLUMNS)
def test_alike_rows_are_put_together_in_order_of_appearance(columns: list[list[int]]) -> None:
    first, counts = alike(*(np.array(column, np.uint32) for column in columns))
    rows = list(zip(*columns, strict=True))
    expected = Counter(rows)
    assert [rows[place] for place in first.tolist()] == list(dict.fromkeys(rows))
    assert counts.tolist() == [expected[rows[place]] for place in first.tolist()]


@given(st.lists(st.integers(0, 2**20 - 1), max_size=30))
def test_bits_are_counted(values: list[int]) -> None:
    counted = bit_counts(np.array(values, np.uint32), 20)
    assert counted.tolist() == [sum(value >> bit & 1 for value in values) for bit in range(20)]


def test_pairs_come_apart_again() -> None:
    tally = Tally()
    tally.add(pair(np.array([1, 2**32 - 1], np.uint32), np.array([7, 9], np.uint32)))
    assert (tally.high().tolist(), tally.low().tolist()) == ([1, 2**32 - 1], [7, 9])


def test_durations_fall_into_bins_that_grow() -> None:
    bins = log_bin(np.array([0, 1_000, 2_000, 1_000_000, 10**9], np.int64)).tolist()
    assert bins == sorted(bins)
    assert bins[0] == bins[1] == 0
    assert bins[2] == 4
    assert bins[-1] == 63
