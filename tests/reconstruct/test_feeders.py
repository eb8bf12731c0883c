"""Who is a balancer's node, who comes by himself, and where nothing tells."""

from __future__ import annotations

from lbtop.model.address import ip_text
from lbtop.testing import Traffic
from tests.reconstruct.test_roles import facts_of

BALANCER, SECOND = "10.0.1.5", "10.0.1.6"
TARGET = "10.0.0.11:8080"
PROMETHEUS = ("Host", "User-Agent", "Accept", "Accept-Encoding", "X-Prometheus-Scrape-Timeout-Seconds")


def nodes_of(traffic: Traffic) -> tuple[set[str], bool | None]:
    (service,) = facts_of(traffic.source()).services
    return {ip_text(traffic.addresses[number]) for number in service.balancers}, service.clients_preserved


def pooled(requests: int = 200) -> Traffic:
    """A balancer that keeps two connections and carries everybody's requests over them."""
    traffic = Traffic()
    kept = [traffic.connect(BALANCER, TARGET, at=0.1), traffic.connect(BALANCER, TARGET, at=0.2)]
    for number in range(requests):
        at = 0.5 + number * 0.11
        kept[number % 2].request(path=f"/item/{number}", at=at, forwarded=[f"198.51.100.{number % 20 + 1}"]).respond()
    return traffic


def test_who_never_forwards_beside_a_balancer_is_a_client() -> None:
    """A monitor, a backup and a developer open most connections; the balancer's few carry nearly all requests."""
    traffic = pooled()
    for number in range(10):
        traffic.exchange("10.0.1.60", TARGET, "/metrics", at=1.0 + number * 2, headers=PROMETHEUS, user_agent="Prometheus/2.45.0")
    traffic.exchange("10.0.1.61", TARGET, "/backup.tar", at=5.0)
    for number in range(4):
        traffic.exchange("10.0.1.62", TARGET, f"/debug/{number}", at=7.0 + number * number)
    assert nodes_of(traffic) == ({BALANCER}, False)


def test_a_balancer_with_most_requests_beside_a_busy_program() -> None:
    traffic = pooled(100)
    for number in range(70):
        traffic.exchange("10.0.1.60", TARGET, f"/price/{number}", at=1.0 + number * 0.17 + number % 3 * 0.02)
    assert nodes_of(traffic) == ({BALANCER}, False)
    (service,) = facts_of(traffic.source()).services
    assert "100 of 170 requests" in service.roles_evidence[-1].detail


def test_many_clients_beside_a_balancer_that_carries_little() -> None:
    traffic = pooled(20)
    for number in range(120):
        traffic.exchange(f"198.51.100.{number % 30 + 100}", TARGET, f"/item/{number}", at=0.3 + number * 0.13)
    assert nodes_of(traffic) == (set(), True)


def test_who_checks_is_the_node_and_who_never_does_is_none() -> None:
    traffic = Traffic()
    for number in range(40):
        at = number * 0.41 + number % 7 * 0.05
        traffic.exchange(BALANCER, TARGET, f"/item/{number}", at=at)
    for number in range(12):
        conn = traffic.connect(BALANCER, TARGET, at=number * 1.5)
        conn.request(path="/health", host="", user_agent="", headers=(), version=10, at=number * 1.5).respond().close()
    traffic.exchange("10.0.1.61", TARGET, "/backup.tar", at=5.0)
    assert nodes_of(traffic) == ({BALANCER}, False)


def test_two_nodes_of_which_neither_says_so_stay_undecided() -> None:
    traffic = Traffic()
    for number in range(80):
        traffic.exchange((BALANCER, SECOND)[number % 2], TARGET, f"/item/{number}", at=number * 0.3 + number % 7 * 0.03)
    assert nodes_of(traffic) == ({BALANCER, SECOND}, None)


def test_a_minority_that_forwards_leaves_it_open_and_is_the_only_candidate() -> None:
    traffic = pooled(20)
    for number in range(60):
        traffic.exchange("10.0.1.60", TARGET, f"/price/{number}", at=1.0 + number * 0.17 + number % 3 * 0.02)
    assert nodes_of(traffic) == ({BALANCER}, None)
