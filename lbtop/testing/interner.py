"""Numbers for strings and addresses, and hashes for values, as a decoder would give them."""

from __future__ import annotations

import hashlib


class TextInterner:
    """The interner of :class:`lbtop.model.observation.Batch` in plain Python."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {b"": 0, b"(more)": 1}
        self._items: list[bytes] = [b"", b"(more)"]

    def __getitem__(self, number: int) -> bytes:
        return self._items[number]

    def __len__(self) -> int:
        return len(self._items)

    def number(self, item: bytes) -> int:
        found = self._numbers.get(item)
        if found is None:
            found = self._numbers[item] = len(self._items)
            self._items.append(item)
        return found


def hashed(value: str | bytes | None) -> int:
    """A stable 64-bit number in place of the keyed hash; 0 for no value."""
    if not value:
        return 0
    raw = value.encode() if isinstance(value, str) else value
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little") or 1


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """``ip:port`` or ``[ipv6]:port`` in two; port 0 where there is none."""
    if endpoint.startswith("["):
        ip, _, port = endpoint[1:].partition("]:")
        return ip, int(port or 0)
    if endpoint.count(":") == 1:
        ip, _, port = endpoint.partition(":")
        return ip, int(port)
    return endpoint, 0
