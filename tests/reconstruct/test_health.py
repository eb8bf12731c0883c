"""Health checks: by name, by the LOCAL PROXY header, by habit; and what only looks like one."""

from __future__ import annotations

import pytest

from lbtop.testing import Traffic
from tests.reconstruct.test_roles import facts_of

BALANCER = "10.0.1.5"


def counts(traffic: Traffic) -> tuple[int, int]:
    """Requests and health checks of the one service."""
    (service,) = facts_of(traffic.source()).services
    ledger = service.ledgers.targets
    return int(ledger.requests.sum()), int(ledger.health_checks.sum())


def traffic_with_users(forwarded: bool = True) -> Traffic:
    traffic = Traffic()
    for number in range(60):
        at = number * 0.37 + (number * number % 7) * 0.05
        traffic.exchange(
            BALANCER, f"10.0.0.{11 + number % 2}:8080", f"/item/{number % 5}", at=at,
            forwarded=[f"198.51.100.{number % 9 + 1}"] if forwarded else [],
        )  # fmt: skip
    return traffic


def test_by_user_agent() -> None:
    traffic = traffic_with_users()
    for number in range(4):
        traffic.exchange(BALANCER, "10.0.0.11:8080", "/", at=number * 7.0, user_agent="ELB-HealthChecker/2.0")
    assert counts(traffic) == (60, 4)


def test_by_local_header() -> None:
    traffic = traffic_with_users()
    for number in range(4):
        conn = traffic.connect(BALANCER, "10.0.0.11:8080", at=number * 3.1)
        conn.proxy("0.0.0.0:0", local=True).request(path="/").respond().close()
    assert counts(traffic) == (60, 4)


def test_by_habit_beside_forwarded_requests() -> None:
    """HAProxy's default check: OPTIONS without headers, every two seconds, to every target."""
    traffic = traffic_with_users()
    for number in range(10):
        for target in (11, 12):
            conn = traffic.connect(BALANCER, f"10.0.0.{target}:8080", at=number * 2.0 + 0.01 * target)
            conn.request("OPTIONS", "/", host="", user_agent="", headers=(), version=10).respond().close()
    assert counts(traffic) == (60, 20)


def test_by_habit_of_a_node_that_keeps_client_addresses() -> None:
    traffic = Traffic()
    for number in range(60):
        traffic.exchange(f"198.51.100.{number % 20 + 1}", f"10.0.0.{11 + number % 2}:8080", "/", at=number * 0.31)
    for number in range(6):
        for target in (11, 12):
            traffic.exchange("10.0.9.9", f"10.0.0.{target}:8080", "/healthz", at=number * 3.0, user_agent="")
    assert counts(traffic) == (60, 12)
    (service,) = facts_of(traffic.source()).services
    assert [traffic.endpoint(address, 0) for address in service.checkers] == ["10.0.9.9:0"]
    assert service.balancers == [] and service.clients_preserved is True


def test_a_client_with_a_loop_and_a_sleep_is_no_checker() -> None:
    traffic = Traffic()
    for number in range(40):
        traffic.exchange("198.51.100.1", "10.0.0.11:8080", "/", at=number * 1.0)
    assert counts(traffic) == (40, 0)


def test_patient_clients_over_a_balancer_by_turns_are_no_checkers() -> None:
    traffic = Traffic()
    for number in range(60):
        traffic.exchange(BALANCER, f"10.0.0.{11 + number % 3}:8080", "/", at=number * 1.0)
    assert counts(traffic) == (60, 0)


def test_a_polling_browser_is_no_checker() -> None:
    traffic = traffic_with_users()
    for number in range(12):
        traffic.exchange(
            BALANCER, "10.0.0.11:8080", "/status", at=number * 1.5, forwarded=["198.51.100.77"], cookies={"sid": "x"}
        )
    assert counts(traffic) == (72, 0)


def test_a_habit_is_known_in_later_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single check in a later window cannot show a rhythm: the habit was learned before."""
    monkeypatch.setattr("lbtop.reconstruct.reconstructor.WINDOW_ROWS", 200)
    traffic = traffic_with_users()
    for number in range(11):
        traffic.exchange(BALANCER, "10.0.0.11:8080", "/healthz", at=number * 2.0, user_agent="")
    assert counts(traffic) == (60, 11)
