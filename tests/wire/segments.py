"""TCP segments with every field under the test's control, and a decoder that takes them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

from lbtop.probes.wire.decoder import Decoder

from lbtop.model.observation import Batch

RAW_IP = 101
SECOND = 10**9
MS = 10**6
START_NS = 1_700_000_000 * SECOND
KEY = bytes(range(16))
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
CLIENT, SERVER = ("10.0.0.1", 40000), ("10.0.0.2", 8080)
SYN_OPTIONS = bytes.fromhex("020405b40402080a0000002a0000000001030307")

Endpoint = tuple[str, int]


def packed(address: str) -> bytes:
    return bytes(int(part) for part in address.split("."))


def ipv4(source: str, target: str, proto: int, body: bytes, *, identity: int = 1, ttl: int = 64, fragment: int = 0) -> bytes:
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), identity, fragment, ttl, proto, 0)
    return header + packed(source) + packed(target) + body


def tcp(
    source: Endpoint, target: Endpoint, seq: int, ack: int, flags: int, data: bytes = b"", window: int = 502, options: bytes = b""
) -> bytes:
    words = 5 + len(options) // 4
    return (
        struct.pack(">HHIIBBHHH", source[1], target[1], seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, words << 4, flags, window, 0, 0)
        + options
        + data
    )


def udp(source: Endpoint, target: Endpoint, data: bytes) -> bytes:
    return struct.pack(">HHHH", source[1], target[1], 8 + len(data), 0) + data


@dataclass(slots=True)
class Wire:
    """A decoder, a clock, and numbers for IP packets. Times are milliseconds since the first packet."""

    decoder: Decoder = field(default_factory=lambda: Decoder(key=KEY))
    identity: int = 100

    def packet(self, at_ms: float, packet: bytes, cut: int = 0, interface: int = 0, linktype: int = RAW_IP) -> None:
        size = len(packet) - cut
        self.decoder.packet(linktype, START_NS + round(at_ms * MS), size, len(packet), packet[:size], interface)

    def segment(
        self,
        at_ms: float,
        source: Endpoint,
        seq: int,
        ack: int,
        flags: int,
        data: bytes = b"",
        *,
        target: Endpoint | None = None,
        identity: int | None = None,
        ttl: int = 64,
        window: int = 502,
        options: bytes = b"",
        cut: int = 0,
        interface: int = 0,
    ) -> None:
        if target is None:
            target = SERVER if source == CLIENT else CLIENT
        if identity is None:
            self.identity += 1
            identity = self.identity
        body = tcp(source, target, seq, ack, flags, data, window, options)
        self.packet(at_ms, ipv4(source[0], target[0], 6, body, identity=identity, ttl=ttl), cut, interface)

    def handshake(self, isn_c: int = 1000, isn_s: int = 5000) -> None:
        """Round trip of 30 ms: 20 to the server, 10 to the client."""
        self.segment(0, CLIENT, isn_c, 0, SYN, window=64240, options=SYN_OPTIONS)
        self.segment(20, SERVER, isn_s, isn_c + 1, SYN | ACK)
        self.segment(30, CLIENT, isn_c + 1, isn_s + 1, ACK)

    def finish(self) -> Batch:
        return self.decoder.finish()


def only(batch: Batch, table: str = "connections") -> dict[str, Any]:
    """The one row of a table."""
    rows = batch[table]
    assert len(rows) == 1, rows
    return {name: int(rows[0][name]) for name in rows.dtype.names}
