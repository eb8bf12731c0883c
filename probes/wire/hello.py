"""Client and server hellos (RFC 8446 section 4.1, RFC 5246 section 7.4.1): what TLS, QUIC and DTLS have in common."""

import os

import cython
import numpy as np
from cython.cimports.lbtop.probes.wire.buffer import SCRATCH, Octets, be16, span, swap16, word16
from cython.cimports.lbtop.probes.wire.scan import MIX
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.string import memset
from lbtop.probes.wire.ja4 import family, ja4

_PRINTS = 4096
PRINT_MASK = cython.declare(cython.size_t, _PRINTS - 1)
SEED = cython.declare(cython.ulonglong, int.from_bytes(os.urandom(8), "little"))
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
_ROW = [
    ("seq", "u8"), ("at_ns", "i8"), ("conn", "u8"), ("random", "u8"), ("session", "u8"), ("certificate", "u8"),
    ("not_before_ns", "i8"), ("not_after_ns", "i8"), ("client", "u4"), ("server", "u4"), ("sni", "u4"), ("alpn", "u4"),
    ("alpn_chosen", "u4"), ("ja4", "u4"), ("family", "u4"), ("flags", "u4"), ("size", "u4"), ("client_port", "u2"),
    ("server_port", "u2"), ("version", "u2"), ("cipher", "u2"), ("version_offered", "u2"), ("pad", "u2"),
]  # fmt: skip
_HELLO = np.dtype(
    [
        ("row", np.dtype(_ROW, align=True)),
        ("session_id", "u8"),
        ("next", "u4"),
        ("server", "u1"),
        ("tls13", "u1"),
        ("leaf", "u1"),
    ],
    align=True,
)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def is_grease(value: cython.int) -> cython.bint:
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def mixed(value: uint64_t) -> uint64_t:
    """Spreads a number under this run's seed: sums of these do not depend on order and cannot be steered."""
    value = (value + SEED) * MIX
    value = (value ^ (value >> 29)) * MIX
    return value ^ (value >> 32)


class Hellos:
    """Handshakes in progress, and how a hello's message is read into one."""

    def __init__(self, context: Context):
        self.context = context
        self.buffer = context.buffer
        self.tables = context.tables
        self.hellos = np.zeros(64, _HELLO)
        self.fresh = 1
        self.print_keys = np.zeros(_PRINTS, np.uint64)
        self.prints = np.zeros(2 * _PRINTS, np.uint32)
        for i in range(4):
            self.retry[i] = int.from_bytes(_RETRY[8 * i : 8 * i + 8], "little")

    def begin(self, conn, ts_ns):
        """The number of the connection's handshake in progress, a new one if there is none."""
        number: uint32_t = conn.hello
        row: cython.pointer(HandshakeRow)
        if number:
            return number
        number = self.free
        if number:
            self.free = self.hellos[number].next
        else:
            if self.fresh == self.hellos.shape[0]:
                with cython.gil:
                    self._grow()
            number = self.fresh
            self.fresh += 1
        memset(cython.address(self.hellos[number]), 0, cython.sizeof(Hello))
        row = cython.address(self.hellos[number].row)
        row.at_ns = ts_ns
        row.conn = conn.conn
        row.client = conn.client
        row.server = conn.server
        row.client_port = conn.client_port
        row.server_port = conn.server_port
        conn.hello = number
        return number

    def write(self, conn):
        """Writes the row of the handshake in progress, if there is one."""
        number: uint32_t = conn.hello
        seq: uint64_t
        row: cython.pointer(HandshakeRow)
        if number == 0:
            return 0
        conn.hello = 0
        row = cython.address(self.tables.handshakes[self.tables.add_handshake()])
        seq = row.seq
        row[0] = self.hellos[number].row
        row.seq = seq
        # The ends may have been swapped since the first hello.
        row.client = conn.client
        row.server = conn.server
        row.client_port = conn.client_port
        row.server_port = conn.server_port
        self.hellos[number].next = self.free
        self.free = number
        return 0

    def client_hello(self, conn, ts_ns, offset, end, transport):
        """A ClientHello message. A malformed one leaves no trace."""
        at: cython.Py_ssize_t = offset + 39
        i: cython.Py_ssize_t
        value: cython.int
        size: cython.int
        session_size: cython.int
        ciphers: cython.Py_ssize_t
        total: uint64_t = 0
        greased: cython.bint = False
        octets: Octets
        found: Extensions
        hello: cython.pointer(Hello)
        row: cython.pointer(HandshakeRow)
        if end - offset < 4 + 38:
            return 0
        session_size = self.buffer.u8[offset + 38]
        at += session_size
        if transport == 0x64:
            # DTLS has a cookie here.
            if at + 1 > end:
                return 0
            at += 1 + self.buffer.u8[at]
        if at + 2 > end:
            return 0
        size = be16(self.buffer, at)
        ciphers = at + 2
        at = ciphers + size
        if at + 1 > end:
            return 0
        size &= ~1
        octets = span(self.buffer, ciphers, size + 1)
        for i in range(0, size, 2):
            value = swap16(word16(octets + i))
            if is_grease(value):
                greased = True
            else:
                total += mixed(value)
        at += 1 + self.buffer.u8[at]
        self._extensions(at, end, cython.address(found))

        hello = cython.address(self.hellos[self.begin(conn, ts_ns)])
        row = cython.address(hello.row)
        row.flags |= HL_CLIENT_SEEN | found.flags
        if greased:
            row.flags |= HL_GREASE
        row.size = end - offset
        row.random = self.context.sip.of(self.buffer, offset + 6, 32)
        row.version_offered = be16(self.buffer, offset + 4)
        if found.versions:
            row.version_offered = 0
            for i in range(found.versions + 1, found.versions + found.versions_size - 1, 2):
                value = be16(self.buffer, i)
                if is_grease(value):
                    row.flags |= HL_GREASE
                elif value > row.version_offered:
                    row.version_offered = value
        if session_size:
            hello.session_id = self.context.sip.of(self.buffer, offset + 39, session_size)
            if row.version_offered != 0x0304 and row.version_offered != 0xFEFC:
                row.flags |= HL_SESSION_ID_OFFERED
        row.session = self._session(cython.address(found))
        if row.session == 0 and row.flags & HL_SESSION_ID_OFFERED:
            row.session = hello.session_id
        if found.sni_size >= 5 and self.buffer.u8[found.sni + 2] == 0:
            size_name: cython.Py_ssize_t = min(be16(self.buffer, found.sni + 3), found.sni_size - 5)
            row.sni = self.tables.strings.intern(found.sni + 5, min(size_name, LONGEST_NAME), False)
        row.alpn = self._protocols(cython.address(found))
        self._fingerprint(row, transport, ciphers, size, total, cython.address(found))
        return 0

    def server_hello(self, conn, ts_ns, offset, end):
        """A ServerHello or HelloRetryRequest message."""
        at: cython.Py_ssize_t
        cipher: cython.int
        i: cython.int
        session_size: cython.int
        retry: cython.bint = True
        found: Extensions
        hello: cython.pointer(Hello)
        if end - offset < 4 + 38:
            return 0
        session_size = self.buffer.u8[offset + 38]
        at = offset + 39 + session_size
        if at + 3 > end:
            return 0
        cipher = be16(self.buffer, at)
        self._extensions(at + 3, end, cython.address(found))
        hello = cython.address(self.hellos[self.begin(conn, ts_ns)])
        for i in range(4):
            if self.buffer.u64[offset + 6 + 8 * i] != self.retry[i]:
                retry = False
        if retry:
            hello.row.flags |= HL_RETRY
            return 0
        if hello.server:
            return 0
        hello.server = 1
        hello.row.at_ns = ts_ns
        hello.row.flags |= HL_SERVER_SEEN
        hello.row.cipher = cipher
        hello.row.version = be16(self.buffer, offset + 4)
        if found.versions and found.versions_size >= 2:
            hello.row.version = be16(self.buffer, found.versions)
            hello.tls13 = (hello.row.version >= 0x0304 and hello.row.version < 0xFE00) or hello.row.version == 0xFEFC
        if hello.tls13:
            if found.psk:
                hello.row.flags |= HL_RESUMED
        elif session_size and hello.session_id:
            if self.context.sip.of(self.buffer, offset + 39, session_size) == hello.session_id:
                hello.row.flags |= HL_RESUMED
        if found.alpn_size > 3:
            hello.row.alpn_chosen = self.tables.strings.intern(
                found.alpn + 3, min(self.buffer.u8[found.alpn + 2], found.alpn_size - 3), False
            )
        return 0

    def sslv2(self, conn, ts_ns, offset, end):
        """A version 2 client hello that offers SSL 3.0 or later (RFC 5246 appendix E.2); all of it is there."""
        size: cython.int = be16(self.buffer, offset + 5)
        at: cython.Py_ssize_t = offset + 11
        i: cython.Py_ssize_t
        kept: cython.int = 0
        total: uint64_t = 0
        found: Extensions
        row: cython.pointer(HandshakeRow) = cython.address(self.hellos[self.begin(conn, ts_ns)].row)
        if at + size > end or size > 3 * 512:
            return 0
        memset(cython.address(found), 0, cython.sizeof(Extensions))
        for i in range(at, at + size - 2, 3):
            # A cipher of version 3 has a zero in front; the others mean nothing to it.
            if self.buffer.u8[i] == 0:
                self.buffer.u8[SCRATCH + kept] = self.buffer.u8[i + 1]
                self.buffer.u8[SCRATCH + kept + 1] = self.buffer.u8[i + 2]
                total += mixed(be16(self.buffer, i + 1))
                kept += 2
        row.flags |= HL_CLIENT_SEEN | HL_SSLV2
        row.version_offered = be16(self.buffer, offset + 3)
        self._fingerprint(row, 0x74, SCRATCH, kept, total, cython.address(found))
        return 0

    def _extensions(self, offset, end, found):
        """Walks a list of extensions. One that runs over the end is left out, with what follows."""
        at: cython.Py_ssize_t = offset + 2
        item: cython.Py_ssize_t
        kind: cython.int
        size: cython.int
        group: cython.int
        octets: Octets
        memset(found, 0, cython.sizeof(Extensions))
        found.start = min(at, end)
        found.end = found.start
        if at + 4 > end:
            return 0
        octets = span(self.buffer, at, end - at)
        while at + 4 <= end:
            kind = swap16(word16(octets))
            size = swap16(word16(octets + 2))
            octets += 4
            at += 4
            if at + size > end:
                return 0
            found.end = at + size
            if is_grease(kind):
                found.flags |= HL_GREASE
                octets += size
                at += size
                continue
            found.count += 1
            found.sum += mixed(kind)
            if kind == 0:
                found.flags |= HL_HAS_SNI
                found.sni = at
                found.sni_size = size
            elif kind == 10:
                found.groups = at
                found.groups_size = size
                for item in range(2, size - 1, 2):
                    if is_grease(swap16(word16(octets + item))):
                        found.flags |= HL_GREASE
            elif kind == 13:
                found.signatures = at
                found.signatures_size = size
            elif kind == 16:
                found.alpn = at
                found.alpn_size = size
            elif kind == 35:
                found.ticket = at
                found.ticket_size = size
                if size:
                    found.flags |= HL_TICKET_OFFERED
            elif kind == 41:
                found.psk = at
                found.psk_size = size
                found.flags |= HL_PSK_OFFERED
            elif kind == 42:
                found.flags |= HL_EARLY_DATA
            elif kind == 43:
                found.versions = at
                found.versions_size = size
            elif kind == 51:
                found.shares = at
                found.shares_size = size
                item = 2
                while item + 4 <= size:
                    group = swap16(word16(octets + item))
                    if is_grease(group):
                        found.flags |= HL_GREASE
                    elif (
                        (group >= 0x11EB and group <= 0x11ED)
                        or (group >= 0x0200 and group <= 0x0202)
                        or group == 0x6399
                        or group == 0x639A
                    ):
                        found.flags |= HL_POST_QUANTUM
                    item += 4 + swap16(word16(octets + item + 2))
            elif kind == 0xFE0D:
                found.flags |= HL_ECH
            octets += size
            at += size
        return 0

    def _session(self, found):
        """Keyed hash of what the client offers for resumption: the first PSK identity, else the ticket; 0 for neither."""
        size: cython.int
        if found.psk and found.psk_size > 4:
            size = min(be16(self.buffer, found.psk + 2), found.psk_size - 4)
            if size:
                return self.context.sip.of(self.buffer, found.psk + 4, size)
        if found.ticket_size:
            return self.context.sip.of(self.buffer, found.ticket, found.ticket_size)
        return 0

    def _protocols(self, found):
        """Number of the offered protocols, joined by commas."""
        at: cython.Py_ssize_t = found.alpn + 2
        end: cython.Py_ssize_t = found.alpn + found.alpn_size
        out: cython.Py_ssize_t = SCRATCH
        size: cython.Py_ssize_t
        while found.alpn and at < end and out < SCRATCH + LONGEST_NAME:
            size = min(self.buffer.u8[at], end - at - 1)
            if out > SCRATCH:
                self.buffer.u8[out] = 0x2C
                out += 1
            self.buffer.copy(out, at + 1, size)
            out += size
            at += 1 + size
        return self.tables.strings.intern(SCRATCH, min(out - SCRATCH, LONGEST_NAME), False)

    def _fingerprint(self, row, transport, ciphers, size, total, found):
        """JA4 and family. They do not depend on the order of ciphers and extensions, so neither does the key of their cache."""
        key: uint64_t = total * MIX ^ found.sum
        octets: Octets
        at: cython.Py_ssize_t
        end: cython.Py_ssize_t
        place: cython.size_t
        key = mixed(key ^ (cython.cast(uint64_t, row.version_offered) << 32) ^ transport)
        if found.signatures_size > 3:
            octets = span(self.buffer, found.signatures, found.signatures_size)
            for at in range(2, found.signatures_size - 1, 2):
                key = (key ^ swap16(word16(octets + at))) * MIX
                key ^= key >> 29
        if found.alpn_size > 2:
            end = min(found.alpn + 3 + self.buffer.u8[found.alpn + 2], found.alpn + found.alpn_size)
            for at in range(found.alpn + 2, end):
                key = (key ^ self.buffer.u8[at]) * MIX
                key ^= key >> 29
        key = mixed(key)
        place = key & PRINT_MASK
        if self.print_keys[place] != key or self.prints[2 * place] == 0:
            with cython.gil:
                self._print(place, transport, row.version_offered, ciphers, size, found)
            self.print_keys[place] = key
        row.ja4 = self.prints[2 * place]
        row.family = self.prints[2 * place + 1]
        return 0

    def _print(self, place, transport, version, ciphers, size, found):
        """The slow way, once per shape: both strings from the numbers in the buffer."""
        offered = self._numbers(ciphers, ciphers + size)
        kinds = []
        at: cython.Py_ssize_t = found.start
        while at + 4 <= found.end:
            kinds.append(be16(self.buffer, at))
            at += 4 + be16(self.buffer, at + 2)
        protocol = None
        if found.alpn_size > 2:
            protocol = bytes(
                self.buffer.u8[found.alpn + 3 : found.alpn + min(3 + self.buffer.u8[found.alpn + 2], found.alpn_size)]
            )
        algorithms = self._numbers(found.signatures + 2, found.signatures + found.signatures_size)
        letter = chr(transport)
        for i, compute in enumerate((ja4, family)):
            text = compute(letter, version, offered, kinds, protocol, algorithms).encode("ascii")
            for n, byte in enumerate(text):
                self.buffer.u8[SCRATCH + 4096 + n] = byte
            self.prints[2 * place + i] = self.tables.strings.intern(SCRATCH + 4096, len(text), False)
        return 0

    def _numbers(self, offset: cython.Py_ssize_t, end: cython.Py_ssize_t):
        return [be16(self.buffer, at) for at in range(offset, end - 1, 2)]

    def _grow(self):
        old = np.asarray(self.hellos)
        grown = np.zeros(2 * len(old), _HELLO)
        grown[: len(old)] = old
        self.hellos = grown
        return 0
