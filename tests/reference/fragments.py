"""Fragments of IP packets (RFC 791 section 3.2, RFC 8200 section 4.5) until they are whole again."""

from __future__ import annotations

from dataclasses import dataclass, field

LIFETIME_NS = 30 * 10**9
Key = tuple[bytes, bytes, int, int]


@dataclass(slots=True)
class Fragments:
    """``kept``: whether the last piece waits for others."""

    kept: bool = False
    _pieces: dict[Key, dict[int, bytes]] = field(default_factory=dict)
    _ends: dict[Key, int] = field(default_factory=dict)
    _began_ns: dict[Key, int] = field(default_factory=dict)

    def add(self, key: Key, offset: int, more: bool, data: bytes, ts_ns: int) -> bytes | None:
        """The whole, once no piece is missing; of pieces that overlap otherwise than wholly nothing is made."""
        if ts_ns - self._began_ns.get(key, ts_ns) > LIFETIME_NS:
            self._forget(key)
        self._began_ns.setdefault(key, ts_ns)
        pieces = self._pieces.setdefault(key, {})
        pieces.setdefault(offset, data)
        if not more:
            self._ends[key] = offset + len(data)
        whole = b""
        while len(whole) in pieces and pieces[len(whole)]:
            whole += pieces[len(whole)]
        self.kept = self._ends.get(key) != len(whole) or sum(map(len, pieces.values())) != len(whole)
        if self.kept:
            return None
        self._forget(key)
        return whole

    def _forget(self, key: Key) -> None:
        self._pieces.pop(key, None)
        self._ends.pop(key, None)
        self._began_ns.pop(key, None)
