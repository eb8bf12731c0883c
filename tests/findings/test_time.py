"""Findings about time: each with a service that fires it and a near miss."""

from __future__ import annotations

from lbtop.model.observation import ConnFlag, End, Side
from lbtop.testing import Traffic
from tests.findings.scenes import found_in

SECOND = 1_000_000_000
TRACKER = int(ConnFlag.RST_AFTER_IDLE | ConnFlag.RST_BARE)


def polling(traffic: Traffic, number: int, at: float, **end: int) -> None:
    """One kept-alive connection from a balancer to one of three targets, used once; ``end``: columns of its CONNECTION row."""
    conn = traffic.connect("10.0.9.1", f"10.0.0.{11 + number % 3}:8080", at=at)
    conn.request(at=at + 0.01, forwarded=[f"203.0.113.{number % 200 + 1}"]).respond(delay=0.01)
    closer, how, flags = end.pop("closer", Side.CLIENT), end.pop("end", End.FIN), end.pop("flags", 0)
    conn.close(at=at + 1.0, end=End(how), closer=Side(closer), flags=flags, **end)


def test_connections_that_die_while_idle() -> None:
    traffic = Traffic()
    for number in range(40):
        if number % 4:
            polling(traffic, number, number * 9.0, idle_survived_ns=(5 + number) * SECOND)
        else:
            polling(
                traffic, number, number * 9.0, end=End.RST, closer=Side.SERVER, flags=TRACKER,
                idle_before_end_ns=(62 + number) * SECOND,
            )  # fmt: skip
    found = found_in(traffic)
    assert "44 s and 62 s" in found["idle-reset"].title
    assert "connection tracker" in found["idle-reset"].detail
    assert "resets" not in found  # one fact, one finding


def test_resets_without_a_pause_are_no_idle_limit() -> None:
    traffic = Traffic()
    for number in range(40):
        polling(traffic, number, number * 9.0, end=End.RST, closer=Side.CLIENT, idle_before_end_ns=SECOND // 10)
    assert "idle-reset" not in found_in(traffic)


def test_a_target_that_closes_sooner_than_the_balancer_reuses() -> None:
    traffic = Traffic()
    for number in range(40):
        if number % 2:
            polling(traffic, number, number * 9.0, idle_survived_ns=int(4.5 * SECOND))
        else:
            polling(traffic, number, number * 9.0, closer=Side.SERVER, idle_before_end_ns=5 * SECOND + number * SECOND // 100)
    found = found_in(traffic)
    assert "5.2 s" in found["target-closes-first"].title or "5.1" in found["target-closes-first"].title
    assert "keepalive-race" not in found
    traffic = Traffic()
    for number in range(40):  # the balancer closes first: no risk
        polling(traffic, number, number * 9.0, closer=Side.CLIENT, idle_before_end_ns=5 * SECOND + number * SECOND // 100)
    assert "target-closes-first" not in found_in(traffic)


def test_requests_that_crossed_the_targets_fin() -> None:
    traffic = Traffic()
    for number in range(40):
        race = int(ConnFlag.KEEPALIVE_RACE) if number in (3, 17) else 0
        polling(traffic, number, number * 9.0, closer=Side.SERVER, flags=race, idle_before_end_ns=5 * SECOND)
    found = found_in(traffic)
    assert found["keepalive-race"].title.startswith("2 requests")
    assert "target-closes-first" not in found  # the race itself says more


def test_a_first_request_that_is_turned_away_is_no_race() -> None:
    """A balancer without a server in service accepts and ends at once: nothing was kept alive."""
    traffic = Traffic()
    for number in range(40):
        conn = traffic.connect("10.0.9.1", "10.0.0.11:6379", at=number * 2.0)
        conn.data(40, 0, at=number * 2.0 + 0.01)
        conn.close(at=number * 2.0 + 0.02, end=End.RST, closer=Side.SERVER, flags=int(ConnFlag.KEEPALIVE_RACE))
    assert "keepalive-race" not in found_in(traffic)


def test_a_balancer_that_gives_up_on_requests() -> None:
    def service(ages: list[float]) -> Traffic:
        traffic = Traffic()
        for number in range(40):
            polling(traffic, number, number * 9.0)
        for number, age in enumerate(ages):
            at = number * 11.0
            conn = traffic.connect("10.0.9.1", f"10.0.0.{11 + number % 3}:8080", at=at)
            conn.request(at=at + 0.01, forwarded=["203.0.113.250"]).respond(0, delay=age)
            conn.close(at=at + age, end=End.RST, closer=Side.CLIENT)
        return traffic

    assert "30 s" in found_in(service([30.0, 30.1, 30.2, 30.05]))["upstream-timeout"].title
    assert "upstream-timeout" not in found_in(service([1.5, 9.0, 30.0, 70.0]))  # users who went away


def test_keepalive_probes_that_come_too_late() -> None:
    traffic = Traffic()
    for number in range(12):
        polling(
            traffic, number, number * 9.0, end=End.RST, closer=Side.SERVER, flags=int(ConnFlag.RST_AFTER_IDLE),
            idle_before_end_ns=400 * SECOND, keepalive_probes=1,
        )  # fmt: skip
    assert "keepalive-too-long" in found_in(traffic)
    traffic = Traffic()
    for number in range(12):
        polling(traffic, number, number * 9.0, idle_survived_ns=400 * SECOND, keepalive_probes=5)
    assert "keepalive-too-long" not in found_in(traffic)


def test_where_no_answers_are_in_view_no_reset_cuts_one_off() -> None:
    """A capture of one direction: the balancer ends its kept-alive connections by RST, as some do."""
    traffic = Traffic()
    for number in range(60):
        conn = traffic.connect("10.0.9.1", "10.0.0.11:8080", at=number * 1.0)
        conn.request(at=number + 0.01, forwarded=["203.0.113.9"])
        conn.close(at=number + 0.5, end=End.RST, closer=Side.CLIENT, packets_s=0)
    assert "resets" not in found_in(traffic)
