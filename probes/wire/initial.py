"""QUIC Initial packets (RFC 9000 section 17.2.2, RFC 9001 section 5): decryption and the handshake messages inside.

Plain Python: a flow has a handful of them, and the ciphers cost more than everything here.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

_SALTS = {
    0x00000001: bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"),
    0x6B3343CF: bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"),
    0xFF00001D: bytes.fromhex("afbfec289993d24c9e9786f19c6111e04390a899"),
}
"""Versions 1 and 2, and draft 29."""
_VERSION_2 = 0x6B3343CF
_LABELS = (b"client in", b"server in")
_MOST_DATAGRAMS = 24
_LONGEST_HELLO = 65536
_MOST_PIECES = 256
_CRYPTO, _PADDING, _PING, _ACK, _ACK_ECN = 0x06, 0x00, 0x01, 0x02, 0x03


def ciphers() -> Any:
    """The module that has AES, or False."""
    try:
        from cryptography.hazmat.primitives import ciphers as module
        from cryptography.hazmat.primitives.ciphers import aead, algorithms, modes  # noqa: F401
    except ImportError:
        return False
    return module


class Keys:
    """Packet protection of one direction's Initial packets."""

    __slots__ = ("aead", "iv", "mask")

    def __init__(self, module: Any, version: int, connection_id: bytes, direction: int) -> None:
        prefix = b"quicv2 " if version == _VERSION_2 else b"quic "
        secret = _expand(hmac.digest(_SALTS[version], connection_id, "sha256"), _LABELS[direction], 32)
        self.aead = module.aead.AESGCM(_expand(secret, prefix + b"key", 16))
        self.iv = int.from_bytes(_expand(secret, prefix + b"iv", 12), "big")
        cipher = module.Cipher(module.algorithms.AES(_expand(secret, prefix + b"hp", 16)), module.modes.ECB())
        self.mask = cipher.encryptor()


class Conversation:
    """What the Initial packets of one flow have shown of its handshake."""

    __slots__ = ("_connection_id", "_datagrams", "_done", "_keys", "_module", "_pieces")

    def __init__(self, module: Any) -> None:
        self._module = module
        self._keys: dict[tuple[int, int], Keys] = {}  # by version and direction, of the connection id at hand
        self._connection_id: bytes | None = None  # that the client chose first, or a retry gave it
        self._pieces: tuple[dict[int, bytes], dict[int, bytes]] = ({}, {})
        self._done = [False, False]
        self._datagrams = 0

    @property
    def over(self) -> bool:
        """Nothing more is expected: both hellos were seen, or too many datagrams without them."""
        return all(self._done) or self._datagrams > _MOST_DATAGRAMS

    def read(self, direction: int, datagram: bytes) -> bool:
        """Takes in the Initial packets of a datagram. True if one of them could be decrypted."""
        self._datagrams += 1
        read = False
        try:
            while len(datagram) > 20 and datagram[0] & 0xC0 == 0xC0:
                length, decrypted = self._packet(direction, datagram)
                read = read or decrypted
                datagram = datagram[length:]
        except (IndexError, ValueError, OverflowError):
            pass
        return read

    def hello(self, direction: int) -> bytes | None:
        """The direction's first handshake message, once, as soon as it is complete."""
        pieces = self._pieces[direction]
        whole = bytearray()
        for offset in sorted(pieces):  # in any order, and where they were sent again perhaps cut otherwise
            if offset > len(whole):
                break
            whole += pieces[offset][len(whole) - offset :]
        size = 4 + int.from_bytes(whole[1:4], "big")
        if self._done[direction] or len(whole) < 4 or len(whole) < size:
            return None
        self._done[direction] = True
        pieces.clear()
        return bytes(whole[:size])

    def _packet(self, direction: int, data: bytes) -> tuple[int, bool]:
        """Length of the first packet and whether it was an Initial that could be read. Raises IndexError where it is cut."""
        version = int.from_bytes(data[1:5], "big")
        if version not in _SALTS:
            raise ValueError("another version")
        kind = data[0] >> 4 & 3
        at = 6 + data[5]
        connection_id = data[6:at]
        at += 1 + data[at]
        initial = kind == (1 if version == _VERSION_2 else 0)
        if kind == (0 if version == _VERSION_2 else 3):
            raise ValueError("a retry packet has no length")
        if initial:
            size, at = _number(data, at)
            at += size
        size, at = _number(data, at)
        end = at + size
        if not initial or end > len(data):
            return end, False
        payload = _decrypted(self._of(version, direction), data, at, end) if self._connection_id is not None else None
        if payload is None and direction == 0 and connection_id != self._connection_id:
            # A client takes a new connection id after a retry or for another version, and the keys follow it.
            before, self._connection_id, self._keys = self._connection_id, connection_id, {}
            payload = _decrypted(self._of(version, direction), data, at, end)
            if payload is None and before is not None:
                self._connection_id, self._keys = before, {}
        if payload is not None:
            self._frames(direction, payload)
            return end, True
        return end, False

    def _of(self, version: int, direction: int) -> Keys:
        """A server may answer in another version (RFC 9369 section 4): the connection id stays, the salt is that version's."""
        assert self._connection_id is not None
        found = self._keys.get((version, direction))
        if found is None:
            found = self._keys[version, direction] = Keys(self._module, version, self._connection_id, direction)
        return found

    def _frames(self, direction: int, payload: bytes) -> None:
        at, pieces = 0, self._pieces[direction]
        while at < len(payload):
            kind = payload[at]
            at += 1
            if kind in (_ACK, _ACK_ECN):
                _, at = _number(payload, at)
                _, at = _number(payload, at)
                ranges, at = _number(payload, at)
                for _ in range(1 + 2 * ranges + (3 if kind == _ACK_ECN else 0)):
                    _, at = _number(payload, at)
            elif kind == _CRYPTO:
                offset, at = _number(payload, at)
                size, at = _number(payload, at)
                if offset + size <= _LONGEST_HELLO and len(pieces) < _MOST_PIECES and size > len(pieces.get(offset, b"")):
                    pieces[offset] = payload[at : at + size]
                at += size
            elif kind not in (_PADDING, _PING):
                return


def _decrypted(keys: Keys, data: bytes, at: int, end: int) -> bytes | None:
    """The payload of a protected packet whose number stands at ``at``, None where the keys are not its."""
    mask = keys.mask.update(data[at + 4 : at + 20])
    first = data[0] ^ (mask[0] & 0x0F)
    size = 1 + (first & 3)
    number = bytes(a ^ b for a, b in zip(data[at : at + size], mask[1 : 1 + size], strict=True))
    nonce = (keys.iv ^ int.from_bytes(number, "big")).to_bytes(12, "big")
    try:
        return bytes(keys.aead.decrypt(nonce, data[at + size : end], bytes([first]) + data[1:at] + number))
    except Exception:  # InvalidTag, whose module is only imported where the ciphers are
        return None


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A variable-length integer (RFC 9000 section 16) and where it ends."""
    size = 1 << (data[at] >> 6)
    if at + size > len(data):
        raise IndexError
    return int.from_bytes(data[at : at + size], "big") & ((1 << (8 * size - 2)) - 1), at + size


def _expand(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446 section 7.1) of at most one block."""
    label = b"tls13 " + label
    info = size.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0" + b"\x01"
    return hmac.digest(secret, info, hashlib.sha256)[:size]
