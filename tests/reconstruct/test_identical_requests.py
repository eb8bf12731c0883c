"""Requests that are all alike, many at once, as a load generator sends them: which side of a balancer is the front?"""

from __future__ import annotations

import random

from lbtop.model.address import endpoint_text
from lbtop.reconstruct.facts import Facts
from lbtop.reconstruct.reconstructor import Reconstructor
from lbtop.testing import Traffic


def facts_of(traffic: Traffic) -> Facts:
    source = traffic.source()
    reconstructor = Reconstructor()
    while (batch := source.poll()) is not None:
        reconstructor.ingest(batch)
    return reconstructor.facts(source.stats())


def targets_of(traffic: Traffic, facts: Facts) -> set[str]:
    return {endpoint_text(traffic.addresses[address], port) for service in facts.services for address, port in service.targets}


def test_bursts_of_one_request_are_paired_in_turn() -> None:
    rng = random.Random(4)
    traffic = Traffic()
    fronts = [traffic.connect("192.0.2.9", "10.0.0.4:80", at=0.001 * n) for n in range(20)]
    backs = [traffic.connect("10.0.0.4", f"10.0.0.{11 + n % 2}:8080", at=0.03 + 0.001 * n) for n in range(20)]
    for burst in range(30):
        at = 1.0 + burst * 0.05
        for number, (front, back) in enumerate(zip(fronts, backs, strict=True)):
            asked, passed_on = at + number * 1e-5, at + 0.002 + number * 1e-5
            took = 0.005 + rng.random() * 1e-3
            front.request(at=asked, path="/", user_agent="load")
            back.request(at=passed_on, path="/", user_agent="load")
            back.respond(200, delay=took)
            front.respond(200, delay=took + 0.004)
    for connection in (*backs, *fronts):
        connection.close(at=4.0)
    facts = facts_of(traffic)
    assert targets_of(traffic, facts) == {"10.0.0.11:8080", "10.0.0.12:8080"}
    assert facts.vantage == "load_balancer"


def test_two_servers_with_callers_of_their_own_stay_two() -> None:
    rng = random.Random(5)
    traffic = Traffic()
    pairs = [(traffic.connect(f"10.0.9.{1 + n % 2}", f"10.0.0.{11 + n % 2}:8080", at=0.001 * n), rng.random()) for n in range(40)]
    for burst in range(30):
        for conn, offset in pairs:
            conn.request(at=1.0 + burst * 0.05 + offset * 0.02, path="/", user_agent="load")
            conn.respond(200, delay=0.002 + rng.random() * 0.02)
    for conn, _ in pairs:
        conn.close(at=4.0)
    assert targets_of(traffic, facts_of(traffic)) == {"10.0.0.11:8080", "10.0.0.12:8080"}


def test_two_targets_and_few_connections_are_no_circle() -> None:
    """TLS in front, ten connections in all, nothing that pairs them: a target is no front of its own balancer."""
    traffic = Traffic()
    for turn in range(10):
        at = turn * 0.3
        front = traffic.connect(f"203.0.113.{1 + turn % 4}", "10.0.0.4:443", at=at, ttl=50)
        front.hello(random=f"r{turn}", family="browser", sni="shop.example", at=at + 0.01)
        back = traffic.connect("10.0.0.4", f"10.0.0.{11 + turn % 2}:8080", at=at + 0.02)
        for page in range(2):
            back.request(at=at + 0.03 + 0.05 * page, path=f"/{page}", host="shop.example").respond(200, delay=0.01)
        back.data(500, 9_000, at=at + 0.2)
        front.data(650, 9_100, at=at + 0.2)
        back.close(at=at + 0.21)
        front.close(at=at + 0.22)
    assert targets_of(traffic, facts_of(traffic)) == {"10.0.0.11:8080", "10.0.0.12:8080"}
