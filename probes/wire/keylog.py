"""Key logs in the NSS form (SSLKEYLOGFILE, draft-ietf-tls-keylogfile) and the record keys that follow from them.

Nothing here leaves the process: secrets are looked up by the client's random and turned into ciphers.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib.util
import os
import struct
from typing import Any

from lbtop.model.errors import LbtopError
from lbtop.model.record import dataclass
from lbtop.model.text import safe_text

MASTER = b"CLIENT_RANDOM"
EARLY = b"CLIENT_EARLY_TRAFFIC_SECRET"
HANDSHAKE = (b"CLIENT_HANDSHAKE_TRAFFIC_SECRET", b"SERVER_HANDSHAKE_TRAFFIC_SECRET")
TRAFFIC = (b"CLIENT_TRAFFIC_SECRET_0", b"SERVER_TRAFFIC_SECRET_0")
_LABELS = frozenset((MASTER, EARLY, *HANDSHAKE, *TRAFFIC))
_MOST = 1 << 19
"""Connections whose keys are kept: a log of a busy balancer's day is read as far as that."""
_PIECE = 1 << 20
_LONGEST_LINE = 1024


def ciphers() -> bool:
    """Whether the package that has the ciphers is installed."""
    return importlib.util.find_spec("cryptography") is not None


class KeyLog:
    """Secrets by client random. A log that still grows is read on whenever a random is not known yet."""

    def __init__(self) -> None:
        self.full = False
        self._secrets: dict[bytes, dict[bytes, bytes]] = {}
        self._path: str | None = None
        self._read = 0
        self._rest = b""

    def __len__(self) -> int:
        return len(self._secrets)

    def open(self, path: str) -> None:
        """Reads a file. Raises LbtopError where that is not possible; lines that are no keys are passed over."""
        if not ciphers():
            raise LbtopError("reading TLS with a key log needs the package cryptography: pip install 'lbtop[keys]'")
        self._path = path
        try:
            self._read_on()
        except OSError as error:
            raise LbtopError(f"cannot read the key log {safe_text(path)}: {error.strerror}") from None

    def add(self, text: bytes) -> None:
        """Takes in lines of a log, such as those of a pcapng decryption secrets block."""
        for line in text.splitlines():
            self._line(line)

    def find(self, random: bytes) -> dict[bytes, bytes] | None:
        """Label to secret, for the connection whose client hello has this random."""
        found = self._secrets.get(random)
        if found is None and self._path is not None:
            try:
                self._read_on()
            except OSError:
                self._path = None
            found = self._secrets.get(random)
        return found

    def _read_on(self) -> None:
        path = self._path
        if path is None or (self._read and os.stat(path).st_size <= self._read):
            return
        with open(path, "rb") as file:
            file.seek(self._read)
            while piece := file.read(_PIECE):
                self._read += len(piece)
                *lines, self._rest = (self._rest + piece).split(b"\n")
                for line in lines:
                    self._line(line)
                self._rest = self._rest[-_LONGEST_LINE:]
        self._line(self._rest)  # a last line without its end

    def _line(self, line: bytes) -> None:
        words = line.split() if len(line) <= _LONGEST_LINE else []
        if len(words) != 3 or words[0] not in _LABELS:
            return
        try:
            random, secret = bytes.fromhex(words[1].decode("ascii")), bytes.fromhex(words[2].decode("ascii"))
        except ValueError:
            return
        if len(random) != 32 or not 32 <= len(secret) <= 64:
            return
        known = self._secrets.get(random)
        if known is None:
            if len(self._secrets) >= _MOST:
                self.full = True
                return
            known = self._secrets[random] = {}
        known[words[0]] = secret


@dataclass(frozen=True, slots=True)
class Suite:
    """What a cipher suite does to records. ``mac``: bytes of the MAC of a CBC suite, or of a tag; ``hash`` that of the PRF."""

    kind: str
    key: int
    hash: str
    mac: int = 16
    mac_hash: str = ""


def _suites() -> dict[int, Suite]:
    gcm = [
        ("aes-gcm", 16, "sha256", (0x009C, 0x009E, 0x00A0, 0x00A2, 0x00A4, 0x00A8, 0x00AA, 0xC02B, 0xC02D, 0xC02F, 0xC031)),
        ("aes-gcm", 32, "sha384", (0x009D, 0x009F, 0x00A1, 0x00A3, 0x00A5, 0x00A9, 0x00AB, 0xC02C, 0xC02E, 0xC030, 0xC032)),
        ("chacha20", 32, "sha256", (0x1303, 0xCCA8, 0xCCA9, 0xCCAA, 0xCCAB, 0xCCAC, 0xCCAD)),
        ("aes-gcm", 16, "sha256", (0x1301,)),
        ("aes-gcm", 32, "sha384", (0x1302,)),
        ("aes-ccm", 16, "sha256", (0x1304, 0xC09C, 0xC09E, 0xC0AC)),
        ("aes-ccm", 32, "sha256", (0xC09D, 0xC09F, 0xC0AD)),
    ]  # fmt: skip
    found = {number: Suite(kind, key, name) for kind, key, name, numbers in gcm for number in numbers}
    found |= {number: Suite("aes-ccm", 16, "sha256", 8) for number in (0x1305, 0xC0A0, 0xC0A2, 0xC0AE)}
    found |= {number: Suite("aes-ccm", 32, "sha256", 8) for number in (0xC0A1, 0xC0A3, 0xC0AF)}
    cbc = [
        (16, "sha256", 20, "sha1", (0x002F, 0x0033, 0xC004, 0xC009, 0xC00E, 0xC013)),
        (32, "sha256", 20, "sha1", (0x0035, 0x0039, 0xC005, 0xC00A, 0xC00F, 0xC014)),
        (16, "sha256", 32, "sha256", (0x003C, 0x0067, 0xC023, 0xC025, 0xC027, 0xC029)),
        (32, "sha256", 32, "sha256", (0x003D, 0x006B)),
        (32, "sha384", 48, "sha384", (0xC024, 0xC026, 0xC028, 0xC02A)),
    ]
    for key, prf, mac, mac_hash, numbers in cbc:
        found |= {number: Suite("aes-cbc", key, prf, mac, mac_hash) for number in numbers}
    return found


SUITES = _suites()
"""Of TLS 1.2 and 1.3 (the IANA registry of cipher suites). Others are not decrypted."""


def expand_label(name: str, secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label with an empty context (RFC 8446 section 7.1), of at most one block of the hash."""
    full = b"tls13 " + label
    return hmac.digest(secret, struct.pack(">HB", size, len(full)) + full + b"\0\x01", name)[:size]


def key_block(suite: Suite, master: bytes, client_random: bytes, server_random: bytes, size: int) -> bytes:
    """The key material of TLS 1.2 (RFC 5246 sections 5 and 6.3)."""
    seed = b"key expansion" + server_random + client_random
    a, block = seed, b""
    while len(block) < size:
        a = hmac.digest(master, a, suite.hash)
        block += hmac.digest(master, a + seed, suite.hash)
    return block[:size]


class Sealed(Exception):
    """A record that these keys do not open."""


class RecordKeys:
    """Opens the records of one direction. ``number`` counts them."""

    __slots__ = ("_aead", "_algorithm", "_iv", "_mac_key", "_mode", "_suite", "_tls13", "encrypt_then_mac", "number")

    def __init__(self, suite: Suite, key: bytes, iv: bytes, *, tls13: bool, mac_key: bytes = b"") -> None:
        self.number = 0
        self.encrypt_then_mac = False
        self._suite, self._iv, self._tls13, self._mac_key = suite, iv, tls13, mac_key
        self._aead: Any = None
        if suite.kind == "aes-cbc":
            from cryptography.hazmat.primitives.ciphers import algorithms, modes

            self._algorithm, self._mode = algorithms.AES(key), modes.CBC
            return
        from cryptography.hazmat.primitives.ciphers import aead

        if suite.kind == "aes-gcm":
            self._aead = aead.AESGCM(key)
        elif suite.kind == "aes-ccm":
            self._aead = aead.AESCCM(key, suite.mac)
        else:
            self._aead = aead.ChaCha20Poly1305(key)

    @classmethod
    def of_secret(cls, suite: Suite, secret: bytes) -> RecordKeys:
        """Of a TLS 1.3 traffic secret (RFC 8446 section 7.3)."""
        key, iv = (expand_label(suite.hash, secret, label, size) for label, size in ((b"key", suite.key), (b"iv", 12)))
        return cls(suite, key, iv, tls13=True)

    @classmethod
    def both_of_master(cls, suite: Suite, master: bytes, client_random: bytes, server_random: bytes) -> list[RecordKeys]:
        """Client's and server's of a TLS 1.2 master secret."""
        mac = suite.mac if suite.kind == "aes-cbc" else 0
        iv = {"aes-cbc": 0, "chacha20": 12}.get(suite.kind, 4)
        block = key_block(suite, master, client_random, server_random, 2 * (mac + suite.key + iv))
        parts, at = [], 0
        for size in (mac, mac, suite.key, suite.key, iv, iv):
            parts.append(block[at : at + size])
            at += size
        return [cls(suite, parts[2 + i], parts[4 + i], tls13=False, mac_key=parts[i]) for i in range(2)]

    def unseal(self, header: bytes, body: bytes) -> bytes:
        """The plaintext of a record (its five bytes of header, and the rest). Raises Sealed; then ``number`` stays."""
        number = self.number.to_bytes(8, "big")
        try:
            if self._suite.kind == "aes-cbc":
                plain = self._unseal_cbc(number, header, body)
            elif self._tls13:
                plain = self._aead.decrypt(self._nonce(number), body, header)
            elif self._suite.kind == "chacha20":
                plain = self._aead.decrypt(self._nonce(number), body, self._associated(number, header, len(body) - 16))
            else:
                about = self._associated(number, header, len(body) - 8 - self._suite.mac)
                plain = self._aead.decrypt(self._iv + body[:8], body[8:], about)
        except Exception:  # InvalidTag, or lengths that cannot be: its module is only imported where the ciphers are
            raise Sealed from None
        self.number += 1
        return bytes(plain)

    def overhead(self, size: int) -> int:
        """Bytes of a sealed record's body that are not plaintext, about."""
        if self._tls13:
            return min(size, self._suite.mac + 1)
        explicit = {"aes-cbc": 16, "chacha20": 0}.get(self._suite.kind, 8)
        return min(size, explicit + self._suite.mac)

    def _nonce(self, number: bytes) -> bytes:
        return (int.from_bytes(self._iv, "big") ^ int.from_bytes(number, "big")).to_bytes(12, "big")

    @staticmethod
    def _associated(number: bytes, header: bytes, size: int) -> bytes:
        return number + header[:3] + size.to_bytes(2, "big")

    def _unseal_cbc(self, number: bytes, header: bytes, body: bytes) -> bytes:
        """MAC and padding as in RFC 5246 section 6.2.3.2, or RFC 7366 where that was agreed."""
        from cryptography.hazmat.primitives.ciphers import Cipher

        suite, sealed = self._suite, body
        if self.encrypt_then_mac:
            sealed, mac = body[: -suite.mac], body[-suite.mac :]
            self._check(mac, self._associated(number, header, len(sealed)) + sealed)
        decryptor = Cipher(self._algorithm, self._mode(sealed[:16])).decryptor()
        padded = decryptor.update(sealed[16:]) + decryptor.finalize()
        plain = padded[: len(padded) - 1 - padded[-1]]
        if not self.encrypt_then_mac:
            plain, mac = plain[: -suite.mac], plain[-suite.mac :]
            self._check(mac, self._associated(number, header, len(plain)) + plain)
        return plain

    def _check(self, mac: bytes, of: bytes) -> None:
        if not hmac.compare_digest(mac, hmac.digest(self._mac_key, of, getattr(hashlib, self._suite.mac_hash))):
            raise Sealed
