"""Skew against its null hypothesis, by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from lbtop.engine import diagnose
from lbtop.inference.balance import infer_skew
from lbtop.model.record import replace
from lbtop.testing import Traffic
from tests.inference.simulated import Requests, http_facts, pinned, sessions_of, stickiness, tcp_facts


def test_a_random_balancer_is_not_skewed_and_a_hot_target_is() -> None:
    called = found = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        at, user = sessions_of(rng, 60, 20)
        facts = http_facts(Requests(at, user, user, rng.integers(0, 3, len(at)), np.zeros(len(at), bool)))
        skew = infer_skew(facts, stickiness(facts))
        called += skew is not None and skew.significant
        late = at > np.median(at)  # then everything goes to one target
        target = np.where(late & (rng.random(len(at)) < 0.6), 0, rng.integers(0, 3, len(at)))
        facts = http_facts(Requests(at, user, user, target, np.zeros(len(at), bool)))
        skew = infer_skew(facts, stickiness(facts))
        found += skew is not None and skew.significant
    assert called <= 2
    assert found >= 38


def test_unequal_weights_are_recognised_as_weights() -> None:
    rng = np.random.default_rng(1)
    at, user = sessions_of(rng, 100, 20)
    target = rng.choice(3, len(at), p=[0.5, 0.25, 0.25])
    facts = http_facts(Requests(at, user, user, target, np.zeros(len(at), bool)))
    skew = infer_skew(facts, stickiness(facts))
    assert skew is not None and not skew.significant and skew.cause == "weights"


def test_one_heavy_client_is_the_cause() -> None:
    rng = np.random.default_rng(2)
    at, user = sessions_of(rng, 60, 20)
    heavy = rng.uniform(0, 60, 900)
    every, who = np.concatenate((at, heavy)), np.concatenate((user, np.full(900, 60)))
    order = np.argsort(every)
    every, who = every[order], who[order]
    facts = http_facts(Requests(every, who, who, pinned(rng, who), np.ones(len(who), bool)))
    skew = infer_skew(facts, stickiness(facts))
    assert skew is not None and skew.cause == "heavy_client"


def test_of_few_clients_alike_none_is_heavy() -> None:
    at, user = np.arange(240) * 0.25, np.arange(240) % 4
    facts = http_facts(Requests(at, user, user, np.array([0, 0, 1, 2])[user], np.ones(240, bool)))
    skew = infer_skew(facts, stickiness(facts))
    assert skew is not None and skew.peak_to_mean > 1.4 and not skew.significant and skew.cause is None


def test_unequal_shares_of_a_least_loaded_choice_are_no_weights() -> None:
    rng = np.random.default_rng(1)
    at, user = sessions_of(rng, 100, 20)
    facts = http_facts(Requests(at, user, user, rng.choice(3, len(at), p=[0.5, 0.3, 0.2]), np.zeros(len(at), bool)))
    weighted = stickiness(facts)
    skew = infer_skew(facts, replace(weighted, balancing="least_loaded"))
    assert skew is not None and not skew.significant and skew.cause is None


def test_targets_that_join_late_are_not_cold() -> None:
    rng = np.random.default_rng(3)
    at = np.sort(rng.uniform(0, 60, 3000))
    target = np.where(at < 50, rng.integers(0, 3, 3000), rng.integers(0, 5, 3000))
    facts = tcp_facts(at, rng.integers(0, 500, 3000), target, 5)
    skew = infer_skew(facts, None)
    assert skew is not None and not skew.significant
    assert skew.peak_to_mean == pytest.approx(skew.expected_peak_to_mean, rel=0.1)


def test_long_sessions_pile_up_where_connections_are_even() -> None:
    rng = np.random.default_rng(4)
    at = np.sort(rng.uniform(0, 60, 900))
    target = np.arange(900) % 3
    cost = np.where((target == 1) & (rng.random(900) < 0.3), 20_000, 200)
    facts = tcp_facts(at, rng.integers(0, 800, 900), target, 3, cost)
    skew = infer_skew(facts, None)
    assert skew is not None and skew.significant and skew.metric == "active" and skew.cause == "long_sessions"


def test_a_keys_bytes_and_durations_are_dealt_together() -> None:
    """A connection per request, pinned by session: few busy users make a peak that connections dealt one by one never would."""
    traffic = Traffic()
    busy = {0, 3, 6, 9, 12}
    number = 0
    for turn in range(40):
        for user in range(24):
            if turn % 5 and user not in busy:
                continue
            number += 1
            conn = traffic.connect("10.0.9.1", f"10.0.0.{11 + user % 3}:8080", at=number * 0.05)
            conn.request(user_agent="a", forwarded=[f"203.0.113.{user + 1}"], cookies={"sid": f"s{user}"} if turn else {})
            conn.respond(200, delay=0.01, set_cookies={} if turn else {"sid": f"s{user}"})
            conn.data(400, 4_000)
            conn.close()
    (service,) = diagnose(traffic.source()).services
    assert service.skew is not None
    assert service.skew.peak_to_mean > 1.4
    assert not service.skew.significant


def test_one_target_has_no_skew() -> None:
    facts = tcp_facts(np.linspace(0, 10, 50), np.arange(50), np.zeros(50, np.int64), 1)
    assert infer_skew(facts, None) is None


def test_a_balancer_that_chooses_the_least_busy_is_told_from_a_round() -> None:
    """Requests that last for different times; the round and the least busy would choose alike if they all lasted the same."""
    from lbtop.reconstruct.arrivals import Part
    from lbtop.reconstruct.ledgers.leastloaded import LeastLoaded

    rng = np.random.default_rng(5)
    for least in (True, False):
        busy = np.zeros(3, int)
        ends: list[tuple[float, int]] = []
        begun, ended = [], []
        for number in range(600):
            now = float(number)
            for at, target in sorted(end for end in ends if end[0] <= now):
                busy[target] -= 1
                ended.append((at, target))
            ends = [end for end in ends if end[0] > now]
            quiet = np.flatnonzero(busy == busy.min())
            target = int(rng.choice(quiet)) if least else int(rng.integers(0, 3))
            busy[target] += 1
            begun.append((now, target))
            ends.append((now + float(rng.exponential(6)), target))
        counter = LeastLoaded()
        columns = [
            (Part(np.array([(int(at * 1e6),) for at, _ in rows], [("seq", "u8")])), np.array([t for _, t in rows], np.uint16))
            for rows in (begun, ended)
        ]
        counter.fold(*columns[0], *columns[1])
        assert (counter.excess > 0.9) if least else (counter.excess < 0.3)


def test_hidden_clients_that_may_be_pinned_are_not_dealt_one_connection_at_a_time() -> None:
    """Thirty clients of two connections each, pinned beneath an address that hides them: their targets' shares are chance."""
    called = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        traffic = Traffic()
        home = rng.integers(0, 3, 8)
        for turn in range(56):
            client = int(rng.integers(0, 8))
            conn = traffic.connect("10.0.9.1", f"10.0.0.{11 + home[client]}:8443", at=turn * 0.5)
            conn.hello(family=f"f{client}", sni="shop.example", at=turn * 0.5 + 0.01)
            conn.data(3000, int(rng.integers(2000, 60000)), at=turn * 0.5 + 0.1)
            conn.close(at=turn * 0.5 + 0.2)
        snapshot = diagnose(traffic.source())
        called += bool({finding.id for finding in snapshot.findings} & {"hot-target", "long-session-skew", "heavy-client"})
    assert called <= 1
