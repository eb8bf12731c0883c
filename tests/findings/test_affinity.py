"""Findings about what pins clients: each with a service that fires it and a near miss."""

from __future__ import annotations

import numpy as np

from lbtop.model.judgement import Finding
from lbtop.model.observation import CookieFlag
from lbtop.testing import Connection, Traffic
from tests.findings.scenes import ALB, found_in

TARGETS = 3


class Shop:
    """An ALB before three targets, written step by step: who asks when is random, where it goes is the test's."""

    def __init__(self, seed: int, targets: int = TARGETS) -> None:
        self.rng = np.random.default_rng(seed)
        self.traffic = Traffic()
        self.conns: dict[int, Connection] = {
            n: self.traffic.connect("10.0.9.1", f"10.0.0.{11 + n}:8080", at=0.0) for n in range(targets)
        }
        self.known: dict[int, str] = {}
        self.number = 0

    def ask(
        self, at: float, user: int, target: int, *, cookie: bool = True, address: int | None = None, name: str = "AWSALB"
    ) -> None:
        self.number += 1
        cookies = {"JSESSIONID": self.known[user]} if user in self.known else {}
        if cookie and user in self.known:
            cookies[name] = f"a{self.number}"
        client = f"203.0.113.{(user if address is None else address) % 250 + 1}"
        conn = self.conns[target]
        conn.request(at=at, forwarded=[client], proto="https", headers=ALB, cookies=cookies)
        fresh = user not in self.known
        self.known.setdefault(user, f"s{user}")
        conn.respond(set_cookies={"JSESSIONID": self.known[user]} if fresh else None, delay=0.001)

    def findings(self) -> dict[str, Finding]:
        for conn in self.conns.values():
            conn.close(at=120.0)
        return found_in(self.traffic)

    def times(self, users: int, each: int) -> list[tuple[float, int]]:
        return sorted((float(self.rng.uniform(0, 100)), user) for user in range(users) for _ in range(each))


def test_a_cookie_that_comes_back_to_any_target() -> None:
    shop = Shop(1)
    for at, user in shop.times(30, 12):
        shop.ask(at, user, int(shop.rng.integers(0, TARGETS)))
    finding = shop.findings()["stickiness-not-working"]
    assert "AWSALB" in finding.title
    assert any("stickiness.type" in advice for advice in finding.advice)


def test_a_cookie_that_works_is_no_finding() -> None:
    shop = Shop(2)
    for at, user in shop.times(30, 12):
        shop.ask(at, user, user * 7 % TARGETS)
    assert not {"stickiness-not-working", "affinity-remap", "cookies-ignored", "target-gone"} & set(shop.findings())


def test_a_cookie_that_pins_to_a_group_says_nothing_of_the_targets_within() -> None:
    shop = Shop(1)
    for at, user in shop.times(30, 12):
        shop.ask(at, user, int(shop.rng.integers(0, TARGETS)), name="AWSALBTG")
    assert "stickiness-not-working" not in shop.findings()


def test_clients_that_never_return_the_cookie() -> None:
    shop = Shop(3)
    for at, user in shop.times(30, 12):
        ignores = user % 5 == 0
        target = int(shop.rng.integers(0, TARGETS)) if ignores else user * 7 % TARGETS
        shop.ask(at, user, target, cookie=not ignores)
    finding = shop.findings()["cookies-ignored"]
    assert finding.title.startswith("6 client addresses")
    shop = Shop(4)
    for at, user in shop.times(30, 12):
        shop.ask(at, user, user * 7 % TARGETS)
    assert "cookies-ignored" not in shop.findings()


def test_a_target_that_leaves_while_clients_are_pinned() -> None:
    shop = Shop(5)
    for at, user in shop.times(45, 16):
        home = user * 7 % TARGETS
        shop.ask(at, user, user % 2 if home == 2 and at > 50 else home)
    found = shop.findings()
    assert "10.0.0.13:8080" in found["target-gone"].title
    assert "affinity-remap" not in found  # one fact, one finding


def test_a_mapping_that_changes_at_once() -> None:
    shop = Shop(6)
    for at, user in shop.times(45, 16):
        shop.ask(at, user, (user * 7 if at < 50 else user // 4) % TARGETS)
    found = shop.findings()
    assert "changed target at once" in found["affinity-remap"].title
    assert found["affinity-remap"].at_ns is not None


def test_first_requests_that_are_split() -> None:
    shop = Shop(7)
    for user in range(40):
        start = float(shop.rng.uniform(0, 60))
        home = user * 7 % TARGETS
        shop.ask(start, user, home)
        shop.ask(start + 0.05, user, (home + user % 2) % TARGETS, cookie=False)
        for turn in range(8):
            shop.ask(start + 1 + turn * 3, user, (home + user % 2) % TARGETS)
    assert "first-request-split" in shop.findings()
    shop = Shop(8)
    for user in range(40):
        start = float(shop.rng.uniform(0, 60))
        for turn in range(9):
            shop.ask(start + turn * 3, user, user * 7 % TARGETS)
    assert "first-request-split" not in shop.findings()


def one_target_named(others: int) -> Traffic:
    """One target, called by cookies that name ``others`` further addresses in turn."""
    traffic = Traffic()
    conn = traffic.connect("10.0.9.1", "10.0.0.11:8080", at=0.0)
    for number in range(60):
        conn.request(at=1.0 + number, forwarded=[f"203.0.113.{number % 20}"], proto="https", headers=ALB)
        traffic.add(
            "cookies", traffic.time(1.0 + number), **conn.ends, conn=conn.number, request=conn.requests[-1][0],
            value=77 + number, name=traffic.string("BIGipServerweb"), names=traffic.address(f"172.17.0.{2 + number % others}"),
            names_port=8080, decoder=1, flags=int(CookieFlag.BALANCER | CookieFlag.DISCLOSES),
        )  # fmt: skip
        conn.respond()
    conn.close(at=99.0)
    return traffic


def test_one_constant_other_name_of_a_target_is_its_address_before_translation() -> None:
    assert "stickiness-not-working" not in found_in(one_target_named(others=1))
    assert "stickiness-not-working" in found_in(one_target_named(others=3))
