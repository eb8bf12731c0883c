"""Records of a capture file: pcap and pcapng in both byte orders, gzip-compressed or not."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PCAP_MAGICS = {
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\xcd\x34": (">", 1000),
    b"\x34\xcd\xb2\xa1": ("<", 1000),
}
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
LARGEST = 16 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """One packet as a capture holds it."""

    ts_ns: int
    linktype: int
    interface: int
    wire_length: int
    data: bytes


@dataclass(slots=True)
class CaptureFile:
    """Iterating yields records up to the end or to the first place where the file stops making sense."""

    path: Path
    cut_at: int | None = None
    _content: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        raw = self.path.read_bytes()
        self._content = gunzip(raw) if raw[:2] == b"\x1f\x8b" else raw

    def __iter__(self) -> Iterator[Record]:
        magic = self._content[:4]
        if magic == PCAPNG_MAGIC:
            return self._pcapng()
        if magic in PCAP_MAGICS:
            return self._pcap(*PCAP_MAGICS[magic], extra=8 if magic in (b"\xa1\xb2\xcd\x34", b"\x34\xcd\xb2\xa1") else 0)
        raise ValueError(f"{self.path}: neither pcap nor pcapng")

    def _pcap(self, order: str, unit_ns: int, extra: int) -> Iterator[Record]:
        content, at = self._content, 24
        linktype = struct.unpack_from(order + "I", content, 20)[0] & 0x0FFFFFFF
        while at < len(content):
            if at + 16 + extra > len(content):
                self.cut_at = at
                return
            seconds, fraction, captured, wire = struct.unpack_from(order + "IIII", content, at)
            start = at + 16 + extra
            if captured > LARGEST or start + captured > len(content):
                self.cut_at = at
                return
            yield Record(seconds * 10**9 + fraction * unit_ns, linktype, 0, wire, content[start : start + captured])
            at = start + captured

    def _pcapng(self) -> Iterator[Record]:
        content, at, order = self._content, 0, "<"
        interfaces: list[tuple[int, int, int, int]] = []  # linktype, snap length, ticks per second, offset in seconds
        while at < len(content):
            if at + 12 > len(content):
                self.cut_at = at
                return
            if content[at : at + 4] == PCAPNG_MAGIC:
                order = ">" if content[at + 8 : at + 12] == b"\x1a\x2b\x3c\x4d" else "<"
                interfaces = []
            kind, length = struct.unpack_from(order + "II", content, at)
            if length < 12 or length % 4 or length > LARGEST or at + length > len(content):
                self.cut_at = at
                return
            body = content[at + 8 : at + length - 4]
            if kind == 1 and len(body) >= 8:
                linktype, _, snap = struct.unpack_from(order + "HHI", body)
                interfaces.append((linktype, snap, *_clock(body[8:], order)))
            elif kind in (2, 6) and len(body) >= 20:
                yield from self._packet(kind, body, order, interfaces)
            elif kind == 3 and len(body) >= 4 and interfaces:
                wire = struct.unpack_from(order + "I", body)[0]
                linktype, snap, _, _ = interfaces[0]
                captured = min(wire, snap or wire, len(body) - 4)
                yield Record(0, linktype, 0, wire, body[4 : 4 + captured])
            at += length

    @staticmethod
    def _packet(kind: int, body: bytes, order: str, interfaces: list[tuple[int, int, int, int]]) -> Iterator[Record]:
        if kind == 6:
            number, high, low, captured, wire = struct.unpack_from(order + "IIIII", body)
        else:
            number, _, high, low, captured, wire = struct.unpack_from(order + "HHIIII", body)
        if number < len(interfaces) and captured <= len(body) - 20:
            linktype, _, per_second, offset = interfaces[number]
            ts_ns = ((high << 32) | low) * 10**9 // per_second + offset * 10**9
            yield Record(ts_ns, linktype, number, wire, body[20 : 20 + captured])


def _clock(options: bytes, order: str) -> tuple[int, int]:
    """Ticks per second and offset in seconds out of an interface's options (if_tsresol, if_tsoffset)."""
    per_second, offset, at = 10**6, 0, 0
    while at + 4 <= len(options):
        code, length = struct.unpack_from(order + "HH", options, at)
        value = options[at + 4 : at + 4 + length]
        if code == 0:
            break
        if code == 9 and value:
            per_second = 2 ** (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
        elif code == 14 and len(value) == 8:
            offset = struct.unpack(order + "q", value)[0]
        at += 4 + (length + 3) // 4 * 4
    return per_second, offset


def gunzip(raw: bytes) -> bytes:
    """What can be unpacked: a stream cut in the middle gives what came before the cut."""
    out = bytearray()
    try:
        with gzip.open(io.BytesIO(raw)) as stream:
            while piece := stream.read(1 << 16):
                out += piece
    except (EOFError, OSError, zlib.error):
        pass
    return bytes(out)
