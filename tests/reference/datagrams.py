"""The hellos inside datagrams: QUIC's Initial packets (RFC 9000, 9001, 9369) and DTLS (RFC 6347, 9147)."""

from __future__ import annotations

import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from lbtop.model.observation import HelloFlag, Side
from tests.reference.tls import CLIENT_HELLO, HELLO_DONE, SERVER_HELLO, TlsHandshake

SALTS = {
    0x00000001: "38762cf7f55934b34d179ae6a4c80cadccbb7f0a",
    0x6B3343CF: "0dede3def700a6db819381be6e269dcbf9bd2ed9",
    0xFF00001D: "afbfec289993d24c9e9786f19c6111e04390a899",
}
VERSION_2 = 0x6B3343CF
VERIFY_REQUEST = 3


class QuicHandshake:
    """Collects what the Initial packets of both directions carry until both hellos are known."""

    def __init__(self, handshake: TlsHandshake) -> None:
        self._handshake = handshake
        self._connection_id: bytes | None = None
        self._crypto: dict[Side, dict[int, bytes]] = {Side.CLIENT: {}, Side.SERVER: {}}
        self._told = {Side.CLIENT: False, Side.SERVER: False}

    def datagram(self, side: Side, data: bytes, ts_ns: int) -> bool:
        """True when an Initial packet of it could be read as this side's."""
        read = False
        try:
            while len(data) > 20 and data[0] & 0xC0 == 0xC0:
                size, frames = self._packet(side, data)
                if frames is not None:
                    read = True
                    self._frames(side, frames)
                data = data[size:]
        except (IndexError, struct.error, KeyError):
            pass
        self._tell(side, ts_ns)
        return read

    def _tell(self, side: Side, ts_ns: int) -> None:
        pieces, whole = self._crypto[side], b""
        while len(whole) in pieces:
            whole += pieces[len(whole)]
        size = int.from_bytes(whole[1:4], "big")
        if len(whole) < 4 + size or len(whole) < 4 or self._told[side]:
            return
        self._told[side] = True
        self._handshake.message(side, whole[0], whole[4 : 4 + size], ts_ns)
        if side is Side.SERVER:
            self._handshake.close()

    def _packet(self, side: Side, data: bytes) -> tuple[int, bytes | None]:
        """Size of the first packet of a datagram, and its frames if it is an Initial that these keys open."""
        version = struct.unpack_from(">I", data, 1)[0]
        salt = bytes.fromhex(SALTS[version])
        destination_end = 6 + data[5]
        at = destination_end + 1 + data[destination_end]
        kind = data[0] >> 4 & 3
        if version == VERSION_2:
            kind = (kind - 1) % 4
        if kind == 3:
            raise IndexError("a retry has no length")
        if kind == 0:
            token, at = variable(data, at)
            at += token
        length, at = variable(data, at)
        end = at + length
        if kind != 0 or end > len(data):
            return end, None
        tried = [self._connection_id] if self._connection_id is not None else []
        if side is Side.CLIENT or self._connection_id is None:
            tried.append(data[6:destination_end])
        for connection_id in tried:
            assert connection_id is not None
            frames = unprotected(data, at, end, initial_secret(salt, connection_id, side), version)
            if frames is not None or connection_id is tried[-1]:
                self._connection_id = connection_id
                return end, frames
        return end, None

    def _frames(self, side: Side, frames: bytes) -> None:
        at = 0
        while at < len(frames):
            kind = frames[at]
            at += 1
            if kind in (2, 3):
                _, at = variable(frames, at)
                _, at = variable(frames, at)
                ranges, at = variable(frames, at)
                for _ in range(1 + 2 * ranges + (3 if kind == 3 else 0)):
                    _, at = variable(frames, at)
            elif kind == 6:
                offset, at = variable(frames, at)
                length, at = variable(frames, at)
                self._crypto[side].setdefault(offset, frames[at : at + length])
                at += length
            elif kind > 1:
                return


def variable(data: bytes, at: int) -> tuple[int, int]:
    """An integer of variable length (RFC 9000 section 16) and where it ends."""
    size = 1 << (data[at] >> 6)
    if at + size > len(data):
        raise IndexError(at)
    return int.from_bytes(data[at : at + size], "big") & ((1 << (8 * size - 2)) - 1), at + size


def expanded(secret: bytes, label: str, size: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446 section 7.1)."""
    name = b"tls13 " + label.encode()
    return HKDFExpand(SHA256(), size, struct.pack(">HB", size, len(name)) + name + b"\0").derive(secret)


def initial_secret(salt: bytes, connection_id: bytes, side: Side) -> bytes:
    extract = HMAC(salt, SHA256())
    extract.update(connection_id)
    return expanded(extract.finalize(), "client in" if side is Side.CLIENT else "server in", 32)


def unprotected(data: bytes, at: int, end: int, secret: bytes, version: int) -> bytes | None:
    prefix = "quicv2 " if version == VERSION_2 else "quic "
    key, vector, header = (expanded(secret, prefix + name, size) for name, size in (("key", 16), ("iv", 12), ("hp", 16)))
    mask = Cipher(algorithms.AES(header), modes.ECB()).encryptor().update(data[at + 4 : at + 20])
    first = data[0] ^ (mask[0] & 0x0F)
    size = (first & 3) + 1
    number = int.from_bytes(data[at : at + size], "big") ^ int.from_bytes(mask[1 : 1 + size], "big")
    nonce = (int.from_bytes(vector, "big") ^ number).to_bytes(12, "big")
    covered = bytes([first]) + data[1:at] + number.to_bytes(size, "big")
    try:
        return AESGCM(key).decrypt(nonce, data[at + size : end], covered)
    except InvalidTag:
        return None


class DtlsHandshake:
    """Hellos in the clear records of epoch 0; fragments are put together in order."""

    def __init__(self, handshake: TlsHandshake) -> None:
        self._handshake = handshake
        self._parts: dict[Side, bytearray] = {Side.CLIENT: bytearray(), Side.SERVER: bytearray()}
        self._over = False

    def datagram(self, side: Side, data: bytes, ts_ns: int) -> None:
        while len(data) >= 13 and not self._over:
            kind, epoch, length = data[0], struct.unpack_from(">H", data, 3)[0], struct.unpack_from(">H", data, 11)[0]
            body = data[13 : 13 + length]
            if data[1] != 0xFE or len(body) < length:
                return
            if epoch or kind == 20:
                self._over = side is Side.SERVER and self._handshake.begun
                return
            if kind == 21 and length == 2 and body[0] == 2 and self._handshake.begun:
                self._handshake.mark(HelloFlag.ALERT)
                self._over = True
            elif kind == 22:
                self._messages(side, body, ts_ns)
            data = data[13 + length :]
        if self._over:
            self._handshake.close()

    def _messages(self, side: Side, body: bytes, ts_ns: int) -> None:
        while len(body) >= 12 and not self._over:
            kind, size = body[0], int.from_bytes(body[1:4], "big")
            start, length = int.from_bytes(body[6:9], "big"), int.from_bytes(body[9:12], "big")
            piece = body[12 : 12 + length]
            if len(piece) < length or start + length > size:
                return
            if kind == VERIFY_REQUEST and side is Side.SERVER and self._handshake.begun:
                self._handshake.mark(HelloFlag.RETRY)
            if kind == HELLO_DONE and side is Side.SERVER and self._handshake.begun:
                self._over = True
            if (kind, side) in ((CLIENT_HELLO, Side.CLIENT), (SERVER_HELLO, Side.SERVER)):
                parts = self._parts[side]
                if start == 0:
                    parts.clear()
                if start == len(parts):
                    parts += piece
                if len(parts) == size:
                    self._handshake.message(side, kind, bytes(parts), ts_ns)
                    parts.clear()
                    self._over = self._handshake.settled
            body = body[12 + length :]


def dtls_sender(data: bytes) -> Side:
    """Who sends a datagram that begins with a hello."""
    if len(data) > 25 and data[0] == 22 and data[1] == 0xFE and data[3:5] == b"\0\0":
        return {CLIENT_HELLO: Side.CLIENT, SERVER_HELLO: Side.SERVER, VERIFY_REQUEST: Side.SERVER}.get(data[13], Side.NONE)
    return Side.NONE
