"""Captures that somebody made to hurt: each a stream of bytes that is never held whole."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

RAW_IP = 101
START_S = 1_700_000_000
LARGEST_SEGMENT = 1400
HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, RAW_IP)
FIN, SYN, ACK = 1, 2, 16


def address(number: int) -> bytes:
    """10.0.0.0 and what follows."""
    return (0x0A000000 + number).to_bytes(4, "big")


class Attack:
    """Packets as a pcap, each a tenth of a millisecond after the one before. ``taken``: what has been said since last asked."""

    def __init__(self, linktype: int = RAW_IP) -> None:
        self._out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, linktype)]
        self._clock = 0
        self._id = 0
        self._next: dict[tuple[bytes, int, bytes, int], int] = {}

    def taken(self) -> bytes:
        out = b"".join(self._out)
        self._out = []
        return out

    def packet(self, data: bytes) -> None:
        self._clock += 100
        seconds, micros = divmod(self._clock, 1_000_000)
        self._out.append(struct.pack("<IIII", START_S + seconds, micros, len(data), len(data)) + data)

    def ip(self, source: bytes, target: bytes, proto: int, body: bytes, fragment: int = 0, identity: int | None = None) -> bytes:
        self._id = self._id + 1 & 0xFFFF
        number = self._id if identity is None else identity & 0xFFFF
        return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), number, fragment, 64, proto, 0) + source + target + body

    def tcp(self, source: bytes, port: int, target: bytes, to: int, flags: int, data: bytes = b"") -> None:
        seq = self._next.setdefault((source, port, target, to), 1000)
        ack = self._next.setdefault((target, to, source, port), 5000) if flags & ACK else 0
        self._next[source, port, target, to] = seq + len(data) + (1 if flags & (SYN | FIN) else 0) & 0xFFFFFFFF
        segment = struct.pack(">HHIIBBHHH", port, to, seq, ack, 0x50, flags, 64240, 0, 0) + data
        self.packet(self.ip(source, target, 6, segment))

    def connect(self, client: bytes, port: int, server: bytes, to: int) -> None:
        self.tcp(client, port, server, to, SYN)
        self.tcp(server, to, client, port, SYN | ACK)
        self.tcp(client, port, server, to, ACK)

    def say(self, source: bytes, port: int, target: bytes, to: int, data: bytes) -> None:
        for at in range(0, len(data), LARGEST_SEGMENT):
            self.tcp(source, port, target, to, ACK, data[at : at + LARGEST_SEGMENT])

    def close(self, client: bytes, port: int, server: bytes, to: int) -> None:
        self.tcp(client, port, server, to, FIN | ACK)
        self.tcp(server, to, client, port, FIN | ACK)
        for key in ((client, port, server, to), (server, to, client, port)):
            del self._next[key]


def conversation(*said: tuple[str, bytes]) -> bytes:
    """One connection, client "C" and server "S", whole."""
    attack = Attack()
    client, server = address(1), address(2)
    attack.connect(client, 40000, server, 8080)
    for who, data in said:
        if who == "C":
            attack.say(client, 40000, server, 8080, data)
        else:
            attack.say(server, 8080, client, 40000, data)
    attack.close(client, 40000, server, 8080)
    return attack.taken()


def syn_flood(count: int, per_piece: int = 50_000) -> Iterator[bytes]:
    """SYNs from random addresses, one every 10 µs, around three connections: two kept alive throughout, one in the middle."""
    attack = Attack()
    server = address(2)
    get = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    for client in (11, 12):
        attack.connect(address(client), 40000, server, 8080)
        attack.say(address(client), 40000, server, 8080, get)
        attack.say(server, 8080, address(client), 40000, answer)
    yield attack.taken()
    random = np.random.default_rng(1)
    done, at_us = 0, attack._clock
    layout = np.dtype(
        [("s", "<u4"), ("us", "<u4"), ("cap", "<u4"), ("len", "<u4"), ("ip", "u1", 12), ("from", ">u4"), ("to", "u1", 4),
         ("port", ">u2"), ("dport", ">u2"), ("seq", ">u4"), ("ack", ">u4"), ("rest", "u1", 8)]
    )  # fmt: skip
    while done < count:
        size = min(per_piece, count - done)
        rows = np.zeros(size, layout)
        times = at_us + 10 * np.arange(1, size + 1)
        rows["s"], rows["us"] = START_S + times // 1_000_000, times % 1_000_000
        rows["cap"] = rows["len"] = 40
        rows["ip"] = np.frombuffer(struct.pack(">BBHHHBBH", 0x45, 0, 40, 7, 0x4000, 64, 6, 0), np.uint8)
        rows["from"] = random.integers(0x0B000000, 0xDF000000, size)
        rows["to"] = np.frombuffer(server, np.uint8)
        rows["port"], rows["dport"] = random.integers(1024, 65535, size), 8080
        rows["seq"] = random.integers(0, 1 << 32, size)
        rows["rest"] = np.frombuffer(bytes([0x50, SYN, 0xFF, 0xFF, 0, 0, 0, 0]), np.uint8)
        at_us = int(times[-1])
        done += size
        yield rows.tobytes()
    attack._clock = at_us
    attack.connect(address(13), 40000, server, 8080)
    for client in (11, 12, 13):
        attack.say(address(client), 40000, server, 8080, get)
        attack.say(server, 8080, address(client), 40000, answer)
        attack.close(address(client), 40000, server, 8080)
    yield attack.taken()


def fragments(count: int) -> Iterator[bytes]:
    """First fragments of packets whose rest never comes."""
    attack = Attack()
    for number in range(count):
        attack.packet(attack.ip(address(number % 60_000), address(2), 17, bytes(1000), 0x2000, number))
        if number % 1000 == 999:
            yield attack.taken()
    yield attack.taken()


def nested(kind: str, depth: int) -> bytes:
    """A packet in GRE, IP-in-IP or VXLAN, as often as ``depth``."""
    attack = Attack()
    packet = attack.ip(
        address(1), address(2), 6, struct.pack(">HHIIBBHHH", 1, 80, 1, 1, 0x50, ACK, 1, 0, 0) + b"GET / HTTP/1.1\r\n\r\n"
    )
    for _ in range(depth):
        if kind == "gre":
            packet = attack.ip(address(3), address(4), 47, b"\0\0\x08\0" + packet)
        elif kind == "ipip":
            packet = attack.ip(address(3), address(4), 4, packet)
        else:
            inside = bytes(12) + b"\x08\0" + packet
            body = struct.pack(">HHHHII", 5, 4789, 16 + len(inside), 0, 0x08000000, 0) + inside
            packet = attack.ip(address(3), address(4), 17, body)
    attack.packet(packet)
    return attack.taken()


def services(count: int, servers: int) -> Iterator[bytes]:
    """As many ends that each answer one request; ``servers`` addresses share them."""
    attack = Attack()
    get = b"GET / HTTP/1.1\r\nHost: %d.example\r\n\r\n"
    for number in range(count):
        server, port = address(1000 + number % servers), 1024 + number // servers
        attack.connect(address(1), 40000, server, port)
        attack.say(address(1), 40000, server, port, get % number)
        attack.say(server, port, address(1), 40000, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        attack.close(address(1), 40000, server, port)
        if number % 1000 == 999:
            yield attack.taken()
    yield attack.taken()
