"""Replayed algorithms are exact where they are deterministic; where a seed is unknown the interval covers real balancers."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lbtop.cli.whatif import decides_by_request, target_count
from lbtop.engine import diagnose
from lbtop.inference.whatif import ALGORITHMS, _fill_maglev, predict
from lbtop.model.errors import LbtopError
from lbtop.reconstruct.replayed import Arrivals, collect
from tests.corpus import CAPTURES
from tests.readers import open_decoded


def made(
    clients: list[int], *, sessions: list[int] | None = None, seconds: list[float] | None = None, targets: int = 3
) -> Arrivals:
    """Arrivals a second apart."""
    n = len(clients)
    at = np.arange(n, dtype=np.int64) * 1_000_000_000
    lasting = np.array([int(s * 1e9) for s in seconds], np.int64) if seconds else np.zeros(n, np.int64)
    client = np.array(clients, np.int64)
    return Arrivals(
        at, at + lasting, client, np.arange(n, dtype=np.int64), np.array(sessions or [-1] * n, np.int64),
        np.zeros((n, 4), np.uint8), np.ones(n, np.int64), np.arange(n, dtype=np.int64) % targets,
        tuple(f"10.0.0.{i}:80" for i in range(targets)), sessions is not None,
    )  # fmt: skip


def placed(algorithm: str, arrivals: Arrivals, targets: int = 3, seed: int = 5) -> list[int]:
    return [int(target) for target in ALGORITHMS[algorithm].assign(arrivals, targets, seed)]


def test_round_robin_takes_turns() -> None:
    assert placed("round_robin", made([1, 1, 2, 3])) == [0, 1, 2, 0]


def test_least_connections_goes_where_fewest_are_open() -> None:
    # the first two stay open, the third ends at once: everything after goes there until it is as full. Who is first is open.
    five = placed("least_connections", made([1, 2, 3, 4, 5], seconds=[100, 100, 0.5, 0.5, 0.5]))
    assert [(target - five[0]) % 3 for target in five] == [0, 1, 2, 2, 2]
    four = placed("least_connections", made([1, 2, 3, 4], seconds=[0.5] * 4))
    assert [(target - four[0]) % 3 for target in four] == [0, 1, 2, 0], "equals wait their turn"


def test_least_connections_is_an_interval_where_connections_overlap() -> None:
    rng = np.random.default_rng(4)
    peak = predict(made([1] * 200, seconds=rng.exponential(40, 200).tolist()), "least_connections", 3).peak_to_mean
    assert peak[0] < peak[2] < 1.2


def test_a_ring_of_few_points_is_among_what_a_random_balancer_may_draw_on() -> None:
    """HAProxy's `random` draws on its ring of 16 points a server: peaks of 1.3 and more are met where even draws give 1.1."""
    low, _, high = predict(made(list(range(600))), "random", 3).peak_to_mean
    assert low < 1.06 and high > 1.2


def test_a_cookie_keeps_sessions_and_nobody_else() -> None:
    assert placed("cookie", made([1, 1, 1, 1, 1], sessions=[7, 8, 7, -1, 8])) == [0, 1, 0, 2, 1]


@pytest.mark.parametrize("algorithm", ["source_ip", "ring_hash", "maglev", "ip_hash"])
def test_a_hash_keeps_its_key(algorithm: str) -> None:
    arrivals = made([client % 40 for client in range(400)])
    homes = {(client, target) for client, target in zip(arrivals.client.tolist(), placed(algorithm, arrivals), strict=True)}
    assert len(homes) == 40


def test_consistent_hashing_moves_what_it_must_and_plain_hashing_more() -> None:
    arrivals = made([client % 300 for client in range(600)])
    ring = predict(arrivals, "ring_hash", 4).moved
    plain = predict(arrivals, "source_ip", 4).moved
    maglev = predict(arrivals, "maglev", 4).moved
    assert ring and plain and maglev
    assert ring[0] <= 0.25 <= ring[2] and maglev[1] < 0.4
    assert plain[0] < 0.3 and plain[2] >= 0.5, "ranges move half of the keys from 3 to 4 targets, HAProxy's ring a quarter"


def test_maglev_fills_its_table_evenly() -> None:
    table = _fill_maglev(np.array([3, 4_000, 17]), np.array([5, 7, 11]), 3)
    counts = Counter(table.tolist())
    assert -1 not in counts and max(counts.values()) / min(counts.values()) < 1.02


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [("offload-nginx-ip-hash-targets.pcap.gz", "ip_hash"), ("offload-haproxy-source-targets.pcap.gz", "haproxy_source")],
)
def test_hashes_without_a_seed_are_exact(name: str, algorithm: str) -> None:
    """Every request through a real nginx with ip_hash, and through a real HAProxy with balance source, is predicted."""
    path = CAPTURES / name
    service = diagnose(open_decoded(path)).services[0]
    arrivals = collect(open_decoded(path), sorted(target.target for target in service.targets), layer7=True)
    assert len(arrivals) > 100
    predicted = ALGORITHMS[algorithm].assign(arrivals, len(service.targets), 0)
    homes = {(int(p), int(t)) for p, t in zip(predicted, arrivals.target, strict=True)}
    assert len(homes) == len(service.targets), "one to one: in which order the servers stand in its configuration is not in view"


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [
        ("plain-nlb-source-ip-targets.pcap.gz", "source_ip"),
        ("plain-nlb-five-tuple-targets.pcap.gz", "five_tuple"),
        ("passthrough-nlb-source-ip-targets.pcapng", "source_ip"),
        ("passthrough-nlb-five-tuple-targets.pcap.gz", "five_tuple"),
        ("offload-none-targets.pcap.gz", "round_robin"),
        ("offload-haproxy-source-targets.pcap.gz", "source_ip"),
    ],
)
def test_the_interval_covers_what_a_real_balancer_did(name: str, algorithm: str) -> None:
    path = next(iter(CAPTURES.glob(name.partition(".")[0] + ".pcap*")))
    service = diagnose(open_decoded(path)).services[0]
    arrivals = collect(open_decoded(path), [t.target for t in service.targets], layer7=decides_by_request(service))
    said = predict(arrivals, algorithm, len(service.targets))
    low, _, high = said.peak_to_mean
    slack = 0.03  # round robin of several balancer processes is not one sequence
    assert low - slack <= said.observed_peak_to_mean <= high + slack
    assert said.moved is None


def test_counts_of_targets() -> None:
    assert (target_count("5", 3), target_count("+1", 3), target_count("-1", 3)) == (5, 4, 2)
    for text in ("x", "-3", "0", "+99999"):
        with pytest.raises(LbtopError):
            target_count(text, 3)


def test_the_command_as_json(lbtop: list[str], tmp_path: Path) -> None:
    path = next(iter(CAPTURES.glob("plain-nlb-nat-many-targets.pcap*")))
    command = [*lbtop, "whatif", str(path), "--balancing", "source_ip", "--targets", "+1", "--json"]
    said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert said["targets"] == {"before": 3, "after": 4}
    assert 0 < said["nat_blast_radius"] <= 1 and said["sessions_moved"]["interval"][0] <= said["sessions_moved"]["typical"]
