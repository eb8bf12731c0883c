"""Health checks: by name, by the LOCAL PROXY header, by habit; and what only looks like one."""

from __future__ import annotations

import pytest

from lbtop.model.observation import SecretKind
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


def quiet_site(targets: int, path: str, method: str = "GET", host: str = "shop.example", every_s: float = 1.0) -> Traffic:
    """A balancer's checks of each target, three times as many as the requests it passes on."""
    traffic = Traffic()
    for number in range(24):
        for target in range(targets):
            at = number * every_s + target * every_s / targets
            conn = traffic.connect(BALANCER, f"10.0.0.{11 + target}:8080", at=at)
            conn.request(method, path, host=host, user_agent="", headers=("Host",) if host else (), at=at + 0.001)
            conn.respond(set_cookies={"session": f"checker {number} {target}"})
            conn.secret(SecretKind.SET_COOKIE_SESSION, f"checker {number} {target}", name="session").close()
    for number in range(8 * targets):
        traffic.exchange(
            BALANCER, f"10.0.0.{11 + number % targets}:8080", f"/item/{number}", at=0.37 + number * 2.9 / targets,
            forwarded=[f"198.51.100.{number % 5 + 1}"],
        )  # fmt: skip
    return traffic


@pytest.mark.parametrize("targets", [1, 3])
@pytest.mark.parametrize("method, path, host", [("GET", "/", "shop.example"), ("OPTIONS", "/", ""), ("GET", "/health", "")])
@pytest.mark.parametrize("every_s", [1.0, 0.1])
def test_checks_that_outnumber_requests_are_checks(targets: int, method: str, path: str, host: str, every_s: float) -> None:
    traffic = quiet_site(targets, path, method, host, every_s)
    assert counts(traffic) == (8 * targets, 24 * targets)
    (service,) = facts_of(traffic.source()).services
    assert not service.ledgers.exposure.secrets  # cookies given to a checker are nobody's sessions
    assert not len(service.ledgers.sessions._values)


@pytest.mark.parametrize("targets", [1, 3])
def test_checks_and_nothing_else(targets: int) -> None:
    """A spare, or a night: HAProxy's check of a path, without any header, by the clock."""
    traffic = Traffic()
    for number in range(12):
        for target in range(targets):
            conn = traffic.connect(BALANCER, f"10.0.0.{11 + target}:8080", at=number * 2.0 + 0.66 * target)
            conn.request(path="/health", host="", user_agent="", headers=(), version=10).respond().close()
    assert counts(traffic) == (0, 12 * targets)


@pytest.mark.parametrize("path", ["/", "/report", "/health"])
@pytest.mark.parametrize("targets", [1, 3])
def test_one_program_by_the_clock_is_no_checker(path: str, targets: int) -> None:
    """A cron job with curl, or a loop over a balancer that deals by turns: it says its name, and does nothing else."""
    traffic = Traffic()
    for number in range(60):
        traffic.exchange(BALANCER, f"10.0.0.{11 + number % targets}:8080", path, at=number * 1.0, headers=("Host", "User-Agent"))
    assert counts(traffic) == (60, 0)


def test_a_load_test_with_a_fixed_pause_is_no_checker() -> None:
    """Host and nothing else, as wrk and plain sockets write it, also over one connection."""
    traffic = Traffic()
    kept = traffic.connect("198.51.100.1", "10.0.0.11:8080")
    for number in range(40):
        traffic.exchange("198.51.100.2", "10.0.0.11:8080", "/", at=number * 0.5, user_agent="", headers=("Host",))
        kept.request(path="/health", at=number * 0.5 + 0.2, user_agent="", headers=("Host",)).respond()
    assert counts(traffic) == (80, 0)


def test_most_requests_of_a_program_by_the_clock_over_a_proxy_that_names_only_some() -> None:
    """A location without X-Forwarded-For beside others with it: what comes through it names its program."""
    traffic = Traffic()
    for number in range(40):
        at = number * 1.0
        traffic.exchange(BALANCER, "10.0.0.11:8080", "/feed", at=at, user_agent="fetcher/1.2", headers=("Host", "User-Agent"))
        if number % 4 == 0:
            traffic.exchange(BALANCER, "10.0.0.11:8080", f"/item/{number}", at=at + 0.3, forwarded=["198.51.100.7"])
    assert counts(traffic) == (50, 0)


def through_a_sidecar(shared: bool) -> Traffic:
    """Users over a balancer, and its checks; a sidecar on the target's host adds the balancer to all of it."""
    traffic = Traffic()
    kept = traffic.connect("127.0.0.1", "127.0.0.1:8080")
    for number in range(90):
        at = number * 0.37
        conn = kept if shared else traffic.connect("127.0.0.1", "127.0.0.1:8080", at=at)
        conn.request(path=f"/item/{number}", at=at + 0.01, forwarded=[f"198.51.100.{number % 15 + 1}", BALANCER]).respond()
    for number in range(16):
        at = number * 2.0
        conn = kept if shared else traffic.connect("127.0.0.1", "127.0.0.1:8080", at=at)
        names = ("x-forwarded-for", "connection")
        conn.request(path="/health", at=at, host="", user_agent="", headers=names, forwarded=[BALANCER]).respond()
    return traffic


@pytest.mark.parametrize("shared", [False, True])
def test_checks_through_a_sidecar_are_the_balancers(shared: bool) -> None:
    traffic = through_a_sidecar(shared)
    assert counts(traffic) == (90, 16)
    (service,) = facts_of(traffic.source()).services
    assert {traffic.endpoint(number, 0) for number in service.proxies} == {"127.0.0.1:0", f"{BALANCER}:0"}
    assert int(service.ledgers.targets.clients[0].sum()) == 15  # the balancer is nobody's client


def test_who_polls_through_a_proxy_is_no_checker() -> None:
    traffic = traffic_with_users()
    for number in range(20):
        traffic.exchange(
            BALANCER, "10.0.0.11:8080", "/health", at=number * 2.0, host="", user_agent="", headers=("x-forwarded-for",),
            forwarded=["198.51.100.77"],
        )  # fmt: skip
    assert counts(traffic) == (80, 0)


@pytest.mark.parametrize("targets", [1, 2])
def test_a_monitor_that_collects_figures_is_no_checker(targets: int) -> None:
    """At one target or at all of them: by the clock alone nothing is a check."""
    traffic = traffic_with_users()
    names = ("Host", "User-Agent", "Accept", "Accept-Encoding", "X-Prometheus-Scrape-Timeout-Seconds")
    for number in range(10):
        for target in range(targets):
            server = f"10.0.0.{11 + target}:8080"
            traffic.exchange(
                "10.0.1.60", server, "/metrics", at=number * 2 + 0.3 * target, user_agent="Prometheus/2.45", headers=names
            )
    assert counts(traffic) == (60 + 10 * targets, 0)
