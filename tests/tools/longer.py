"""A capture several times as long: its packets again and again, later each time, on connections of their own.

    python -m tests.tools.longer A.pcap 10 A10.pcap

Every round is shifted in time by the length of the capture, and its sequence numbers by a constant: the same ports are used again
by new connections, as they are in a long capture of the same traffic. Addresses stay, so that it is the same service.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

SEQUENCE_STEP = 0x1357_9BD1  # per round, modulo 2^32
ETHERNET, IPV4, TCP = 1, 0x0800, 6
_BATCH = 1 << 26

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]


def lengthen(source: Path, times: int, target: Path) -> None:
    """Writes ``target``. The source is a little-endian pcap of Ethernet in microseconds; anything in it but TCP over IPv4 without
    VLAN tags is repeated with its time alone changed. Raises ValueError for other files."""
    with source.open("rb") as file:
        header = file.read(24)
        if header[:4] != b"\xd4\xc3\xb2\xa1" or struct.unpack("<I", header[20:])[0] != ETHERNET:
            raise ValueError(f"{source} is not a little-endian pcap of Ethernet in microseconds")
        first, last = _extent(source)
        with target.open("wb") as out:
            out.write(header)
            for number in range(times):
                file.seek(24)
                _round(file, out, number * (last - first + 1), number * SEQUENCE_STEP % (1 << 32))


def _extent(source: Path) -> tuple[int, int]:
    """Seconds of the first and of the latest packet."""
    first = last = 0
    with source.open("rb") as file:
        file.seek(24)
        kept = b""
        while piece := file.read(_BATCH):
            data = np.frombuffer(kept + piece, np.uint8)
            records, used = _records(data)
            seconds = _field(data, records)
            if len(seconds):
                first = first or int(seconds[0])
                last = max(last, int(seconds.max()))
            kept = data[used:].tobytes()
    return first, last


def _round(file, out, seconds: int, step: int) -> None:  # type: ignore[no-untyped-def]
    kept = b""
    while piece := file.read(_BATCH):
        data = np.frombuffer(kept + piece, np.uint8).copy()
        records, used = _records(data)
        _put(data, records, _field(data, records) + np.uint32(seconds))
        frames = records + 16
        captured = _field(data, records + 8)
        whole = frames[captured >= 54]
        plain = (data[whole + 12].astype(np.int64) << 8 | data[whole + 13]) == IPV4
        tcp = whole[plain & (data[whole + 14] == 0x45) & (data[whole + 23] == TCP)]
        for place in (tcp + 38, tcp + 42):  # sequence number, acknowledgement
            _put(data, place, (_field(data, place).byteswap() + np.uint32(step)).byteswap())
        out.write(data[:used].tobytes())
        kept = data[used:].tobytes()


def _records(data: Bytes) -> tuple[Places, int]:
    """Where the records of a piece begin, and where the last whole one ends."""
    raw = data.tobytes()
    size = struct.Struct("<I").unpack_from
    found = []
    at = 0
    while at + 16 <= len(raw):
        following = at + 16 + size(raw, at + 8)[0]
        if following > len(raw):
            break
        found.append(at)
        at = following
    return np.array(found, np.int64), at


def _field(data: Bytes, places: Places) -> npt.NDArray[np.uint32]:
    """The four bytes at every place, as little-endian numbers."""
    pieces: npt.NDArray[np.uint32] = data[places[:, None] + np.arange(4)].view("<u4").ravel()
    return pieces


def _put(data: Bytes, places: Places, values: npt.NDArray[np.uint32]) -> None:
    data[places[:, None] + np.arange(4)] = values[:, None].view(np.uint8)


if __name__ == "__main__":
    lengthen(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
