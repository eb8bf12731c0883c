"""Records written as any kind of capture file."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests.reference.files import CaptureFile, Record

SNAP = 262144


def read(path: Path) -> list[Record]:
    return list(CaptureFile(path))


def pcap(records: Sequence[Record], order: str = "<", nanoseconds: bool = False) -> bytes:
    """A classic file; all records must be of one link type."""
    linktypes = {record.linktype for record in records} or {1}
    if len(linktypes) > 1:
        raise ValueError("one pcap file has one link type")
    magic, unit = (0xA1B23C4D, 1) if nanoseconds else (0xA1B2C3D4, 1000)
    pieces = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, SNAP, linktypes.pop())]
    for record in records:
        seconds, rest = divmod(record.ts_ns, 10**9)
        pieces += [struct.pack(order + "IIII", seconds, rest // unit, len(record.data), record.wire_length), record.data]
    return b"".join(pieces)


Options = list[tuple[int, bytes]]
"""Of a pcapng block: code and value."""


def pcapng(
    records: Iterable[Record],
    order: str = "<",
    resolution: int = 9,
    offset_s: int = 0,
    name: str | None = None,
    options: Callable[[Record], Options] = lambda record: [],
) -> bytes:
    """One section; interfaces as the records number them; timestamps in 10**-resolution seconds after an offset.

    ``name``: of the interfaces. ``options``: those of a packet.
    """
    records = list(records)
    linktypes = {record.interface: record.linktype for record in records} or {0: 1}
    blocks = [_block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))]
    for number in range(max(linktypes) + 1):
        about = [(9, bytes([resolution])), (14, struct.pack(order + "q", offset_s))]
        about += [(2, name.encode())] if name else []
        blocks.append(_block(order, 1, struct.pack(order + "HHI", linktypes.get(number, 1), 0, SNAP) + _options(order, about)))
    for record in records:
        ticks = (record.ts_ns - offset_s * 10**9) // 10 ** (9 - resolution)
        head = struct.pack(
            order + "IIIII", record.interface, ticks >> 32, ticks & 0xFFFFFFFF, len(record.data), record.wire_length
        )
        padding = b"\0" * (-len(record.data) % 4)
        blocks.append(_block(order, 6, head + record.data + padding + _options(order, options(record))))
    return b"".join(blocks)


def write(path: Path, records: Sequence[Record]) -> Path:
    """In the form its name asks for: ``.pcap``, ``.pcapng``, each with or without ``.gz``."""
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    content = pcapng(records) if plain.suffix == ".pcapng" else pcap(records, nanoseconds=True)
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def _options(order: str, options: Options) -> bytes:
    return b"".join(_option(order, *option) for option in [*options, (0, b"")]) if options else b""


def _option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def _block(order: str, kind: int, body: bytes) -> bytes:
    body += b"\0" * (-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length
