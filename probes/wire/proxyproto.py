"""PROXY protocol headers, versions 1 and 2 with their TLVs (HAProxy, proxy-protocol.txt), to PROXY rows."""

import cython
import numpy as np
from cython.cimports.lbtop.probes.wire.buffer import be16, be32
from cython.cimports.lbtop.probes.wire.scan import find_byte, is_digit, starts_folded
from cython.cimports.libc.stdint import uint32_t

T_ALPN = cython.declare(cython.int, 0x01)
T_AUTHORITY = cython.declare(cython.int, 0x02)
T_CRC32C = cython.declare(cython.int, 0x03)
T_SSL = cython.declare(cython.int, 0x20)
T_SSL_VERSION = cython.declare(cython.int, 0x21)
T_AWS = cython.declare(cython.int, 0xEA)
_CASTAGNOLI = 0x82F63B78
ONES = cython.declare(cython.uint, 0xFFFFFFFF)


class ProxyHeaders:
    """Both parsers answer with the header's size, 0 when it goes on beyond the bytes there are, -2 when it is none."""

    def __init__(self, context: Context, addresses):
        self.context = context
        self.buffer = context.buffer
        self.tables = context.tables
        self.addresses = addresses
        table = np.arange(256, dtype=np.uint32)
        for _ in range(8):
            table = (table >> 1) ^ (_CASTAGNOLI * (table & 1)).astype(np.uint32)
        self.crc_table = table

    def v1(self, conn, ts_ns, offset, end):
        """``PROXY TCP4 source destination port port``, at most 107 bytes with its line end."""
        feed: cython.Py_ssize_t = find_byte(self.buffer, offset, min(end, offset + LONGEST_V1), 0x0A)
        stop: cython.Py_ssize_t
        at: cython.Py_ssize_t = offset + 6
        i: cython.int
        fields: cython.Py_ssize_t[6]
        row: cython.pointer(ProxyRow)
        if feed < 0:
            return 0 if end - offset < LONGEST_V1 else -2
        stop = feed - 1 if self.buffer.u8[feed - 1] == 0x0D else feed
        for i in range(5):
            fields[i] = at
            at = find_byte(self.buffer, at, stop, 0x20)
            at = stop + 1 if at < 0 else at + 1
        fields[5] = at
        if starts_folded(self.buffer, offset + 6, stop, b"unknown", 7):
            row = self._row(conn, ts_ns)
            row.flags |= PX_LOCAL
        elif starts_folded(self.buffer, offset + 6, stop, b"tcp", 3) and fields[4] < stop:
            row = self._row(conn, ts_ns)
            row.source = self.addresses.number(fields[1], fields[2] - 1)
            row.destination = self.addresses.number(fields[2], fields[3] - 1)
            for i in range(2):
                at = fields[3 + i]
                while at < stop and is_digit(self.buffer.u8[at]):
                    if i == 0:
                        row.source_port = row.source_port * 10 + (self.buffer.u8[at] - 0x30)
                    else:
                        row.destination_port = row.destination_port * 10 + (self.buffer.u8[at] - 0x30)
                    at += 1
        else:
            return -2
        self._done(conn, row)
        return feed + 1 - offset

    def v2(self, conn, ts_ns, offset, end):
        """The binary header; its length field is honoured whatever the family, so a LOCAL one is passed over whole."""
        size: cython.Py_ssize_t
        family: cython.int
        at: cython.Py_ssize_t = offset + 16
        row: cython.pointer(ProxyRow)
        if end - offset < 16:
            return 0
        if self.buffer.u8[offset + 12] >> 4 != 2 or (self.buffer.u8[offset + 12] & 15) > 1:
            return -2
        size = 16 + be16(self.buffer, offset + 14)
        if end - offset < size:
            return 0
        end = offset + size
        family = self.buffer.u8[offset + 13] >> 4
        row = self._row(conn, ts_ns)
        row.flags |= PX_V2
        if self.buffer.u8[offset + 12] & 15 == 0:
            row.flags |= PX_LOCAL
        if family == 1 and size >= 28:
            if not row.flags & PX_LOCAL:
                row.source = self.addresses.v4(at)
                row.destination = self.addresses.v4(at + 4)
                row.source_port = be16(self.buffer, at + 8)
                row.destination_port = be16(self.buffer, at + 10)
            at += 12
        elif family == 2 and size >= 52:
            if not row.flags & PX_LOCAL:
                row.source = self.addresses.v6(at)
                row.destination = self.addresses.v6(at + 16)
                row.source_port = be16(self.buffer, at + 32)
                row.destination_port = be16(self.buffer, at + 34)
            at += 36
        elif family == 3 and size >= 232:
            at += 216
        elif family != 0:
            # A family without room for its addresses, as checkers' LOCAL headers have it: nothing that follows are TLVs.
            at = end
        self._tlvs(row, offset, at, end)
        self._done(conn, row)
        return size

    def _row(self, conn, ts_ns):
        row: cython.pointer(ProxyRow) = cython.address(self.tables.proxies[self.tables.add_proxy()])
        row.at_ns = ts_ns
        row.conn = conn.conn
        row.client = conn.client
        row.server = conn.server
        row.client_port = conn.client_port
        row.server_port = conn.server_port
        if conn.proxies:
            row.flags |= PX_SECOND
        return row

    def _done(self, conn, row):
        conn.proxies += 1
        conn.flags |= CN_PROXIED
        if row.flags & PX_LOCAL:
            conn.flags |= CN_PROXIED_LOCAL
        # The second header is the older one: it was there when the first was put in front of it, and is nearer to the client.
        if row.source:
            conn.proxy_source = row.source
        return 0

    def _tlvs(self, row, start, at, end):
        kind: cython.int
        length: cython.Py_ssize_t
        inner: cython.Py_ssize_t
        inner_length: cython.Py_ssize_t
        while at + 3 <= end:
            kind = self.buffer.u8[at]
            length = be16(self.buffer, at + 1)
            at += 3
            if at + length > end:
                return 0
            if kind == T_ALPN:
                row.alpn = self.tables.strings.intern(at, min(length, 256), False)
            elif kind == T_AUTHORITY:
                row.authority = self.tables.strings.intern(at, min(length, 256), False)
            elif kind == T_CRC32C and length == 4:
                row.flags |= PX_CRC_PRESENT
                if self._crc(start, at, end) == be32(self.buffer, at):
                    row.flags |= PX_CRC_OK
            elif kind == T_AWS:
                row.flags |= PX_AWS_TLV
            elif kind == T_SSL and length >= 5:
                row.flags |= PX_SSL_TLV
                if self.buffer.u8[at] & 1:
                    row.flags |= PX_SSL_CLIENT
                inner = at + 5
                while inner + 3 <= at + length:
                    inner_length = be16(self.buffer, inner + 1)
                    if inner + 3 + inner_length > at + length:
                        break
                    if self.buffer.u8[inner] == T_SSL_VERSION:
                        row.tls_version = self.tables.strings.intern(inner + 3, min(inner_length, 64), False)
                    inner += 3 + inner_length
            at += length
        return 0

    def _crc(self, start, field, end):
        """CRC-32C of the whole header with its own field as zeros."""
        value: uint32_t = ONES
        at: cython.Py_ssize_t
        byte: uint32_t
        for at in range(start, end):
            byte = 0 if at >= field and at < field + 4 else self.buffer.u8[at]
            value = self.crc_table[(value ^ byte) & 0xFF] ^ (value >> 8)
        return value ^ ONES
