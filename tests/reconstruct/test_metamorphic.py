"""The same traffic seen worse: other numbers, packets missing, the start cut off, one direction. Roles stay or become unknown."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from lbtop.model.observation import Batch, ConnFlag, Orientation, Rows
from lbtop.testing import START_NS, ListSource, TextInterner, Traffic
from tests.reconstruct.scenes import SCENES, Expected
from tests.reconstruct.test_roles import facts_of, seen

ADDRESS_COLUMNS = (
    "client", "server", "forwarded0", "forwarded1", "forwarded2", "forwarded3", "real_ip", "proxy_source", "source",
    "destination", "names",
)  # fmt: skip

Ends = np.ndarray
"""When every connection ended, by its number."""

Change = Callable[[str, Rows, random.Random, Ends], Rows]


def changed(traffic: Traffic, change: Change) -> ListSource:
    rng = random.Random(5)
    batch = traffic.batch()
    ends = np.zeros(len(traffic.connections) + 1, np.int64)
    ends[batch["connections"]["conn"].astype(np.intp)] = batch["connections"]["at_ns"]
    tables = {name: change(name, rows.copy(), rng, ends) for name, rows in batch.tables.items()}
    # A capture is numbered as it is read: sequence numbers stay dense and in order whatever is missing.
    seqs = np.unique(np.concatenate([rows["seq"] for rows in tables.values()]))
    for rows in tables.values():
        rows["seq"] = np.searchsorted(seqs, rows["seq"])
    return ListSource([Batch(tables, batch.strings, batch.addresses, True)], traffic.source().stats())


def no_worse(traffic: Traffic, source: ListSource, expected: Expected) -> None:
    """Every target found is one; balancers and what happened to the clients are right or unknown."""
    found = seen(traffic, facts_of(source))
    assert set(found) == set(expected.services)
    for port, (targets, balancers, preserved) in found.items():
        want_targets, want_balancers, want_preserved = expected.services[port]
        assert targets <= want_targets
        assert balancers <= want_balancers or (preserved is None and want_preserved is not False)
        assert preserved in (want_preserved, None)


@pytest.mark.parametrize("name", SCENES)
def test_other_numbers_change_nothing(name: str) -> None:
    """Address numbers in another order: no decision may hang on which came first in a table or a set."""
    traffic, expected = SCENES[name]()
    count = len(traffic.addresses)
    order = list(range(2, count))
    random.Random(1).shuffle(order)
    number = np.array([0, 1, *order])
    addresses = TextInterner()
    addresses._items = [b""] * count
    for old, new in enumerate(number):
        addresses._items[new] = traffic.addresses[old]

    def renumber(table: str, rows: Rows, rng: random.Random, ends: Ends) -> Rows:
        for column in ADDRESS_COLUMNS:
            if column in (rows.dtype.names or ()):
                rows[column] = number[rows[column]]
        return rows

    source = changed(traffic, renumber)
    traffic.addresses = source._batches[0].addresses = addresses
    assert seen(traffic, facts_of(source)) == expected.services


def drop_a_tenth(table: str, rows: Rows, rng: random.Random, ends: Ends) -> Rows:
    """A tenth of the packets is missing: heads, and the handshakes of connections."""
    lost = np.array([rng.random() < 0.1 for _ in range(len(rows))], np.bool_)
    if table in ("opened", "connections"):
        rows["orientation"][lost] = Orientation.PAYLOAD
        rows["isn_c"][lost] = 0
        if table == "opened":
            rows["syn_ns"][lost] = 0
            return rows
        rows["flags"][lost] |= np.uint32(ConnFlag.GAPS)
        rows["flags"][lost] &= ~np.uint32(ConnFlag.SYN)
        return rows
    return rows[~lost]


def cut_the_start(table: str, rows: Rows, rng: random.Random, ends: Ends) -> Rows:
    """The first third of the time is missing, and with it the handshakes of what was open then."""
    from_ns = START_NS + 2_500_000_000
    rows = rows[ends[rows["conn"].astype(np.intp)] >= from_ns]
    if table == "opened":
        before = rows["at_ns"] < from_ns
        rows["at_ns"][before] = from_ns
        rows["syn_ns"][before] = rows["isn_c"][before] = 0
        rows["orientation"][before] = Orientation.PORT
        return rows
    if table == "connections":
        before = rows["opened_ns"] < from_ns
        rows["isn_c"][before] = rows["connect_ns"][before] = 0
        rows["orientation"][before] = Orientation.PORT
        rows["flags"][before] &= ~np.uint32(ConnFlag.SYN | ConnFlag.SYNACK)
        return rows
    return rows[rows["at_ns"] >= from_ns]


def only_towards_servers(table: str, rows: Rows, rng: random.Random, ends: Ends) -> Rows:
    if table == "connections":
        for column in ("bytes_s", "packets_s", "connect_ns", "responses", "ttl_s"):
            rows[column] = 0
        rows["flags"] |= np.uint32(ConnFlag.ONE_DIRECTION)
        rows["flags"] &= ~np.uint32(ConnFlag.SYNACK)
    return rows[:0] if table == "responses" else rows


def only_towards_clients(table: str, rows: Rows, rng: random.Random, ends: Ends) -> Rows:
    if table == "connections":
        for column in ("bytes_c", "packets_c", "connect_ns", "requests", "ttl_c", "isn_c"):
            rows[column] = 0
        rows["flags"] |= np.uint32(ConnFlag.ONE_DIRECTION)
        rows["flags"] &= ~np.uint32(ConnFlag.SYN)
        rows["orientation"] = Orientation.SYN
    if table == "opened":
        rows["isn_c"] = rows["syn_ns"] = rows["stack"] = rows["ttl_c"] = 0
    return rows[:0] if table in ("requests", "cookies", "handshakes", "proxies") else rows


@pytest.mark.parametrize("change", [drop_a_tenth, cut_the_start, only_towards_servers, only_towards_clients])
@pytest.mark.parametrize("name", SCENES)
def test_worse_captures_never_give_wrong_roles(name: str, change: Change) -> None:
    traffic, expected = SCENES[name]()
    no_worse(traffic, changed(traffic, change), expected)
