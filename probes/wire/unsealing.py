"""What is inside a connection's TLS, where the operator gave the keys: records of both directions to application data.

Plain Python: it runs only for connections whose keys are in the log. Follows TLS 1.2 (RFC 5246) and 1.3 (RFC 8446) with
retries, early data, key updates and tickets. A direction that cannot be followed any further (bytes lost between two records,
a record that the keys do not open) says so once, and nothing is guessed.
"""

from __future__ import annotations

from lbtop.probes.wire.keylog import EARLY, HANDSHAKE, MASTER, SUITES, TRAFFIC, KeyLog, RecordKeys, Sealed, Suite, expand_label

_CHANGE_CIPHER_SPEC, _ALERT, _HANDSHAKE, _APPLICATION = 20, 21, 22, 23
_CLIENT_HELLO, _SERVER_HELLO, _FINISHED, _KEY_UPDATE = 1, 2, 20, 24
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""The server random of a HelloRetryRequest (RFC 8446 section 4.1.3)."""
_LARGEST_RECORD = 16384 + 2048
_MOST_WAITING = 1 << 18
_LONGEST_MESSAGE = 1 << 17
CLIENT, SERVER = 0, 1

Unsealed = bytes | int
"""Application data, or the number of its bytes that are lost."""


class _Half:
    """One direction."""

    __slots__ = ("broken", "keys", "messages", "over", "sealed", "secret", "waiting")

    def __init__(self) -> None:
        self.waiting = bytearray()  # bytes of a record that is not complete
        self.messages = bytearray()  # bytes of a handshake message that is not complete
        self.keys: RecordKeys | None = None
        self.secret = b""
        self.sealed = False  # what follows is encrypted
        self.broken = False  # bytes of the record at hand are lost
        self.over = False


class Session:
    """One TLS connection. :meth:`read` takes bytes in order, :meth:`skip` is told what will never come."""

    __slots__ = ("_client_random", "_early", "_halves", "_log", "_master", "_secrets", "_server_random", "_suite", "_tls13")

    def __init__(self, log: KeyLog) -> None:
        self._log = log
        self._halves = (_Half(), _Half())
        self._client_random = b""
        self._server_random = b""
        self._secrets: dict[bytes, bytes] | None = None
        self._suite: Suite | None = None
        self._tls13 = False
        self._master: list[RecordKeys] = []
        self._early: RecordKeys | None = None

    @property
    def over(self) -> bool:
        """Nothing more will come of either direction."""
        return self._halves[0].over and self._halves[1].over

    def swap(self) -> None:
        """Who was taken for the client is the server."""
        self._halves = self._halves[::-1]

    def read(self, direction: int, data: bytes) -> list[tuple[int, Unsealed]]:
        """(direction, application data) that these bytes complete."""
        half = self._halves[direction]
        found: list[tuple[int, Unsealed]] = []
        if half.over:
            return found
        half.waiting += data
        self._take(direction, found)
        if direction == SERVER and self._suite is not None:
            self._take(CLIENT, found)  # early data had to wait for the server's choice
        return found

    def skip(self, direction: int, count: int) -> list[tuple[int, Unsealed]]:
        """``count`` bytes are lost. Inside one record its size is known, so the next one is found again."""
        half = self._halves[direction]
        if half.over:
            return []
        waiting = half.waiting
        if len(waiting) < 5 or count > 5 + int.from_bytes(waiting[3:5], "big") - len(waiting) or not half.sealed:
            half.over = True
            half.waiting.clear()
            return [(direction, 1 << 30)]
        half.broken = True
        return self.read(direction, bytes(count))

    def _take(self, direction: int, found: list[tuple[int, Unsealed]]) -> None:
        half = self._halves[direction]
        waiting, at = half.waiting, 0
        while len(waiting) - at >= 5 and not half.over:
            kind, size = waiting[at], int.from_bytes(waiting[at + 3 : at + 5], "big")
            if not _CHANGE_CIPHER_SPEC <= kind <= 24 or waiting[at + 1] != 3 or size > _LARGEST_RECORD:
                self._give_up(half)
                return
            if len(waiting) - at < 5 + size:
                break
            if kind == _APPLICATION and self._suite is None:
                break  # nobody knows yet what it is sealed with
            header, body = bytes(waiting[at : at + 5]), bytes(waiting[at + 5 : at + 5 + size])
            at += 5 + size
            self._record(direction, half, kind, header, body, found)
            half.broken = False
        if half.over:
            half.waiting.clear()
            return
        del waiting[:at]
        if len(waiting) > _MOST_WAITING:
            self._give_up(half)

    def _record(
        self, direction: int, half: _Half, kind: int, header: bytes, body: bytes, found: list[tuple[int, Unsealed]]
    ) -> None:
        if kind == _CHANGE_CIPHER_SPEC:
            if self._suite is not None and not self._tls13 and not half.sealed:  # in 1.3 it means nothing
                if not self._master:
                    self._give_up(half)
                    return
                half.keys, half.sealed = self._master[direction], True
            return
        if not half.sealed or (self._tls13 and kind != _APPLICATION):
            if kind == _HANDSHAKE:
                self._handshake(direction, half, body)
            elif kind == _APPLICATION:
                self._give_up(half)
            return
        if half.keys is None:
            self._give_up(half)
            return
        if half.broken:
            half.keys.number += 1
            if kind == _APPLICATION:
                found.append((direction, len(body) - half.keys.overhead(len(body))))
            return
        plain = self._unseal(direction, half, header, body)
        if plain is None:
            return
        if self._tls13:
            plain = plain.rstrip(b"\0")
            kind, plain = (plain[-1], plain[:-1]) if plain else (0, b"")
        if kind == _APPLICATION and plain:
            found.append((direction, plain))
        elif kind == _HANDSHAKE and self._tls13:
            self._handshake(direction, half, plain)

    def _unseal(self, direction: int, half: _Half, header: bytes, body: bytes) -> bytes | None:
        """None where the record does not open: then it is early data, which a server may have refused, or the end."""
        assert half.keys is not None
        try:
            return half.keys.unseal(header, body)
        except Sealed:
            pass
        if direction == CLIENT and self._tls13 and half.keys.number == 0 and half.secret == self._of(HANDSHAKE[CLIENT]):
            if self._early is None:
                return None
            try:
                return self._early.unseal(header, body)
            except Sealed:
                return None
        self._give_up(half)
        return None

    def _handshake(self, direction: int, half: _Half, data: bytes) -> None:
        half.messages += data
        messages = half.messages
        while len(messages) >= 4 and not half.over:
            size = 4 + int.from_bytes(messages[1:4], "big")
            if size > _LONGEST_MESSAGE:
                self._give_up(half)
                return
            if len(messages) < size:
                return
            message = bytes(messages[:size])
            del messages[:size]
            self._message(direction, half, message)

    def _message(self, direction: int, half: _Half, message: bytes) -> None:
        kind = message[0]
        if kind == _CLIENT_HELLO and direction == CLIENT and not half.sealed and not self._client_random:
            self._client_random = message[6:38]
        elif kind == _SERVER_HELLO and direction == SERVER and not half.sealed:
            self._server_hello(message)
        elif kind == _FINISHED and self._tls13 and half.sealed:
            self._use(half, TRAFFIC[direction])
        elif kind == _KEY_UPDATE and self._tls13 and self._suite is not None and half.secret:
            half.secret = expand_label(self._suite.hash, half.secret, b"traffic upd", len(half.secret))
            half.keys = RecordKeys.of_secret(self._suite, half.secret)

    def _server_hello(self, message: bytes) -> None:
        self._server_random = message[6:38]
        if self._server_random == _RETRY:
            return
        at = 39 + (message[38] if len(message) > 38 else 0)
        number = int.from_bytes(message[at : at + 2], "big")
        extensions = _extensions(message[at + 3 :])
        self._tls13 = extensions.get(43) == b"\x03\x04"
        self._secrets = self._log.find(self._client_random)
        self._suite = SUITES.get(number)
        if self._suite is None or self._secrets is None or (not self._tls13 and message[4:6] != b"\x03\x03"):
            for half in self._halves:
                self._give_up(half)
        elif self._tls13:
            early = self._secrets.get(EARLY)
            self._early = RecordKeys.of_secret(self._suite, early) if early else None
            for direction, half in enumerate(self._halves):
                half.messages.clear()
                self._use(half, HANDSHAKE[direction])
        elif MASTER in self._secrets:
            master = self._secrets[MASTER]
            self._master = RecordKeys.both_of_master(self._suite, master, self._client_random, self._server_random)
            for keys in self._master:
                keys.encrypt_then_mac = 22 in extensions and self._suite.kind == "aes-cbc"

    def _use(self, half: _Half, label: bytes) -> None:
        secret = self._of(label)
        if self._suite is None or not secret:
            self._give_up(half)
            return
        half.secret, half.sealed = secret, True
        half.keys = RecordKeys.of_secret(self._suite, secret)

    def _of(self, label: bytes) -> bytes:
        return (self._secrets or {}).get(label, b"")

    @staticmethod
    def _give_up(half: _Half) -> None:
        half.over = True
        half.waiting = bytearray()
        half.messages = bytearray()


def _extensions(data: bytes) -> dict[int, bytes]:
    """Type to content; what is cut is left out."""
    found: dict[int, bytes] = {}
    end, at = 2 + int.from_bytes(data[:2], "big"), 2
    while at + 4 <= min(end, len(data)):
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        found[int.from_bytes(data[at : at + 2], "big")] = data[at + 4 : at + 4 + size]
        at += 4 + size
    return found
