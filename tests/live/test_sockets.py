"""The host's own socket table: keepalive as sockets really have it, against the limit the traffic shows."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from lbtop.probes.live.sockets import Keepalive, Socket, accepted, keepalives, sockets

from lbtop.testing import Traffic
from tests.findings.scenes import found_in
from tests.findings.test_time import SECOND, TRACKER, polling


@pytest.fixture(params=[("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)], ids=["IPv4", "IPv6"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[int, socket.socket]]:
    """A listening port and the connection it accepted."""
    address, family = request.param
    with socket.socket(family) as listener:
        try:
            listener.bind((address, 0))
        except OSError:
            pytest.skip(f"{address} is not there")
        listener.listen()
        with socket.create_connection(listener.getsockname()[:2]), listener.accept()[0] as taken:
            yield listener.getsockname()[1], taken


def test_keepalive_as_the_kernel_has_it(pair: tuple[int, socket.socket]) -> None:
    port, taken = pair
    assert all(row.port != port for row in keepalives(sockets()))
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 300)
    time.sleep(0.5)
    (row,) = (row for row in keepalives(sockets()) if row.port == port)
    assert row.sockets == 1 and row.seconds == pytest.approx(300, abs=2)
    table = [row for row in sockets() if row.local[1] == port]
    assert sorted(row.listens for row in table) == [False, True] and accepted(table) == 1


def test_a_timer_that_ran_for_a_while_shows_less() -> None:
    def row(keepalive_s: float | None, state: int = 1, port: int = 80) -> Socket:
        return Socket(state, (bytes(16), port), (bytes(16), 5000), keepalive_s)

    listener = row(None, state=10)
    own = row(9000.0, port=40000)  # a connection that this host opened is nobody's service
    found = keepalives([listener, own, row(None), *(row(float(s)) for s in (100, 4000, 7199, 7200, 7200))])
    assert found == (Keepalive(80, 5, 7200.0),)


def test_keepalive_that_comes_after_the_end() -> None:
    def dying(limit_s: int) -> Traffic:
        traffic = Traffic()
        for number in range(40):
            if number % 4:
                polling(traffic, number, number * 9.0, idle_survived_ns=(5 + number) * SECOND)
            else:
                polling(
                    traffic, number, number * 9.0, flags=TRACKER, end=2, closer=2, idle_before_end_ns=(limit_s + number) * SECOND
                )
        return traffic

    found = found_in(dying(62), keepalives=((8080, 12, 7200.0),))
    assert "12 sockets" in found["keepalive-too-long"].title
    assert "keepalive-too-long" not in found_in(dying(62), keepalives=((8080, 12, 30.0), (9090, 3, 7200.0)))
    healthy = Traffic()
    for number in range(40):
        polling(healthy, number, number * 9.0)
    assert "keepalive-too-long" not in found_in(healthy, keepalives=((8080, 12, 7200.0),))
