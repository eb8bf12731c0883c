"""Conversations made up byte by byte, for what no well-behaved program sends."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from tests.reference.files import Record
from tests.tools.rewrite import checksum

FIN, SYN, RST, PUSH, ACK = 1, 2, 4, 8, 16
START_NS = 1_790_000_000 * 10**9
MILLISECOND = 10**6
SYN_OPTIONS = bytes.fromhex("020405b40402080a000000010000000001030307")
Side = str
CLIENT, SERVER = "client", "server"


@dataclass(slots=True)
class Talk:
    """One TCP connection; ``clock`` is the time of its next packet."""

    client: tuple[str, int]
    server: tuple[str, int]
    clock: int = START_NS
    step: int = MILLISECOND
    segment: int = 1400

    def say(self, script: Iterable[tuple[Side, bytes]], close: bool = True) -> list[Record]:
        """Handshake, the script's bytes in order, each acknowledged, and an orderly end."""
        seq = {CLIENT: 1_000_000, SERVER: 9_000_000}
        records = [self._packet(CLIENT, seq, SYN, b"", SYN_OPTIONS)]
        seq[CLIENT] += 1
        records.append(self._packet(SERVER, seq, SYN | ACK, b"", SYN_OPTIONS))
        seq[SERVER] += 1
        records.append(self._packet(CLIENT, seq, ACK))
        for side, data in script:
            for at in range(0, len(data), self.segment):
                piece = data[at : at + self.segment]
                records.append(self._packet(side, seq, PUSH | ACK, piece))
                seq[side] += len(piece)
            records.append(self._packet(SERVER if side == CLIENT else CLIENT, seq, ACK))
        if close:
            for side in (CLIENT, SERVER):
                records.append(self._packet(side, seq, FIN | ACK))
                seq[side] += 1
            records.append(self._packet(CLIENT, seq, ACK))
        return records

    def _packet(self, side: Side, seq: dict[Side, int], flags: int, data: bytes = b"", options: bytes = b"") -> Record:
        other = SERVER if side == CLIENT else CLIENT
        (source, sport), (target, dport) = (self.client, self.server) if side == CLIENT else (self.server, self.client)
        ack = seq[other] if flags & ACK else 0
        tcp = struct.pack(">HHIIBBHHH", sport, dport, seq[side], ack, (20 + len(options)) // 4 << 4, flags, 64240, 0, 0)
        self.clock += self.step
        frame = ethernet(source, target, 6, tcp + options + data, self.clock // 1000 & 0xFFFF)
        return Record(self.clock, 1, 0, len(frame), frame)


def datagram(source: tuple[str, int], target: tuple[str, int], data: bytes, ts_ns: int = START_NS) -> Record:
    udp = struct.pack(">HHHH", source[1], target[1], 8 + len(data), 0)
    frame = ethernet(source[0], target[0], 17, udp + data, 1)
    return Record(ts_ns, 1, 0, len(frame), frame)


def ethernet(source: str, target: str, proto: int, body: bytes, identity: int) -> bytes:
    """A frame with right checksums around a TCP segment or datagram whose own is still zero."""
    ends = ipaddress.ip_address(source), ipaddress.ip_address(target)
    packed = ends[0].packed + ends[1].packed
    at = 16 if proto == 6 else 6
    total = checksum(packed + struct.pack(">HH", proto, len(body)) + body)
    body = body[:at] + struct.pack(">H", total) + body[at + 2 :]
    if ends[0].version == 4:
        head = struct.pack(">BBHHHBBH8s", 0x45, 0, 20 + len(body), identity, 0x4000, 64, proto, 0, packed)
        head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
        kind = 0x0800
    else:
        head = struct.pack(">IHBB", 6 << 28, len(body), proto, 64) + packed
        kind = 0x86DD
    return b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02" + struct.pack(">H", kind) + head + body


def client_hello(
    name: bytes = b"shop.example", protocols: Iterable[bytes] = (b"h2", b"http/1.1"), random: bytes = b"r" * 32
) -> bytes:
    """A TLS 1.3 client hello in one record, as a plain stack sends it."""
    offers = b"".join(bytes([len(one)]) + one for one in protocols)
    extensions = [
        (0, struct.pack(">HBH", len(name) + 3, 0, len(name)) + name),
        (10, b"\0\x02\0\x1d"),
        (13, b"\0\x04\x04\x03\x08\x04"),
        (16, struct.pack(">H", len(offers)) + offers),
        (43, b"\x02\x03\x04"),
        (51, b"\0\x24\0\x1d\0\x20" + b"k" * 32),
    ]
    listed = b"".join(struct.pack(">HH", kind, len(value)) + value for kind, value in extensions)
    body = b"\x03\x03" + random + b"\0" + b"\0\x04\x13\x01\x13\x02" + b"\x01\0" + struct.pack(">H", len(listed)) + listed
    return record(22, b"\x01" + len(body).to_bytes(3, "big") + body)


def server_hello(cipher: int = 0x1301) -> bytes:
    extensions = struct.pack(">HHH", 43, 2, 0x304) + struct.pack(">HHHH", 51, 36, 0x1D, 32) + b"K" * 32
    body = b"\x03\x03" + b"s" * 32 + b"\0" + struct.pack(">HB", cipher, 0) + struct.pack(">H", len(extensions)) + extensions
    return record(22, b"\x02" + len(body).to_bytes(3, "big") + body)


def record(kind: int, body: bytes) -> bytes:
    return struct.pack(">BHH", kind, 0x0303, len(body)) + body
