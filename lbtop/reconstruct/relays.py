"""Hosts that both accept and open connections: do they pass on what they accept, or use something of their own?"""

from __future__ import annotations

from lbtop.reconstruct.census import Endpoint, EndpointTally
from lbtop.reconstruct.pairing import Links

Serving = dict[Endpoint, EndpointTally]


def relays_of(serving: Serving, links: Links, fronts: set[Endpoint]) -> set[Endpoint]:
    """Further endpoints whose connections are passed on, beyond those that pairs of connections prove."""
    return set()


def dependencies_of(serving: Serving, fronts: set[Endpoint], links: Links) -> dict[Endpoint, bool]:
    """Endpoints used by hosts in view for themselves: True where targets use them, False where balancers do."""
    return {}
