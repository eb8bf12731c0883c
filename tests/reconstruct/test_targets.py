"""The counts of the contract, per target: exact, whatever was mixed in."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lbtop.model.observation import ConnFlag, End, Side
from lbtop.reconstruct.ledgers.targets import TargetLedger, add_times
from lbtop.testing import Traffic
from tests.reconstruct.test_roles import facts_of

BALANCER = "10.0.1.5"
SERVER = "10.0.0.11:8080"


def ledger_of(traffic: Traffic) -> TargetLedger:
    (service,) = facts_of(traffic.source()).services
    return service.ledgers.targets


def test_connections_probes_and_refused_are_counted_apart() -> None:
    traffic = Traffic()
    for number in range(5):
        traffic.exchange(BALANCER, SERVER, forwarded=[f"198.51.100.{number + 1}"])
    for _ in range(3):
        traffic.probe(BALANCER, SERVER)
    for _ in range(2):
        traffic.probe(BALANCER, SERVER, refused=True)
    traffic.connect(BALANCER, SERVER).close(end=End.EXPIRED, flags=0, first_data_ns=0)
    ledger = ledger_of(traffic)
    assert (ledger.connections[0], ledger.refused[0]) == (5, 2)
    assert ledger.probes[0] == 4  # answered and never used: a probe as well


def test_an_attempt_that_nobody_answers_is_neither_probe_nor_refused() -> None:
    traffic = Traffic()
    traffic.exchange(BALANCER, SERVER, forwarded=["198.51.100.1"])
    conn = traffic.connect(BALANCER, SERVER)
    conn.row["flags"] = int(ConnFlag.SYN)
    conn.close(end=End.EXPIRED)
    ledger = ledger_of(traffic)
    assert (ledger.probes[0], ledger.refused[0], ledger.unanswered[0]) == (0, 0, 1)


def test_the_rest_of_a_connection_is_no_probe() -> None:
    """A capture that starts between the last byte and the FIN."""
    traffic = Traffic()
    traffic.exchange(BALANCER, SERVER, forwarded=["198.51.100.1"])
    traffic.connect(BALANCER, SERVER, syn=False).close()
    assert ledger_of(traffic).probes[0] == 0


def test_bytes_requests_clients_and_status() -> None:
    traffic = Traffic()
    conn = traffic.connect(BALANCER, SERVER)
    for number in range(6):
        conn.request(forwarded=[f"198.51.100.{number % 3 + 1}"], size=100)
        conn.respond((200, 200, 302, 404, 500, 503)[number], size=1000)
    conn.close()
    traffic.exchange(BALANCER, SERVER, "/", user_agent="ELB-HealthChecker/2.0")
    ledger = ledger_of(traffic)
    assert (ledger.requests[0], ledger.health_checks[0], ledger.connections[0]) == (6, 1, 2)
    assert ledger.bytes_in[0] == 6 * 100 + 400 and ledger.bytes_out[0] == 6 * 1000 + 2000
    assert ledger.status[0].tolist() == [0, 0, 2, 1, 1, 2]
    assert int(ledger.clients[0].sum()) == 3


def test_a_client_behind_a_recognised_proxy_is_the_address_to_its_left() -> None:
    traffic = Traffic()
    for number in range(40):
        chain = [f"198.51.100.{number % 8 + 1}", "203.0.113.9", BALANCER]
        traffic.exchange(BALANCER, SERVER, forwarded=chain[: 2 if number % 2 else 3])
    ledger = ledger_of(traffic)
    assert int(ledger.clients[0].sum()) == 8


def test_habitual_resets_are_left_out() -> None:
    """Checkers and clients that end every connection with RST reset nothing; a server that does cuts something off."""
    traffic = Traffic()
    for number in range(10):
        conn = traffic.connect(BALANCER, SERVER).request(forwarded=["198.51.100.1"]).respond()
        conn.close(end=End.RST, closer=Side.CLIENT)
        check = traffic.connect(BALANCER, SERVER).request(user_agent="ELB-HealthChecker/2.0").respond()
        check.close(end=End.RST, closer=Side.CLIENT)
        if number < 2:
            traffic.connect(BALANCER, SERVER).request(forwarded=["198.51.100.1"]).close(end=End.RST, closer=Side.SERVER)
        if number < 3:
            traffic.connect(BALANCER, SERVER).request(forwarded=["198.51.100.1"]).close(end=End.RST, closer=Side.CLIENT)
    assert ledger_of(traffic).resets[0] == 5


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99, 1.0])
def test_percentiles_are_within_the_width_of_a_bin(share: float) -> None:
    rng = np.random.default_rng(3)
    times = np.exp(rng.normal(14, 2, 5000)).astype(np.int64)
    ledger = TargetLedger()
    ledger._grow(2)
    add_times(ledger.response, np.ones(len(times), np.uint16), times)
    exact = float(np.sort(times)[int(share * (len(times) - 1))]) / 1e6
    measured = ledger.percentile_ms(ledger.response, 1, share)
    assert measured is not None and math.isclose(measured, exact, rel_tol=0.023)
    assert ledger.percentile_ms(ledger.response, 0, share) is None


def test_what_is_open_is_counted_while_it_is_open() -> None:
    traffic = Traffic()
    open_one = traffic.connect(BALANCER, SERVER).request(forwarded=["198.51.100.1"]).respond()
    traffic.exchange(BALANCER, SERVER, forwarded=["198.51.100.2"])
    ledger = ledger_of(traffic)
    assert not open_one.closed and ledger.live[0] == 1 and ledger.bytes_out[0] == 4000
