"""Traffic put together from fuzzed bytes, packet by packet."""

from __future__ import annotations

import functools
import hashlib
import hmac
import struct
from collections.abc import Iterator
from typing import Any

from lbtop.probes.wire.decoder import Decoder

from lbtop.model.observation import Batch

RAW_IP = 101
START_NS = 1_700_000_000_000_000_000
LARGEST_SEGMENT = 1400
_ENDS = (b"\x0a\x00\x00\x01", b"\x0a\x00\x00\x02")


def turns(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(0 client, 1 server; what it says): two bytes, whose first bit is the end and the others the length, and the text."""
    at = 0
    while at + 2 <= len(data):
        head = data[at] << 8 | data[at + 1]
        yield head >> 15, data[at + 2 : at + 2 + (head & 0x7FFF)]
        at += 2 + (head & 0x7FFF)


class Conversation:
    """One TCP connection. Every packet comes a millisecond after the one before unless ``step`` says otherwise."""

    def __init__(self, decoder: Decoder, client_port: int, server_port: int) -> None:
        self.decoder = decoder
        self._ports = (client_port, server_port)
        self._next = [0xFFFFFF00, 0x7FFFFF80]
        self._now_ns = START_NS
        self._id = 0

    def handshake(self) -> None:
        self._packet(0, self._next[0], 0, 0x02, b"")
        self._next[0] += 1
        self._packet(1, self._next[1], self._next[0], 0x12, b"")
        self._next[1] += 1
        self._packet(0, self._next[0], self._next[1], 0x10, b"")

    def say(self, who: int, text: bytes, cut: int = 0) -> None:
        """In segments of the usual size; ``cut`` bytes of the last one are not in the capture."""
        for at in range(0, len(text), LARGEST_SEGMENT):
            piece = text[at : at + LARGEST_SEGMENT]
            last = at + len(piece) == len(text)
            self._packet(who, self._next[who], self._next[1 - who], 0x18, piece, min(cut, len(piece)) if last else 0)
            self._next[who] += len(piece)

    def lose(self, who: int, count: int) -> None:
        self._next[who] += count

    def segment(self, who: int, ahead: int, ack: int, flags: int, text: bytes, step: int) -> None:
        """A segment ``ahead`` bytes of where the direction is, which it then moves on."""
        self._now_ns += step * step * 1_000_000
        self._packet(who, self._next[who] + ahead, self._next[1 - who] - ack, flags, text)
        if ahead == 0:
            self._next[who] += len(text) + (flags & 1) + (flags >> 1 & 1)

    def lost(self) -> bool:
        """Whether a direction lost its place, so that what is observed depends on how it is cut."""
        return bool(self.decoder.streams.lost(0))

    def finish(self) -> Batch:
        return self.decoder.finish()

    def _packet(self, who: int, seq: int, ack: int, flags: int, text: bytes, cut: int = 0) -> None:
        self._now_ns += 1_000_000
        self._id = self._id + 1 & 0xFFFF
        ports = self._ports if who == 0 else self._ports[::-1]
        tcp = struct.pack(">HHIIBBHHH", *ports, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 0x50, flags, 64240, 0, 0)
        size = 40 + len(text)
        ip = struct.pack(">BBHHHBBH", 0x45, 0, size & 0xFFFF, self._id, 0x4000, 64, 6, 0) + _ENDS[who] + _ENDS[1 - who]
        self.decoder.packet(RAW_IP, self._now_ns, size - cut, size, (ip + tcp + text)[: size - cut])


class Datagrams:
    """One UDP flow."""

    def __init__(self, decoder: Decoder, client_port: int, server_port: int) -> None:
        self.decoder = decoder
        self._ports = (client_port, server_port)
        self._now_ns = START_NS
        self._id = 0

    def say(self, who: int, text: bytes) -> None:
        self._now_ns += 1_000_000
        self._id = self._id + 1 & 0xFFFF
        ports = self._ports if who == 0 else self._ports[::-1]
        size = 28 + len(text)
        packet = struct.pack(">BBHHHBBH", 0x45, 0, size & 0xFFFF, self._id, 0x4000, 64, 17, 0) + _ENDS[who] + _ENDS[1 - who]
        packet += struct.pack(">HHHH", *ports, 8 + len(text) & 0xFFFF, 0) + text
        self.decoder.packet(RAW_IP, self._now_ns, size, size, packet)

    def finish(self) -> Batch:
        return self.decoder.finish()


_CONNECTION_ID = b"\x08" * 8
_SALT = bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a")


def protected(who: int, frames: bytes, number: int) -> bytes:
    """A QUIC version 1 Initial packet with these frames (RFC 9001 section 5; the ends' keys follow from the connection id)."""
    aead, iv, mask = _keys(who)
    frames = frames.ljust(20, b"\0")
    packet_number = (number & 0xFFFF).to_bytes(2, "big")
    length = 0x4000 | (len(packet_number) + len(frames) + 16)
    header = b"\xc1\0\0\0\x01\x08" + _CONNECTION_ID + b"\0\0" + length.to_bytes(2, "big")
    nonce = (int.from_bytes(iv, "big") ^ (number & 0xFFFF)).to_bytes(12, "big")
    sealed = aead.encrypt(nonce, frames, header + packet_number)
    hidden = mask.update((packet_number + sealed)[4:20])
    first = bytes([header[0] ^ (hidden[0] & 0x0F)])
    return first + header[1:] + bytes(a ^ b for a, b in zip(packet_number, hidden[1:3], strict=True)) + sealed


@functools.cache
def _keys(who: int) -> tuple[Any, bytes, Any]:
    from cryptography.hazmat.primitives.ciphers import Cipher, aead, algorithms, modes

    initial = hmac.digest(_SALT, _CONNECTION_ID, "sha256")
    secret = _expand(initial, b"server in" if who else b"client in", 32)
    hp = Cipher(algorithms.AES(_expand(secret, b"quic hp", 16)), modes.ECB()).encryptor()
    return aead.AESGCM(_expand(secret, b"quic key", 16)), _expand(secret, b"quic iv", 12), hp


def _expand(secret: bytes, label: bytes, size: int) -> bytes:
    name = b"tls13 " + label
    return hmac.digest(secret, struct.pack(">HB", size, len(name)) + name + b"\0\x01", hashlib.sha256)[:size]


class Sealer:
    """Both ends of a TLS 1.3 connection after their hellos, with secrets that are known (RFC 8446 section 5.2)."""

    def __init__(self) -> None:
        from lbtop.probes.wire.keylog import HANDSHAKE, expand_label

        client = b"\1" * 32
        secrets = (b"\2" * 32, b"\3" * 32)
        labels = zip(HANDSHAKE, secrets, strict=True)
        self.log = b"".join(b"%s %s %s\n" % (label, client.hex().encode(), secret.hex().encode()) for label, secret in labels)
        body = b"\3\3" + client + b"\0\0\2\x13\1\1\0\0\7\0\x2b\0\3\2\3\4"
        answer = b"\3\3" + b"\4" * 32 + b"\0\x13\1\0\0\6\0\x2b\0\2\3\4"
        self.hellos = [(0, _hello(1, body)), (1, _hello(2, answer))]
        self._iv = [expand_label("sha256", secret, b"iv", 12) for secret in secrets]
        self._key = [expand_label("sha256", secret, b"key", 16) for secret in secrets]
        self._count = [0, 0]

    def sealed(self, who: int, text: bytes) -> bytes:
        """One record; the last byte of the text says what it holds, as in a real one."""
        from cryptography.hazmat.primitives.ciphers import aead

        header = b"\x17\3\3" + (len(text) + 16).to_bytes(2, "big")
        nonce = (int.from_bytes(self._iv[who], "big") ^ self._count[who]).to_bytes(12, "big")
        self._count[who] += 1
        return header + aead.AESGCM(self._key[who]).encrypt(nonce, text, header)


def _hello(kind: int, body: bytes) -> bytes:
    message = bytes([kind]) + len(body).to_bytes(3, "big") + body
    return b"\x16\3\1" + len(message).to_bytes(2, "big") + message
