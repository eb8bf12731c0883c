"""IP fragments put together again (RFC 791 section 3.2, RFC 8200 section 4.5). Rare, so this is plain Python."""

from __future__ import annotations

from lbtop.model.record import dataclass, field

MOST_PACKETS = 256
MOST_PIECES = 64
MOST_BYTES = 65535
LIFETIME_NS = 30 * 10**9

Key = tuple[int, ...]


@dataclass(slots=True)
class _Packet:
    began_ns: int
    pieces: dict[int, bytes] = field(default_factory=dict)
    total: int | None = None  # known once the last piece is there


class Fragments:
    """Packets of which pieces are missing; the oldest makes room. ``lost`` counts pieces that were never put together."""

    def __init__(self) -> None:
        self._packets: dict[Key, _Packet] = {}
        self.lost = 0

    @property
    def waiting(self) -> int:
        """Pieces of packets that are not complete yet."""
        return sum(len(packet.pieces) for packet in self._packets.values())

    def add(self, key: Key, offset: int, more: bool, data: bytes, ts_ns: int) -> bytes | None:
        """One piece; the whole payload when it was the last one missing. Pieces that overlap differently are not joined."""
        packet = self._packets.get(key)
        if packet is None or ts_ns - packet.began_ns > LIFETIME_NS:
            self._drop(key)
            if len(self._packets) >= MOST_PACKETS:
                self._drop(next(iter(self._packets)))
            packet = self._packets[key] = _Packet(ts_ns)
        if offset + len(data) > MOST_BYTES or len(packet.pieces) >= MOST_PIECES:
            self.lost += 1
            return None
        packet.pieces.setdefault(offset, data)
        if not more:
            packet.total = offset + len(data)
        whole = _join(packet)
        if whole is not None:
            del self._packets[key]
        return whole

    def _drop(self, key: Key) -> None:
        packet = self._packets.pop(key, None)
        if packet is not None:
            self.lost += len(packet.pieces)


def _join(packet: _Packet) -> bytes | None:
    if packet.total is None:
        return None
    parts: list[bytes] = []
    reached = 0
    for offset in sorted(packet.pieces):
        if offset != reached:
            return None
        parts.append(packet.pieces[offset])
        reached += len(packet.pieces[offset])
    return b"".join(parts) if reached == packet.total else None
