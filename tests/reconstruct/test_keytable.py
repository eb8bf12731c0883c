"""Key tables: the same whatever the batches, bounded, and keys that go on under new values."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from lbtop.reconstruct.keytable import ARRIVAL, CROSSED, FRESH, MARKED, KeyTable, PairCounter


def arrivals(count: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = np.zeros(count, ARRIVAL)
    rows["conn"], rows["request"], rows["at_ns"] = np.arange(count), np.arange(1, count + 1), np.arange(count)
    rows["target"] = rng.integers(0, 3, count)
    return rows


@pytest.mark.parametrize("step", [1, 97, 5000])
def test_batches_and_copies_change_nothing(step: int) -> None:
    count = 3000
    values = np.random.default_rng(2).integers(1, 900, count).astype(np.uint64)
    aux = np.zeros(count, np.uint64)
    whole = KeyTable(256)
    whole.fold(arrivals(count), values, aux, 0, count)
    parts = KeyTable(256)
    for begin in range(0, count, step):
        parts.fold(arrivals(count), values, aux, begin, min(count, begin + step))
        parts = copy.deepcopy(parts)
    assert whole.expired == parts.expired > 0
    for name in ("slot_rows", "count_rows", "move_rows", "first_rows"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name)), name


def test_memory_is_bounded_and_forgetting_is_counted() -> None:
    count = 20_000
    table = KeyTable(1024)
    table.fold(arrivals(count), np.arange(1, count + 1, dtype=np.uint64), np.zeros(count, np.uint64), 0, count)
    assert len(table.slot_rows) == 1024 and len(table) + table.expired == count == table.keys_seen
    assert len(table.move_rows) <= 2048 and len(table.first_rows) <= 2048


def test_a_reissued_value_continues_its_key() -> None:
    rows = np.zeros(4, ARRIVAL)
    rows["request"], rows["at_ns"], rows["conn"] = [1, 1, 2, 3], [1, 2, 3, 4], 1
    rows["issued"], rows["presented"] = [0, 1, 0, 0], [0, 10, 0, 0]
    values = np.array([10, 11, 11, 10], np.uint64)  # seen, replaced, seen anew, and a late one with the old value
    table = KeyTable()
    table.fold(rows, values, np.zeros(4, np.uint64), 0, 4)
    assert len(table) == 1 and table.slot_rows["arrivals"][0] == 3


def test_returns_are_filed_by_what_changed_and_what_came_along() -> None:
    rows = np.zeros(5, ARRIVAL)
    rows["request"], rows["at_ns"], rows["conn"] = np.arange(1, 6), np.arange(5), np.arange(5)
    rows["issued"] = [1, 0, 0, 0, 0]
    rows["marks"] = [0, 0, 1, 0, 0]
    rows["target"] = [0, 0, 0, 0, 1]
    aux = np.array([7, 7, 7, 8, 8], np.uint64)
    table = KeyTable()
    table.fold(rows, np.full(5, 3, np.uint64), aux, 0, 5)
    returns = table.count_rows[0].reshape(2, 5, 3)[0]
    assert returns[FRESH, 0] == returns[MARKED, 0] == returns[CROSSED, 0] == 1
    assert returns[:, 0].sum() == 4 and returns[:, 1].sum() == 3  # the last went to another target
    table.settle(0.5, 0.5)
    assert table.expected_rows[0].reshape(2, 5)[0].sum() == pytest.approx(2.0)


def test_one_request_is_one_arrival() -> None:
    rows = np.zeros(2, ARRIVAL)
    rows["request"] = 1  # the same cookie twice in one request
    table = KeyTable()
    table.fold(rows, np.full(2, 3, np.uint64), np.zeros(2, np.uint64), 0, 2)
    assert table.slot_rows["arrivals"][0] == 1


def test_distinct_pairs() -> None:
    counter = PairCounter(4, cap=1000)
    rng = np.random.default_rng(3)
    keys, values = rng.integers(0, 4, 5000).astype(np.uint32), rng.integers(0, 60, 5000).astype(np.uint64)
    counter.fold(keys, values)
    expected = [len({v for k, v in zip(keys, values, strict=True) if k == key and v}) for key in range(4)]
    assert counter.count_rows.tolist() == expected and not counter.full
    assert copy.deepcopy(counter).count_rows.tolist() == expected
    counter.fold(np.zeros(3000, np.uint32), np.arange(1000, 4000, dtype=np.uint64))
    assert counter.full
