"""TLS handshakes as far as they are readable: hellos, the TLS 1.2 certificate, alerts; JA4 (FoxIO, JA4.md)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lbtop.model.observation import HelloFlag, Side
from tests.reference.rows import Recorder

CHANGE_CIPHER, ALERT, HANDSHAKE, APPLICATION = 20, 21, 22, 23
CLIENT_HELLO, SERVER_HELLO, TICKET, CERTIFICATE, CERTIFICATE_REQUEST, HELLO_DONE = 1, 2, 4, 11, 13, 14
RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
SNI, GROUPS, SIGNATURES, ALPN, PADDING, TICKETS, PSK, EARLY, VERSIONS, COOKIE, SHARES, ECH = (
    0,
    10,
    13,
    16,
    21,
    35,
    41,
    42,
    43,
    44,
    51,
    0xFE0D,
)
VOLATILE = {PADDING, TICKETS, PSK, EARLY, COOKIE}
POST_QUANTUM = {0x11EB, 0x11EC, 0x11ED, 0x6399, 0x639A, 0x0200, 0x0201, 0x0202}
VERSION_MARK = {
    0x304: "13",
    0x303: "12",
    0x302: "11",
    0x301: "10",
    0x300: "s3",
    0x2: "s2",
    0xFEFF: "d1",
    0xFEFD: "d2",
    0xFEFC: "d3",
}


def grease(value: int) -> bool:
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF


def items16(data: bytes) -> list[int]:
    return list(struct.unpack(f">{len(data) // 2}H", data[: len(data) // 2 * 2]))


@dataclass(slots=True)
class Hello:
    """A client or server hello: the fields before its extensions, and those by number in wire order."""

    version: int = 0
    random: bytes = b""
    session_id: bytes = b""
    ciphers: list[int] = field(default_factory=list)
    extensions: list[tuple[int, bytes]] = field(default_factory=list)

    def get(self, number: int) -> bytes | None:
        return next((value for kind, value in self.extensions if kind == number), None)


def parse_hello(body: bytes, client: bool, datagram: bool = False) -> Hello:
    """Raises IndexError or struct.error when it is cut; extensions that run over the end are left out."""
    hello = Hello(struct.unpack_from(">H", body)[0], body[2:34])
    at = 35 + body[34]
    hello.session_id = body[35:at]
    if client and datagram:
        at += 1 + body[at]
    if client:
        length = struct.unpack_from(">H", body, at)[0]
        hello.ciphers = items16(body[at + 2 : at + 2 + length])
        at += 2 + length
        at += 1 + body[at]
    else:
        hello.ciphers = [struct.unpack_from(">H", body, at)[0]]
        at += 3
    if at + 2 <= len(body):
        at += 2
        while at + 4 <= len(body):
            kind, length = struct.unpack_from(">HH", body, at)
            if at + 4 + length > len(body):
                break
            hello.extensions.append((kind, body[at + 4 : at + 4 + length]))
            at += 4 + length
    return hello


def first_protocol(hello: Hello) -> bytes:
    offer = hello.get(ALPN) or b""
    return offer[3 : 3 + offer[2]] if len(offer) > 2 else b""


def protocols(hello: Hello) -> list[bytes]:
    offer, found, at = hello.get(ALPN) or b"", [], 2
    while at < len(offer):
        found.append(offer[at + 1 : at + 1 + offer[at]])
        at += 1 + offer[at]
    return found


def server_name(hello: Hello) -> bytes:
    value = hello.get(SNI) or b""
    if len(value) < 5 or value[2] != 0:
        return b""
    return value[5 : 5 + struct.unpack_from(">H", value, 3)[0]]


def offered_version(hello: Hello) -> int:
    listed = hello.get(VERSIONS)
    versions = [value for value in items16(listed[1:]) if not grease(value)] if listed else []
    return max(versions, default=0) if listed is not None else hello.version


def ja4(hello: Hello, transport: str, without: Collection[int] = ()) -> str:
    ciphers = [value for value in hello.ciphers if not grease(value)]
    kinds = [kind for kind, _ in hello.extensions if not grease(kind) and kind not in without]
    protocol = first_protocol(hello)
    mark = "00"
    if protocol:
        ends = protocol[:1] + protocol[-1:]
        plain = all(chr(byte).isascii() and chr(byte).isalnum() for byte in ends)
        mark = ends.decode() if plain else protocol.hex()[0] + protocol.hex()[-1]
    named = "d" if SNI in kinds else "i"
    counts = f"{min(len(ciphers), 99):02}{min(len(kinds), 99):02}"
    head = f"{transport}{VERSION_MARK.get(offered_version(hello), '00')}{named}{counts}{mark}"
    kinds = [kind for kind in kinds if kind not in (SNI, ALPN)]
    listed = ",".join(f"{kind:04x}" for kind in sorted(kinds))
    algorithms = [value for value in items16((hello.get(SIGNATURES) or b"")[2:]) if not grease(value)]
    if algorithms:
        listed += "_" + ",".join(f"{value:04x}" for value in algorithms)
    return f"{head}_{_short(','.join(f'{value:04x}' for value in sorted(ciphers)), ciphers)}_{_short(listed, kinds)}"


def _short(text: str, what: list[int]) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12] if what else "0" * 12


class TlsHandshake:
    """Follows both directions of one TLS connection until its one row can be written."""

    def __init__(self, rows: Recorder, conn: int, ends: dict[str, int], transport: str = "t") -> None:
        self._rows, self._conn, self._ends, self._transport = rows, conn, ends, transport
        self._settled = False
        self._records = {Side.CLIENT: bytearray(), Side.SERVER: bytearray()}
        self._messages = {Side.CLIENT: bytearray(), Side.SERVER: bytearray()}
        self._taken = {Side.CLIENT: 0, Side.SERVER: 0}  # bytes of an incomplete record that are among the messages
        self._over = {Side.CLIENT: False, Side.SERVER: False}
        self._client: Hello | None = None
        self._server: Hello | None = None
        self._flags = HelloFlag(0)
        self._size = 0
        self._leaf = b""
        self._at = 0
        self._resumed: bool | None = None
        self.written = False
        self._answered_ns = 0
        self.turn_ns = 0

    def feed(self, side: Side, data: bytes, ts_ns: int) -> None:
        if self._over[side]:
            return
        if side is Side.CLIENT and self._answered_ns and data:
            self.turn_ns = max(ts_ns - self._answered_ns, 1)
            self._over[Side.CLIENT] = True
            return
        buffer = self._records[side]
        buffer += data
        while len(buffer) >= 5 and not self._over[side]:
            kind, major, length = buffer[0], buffer[1], struct.unpack_from(">H", buffer, 3)[0]
            if major != 3 or kind not in (CHANGE_CIPHER, ALERT, HANDSHAKE, APPLICATION) or length > (1 << 14) + 2048:
                self._over[side] = True
                return
            body = bytes(buffer[5 : 5 + length])
            if kind == HANDSHAKE:  # its messages count as they come, also before the record ends
                self._messages[side] += body[self._taken[side] :]
                self._taken[side] = len(body)
                self._handshakes(side, ts_ns)
            elif len(body) == length:
                self._record(side, kind, body)
            if self._settled:
                waits = not self._over[Side.CLIENT] and not self._records[Side.CLIENT]
                if side is Side.SERVER and waits and not self._answered_ns and not self.written:
                    self._answered_ns = ts_ns
                self.close()
            if len(body) < length:
                return
            self._taken[side] = 0
            del buffer[: 5 + length]

    def sslv2(self, data: bytes, ts_ns: int) -> None:
        """A version 2 client hello that offers SSL 3.0 or TLS (RFC 5246 appendix E.2)."""
        version, ciphers = struct.unpack_from(">HH", data, 3)
        listed = data[11 : 11 + ciphers]
        triples = [listed[at : at + 3] for at in range(0, len(listed), 3)]
        hello = Hello(version, b"", b"", [int.from_bytes(one[1:], "big") for one in triples if one[:1] == b"\0"])
        self._flags |= HelloFlag.SSLV2
        self._client_hello(hello, 0, ts_ns)
        self._over[Side.CLIENT] = True

    @property
    def begun(self) -> bool:
        return self._client is not None or self._server is not None

    @property
    def settled(self) -> bool:
        return self._settled

    def mark(self, flag: HelloFlag) -> None:
        self._flags |= flag

    def lost(self, side: Side) -> None:
        self._over[side] = True

    def _record(self, side: Side, kind: int, body: bytes) -> None:
        if kind == CHANGE_CIPHER:
            if self._server is not None and not self._is13():
                if side is Side.SERVER:
                    self._resumed = self._resumed or not self._leaf
                    self._settled = True
                self._over[side] = True
        elif kind == ALERT:
            if len(body) == 2 and body[0] == 2:
                self._flags |= HelloFlag.ALERT
        else:
            self._over[side] = True

    def _handshakes(self, side: Side, ts_ns: int) -> None:
        buffer = self._messages[side]
        while len(buffer) >= 4:
            length = int.from_bytes(buffer[1:4], "big")
            if length > 1 << 17:
                self._over[side] = True
                return
            if len(buffer) < 4 + length:
                return
            kind, body = buffer[0], bytes(buffer[4 : 4 + length])
            del buffer[: 4 + length]
            try:
                self.message(side, kind, body, ts_ns)
            except (IndexError, struct.error, ValueError):
                self._over[side] = True
                return

    def message(self, side: Side, kind: int, body: bytes, ts_ns: int) -> None:
        if side is Side.CLIENT and kind == CLIENT_HELLO:
            if self._client is None:
                self._client_hello(parse_hello(body, True, self._transport == "d"), len(body) + 4, ts_ns)
        elif side is Side.SERVER and kind == SERVER_HELLO:
            hello = parse_hello(body, False)
            if hello.random == RETRY_RANDOM:
                self._flags |= HelloFlag.RETRY
            elif self._server is None:
                self._server, self._at = hello, ts_ns
                if self._is13():
                    self._resumed = hello.get(PSK) is not None
                    self._settled = True
                elif self._client is not None and hello.session_id and hello.session_id == self._client.session_id:
                    self._resumed = True
        elif side is Side.SERVER and kind == CERTIFICATE and not self._is13():
            self._leaf = body[6 : 6 + int.from_bytes(body[3:6], "big")]
            self._resumed = False
        elif side is Side.SERVER and kind == CERTIFICATE_REQUEST and not self._is13():
            self._flags |= HelloFlag.CLIENT_CERT_REQUESTED
        elif side is Side.SERVER and kind == HELLO_DONE:
            self._settled = True

    def _is13(self) -> bool:
        chosen = self._server.get(VERSIONS) if self._server else None
        return chosen is not None and int.from_bytes(chosen[:2], "big") >= 0x304

    def _client_hello(self, hello: Hello, size: int, ts_ns: int) -> None:
        self._client, self._size, self._at = hello, size, ts_ns
        kinds = {kind for kind, _ in hello.extensions}
        shares, at = [], 2
        listed = hello.get(SHARES) or b""
        while at + 4 <= len(listed):
            group, length = struct.unpack_from(">HH", listed, at)
            shares.append(group)
            at += 4 + length
        greased = [
            *hello.ciphers,
            *kinds,
            *shares,
            *items16((hello.get(GROUPS) or b"")[2:]),
            *items16((hello.get(VERSIONS) or b"")[1:]),
        ]
        ticket = hello.get(TICKETS)
        may_13 = any(value == 0x304 for value in items16((hello.get(VERSIONS) or b"")[1:]))
        for flag, there in (
            (HelloFlag.CLIENT_SEEN, True),
            (HelloFlag.GREASE, any(map(grease, greased))),
            (HelloFlag.ECH, ECH in kinds),
            (HelloFlag.POST_QUANTUM, not POST_QUANTUM.isdisjoint(shares)),
            (HelloFlag.TICKET_OFFERED, bool(ticket)),
            (HelloFlag.SESSION_ID_OFFERED, bool(hello.session_id) and not may_13),
            (HelloFlag.PSK_OFFERED, PSK in kinds),
            (HelloFlag.EARLY_DATA, EARLY in kinds),
            (HelloFlag.HAS_SNI, SNI in kinds),
        ):
            if there:
                self._flags |= flag

    def _session(self) -> bytes:
        hello = self._client
        if hello is None:
            return b""
        identities = hello.get(PSK)
        if identities and len(identities) > 4:
            return identities[4 : 4 + struct.unpack_from(">H", identities, 2)[0]]
        if self._flags & HelloFlag.TICKET_OFFERED:
            return hello.get(TICKETS) or b""
        return hello.session_id if self._flags & HelloFlag.SESSION_ID_OFFERED else b""

    def close(self) -> None:
        """Writes the row, once, if a hello of either side was seen."""
        if self.written or (self._client is None and self._server is None):
            return
        self.written = True
        client, server, flags, rows = self._client or Hello(), self._server, self._flags, self._rows
        version = cipher = chosen = 0
        if server is not None:
            flags |= HelloFlag.SERVER_SEEN
            selected = server.get(VERSIONS)
            version = int.from_bytes(selected[:2], "big") if selected else server.version
            cipher = server.ciphers[0]
            chosen = rows.text(first_protocol(server))
            if self._resumed:
                flags |= HelloFlag.RESUMED
        prints: dict[str, int] = {}
        if self._client is not None:
            prints = {
                "ja4": rows.text(ja4(client, self._transport).encode()),
                "family": rows.text(ja4(client, self._transport, VOLATILE).encode()),
                "version_offered": offered_version(client),
            }
        before, after = validity(self._leaf)
        rows.add(
            "handshakes",
            at_ns=self._at,
            conn=self._conn,
            random=rows.hash(client.random),
            session=rows.hash(self._session()),
            certificate=rows.hash(self._leaf),
            not_before_ns=before,
            not_after_ns=after,
            **self._ends,
            sni=rows.text(server_name(client)),
            alpn=rows.text(b",".join(protocols(client))),
            alpn_chosen=chosen,
            flags=flags,
            size=self._size,
            version=version,
            cipher=cipher,
            **prints,
        )


def validity(certificate: bytes) -> tuple[int, int]:
    """notBefore and notAfter of a DER certificate (RFC 5280, 4.1) in nanoseconds; zeros when it cannot be read."""
    try:
        body = _inside(_inside(certificate))
        if body[0] == 0xA0:
            body = _after(body)
        for _ in range(3):  # serial number, signature, issuer
            body = _after(body)
        dates = _inside(body)
        return _time(dates), _time(_after(dates))
    except (IndexError, ValueError):
        return 0, 0


def _header(der: bytes) -> tuple[int, int]:
    """Where the content of the first element starts and ends."""
    length, start = der[1], 2
    if length & 0x80:
        start = 2 + (length & 0x7F)
        length = int.from_bytes(der[2:start], "big")
    return start, start + length


def _inside(der: bytes) -> bytes:
    start, end = _header(der)
    return der[start:end]


def _after(der: bytes) -> bytes:
    return der[_header(der)[1] :]


def _time(der: bytes) -> int:
    text = _inside(der).decode("ascii")
    if der[0] == 0x17:
        text = ("19" if text[:2] >= "50" else "20") + text
    return int(datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()) * 10**9
