"""The forecast of keep-alive races, held against services that are simulated for a whole hour."""

from __future__ import annotations

import numpy as np

from lbtop.engine import diagnose
from lbtop.model.observation import ConnFlag, End, Side
from lbtop.model.snapshot import Idle
from lbtop.testing import Traffic

CLOSES_S, ROUND_TRIP_S = 5.0, 0.04


def hour(rng: np.random.Generator, mean_idle_s: float, length_s: float) -> tuple[Traffic, int]:
    """Pooled connections of a balancer that asks again at random; the target closes after five seconds. Counts the races."""
    traffic, races = Traffic(), 0
    for start in np.sort(rng.uniform(0, length_s, int(length_s / 4))).tolist():
        at = start
        conn = traffic.connect("10.0.9.1", "10.0.0.11:8080", at=at, connect_ms=0.1, ack_ms=1000 * ROUND_TRIP_S)
        longest = 0.0
        while True:
            conn.request(at=at, user_agent="a", forwarded=["203.0.113.9"], proto="https")
            conn.respond(200)
            idle = float(rng.exponential(mean_idle_s))
            if idle >= CLOSES_S - ROUND_TRIP_S / 2:
                break
            longest = max(longest, idle)
            at += idle
        conn.row["idle_survived_ns"] = round(longest * 1e9)
        if idle < CLOSES_S + ROUND_TRIP_S / 2:
            races += 1
        conn.row["idle_before_end_ns"] = round(CLOSES_S * 1e9)
        conn.close(at=at + CLOSES_S, end=End.FIN, closer=Side.SERVER)
    return traffic, races


def idle_of(traffic: Traffic) -> Idle:
    (service,) = diagnose(traffic.source()).services
    assert service.idle is not None
    return service.idle


def test_ten_minutes_tell_what_an_hour_will_bring() -> None:
    """Races are counted by the simulation and not shown; nine hours in ten lie in the interval."""
    held = total = 0
    for seed in range(24):
        rng = np.random.default_rng(seed)
        mean = float(rng.choice([2.0, 4.0, 8.0]))
        traffic, _ = hour(rng, mean, 600.0)
        idle = idle_of(traffic)
        assert idle.races_per_hour is not None and idle.races_interval is not None
        _, races = hour(rng, mean, 3600.0)
        low, high = idle.races_interval
        assert low <= idle.races_per_hour <= high
        held += low <= races <= high
        total += 1
    assert held >= 0.85 * total


def test_races_that_were_seen_are_the_forecast() -> None:
    traffic, _ = hour(np.random.default_rng(1), 4.0, 600.0)
    for conn in traffic.connections[:6]:
        conn.row["flags"] |= ConnFlag.KEEPALIVE_RACE
    for _, _, table, columns in traffic._rows:
        if table == "connections" and columns["conn"] <= 6:
            columns["flags"] |= ConnFlag.KEEPALIVE_RACE
    idle = idle_of(traffic)
    assert idle.keepalive_races == 6
    assert idle.races_per_hour is not None and 30 < idle.races_per_hour < 40


def test_no_forecast_where_the_target_does_not_close_first() -> None:
    traffic = Traffic()
    for turn in range(30):
        conn = traffic.connect("10.0.9.1", "10.0.0.11:8080", at=turn * 2.0)
        conn.request(at=turn * 2.0, forwarded=["203.0.113.9"], proto="https").respond(200).close(at=turn * 2.0 + 1)
    (service,) = diagnose(traffic.source()).services
    assert service.idle is None or service.idle.races_per_hour is None
