"""Who is away and who is not: silence alone, checks that go on, and names that decide who gets what."""

from __future__ import annotations

import pytest

from lbtop.engine import diagnose
from lbtop.inference.presence import absences
from lbtop.model.snapshot import Service
from lbtop.testing import Traffic
from tests.reconstruct.test_roles import facts_of

BALANCER = "10.0.1.5"


def left_at(seconds: float, names: tuple[str, ...], checked: bool = False, tls: bool = False) -> Traffic:
    """Three targets; the first gets nothing any more after a while, when all ask for the last name."""
    traffic = Traffic()
    for number in range(240):
        at = number * 0.1
        after = at >= seconds
        target = 11 + number % 3 if not after else 12 + number % 2
        name = names[-1] if after else names[0]
        conn = traffic.connect(BALANCER, f"10.0.0.{target}:8443", at=at)
        if tls:
            conn.proxy(f"198.51.100.{number % 40 + 1}:{40000 + number}", at=at).hello(sni=name, at=at + 0.001)
            conn.data(client=400, server=3000)
        else:
            conn.request(path=f"/{number}", host=name, at=at + 0.001, forwarded=[f"198.51.100.{number % 40 + 1}"]).respond()
        conn.close(at=at + 0.05)
    for second in range(24 if checked else 0):
        for target in (11, 12, 13):
            check = traffic.connect(BALANCER, f"10.0.0.{target}:8443", at=second + 0.03 * target)
            check.proxy("0.0.0.0:0", local=True, at=second + 0.03 * target).close(at=second + 0.03 * target + 0.01)
    return traffic


def states(traffic: Traffic) -> dict[str, str]:
    (service,) = diagnose(traffic.source()).services
    return {target.target.split(":")[0]: target.state for target in service.targets}


@pytest.mark.parametrize("tls", [False, True])
def test_who_is_silent_while_others_are_asked_under_its_name_is_gone(tls: bool) -> None:
    assert states(left_at(12.0, ("shop.example", "shop.example"), tls=tls))["10.0.0.11"] == "gone"


@pytest.mark.parametrize("tls", [False, True])
def test_who_is_still_checked_is_not_gone(tls: bool) -> None:
    assert states(left_at(12.0, ("shop.example", "shop.example"), checked=True, tls=tls))["10.0.0.11"] == "serving"


@pytest.mark.parametrize("tls", [False, True])
def test_what_another_name_brings_elsewhere_is_no_absence(tls: bool) -> None:
    traffic = left_at(12.0, ("shop.example", "api.example"), tls=tls)
    assert states(traffic)["10.0.0.11"] == "serving"
    (service,) = facts_of(traffic.source()).services
    assert not absences(service)


def test_connections_that_say_they_are_checks_are_counted_as_checks() -> None:
    """PROXY v2 LOCAL and nothing else: neither data nor a client's."""
    (service,) = diagnose(left_at(99.0, ("shop.example",), checked=True, tls=True).source()).services
    assert [_counts(service, place) for place in range(3)] == [(104, None, 24)] * 3


def _counts(service: Service, place: int) -> tuple[int, int | None, int | None]:
    target = service.targets[place]
    return target.connections, target.requests, target.health_checks


def test_an_address_that_only_says_local_is_a_checker() -> None:
    """A node that keeps client addresses, and whose checks say that they are its own."""
    traffic = Traffic()
    for number in range(80):
        conn = traffic.connect(f"198.51.100.{number % 30 + 1}", "10.0.0.11:8443", at=number * 0.21)
        conn.hello(sni="shop.example").data(client=400, server=3000).close()
    for second in range(15):
        traffic.connect("10.0.9.9", "10.0.0.11:8443", at=second + 0.5).proxy("0.0.0.0:0", local=True).close()
    (service,) = facts_of(traffic.source()).services
    assert [traffic.endpoint(address, 0) for address in service.checkers] == ["10.0.9.9:0"]
    assert service.clients_preserved is True
