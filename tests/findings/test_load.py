"""Findings about load and targets: each with a service that fires it and a near miss."""

from __future__ import annotations

import numpy as np

from lbtop.inference.nat import infer_nat
from lbtop.inference.peers import differing_rates, slow_targets
from lbtop.inference.presence import absences
from lbtop.model.observation import End, Side
from lbtop.testing import Traffic
from tests.findings.scenes import found_in
from tests.inference.simulated import pinned, tcp_facts


def nlb(
    seed: int, *, users: int, nat: int, delay: dict[int, float] | None = None, resets: dict[int, int] | None = None
) -> Traffic:
    """A layer-4 balancer that keeps client addresses and pins them; ``nat`` users share one."""
    rng = np.random.default_rng(seed)
    traffic = Traffic()
    home = {address: int(rng.integers(0, 3)) for address in range(users)}
    steps = sorted((float(rng.uniform(0, 100)), user) for user in range(users) for _ in range(6))
    began: set[int] = set()
    for at, user in steps:
        address = 0 if user < nat else user
        target = home[address]
        conn = traffic.connect(f"203.0.113.{address + 1}", f"10.0.0.{11 + target}:8080", at=at)
        conn.request(at=at + 0.001, cookies={"JSESSIONID": f"s{user}"} if user in began else {})
        wait = float(rng.lognormal(np.log((delay or {}).get(target, 0.01)), 0.3))
        conn.respond(set_cookies=None if user in began else {"JSESSIONID": f"s{user}"}, delay=wait)
        began.add(user)
        reset = (resets or {}).get(target, 0) > rng.integers(0, 100)
        conn.close(at=at + wait + 0.1, end=End.RST if reset else End.FIN, closer=Side.SERVER if reset else Side.CLIENT)
    return traffic


def test_many_users_behind_one_address() -> None:
    finding = found_in(nlb(1, users=120, nat=80))["nat-concentration"]
    assert "203.0.113.1" in finding.title and finding.subject == "203.0.113.1"
    assert "nat-concentration" not in found_in(nlb(2, users=120, nat=3))


def test_many_users_behind_one_address_who_with_others_make_its_target_hot() -> None:
    finding = found_in(nlb(1, users=120, nat=52))["nat-concentration"]  # 43 % of the load, less than one and a half fair shares
    assert "203.0.113.1" in finding.title


def test_a_target_that_is_slower_than_its_peers() -> None:
    finding = found_in(nlb(3, users=90, nat=0, delay={1: 0.08}))["slow-target"]
    assert "10.0.0.12:8080" in finding.title
    assert "slow-target" not in found_in(nlb(4, users=90, nat=0, delay={1: 0.013}))


def routed_by_name(slow: str = "") -> Traffic:
    """One port, two pools: a shop's pages in great demand on three targets, a slower interface on two others."""
    rng = np.random.default_rng(9)
    traffic = Traffic()
    for number in range(900):
        shop = number % 5 > 0
        target = f"10.0.0.{11 + int(rng.integers(0, 3))}" if shop else f"10.0.0.{21 + number // 5 % 2}"
        conn = traffic.connect("10.0.1.5", f"{target}:8080", at=0.1 * number)
        conn.request(host="shop.example" if shop else "api.example", forwarded=[f"203.0.113.{number % 90}"])
        conn.respond(delay=0.2 if target == slow else 0.002 if shop else 0.04).close()
    return traffic


def test_pools_behind_one_port_are_compared_within_themselves() -> None:
    assert not {"slow-target", "hot-target"} & found_in(routed_by_name()).keys()
    assert "10.0.0.22:8080" in found_in(routed_by_name("10.0.0.22"))["slow-target"].title


def test_a_target_that_resets_connections() -> None:
    finding = found_in(nlb(5, users=90, nat=0, resets={2: 40}))["resets"]
    assert "10.0.0.13:8080" in finding.title
    assert "resets" not in found_in(nlb(6, users=90, nat=0, resets={0: 3, 1: 3, 2: 3}))


def test_absences_are_no_chance_and_no_burst() -> None:
    quiet = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        at, address = np.sort(rng.uniform(0, 60, 900)), rng.integers(0, 40, 900)
        quiet += not absences(tcp_facts(at, address, pinned(rng, address)))
    assert quiet >= 19
    rng = np.random.default_rng(21)
    at = np.sort(rng.uniform(0, 60, 900))
    target = rng.integers(0, 3, 900)
    gone = (at > 40) & (target == 1)
    found = absences(tcp_facts(at, np.arange(900) % 40, np.where(gone, 0, target)))
    assert [(entry.target, entry.trailing) for entry in found] == [(1, True)]
    start_s = (found[0].start_ns - 1_790_000_000_000_000_000) / 1e9
    assert 38.5 < start_s < 40.5


def test_peers_alike_are_not_unlike() -> None:
    rng = np.random.default_rng(30)
    facts = tcp_facts(np.sort(rng.uniform(0, 60, 900)), rng.integers(0, 40, 900), rng.integers(0, 3, 900))
    assert slow_targets(facts) == [] and infer_nat(facts) == ()
    for what in ("resets", "refused", "retransmits"):
        assert differing_rates(facts, what) == []
