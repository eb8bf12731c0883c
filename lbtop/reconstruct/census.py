"""Who talks to whom: every endpoint that accepted a connection, with what roles are decided from.

Bounded: at most :data:`MAX_ENDPOINTS` endpoints, and of each the first :data:`MAX_CLIENTS` client addresses by name (the
rest are counted). Counts are exact; only the list of names is cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lbtop.model.observation import ConnFlag, Protocol7, Rows

MAX_ENDPOINTS = 4096
MAX_CLIENTS = 64
MAX_NAMES = 16
TLS_HANDSHAKE_BYTES = 2500

Endpoint = tuple[int, int]
"""Address number and port."""

WEB = (Protocol7.HTTP1, Protocol7.HTTP2, Protocol7.WEBSOCKET)
ENCRYPTED = (Protocol7.TLS, Protocol7.QUIC, Protocol7.DTLS)


@dataclass(slots=True, eq=False)
class ClientTally:
    """What one client address did at one endpoint."""

    connections: int = 0
    requests: int = 0
    forwarded: int = 0  # requests that name somebody else as the client
    proxied: int = 0  # connections that began with a PROXY header
    checks: int = 0  # requests recognised as health checks
    attempts: int = 0  # connections without a byte: probes, refused
    connect_ns: int = 0  # sums over connections whose handshake was seen, for where the vantage is
    ack_ns: int = 0
    handshakes: int = 0

    @property
    def only_checks(self) -> bool:
        """Nothing but health checks and probes came from here."""
        return self.requests == 0 and self.checks + self.attempts > 0 and self.connections <= self.checks


@dataclass(slots=True, eq=False)
class EndpointTally:
    """What is known about one address and port that accepts connections."""

    connections: int = 0
    datagrams: int = 0  # of these, flows of datagrams
    proven: int = 0  # connections whose direction is certain
    refused: int = 0
    probes: int = 0
    ended: int = 0
    bytes_c: int = 0
    bytes_s: int = 0
    requests: int = 0
    hellos: int = 0
    first_ns: int = 0
    protocols: dict[int, int] = field(default_factory=dict)
    clients: dict[int, ClientTally] = field(default_factory=dict)
    unnamed: int = 0  # connections from client addresses beyond the cap
    names: dict[int, int] = field(default_factory=dict)  # SNI and Host, by string number

    def of(self, client: int) -> ClientTally | None:
        """The tally of a client address; None when the list of names is full."""
        tally = self.clients.get(client)
        if tally is None and len(self.clients) < MAX_CLIENTS:
            tally = self.clients[client] = ClientTally()
        return tally

    def share_of(self, clients: set[int]) -> float:
        """How much of the connections comes from these addresses, 0..1."""
        mine = sum(part.connections for client, part in self.clients.items() if client in clients)
        return mine / self.connections if self.connections else 0.0

    @property
    def usual_name(self) -> int:
        return min(self.names, key=lambda name: (-self.names[name], name), default=0)

    @property
    def payload_s(self) -> float:
        """What the server sent, less what its TLS handshakes take by experience; never less than a third."""
        return max(self.bytes_s - TLS_HANDSHAKE_BYTES * self.hellos, self.bytes_s / 3)

    @property
    def encrypted(self) -> int:
        """Connections that were seen to speak TLS, QUIC or DTLS."""
        return max(self.hellos, sum(self.protocols.get(protocol, 0) for protocol in ENCRYPTED))

    @property
    def readable(self) -> int:
        """Ended connections of a protocol in clear."""
        opaque = (Protocol7.UNKNOWN, Protocol7.SSH, *ENCRYPTED)
        return sum(count for protocol, count in self.protocols.items() if protocol not in opaque)

    @property
    def protocol(self) -> int:
        """What most connections speak, as far as it was recognised."""
        if self.requests or self.hellos:
            return int(Protocol7.HTTP1 if self.requests >= self.hellos else Protocol7.TLS)
        known = {p: n for p, n in self.protocols.items() if p != Protocol7.UNKNOWN}
        return min(known, key=lambda p: (-known[p], p)) if known else int(Protocol7.UNKNOWN)


def groups(*columns: npt.NDArray[np.unsignedinteger]) -> Iterator[tuple[tuple[int, ...], npt.NDArray[np.intp]]]:
    """Indices of equal rows of several columns, in order of first appearance (never of the numbers themselves)."""
    if not len(columns[0]):
        return
    if all((column == column[0]).all() for column in columns):
        yield tuple(int(column[0]) for column in columns), np.arange(len(columns[0]))
        return
    key = columns[0].astype(np.uint64)
    bits = 8 * columns[0].itemsize
    for column in columns[1:]:
        width = 8 * column.itemsize
        if bits + width > 64:
            key, bits = np.unique(key, return_inverse=True)[1].astype(np.uint64), 32
        key = (key << np.uint64(width)) | column
        bits += width
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    members = np.split(np.argsort(inverse, kind="stable"), np.cumsum(np.bincount(inverse))[:-1])
    for index in np.argsort(first, kind="stable"):
        at = int(first[index])
        yield tuple(int(column[at]) for column in columns), members[index]


@dataclass(slots=True, eq=False)
class Census:
    """Endpoints in order of appearance. ``version`` grows when something happened that can change a role."""

    endpoints: dict[Endpoint, EndpointTally] = field(default_factory=dict)
    full: bool = False
    version: int = 0

    def endpoint(self, address: int, port: int) -> EndpointTally | None:
        tally = self.endpoints.get((address, port))
        if tally is None:
            if len(self.endpoints) >= MAX_ENDPOINTS:
                self.full = True
                return None
            tally = self.endpoints[address, port] = EndpointTally()
            self.version += 1
        return tally

    def add_opened(self, opened: Rows) -> None:
        """Connections that carried a byte."""
        for (address, port), rows in groups(opened["server"], opened["server_port"]):
            tally = self.endpoint(address, port)
            if tally is None:
                continue
            part = opened[rows]
            if not tally.connections:
                tally.first_ns = int(part["at_ns"].min())
            tally.connections += len(part)
            tally.datagrams += int(np.count_nonzero(part["proto"] == 17))
            tally.proven += int(np.count_nonzero(part["orientation"] > 1))
            known = len(tally.clients)
            for (client,), members in groups(part["client"]):
                named = tally.of(client)
                if named is None:
                    tally.unnamed += len(members)
                else:
                    named.connections += len(members)
            self.version += len(tally.clients) != known

    def add_requests(self, requests: Rows, checks: npt.NDArray[np.bool_]) -> None:
        for (address, port, client), rows in groups(requests["server"], requests["server_port"], requests["client"]):
            tally = self.endpoints.get((address, port))
            if tally is None:
                continue
            part = requests[rows]
            checked = int(np.count_nonzero(checks[rows]))
            tally.requests += len(part) - checked
            _count_names(tally, part["host"][~checks[rows]])
            named = tally.of(client)
            if named is not None:
                named.checks += checked
                named.requests += len(part) - checked
                named.forwarded += int(np.count_nonzero((part["forwarded_count"] > 0) & ~checks[rows]))

    def add_handshakes(self, handshakes: Rows) -> None:
        for (address, port), rows in groups(handshakes["server"], handshakes["server_port"]):
            tally = self.endpoints.get((address, port))
            if tally is not None:
                tally.hellos += len(rows)
                _count_names(tally, handshakes["sni"][rows])

    def add_proxies(self, proxies: Rows) -> None:
        for (address, port, client), rows in groups(proxies["server"], proxies["server_port"], proxies["client"]):
            tally = self.endpoints.get((address, port))
            named = tally.of(client) if tally is not None else None
            if named is not None:
                named.proxied += len(rows)

    def add_connections(self, connections: Rows) -> None:
        """Ends of connections; those without a byte only at ports where they can matter (see :meth:`attempted`)."""
        for (address, port), rows in groups(connections["server"], connections["server_port"]):
            part = connections[rows]
            empty = part["first_data_ns"] == 0
            tally = self.endpoints.get((address, port))
            if tally is None:
                if not empty.any():
                    continue
                tally = self.endpoint(address, port)
                if tally is None:
                    continue
            refused = (part["flags"] & ConnFlag.REFUSED) != 0
            tally.refused += int(np.count_nonzero(refused))
            tally.probes += int(np.count_nonzero(empty & ~refused))
            tally.ended += len(part)
            tally.bytes_c += int(part["bytes_c"].sum())
            tally.bytes_s += int(part["bytes_s"].sum())
            for (protocol,), members in groups(part["protocol7"][~empty]):
                tally.protocols[protocol] = tally.protocols.get(protocol, 0) + len(members)
            for (client,), members in groups(part["client"]):
                named = tally.of(client)
                if named is None:
                    continue
                mine = part[members]
                timed = (mine["connect_ns"] > 0) & (mine["ack_ns"] > 0)
                named.attempts += int(np.count_nonzero(mine["first_data_ns"] == 0))
                named.handshakes += int(np.count_nonzero(timed))
                named.connect_ns += int(mine["connect_ns"][timed].sum())
                named.ack_ns += int(mine["ack_ns"][timed].sum())


def _count_names(tally: EndpointTally, names: npt.NDArray[np.uint32]) -> None:
    for (name,), rows in groups(names):
        if name > 1 and (name in tally.names or len(tally.names) < MAX_NAMES):
            tally.names[name] = tally.names.get(name, 0) + len(rows)
