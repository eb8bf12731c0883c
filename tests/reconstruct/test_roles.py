"""Roles: who is client, balancer, target and dependency, on made-up traffic of many deployments."""

from __future__ import annotations

import random

import pytest

from lbtop.model.address import endpoint_text, ip_text
from lbtop.reconstruct.facts import Facts
from lbtop.reconstruct.reconstructor import Reconstructor
from lbtop.testing import ListSource, Traffic
from tests.reconstruct.scenes import SCENES


def facts_of(source: ListSource) -> Facts:
    reconstructor = Reconstructor()
    while (batch := source.poll()) is not None:
        reconstructor.ingest(batch)
    return reconstructor.facts(source.stats())


def seen(traffic: Traffic, facts: Facts) -> dict[int, tuple[set[str], set[str], bool | None]]:
    return {
        service.port: (
            {
                endpoint_text(traffic.addresses[address], port)
                for number, (address, port) in enumerate(service.targets)
                if number not in service.former
            },
            {ip_text(traffic.addresses[address]) for address in service.balancers},
            service.clients_preserved,
        )
        for service in facts.services
    }


@pytest.mark.parametrize("name", SCENES)
def test_roles_come_out_right(name: str) -> None:
    """Services, targets, balancers, dependencies, front endpoints and vantage of every deployment."""
    traffic, expected = SCENES[name]()
    facts = facts_of(traffic.source())
    assert seen(traffic, facts) == expected.services
    assert {
        endpoint_text(traffic.addresses[dependency.address], dependency.port)
        for service in facts.services
        for dependency in service.dependencies
    } == expected.dependencies
    assert {endpoint_text(traffic.addresses[a], p) for service in facts.services for a, p in service.vips} == expected.vips
    assert facts.vantage == expected.vantage
    assert all(service.roles_evidence for service in facts.services)


def _rows(facts: Facts) -> list[tuple[object, ...]]:
    """What must not depend on how the rows came: services with their counts."""
    return [
        (s.port, s.targets, s.balancers, s.vips, s.ledgers.targets.connections.tolist(), s.ledgers.targets.requests.tolist())
        for s in facts.services
    ]


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("rows_each", [1, 7])
def test_batching_changes_nothing(name: str, rows_each: int) -> None:
    traffic, _ = SCENES[name]()
    assert _rows(facts_of(traffic.source(rows_each))) == _rows(facts_of(traffic.source()))


@pytest.mark.parametrize("name", SCENES)
def test_asking_in_the_middle_changes_nothing(name: str) -> None:
    traffic, _ = SCENES[name]()
    source = traffic.source(50)
    reconstructor = Reconstructor()
    while (batch := source.poll()) is not None:
        reconstructor.ingest(batch)
        reconstructor.facts(source.stats())
    assert _rows(reconstructor.facts(source.stats())) == _rows(facts_of(traffic.source()))


@pytest.mark.parametrize("name", SCENES)
def test_small_windows_find_the_same_roles(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Roles decided early, from little, are mended by what comes later."""
    monkeypatch.setattr("lbtop.reconstruct.reconstructor.WINDOW_ROWS", 150)
    traffic, expected = SCENES[name]()
    assert seen(traffic, facts_of(traffic.source())) == expected.services


def test_a_balancers_servers_and_servers_of_clients_on_one_port_are_two_services() -> None:
    """The same users: of one through a balancer that re-encrypts, of the other themselves."""
    traffic = Traffic()
    rng = random.Random(41)
    for number in range(160):
        at = 0.15 * number
        if number % 2:
            back = traffic.connect("10.0.1.5", f"10.0.0.{11 + number // 2 % 2}:8443", at=at + rng.random())
            back.hello(family="one").data(client=500, server=2100).close(at=at + 2)
        else:
            server = f"10.0.0.{21 + number // 2 % 2}:8443"
            conn = traffic.connect(f"198.51.100.{number % 30}", server, at=at + rng.random(), ttl=50 + number % 7)
            conn.hello(sni="login.example", family=f"family {number % 5}").data(client=400, server=2900).close(at=at + 2)
    one, other = facts_of(traffic.source()).services
    assert {len(one.targets), len(other.targets)} == {2}
    assert {one.clients_preserved, other.clients_preserved} == {True, None}


def test_every_hello_is_found_on_both_legs_also_behind_a_proxy_header_that_goes_out_before_it_is_in() -> None:
    traffic = Traffic()
    for number in range(30):
        at = 0.3 * number
        front = traffic.connect(f"198.51.100.{number % 9}", "192.0.2.10:443", at=at)
        back = traffic.connect("10.0.1.5", f"10.0.0.{11 + number % 3}:8443", at=at + 0.001)
        back.proxy(f"198.51.100.{number % 9}:{front.ends['client_port']}", at=at + 0.002)
        front.hello(random=f"random {number}", at=at + 0.003)
        back.hello(random=f"random {number}", at=at + 0.004)
        for conn in (back, front):
            conn.data(server=2000, at=at + 0.01).close(at=at + 0.1)
    (service,) = facts_of(traffic.source()).services
    assert service.pairs.randoms_on_both == service.pairs.hellos_front == 30


def test_of_two_hosts_that_call_each_other_the_one_whose_caller_names_clients_is_the_target() -> None:
    traffic = Traffic()
    for number in range(60):
        at = 0.2 * number
        passed = traffic.connect("10.0.1.5", "10.0.0.11:8080", at=at)
        passed.request(path=f"/item/{number}", forwarded=[f"198.51.100.{number % 20}"]).respond().close(at=at + 0.1)
        traffic.connect("10.0.0.11", "10.0.1.5:8081", at=at + 0.01).request(path="/price").respond().close(at=at + 0.05)
    facts = facts_of(traffic.source())
    assert seen(traffic, facts) == {8080: ({"10.0.0.11:8080"}, {"10.0.1.5"}, False)}
    assert [dependency.port for dependency in facts.services[0].dependencies] == [8081]
    assert facts.vantage == "target"


def test_users_who_come_right_after_a_request_of_theirs_are_no_front_of_it() -> None:
    """The request names its client, who was not connected there when it was passed on: closeness in time is not enough."""
    traffic = Traffic()
    rng = random.Random(37)
    at = 0.0
    for number in range(90):
        at += 0.02 + rng.expovariate(3.0)
        passed = traffic.connect("10.0.1.5", f"10.0.0.{11 + number % 2}:8080", at=at)
        passed.request(path=f"/{number}", forwarded=[f"198.51.100.{rng.randrange(30)}"], at=at + 0.001)
        passed.respond().close(at=at + 0.5)
        conn = traffic.connect(f"198.51.100.{rng.randrange(30)}", f"10.0.0.{21 + number % 2}:8444", at=at + 0.004, ttl=55)
        conn.hello(sni="login.example", at=at + 0.005).data(client=400, server=2900).close(at=at + 0.02)
    assert sorted(service.port for service in facts_of(traffic.source()).services) == [8080, 8444]
