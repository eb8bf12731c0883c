"""Connections by the clock: found among others, and hardly ever where there is no clock."""

from __future__ import annotations

import numpy as np
import pytest

from lbtop.model.observation import TABLES, Rows
from lbtop.reconstruct.clock import Watches, clocked
from lbtop.reconstruct.columns import endpoint_keys, keys_of

MINUTE_NS = 60_000_000_000
CALLER, ADDRESS, PORT = 9, 5, 8443


def opened(*times: np.ndarray) -> Rows:
    """Connections of one caller to as many servers as there are arrays of times."""
    rows = np.zeros(sum(len(each) for each in times), TABLES["opened"])
    rows["client"], rows["server_port"] = CALLER, PORT
    rows["server"] = np.repeat(np.arange(len(times)) + ADDRESS, [len(each) for each in times])
    rows["at_ns"] = np.concatenate(times)
    rows.sort(order="at_ns")
    return rows


def ticks(rng: np.random.Generator, every_s: float) -> np.ndarray:
    """Of a timer that is up to a hundredth late each time."""
    late = 1 + 0.01 * rng.random(int(60 / every_s))
    return ((rng.random() + np.cumsum(late)) * every_s * 1e9).astype(np.int64)


def ends(servers: int) -> list[tuple[int, int]]:
    return [(ADDRESS + number, PORT) for number in range(servers)]


def at(rows: Rows, servers: int) -> np.ndarray:
    """Which connections go to these."""
    return np.isin(endpoint_keys(rows), keys_of(ends(servers)))


@pytest.mark.parametrize("every_s", [0.5, 2.0, 5.0, 10.0])
def test_a_clock_is_found_among_others_requests(every_s: float) -> None:
    rng = np.random.default_rng(3)
    checks = [ticks(rng, every_s) for _ in range(3)]
    asked = [rng.integers(0, MINUTE_NS, 3) for _ in range(3)]
    rows = opened(*(np.concatenate(both) for both in zip(checks, asked, strict=True)))
    found = clocked(rows, at(rows, 3))
    by_the_clock = np.isin(rows["at_ns"], np.concatenate(checks))
    assert found.watched == 3
    assert np.mean(found.mask[by_the_clock]) > 0.9
    assert np.count_nonzero(found.mask[~by_the_clock]) <= 2


def test_where_there_is_no_clock_none_is_found() -> None:
    """One server in twenty seems to have one by chance; three at one pace never do."""
    rng = np.random.default_rng(4)
    seen = [clocked(opened(*(rng.integers(0, MINUTE_NS, rng.integers(4, 120)) for _ in range(3)))) for _ in range(300)]
    assert sum(found.watched > 0 for found in seen) < 0.15 * len(seen)
    assert all(found.watched <= 1 for found in seen)


def test_a_second_callers_connections_are_their_own() -> None:
    rng = np.random.default_rng(5)
    rows = opened(ticks(rng, 2.0))
    rows["client"][::2] = CALLER + 1  # two that take turns every four seconds
    assert clocked(rows, at(rows, 1)).watched == 1
    assert not clocked(rows, at(rows, 0)).mask.any()


def watching(*families: int, callers: int = 1, sizes: tuple[int, ...] = (1_500, 2_900)) -> int:
    """How many of each caller's connections, one every two seconds, are found, where hellos are of these TLS stacks in turn."""
    watches = Watches()
    tables = {}
    for name in ("opened", "handshakes", "connections"):
        rows = np.zeros(30 * callers, TABLES[name])
        rows["client"], rows["server"], rows["server_port"] = CALLER + np.arange(len(rows)) % callers, ADDRESS, PORT
        rows["at_ns"], rows["conn"] = np.arange(len(rows)) * 2_000_000_000 // callers, np.arange(len(rows)) + 1
        tables[name] = rows
    tables["handshakes"]["family"] = np.resize(families, 30 * callers)
    tables["connections"]["bytes_s"] = np.resize(sizes, 30 * callers)
    watches.fold(tables, [ends(1)])
    return len(watches.connections) // callers


def test_a_checker_has_one_tls_stack_and_clients_at_a_steady_rate_have_several() -> None:
    assert watching(1) == 30
    assert watching(1, 2, 3) == 0
    assert watching(*[1] * 9, 2) == 27, "a client's that came in time"


def test_what_is_most_of_the_traffic_and_not_always_the_same_few_bytes_is_no_check() -> None:
    assert watching(1, sizes=(40_000,)) == 0
    assert watching(1, sizes=tuple(range(1_000, 6_000, 300))) == 0


def test_many_addresses_with_a_clock_each_are_clients_that_poll() -> None:
    assert watching(1, callers=3) == 30
    assert watching(1, callers=12) == 0
