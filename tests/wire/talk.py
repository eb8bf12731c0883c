"""One connection's bytes through the decoder, packet by packet, without a file."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

from lbtop.probes.wire.decoder import Decoder
from lbtop.probes.wire.recognition import Recognition

from lbtop.model.observation import Batch

RAW_IP = 101
START_NS = 1_700_000_000_000_000_000
KEY = bytes(range(16))
CLIENT, SERVER = "C", "S"


@dataclass(slots=True)
class Talk:
    """Says bytes from either end; ``rows`` ends the connection's capture and gives what was observed."""

    recognition: Recognition | None = None
    syn: bool = True
    ports: tuple[int, int] = (40000, 8080)
    decoder: Decoder = field(init=False)
    now_ns: int = START_NS

    def __post_init__(self) -> None:
        self.decoder = Decoder(key=KEY, recognition=self.recognition)
        self._next = {CLIENT: 1000, SERVER: 5000}
        self._id = 0
        if self.syn:
            self._packet(CLIENT, b"", 0x02)
            self._packet(SERVER, b"", 0x12)
            self._packet(CLIENT, b"", 0x10)

    _next: dict[str, int] = field(init=False)
    _id: int = field(init=False)

    def say(self, who: str, data: bytes, cut: int = 0) -> Talk:
        """One segment of data; the last ``cut`` bytes are not in the capture."""
        self._packet(who, data, 0x18, cut)
        return self

    def pieces(self, who: str, data: bytes, ends: list[int]) -> Talk:
        """The data in segments that end where ``ends`` says."""
        marks = sorted({end for end in ends if 0 < end < len(data)} | {len(data)})
        for start, end in zip([0, *marks], marks, strict=False):
            self.say(who, data[start:end])
        return self

    def lose(self, who: str, count: int) -> Talk:
        """Bytes that no packet carries."""
        self._next[who] += count
        return self

    def end(self) -> Talk:
        self._packet(CLIENT, b"", 0x11)
        self._packet(SERVER, b"", 0x11)
        return self

    def rows(self) -> Batch:
        return self.decoder.finish()

    def _packet(self, who: str, data: bytes, flags: int, cut: int = 0) -> None:
        other = SERVER if who == CLIENT else CLIENT
        self.now_ns += 1_000_000
        self._id += 1
        source, target = (
            (b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02") if who == CLIENT else (b"\x0a\x00\x00\x02", b"\x0a\x00\x00\x01")
        )
        ports = self.ports if who == CLIENT else self.ports[::-1]
        acked = self._next[other] if flags & 0x10 else 0
        tcp = struct.pack(">HHIIBBHHH", *ports, self._next[who], acked, 0x50, flags, 64240, 0, 0)
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40 + len(data), self._id & 0xFFFF, 0x4000, 64, 6, 0, source, target)
        packet = ip + tcp + data
        self._next[who] += len(data) + (1 if flags & 0x03 else 0)
        self.decoder.packet(RAW_IP, self.now_ns, len(packet) - cut, len(packet), packet[: len(packet) - cut])


def plain(batch: Batch, table: str) -> list[dict[str, Any]]:
    """Rows of a table with strings spelled out and without times and numbers that depend on packets."""
    strings = {
        "sni", "alpn", "alpn_chosen", "ja4", "family", "method", "path", "host", "user_agent", "via", "header_shape", "name",
        "session_name", "server_header", "authority", "tls_version",
    }  # fmt: skip
    addresses = {"client", "server", "source", "destination", "proxy_source", "real_ip", "names"}
    addresses |= {f"forwarded{place}" for place in range(4)}
    result = []
    for row in batch[table]:
        one: dict[str, Any] = {}
        for column in row.dtype.names:
            if column in ("seq", "at_ns", "delay_ns", "pad"):
                continue
            value = int(row[column])
            if column in strings:
                one[column] = batch.strings[value]
            elif column in addresses:
                one[column] = batch.addresses[value].hex()
            else:
                one[column] = value
        result.append(one)
    return result


def heads(batch: Batch) -> dict[str, list[dict[str, Any]]]:
    """Everything above TCP that was observed."""
    tables = ("handshakes", "proxies", "requests", "cookies", "responses", "secrets")
    return {table: plain(batch, table) for table in tables}
