"""What is known about an endpoint and its clients: what roles are decided from."""

from __future__ import annotations

from lbtop.model.observation import Protocol7
from lbtop.model.record import dataclass, field

TLS_HANDSHAKE_BYTES = 2500
HELLO_BYTES = 500
HANDSHAKE_BYTES = (200, 6000)
"""The least and the most that servers' handshakes take: TLS 1.3 resumed, and a long chain of RSA certificates."""

Endpoint = tuple[int, int]
"""Address number and port."""

WEB = (Protocol7.HTTP1, Protocol7.HTTP2, Protocol7.WEBSOCKET)
ENCRYPTED = (Protocol7.TLS, Protocol7.QUIC, Protocol7.DTLS)


@dataclass(eq=False)
class ClientTally:
    """What one client address did at one endpoint."""

    connections: int = 0
    requests: int = 0
    forwarded: int = 0  # requests that name somebody else as the client
    proxied: int = 0  # connections that began with a PROXY header that names somebody
    checks: int = 0  # requests recognised as health checks, and connections that say so of themselves (PROXY LOCAL)
    attempts: int = 0  # connections without a byte: probes, refused
    connect_ns: int = 0  # sums over connections whose handshake was seen, for where the vantage is
    ack_ns: int = 0
    handshakes: int = 0

    @property
    def load(self) -> int:
        """Requests where these are in view: a balancer may carry any number of them over few connections."""
        return max(self.connections, self.requests)

    @property
    def only_checks(self) -> bool:
        """Nothing but health checks and probes came from here."""
        return self.requests == 0 and self.checks + self.attempts > 0 and self.connections <= self.checks


@dataclass(eq=False)
class EndpointTally:
    """What is known about one address and port that accepts connections."""

    connections: int = 0
    refused: int = 0
    probes: int = 0
    ended: int = 0
    bytes_c: int = 0
    bytes_s: int = 0
    requests: int = 0
    hellos: int = 0  # TLS handshakes of which either side's hello was seen
    client_hellos: int = 0  # of these, those whose client's hello was seen
    hops_known: int = 0  # connections with packets of both directions
    near_clients: int = 0  # of these: the client's packets came over no router
    near_servers: int = 0
    protocols: dict[int, int] = field(default_factory=dict)
    clients: dict[int, ClientTally] = field(default_factory=dict)
    unnamed: int = 0  # connections from client addresses beyond the cap
    names: dict[int, int] = field(default_factory=dict)  # SNI and Host, by string number

    def share_of(self, clients: set[int]) -> float:
        """How much of the connections comes from these addresses, 0..1."""
        mine = sum(part.connections for client, part in self.clients.items() if client in clients)
        return mine / self.connections if self.connections else 0.0

    @property
    def usual_name(self) -> int:
        return min(self.names, key=lambda name: (-self.names[name], name), default=0)

    @property
    def payload(self) -> tuple[float, float]:
        """What clients and servers sent, less what TLS handshakes take by experience; never less than a third."""
        return (
            max(self.bytes_c - HELLO_BYTES * self.encrypted, self.bytes_c / 3),
            max(self.bytes_s - TLS_HANDSHAKE_BYTES * self.encrypted, self.bytes_s / 3),
        )

    @property
    def answered(self) -> tuple[int, int]:
        """The least and the most that servers can have sent besides TLS handshakes."""
        least, most = HANDSHAKE_BYTES
        return max(self.bytes_s - most * self.encrypted, 0), max(self.bytes_s - least * self.encrypted, 0)

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
