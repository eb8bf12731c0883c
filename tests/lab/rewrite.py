"""Capture defects and forms: rewrites of a recording (pcap, microseconds, this machine's byte order, Ethernet)."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

_GLOBAL = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")
ETHERNET, LINUX_COOKED, RAW = 1, 113, 101


class Packet(NamedTuple):
    """One record: its time in microseconds, its bytes, and how long it was on the wire."""

    time: int
    data: bytes
    length: int


def read(path: Path) -> Iterator[Packet]:
    """The records of a recording."""
    data = path.read_bytes()
    if data[:4] == b"\x0a\x0d\x0d\x0a":
        raise ValueError("rewrites start from pcap")
    at = _GLOBAL.size
    while at + _RECORD.size <= len(data):
        seconds, micros, kept, length = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        yield Packet(seconds * 1_000_000 + micros, data[at : at + kept], length)
        at += kept


def write(
    path: Path,
    packets: Iterable[Packet],
    *,
    link: int = ETHERNET,
    big: bool = False,
    nanoseconds: bool = False,
    snap: int = 262144,
) -> None:
    """Write records as pcap in the byte order and resolution asked for."""
    order, scale = (">" if big else "<"), (1000 if nanoseconds else 1)
    with open(path, "wb") as out:
        magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
        out.write(struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snap, link))
        for packet in packets:
            seconds, micros = divmod(packet.time, 1_000_000)
            out.write(struct.pack(order + "IIII", seconds, micros * scale, len(packet.data), packet.length) + packet.data)


def from_the_middle(source: Path, output: Path) -> None:
    """What a recording shows that began after two fifths of the packets."""
    packets = list(read(source))
    write(output, packets[len(packets) * 2 // 5 :])


def towards_targets(source: Path, output: Path) -> None:
    """One direction only: what arrives at the targets."""
    write(output, (packet for packet in read(source) if _ports(packet.data)[1] in (8080, 8443)))


def from_targets(source: Path, output: Path) -> None:
    """One direction only: what the targets send."""
    write(output, (packet for packet in read(source) if _ports(packet.data)[0] in (8080, 8443)))


def cut_packets(source: Path, output: Path) -> None:
    """A snap length of 96 bytes."""
    write(output, (packet._replace(data=packet.data[:96]) for packet in read(source)), snap=96)


def twice(source: Path, output: Path) -> None:
    """Every packet a second time a little later, as forwarded: one less to live."""

    def both() -> Iterator[Packet]:
        for packet in read(source):
            yield packet
            data = bytearray(packet.data)
            if data[12:14] == b"\x08\x00":
                data[22] -= 1
                data[24:26] = struct.pack(">H", _folded(struct.unpack(">H", data[24:26])[0] + 0x0100))
            yield Packet(packet.time + 3, bytes(data), packet.length)

    write(output, sorted(both(), key=lambda packet: packet.time))


def thinned(source: Path, output: Path) -> None:
    """One packet in ten is missing."""
    chance = random.Random(10)
    write(output, (packet for packet in read(source) if chance.random() >= 0.1))


def mirrored_in_vxlan(source: Path, output: Path) -> None:
    """Each frame inside VXLAN, as cloud traffic mirroring delivers it (RFC 7348)."""
    write(output, (Packet(packet.time, _vxlan(packet.data), packet.length + 50) for packet in read(source)))


def in_vlan(source: Path, output: Path) -> None:
    """802.1Q tags, big-endian file, nanoseconds."""

    def tagged(packet: Packet) -> Packet:
        return Packet(packet.time, packet.data[:12] + b"\x81\x00\x00\x2a" + packet.data[12:], packet.length + 4)

    write(output, map(tagged, read(source)), big=True, nanoseconds=True)


def without_link_layer(source: Path, output: Path) -> None:
    """Raw IP."""
    write(output, (Packet(p.time, p.data[14:], p.length - 14) for p in read(source)), link=RAW)


def torn(source: Path, output: Path) -> None:
    """A file whose last third is missing, cut inside a record."""
    data = source.read_bytes()
    output.write_bytes(data[: len(data) * 2 // 3 + 7])


def _vxlan(frame: bytes) -> bytes:
    vxlan = struct.pack(">BBHI", 8, 0, 0, 4242 << 8) + frame
    udp = struct.pack(">HHHH", 52000, 4789, 8 + len(vxlan), 0) + vxlan
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0x4000, 63, 17, 0, bytes((10, 9, 0, 1)), bytes((10, 9, 0, 2)))
    total = _folded(sum(struct.unpack(">10H", head)))
    head = head[:10] + struct.pack(">H", 0xFFFF - total) + head[12:]
    return b"\x02\x00\x00\x00\x09\x02\x02\x00\x00\x00\x09\x01\x08\x00" + head + udp


def _folded(total: int) -> int:
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _ports(frame: bytes) -> tuple[int, int]:
    if frame[12:14] == b"\x86\xdd":
        return struct.unpack_from(">HH", frame, 54)
    return struct.unpack_from(">HH", frame, 14 + (frame[14] & 15) * 4)
