"""Proxies in front of the balancer are recognised, and their users counted instead of them."""

from __future__ import annotations

import pytest

from lbtop.model.address import ip_text
from lbtop.testing import Traffic
from tests.reconstruct.test_roles import facts_of

NODES = ("203.0.113.1", "203.0.113.2")


def _through(forwarded: list[list[str]]) -> tuple[set[str], int]:
    """Recognised proxies, and the clients counted at the one target."""
    traffic = Traffic()
    for chain in forwarded:
        traffic.exchange("10.0.1.5", "10.0.0.11:8080", forwarded=chain)
    (service,) = facts_of(traffic.source()).services
    return {ip_text(traffic.addresses[number]) for number in service.proxies}, int(service.ledgers.targets.clients[0].sum())


def test_nodes_of_a_cdn() -> None:
    chains = [[f"198.51.100.{number % 20 + 1}", NODES[number % 2]] for number in range(60)]
    assert _through(chains) == ({"10.0.1.5", *NODES}, 20)


def test_an_edge_and_its_shield(monkeypatch: pytest.MonkeyPatch) -> None:
    chains = [[f"198.51.100.{number % 20 + 1}", NODES[0], "203.0.113.99"] for number in range(60)]
    traffic = Traffic()
    for part in range(2):  # the shield is known from the first window on, the edge from the second
        for number, chain in enumerate(chains):
            traffic.exchange("10.0.1.5", "10.0.0.11:8080", forwarded=chain, at=part * 10 + number * 0.1)
    monkeypatch.setattr("lbtop.reconstruct.reconstructor.WINDOW_ROWS", 240)
    (service,) = facts_of(traffic.source()).services
    assert {ip_text(traffic.addresses[number]) for number in service.proxies} == {"10.0.1.5", NODES[0], "203.0.113.99"}


def test_one_forger_is_no_proxy() -> None:
    chains = [[f"198.51.100.{number % 20 + 1}"] for number in range(60)]
    chains += [["1.2.3.4", "198.51.100.77"]] * 30
    proxies, _ = _through(chains)
    assert proxies == {"10.0.1.5"}
