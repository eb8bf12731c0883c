"""What a host says to itself: a proxy and its application on one machine, a program and its database.

Nobody else can read it and no balancer chooses there: it is no leg of its own, where the host has others. A capture on every
interface shows it, and so does one of the loopback alone, which has nothing else to show.
"""

from __future__ import annotations

from collections.abc import Mapping

from lbtop.reconstruct.tallies import ENCRYPTED, WEB, Endpoint, EndpointTally

SERVED = (*WEB, *ENCRYPTED)
LOOPBACK_V4 = bytes(10) + b"\xff\xff\x7f"
LOOPBACK_V6 = bytes(15) + b"\x01"


def is_loopback(packed: bytes) -> bool:
    """127.0.0.0/8 or ::1 (RFC 5735, RFC 4291), of an address in 16 bytes."""
    return packed.startswith(LOOPBACK_V4) or packed == LOOPBACK_V6


def inside(serving: Mapping[Endpoint, EndpointTally], loopback: frozenset[int]) -> set[Endpoint]:
    """Endpoints that only their own host calls. ``loopback``: address numbers that are every host's own.

    Not what shares its port with servers elsewhere that the same host calls: it is one of them. Nor several where the
    host calls nobody else: that is a balancer with its targets on one machine.
    """
    own = {e: tally for e, tally in serving.items() if tally.clients and not tally.unnamed and _calls_itself(e, tally, loopback)}
    rest = {endpoint: tally for endpoint, tally in serving.items() if endpoint not in own}
    if not any(tally.protocol in SERVED for tally in rest.values()):
        return set()
    callers = {client for endpoint in own for client in own[endpoint].clients}
    hosts = callers if not callers & loopback else callers | {address for address, _ in rest}
    called = {endpoint for endpoint, tally in rest.items() if hosts & tally.clients.keys() and endpoint[0] not in callers}
    alike = {endpoint for endpoint, tally in own.items() if tally.protocol in SERVED}
    targets = alike if len(alike) > 1 and not called else set[Endpoint]()
    ports = {port for _, port in called}
    return {endpoint for endpoint in own if endpoint[1] not in ports} - targets


def _calls_itself(endpoint: Endpoint, tally: EndpointTally, loopback: frozenset[int]) -> bool:
    return all(client == endpoint[0] or (client in loopback and endpoint[0] in loopback) for client in tally.clients)
