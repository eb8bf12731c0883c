"""HTTP/1 heads (RFC 9112) to REQUEST, RESPONSE, COOKIE and SECRET rows.

One pass finds the lines, one names them, then the rows are written: request first, its cookies directly after it, its
secrets after those. Bodies are only measured here; the stream passes over them.
"""

import os

import cython
import numpy as np
from cython.cimports.lbtop.probes.wire.buffer import SCRATCH
from cython.cimports.lbtop.probes.wire.flags import (
    RQ_AUTHORIZATION, RQ_BR_ZSTD, RQ_BROWSER_UA, RQ_CONNECT, RQ_GRPC, RQ_H2C_UPGRADE, RQ_HTTP_ORIGIN, RQ_HTTPS_ORIGIN,
    RQ_KEEPALIVE, RQ_MIXED_CASE_FORWARDED, RQ_SEC_CH_UA, RQ_SEC_FETCH, RQ_TLS_HEADER, RQ_TRACE_ID, RQ_TRUNCATED,
    RQ_UPGRADE_INSECURE, RQ_VIA, RQ_WEBSOCKET, RQ_XREQUEST_ID, RS_CLOSES, RS_LOGIN_REDIRECT, RS_SESSION_PRESENTED,
    RS_TRUNCATED, RS_UNANSWERED, SENT_BY_CLIENT, SENT_BY_SERVER,
)  # fmt: skip
from cython.cimports.lbtop.probes.wire.names import (
    H_ACCEPT_ENCODING, H_API_KEY, H_AUTHORIZATION, H_CONNECTION, H_CONTENT_LENGTH, H_CONTENT_TYPE, H_COOKIE, H_FORWARDED,
    H_HOST, H_LOCATION, H_ORIGIN, H_OTHER, H_REAL_IP, H_REFERER, H_REQUEST_ID, H_SEC_CH_UA, H_SEC_FETCH_SITE, H_SERVER,
    H_SET_COOKIE, H_TLS, H_TRACE_ID, H_TRANSFER_ENCODING, H_UPGRADE, H_UPGRADE_INSECURE, H_USER_AGENT, H_VIA,
    H_X_FORWARDED_FOR, H_X_FORWARDED_OTHER, H_X_FORWARDED_PORT, H_X_FORWARDED_PROTO,
)  # fmt: skip
from cython.cimports.lbtop.probes.wire.scan import MIX, find_byte, holds_folded, is_blank, is_digit, starts_folded
from cython.cimports.lbtop.probes.wire.secrets import BODY_FORM, BODY_JSON, BODY_OTHER
from cython.cimports.libc.stdint import int64_t, uint32_t, uint64_t

_SHAPES = 4096
SHAPE_MASK = cython.declare(cython.size_t, _SHAPES - 1)
SEED = cython.declare(cython.ulonglong, int.from_bytes(os.urandom(8), "little") | 1)
LARGEST = cython.declare(int64_t, 1 << 56)


class Http1:
    """Use :meth:`measure` on the bytes, then :meth:`request` or :meth:`response` on the head it found."""

    def __init__(self, context: Context, cookies, secrets, addresses):
        self.context = context
        self.buffer = context.buffer
        self.tables = context.tables
        self.cookies = cookies
        self.secrets = secrets
        self.addresses = addresses
        self.shape_keys = np.zeros(_SHAPES, np.uint64)
        self.shape_numbers = np.zeros(_SHAPES, np.uint32)
        self.tls_values = list(context.recognition.tls_headers.values())

    def measure(self, offset, end):
        """Size of the head that starts at ``offset``, blank line included; 0 when it goes on beyond ``end``. Finds its lines.

        Empty lines in front of it are part of it (RFC 9112 section 2.2), a line feed alone ends a line, and a line that
        begins with a blank continues the one before it.
        """
        at: cython.Py_ssize_t = offset
        feed: cython.Py_ssize_t
        last: cython.Py_ssize_t
        self.count = 0
        self.start_end = -1
        self.cut = False
        while True:
            feed = find_byte(self.buffer, at, end, 0x0A)
            if feed < 0:
                if self.start_end < 0:
                    self.start = at
                    self.start_end = end
                elif at < end and self.count < MOST_LINES:
                    # Only of use when the rest of the head is lost.
                    self.lines[self.count].name = at
                    self.lines[self.count].value_end = end
                    self.count += 1
                    self.cut = True
                return 0
            last = feed
            if last > at and self.buffer.u8[last - 1] == 0x0D:
                last -= 1
            if last == at:
                if self.start_end >= 0:
                    return feed + 1 - offset
            elif self.start_end < 0:
                self.start = at
                self.start_end = last
            elif is_blank(self.buffer.u8[at]):
                if self.count:
                    self.lines[self.count - 1].value_end = last
            elif self.count < MOST_LINES:
                self.lines[self.count].name = at
                self.lines[self.count].value_end = last
                self.count += 1
            at = feed + 1

    def request(self, conn, ts_ns, truncated):
        """Writes the rows of the request head measured last. Answers with its framing."""
        i: cython.int
        host: cython.int = -1
        code: cython.int
        forwarded: uint32_t[4]
        target: cython.Py_ssize_t = find_byte(self.buffer, self.start, self.start_end, 0x20) + 1
        target_end: cython.Py_ssize_t
        query: cython.Py_ssize_t
        version: cython.int
        pending: cython.uint
        row: cython.pointer(RequestRow)
        index: cython.Py_ssize_t
        line: cython.pointer(Line)
        if target <= 0:
            return F_BROKEN
        target_end = self.start_end
        while target_end > target and not is_blank(self.buffer.u8[target_end - 1]):
            target_end -= 1
        if starts_folded(self.buffer, target_end, self.start_end, b"http/1.", 7):
            version = 10 if self.buffer.u8[target_end + 7] == 0x30 else 11
            while target_end > target and is_blank(self.buffer.u8[target_end - 1]):
                target_end -= 1
        elif truncated:
            version = 11
            target_end = self.start_end
        else:
            return F_BROKEN
        self._split()

        conn.requests += 1
        self.context.numbered += 1
        pending = self.context.enqueue(conn)
        if pending:
            self.context.pending[pending].request = self.context.numbered
            self.context.pending[pending].at_ns = ts_ns
        index = self.tables.add_request()
        row = cython.address(self.tables.requests[index])
        row.at_ns = ts_ns
        row.conn = conn.conn
        row.request = self.context.numbered
        row.client = conn.client
        row.server = conn.server
        row.client_port = conn.client_port
        row.server_port = conn.server_port
        row.proxy_source = conn.proxy_source
        row.index = conn.requests - 1
        row.version = version
        row.method = self.tables.strings.intern(self.start, min(target - 1 - self.start, LONGEST_SHOWN), False)
        if truncated:
            row.flags |= RQ_TRUNCATED
        if target - 1 - self.start == 7 and starts_folded(self.buffer, self.start, target, b"connect", 7):
            row.flags |= RQ_CONNECT
            if pending:
                self.context.pending[pending].connect = 1
        elif target - 1 - self.start == 4 and starts_folded(self.buffer, self.start, target, b"head", 4) and pending:
            self.context.pending[pending].head = 1
        row.path = self._path(target, target_end, row.flags & RQ_CONNECT != 0)
        row.header_shape = self._shape()
        for i in range(self.count):
            if self.lines[i].code == H_HOST:
                host = i
                row.host = self._shown(self.lines[i].value, self.lines[i].value_end)
                break
        self._tells(row, host)
        for i in range(4):
            forwarded[i] = 0
        row.forwarded_count = self._forwarded(row, H_X_FORWARDED_FOR, forwarded)
        if row.forwarded_count == 0:
            row.forwarded_count = self._forwarded(row, H_FORWARDED, forwarded)
        row.forwarded0 = forwarded[0]
        row.forwarded1 = forwarded[1]
        row.forwarded2 = forwarded[2]
        row.forwarded3 = forwarded[3]
        self._framing(True)
        if (version == 11 and not self.close) or (version == 10 and self.keep):
            row.flags |= RQ_KEEPALIVE

        self.cookies.begin()
        for i in range(self.count):
            if self.lines[i].code == H_COOKIE:
                self.cookies.request(
                    conn, ts_ns, row.request, row.forwarded0, pending, self.lines[i].value, self.lines[i].value_end,
                    self.cut and i == self.count - 1,
                )  # fmt: skip
        row.cookies = self.cookies.count
        row.flags |= self.cookies.flags
        for i in range(self.count):
            line = cython.address(self.lines[i])
            code = line.code
            if code == H_AUTHORIZATION:
                self.secrets.authorization(conn, ts_ns, self._shown(line.name, line.name_end), line.value, line.value_end)
            elif code == H_API_KEY:
                self.secrets.api_key(conn, ts_ns, self._shown(line.name, line.name_end), line.value, line.value_end)
        self.cookies.secrets(conn, ts_ns, SENT_BY_CLIENT)
        query = find_byte(self.buffer, target, target_end, 0x3F)
        if query >= 0:
            self.secrets.pairs(conn, ts_ns, query + 1, target_end)
        if truncated:
            return F_BROKEN
        if self.chunked:
            return F_CHUNKED
        if self.length > 0:
            return F_LENGTH
        return F_BROKEN if self.length < -1 else F_NONE

    def response(self, conn, ts_ns, truncated):
        """Writes the rows of the response head measured last. Answers with its framing."""
        i: cython.int
        status: cython.int = 0
        at: cython.Py_ssize_t
        version: cython.int
        row: cython.pointer(ResponseRow)
        pending: cython.uint = conn.first
        answers_head: cython.bint = False
        grants: cython.bint = False
        if not starts_folded(self.buffer, self.start, self.start_end, b"http/1.", 7) or self.start_end - self.start < 12:
            return F_BROKEN
        version = 10 if self.buffer.u8[self.start + 7] == 0x30 else 11
        for at in range(self.start + 9, self.start + 12):
            if not is_digit(self.buffer.u8[at]):
                return F_BROKEN
            status = status * 10 + (self.buffer.u8[at] - 0x30)
        if status < 200 and status != 101:
            return F_INTERIM
        self._split()
        self._framing(False)
        self.upgraded = 0
        for i in range(self.count):
            if self.lines[i].code == H_UPGRADE:
                if starts_folded(self.buffer, self.lines[i].value, self.lines[i].value_end, b"websocket", 9):
                    self.upgraded = 1
                elif starts_folded(self.buffer, self.lines[i].value, self.lines[i].value_end, b"h2c", 3):
                    self.upgraded = 2
        if pending:
            answers_head = self.context.pending[pending].head != 0
            grants = self.context.pending[pending].connect != 0 and status // 100 == 2
        row = self._row(conn, ts_ns, pending)
        row.status = status
        conn.responses += 1
        if truncated:
            row.flags |= RS_TRUNCATED
        if (version == 11 and self.close) or (version == 10 and not self.keep):
            row.flags |= RS_CLOSES
        self.cookies.begin()
        for i in range(self.count):
            if self.lines[i].code == H_SET_COOKIE:
                self.cookies.response(
                    conn, ts_ns, row.request, pending, self.lines[i].value, self.lines[i].value_end,
                    self.cut and i == self.count - 1,
                )  # fmt: skip
            elif self.lines[i].code == H_SERVER:
                row.server_header = self._shown(self.lines[i].value, self.lines[i].value_end)
            elif self.lines[i].code == H_LOCATION and status // 100 == 3:
                with cython.gil:
                    if self._login(self.lines[i].value, self.lines[i].value_end):
                        row.flags |= RS_LOGIN_REDIRECT
        row.set_cookies = self.cookies.count
        row.flags |= self.cookies.flags
        self.cookies.secrets(conn, ts_ns, SENT_BY_SERVER)
        self.context.dequeue(conn)
        if truncated:
            return F_BROKEN
        if status == 101:
            return F_UPGRADED
        if grants:
            return F_TUNNEL
        if answers_head or status == 204 or status == 304:
            return F_NONE
        if self.chunked:
            return F_CHUNKED
        if self.length >= 0:
            return F_LENGTH if self.length else F_NONE
        return F_CLOSE

    def unanswered(self, conn, ts_ns):
        """One RESPONSE row with UNANSWERED for every outstanding request."""
        row: cython.pointer(ResponseRow)
        while conn.first:
            row = self._row(conn, ts_ns, conn.first)
            row.flags |= RS_UNANSWERED
            row.delay_ns = 0
            self.context.dequeue(conn)
        return 0

    def _row(self, conn, ts_ns, pending):
        row: cython.pointer(ResponseRow) = cython.address(self.tables.responses[self.tables.add_response()])
        entry: cython.pointer(Pending)
        row.at_ns = ts_ns
        row.conn = conn.conn
        row.client = conn.client
        row.server = conn.server
        row.client_port = conn.client_port
        row.server_port = conn.server_port
        if pending:
            entry = cython.address(self.context.pending[pending])
            row.request = entry.request
            row.delay_ns = ts_ns - entry.at_ns
            if entry.sessions:
                row.session = entry.values[0]
                row.session_name = entry.names[0]
                row.flags |= RS_SESSION_PRESENTED
        return row

    def _split(self):
        """Names and values of the lines."""
        i: cython.int
        kept: cython.int = 0
        colon: cython.Py_ssize_t
        at: cython.Py_ssize_t
        end: cython.Py_ssize_t
        line: cython.pointer(Line)
        for i in range(self.count):
            at = self.lines[i].name
            end = self.lines[i].value_end
            colon = find_byte(self.buffer, at, end, 0x3A)
            if colon <= at:
                if self.cut and i == self.count - 1:
                    self.cut = False
                continue
            line = cython.address(self.lines[kept])
            kept += 1
            line.name = at
            line.name_end = colon
            line.code = self.context.headers.code(at, colon - at)
            at = colon + 1
            while at < end and is_blank(self.buffer.u8[at]):
                at += 1
            while end > at and is_blank(self.buffer.u8[end - 1]):
                end -= 1
            line.value = at
            line.value_end = end
        self.count = kept
        return 0

    def _framing(self, request):
        """Length, transfer coding and connection options (RFC 9112 sections 6 and 9.3)."""
        i: cython.int
        at: cython.Py_ssize_t
        end: cython.Py_ssize_t
        value: int64_t
        self.length = -1
        self.chunked = False
        self.close = False
        self.keep = False
        self.body = BODY_OTHER
        for i in range(self.count):
            at = self.lines[i].value
            end = self.lines[i].value_end
            if self.lines[i].code == H_CONTENT_LENGTH:
                value = 0
                if at == end:
                    value = -2
                while at < end and value >= 0:
                    if not is_digit(self.buffer.u8[at]) or value > LARGEST:
                        # A list of equal values is allowed; what else stands here makes the length unknown.
                        value = value if self.buffer.u8[at] == 0x2C else -2
                        break
                    value = value * 10 + (self.buffer.u8[at] - 0x30)
                    at += 1
                self.length = value if self.length == -1 or self.length == value else -2
            elif self.lines[i].code == H_TRANSFER_ENCODING:
                if holds_folded(self.buffer, at, end, b"chunked", 7):
                    self.chunked = True
            elif self.lines[i].code == H_CONNECTION:
                if holds_folded(self.buffer, at, end, b"close", 5):
                    self.close = True
                if holds_folded(self.buffer, at, end, b"keep-alive", 10):
                    self.keep = True
            elif self.lines[i].code == H_CONTENT_TYPE and request:
                if starts_folded(self.buffer, at, end, b"application/x-www-form-urlencoded", 33):
                    self.body = BODY_FORM
                elif starts_folded(self.buffer, at, end, b"application/", 12) and holds_folded(self.buffer, at, end, b"json", 4):
                    self.body = BODY_JSON
        return 0

    def _shown(self, offset, end):
        return self.tables.strings.intern(offset, min(end - offset, LONGEST_SHOWN), False)

    def _path(self, offset, end, authority):
        """The target up to its query or fragment; of an absolute target its path."""
        at: cython.Py_ssize_t = offset
        if not authority and at < end and self.buffer.u8[at] != 0x2F and self.buffer.u8[at] != 0x2A:
            if starts_folded(self.buffer, at, end, b"http://", 7) or starts_folded(self.buffer, at, end, b"https://", 8):
                at = find_byte(self.buffer, at + 8, end, 0x2F)
                if at < 0:
                    return 0
        offset = at
        if end > at + LONGEST_SHOWN:
            end = at + LONGEST_SHOWN
        while at < end and self.buffer.u8[at] != 0x3F and self.buffer.u8[at] != 0x23:
            at += 1
        return self.tables.strings.intern(offset, at - offset, True)

    def _shape(self):
        """The names of all headers in order and case, joined by commas. A hash of them finds the number of a known shape."""
        i: cython.int
        names: cython.int = min(self.count, SHAPE_NAMES)
        at: cython.Py_ssize_t
        end: cython.Py_ssize_t
        size: cython.Py_ssize_t
        place: cython.size_t
        hashed: uint64_t = SEED
        one: uint64_t = 1
        for i in range(names):
            at = self.lines[i].name
            end = self.lines[i].name_end
            while at + 8 <= end:
                hashed = (hashed ^ self.buffer.u64[at]) * MIX
                hashed ^= hashed >> 31
                at += 8
            hashed = (hashed ^ (self.buffer.u64[at] & ((one << (8 * (end - at))) - 1)) ^ (end << 57)) * MIX
            hashed ^= hashed >> 31
        place = hashed & SHAPE_MASK
        if self.shape_keys[place] == hashed and self.shape_numbers[place]:
            return self.shape_numbers[place]
        size = 0
        for i in range(names):
            at = self.lines[i].name
            end = min(self.lines[i].name_end, at + LONGEST_SHAPE)
            if size and size < LONGEST_SHAPE:
                self.buffer.u8[SCRATCH + size] = 0x2C
                size += 1
            end = min(end, at + LONGEST_SHAPE - size)
            self.buffer.copy(SCRATCH + size, at, end - at)
            size += max(end - at, 0)
        self.shape_keys[place] = hashed
        self.shape_numbers[place] = self.tables.strings.intern(SCRATCH, size, False)
        return self.shape_numbers[place]

    def _forwarded(self, row, code, places):
        """The rightmost four addresses of a forwarding header, rightmost first. Answers with how many places it has."""
        i: cython.int
        turn: cython.int
        total: cython.int = 0
        place: cython.int
        at: cython.Py_ssize_t
        end: cython.Py_ssize_t
        stop: cython.Py_ssize_t
        value: cython.Py_ssize_t
        for turn in range(2):
            place = 0
            for i in range(self.count):
                if self.lines[i].code != code or (self.cut and i == self.count - 1):
                    continue
                at = self.lines[i].value
                end = self.lines[i].value_end
                while at < end:
                    stop = find_byte(self.buffer, at, end, 0x2C)
                    if stop < 0:
                        stop = end
                    while at < stop and is_blank(self.buffer.u8[at]):
                        at += 1
                    value = at
                    if code == H_FORWARDED:
                        while value < stop and not starts_folded(self.buffer, value, stop, b"for=", 4):
                            value += 1
                        value += 4
                    if value < stop:
                        if turn == 0:
                            total += 1
                        elif place >= total - 4:
                            if code == H_FORWARDED:
                                at = find_byte(self.buffer, value, stop, 0x3B)
                                places[total - 1 - place] = self.addresses.number(value, stop if at < 0 else at)
                            else:
                                places[total - 1 - place] = self.addresses.number(value, stop)
                        place += 1
                    at = stop + 1
            if total == 0:
                return 0
        return min(total, 65535)

    def _tells(self, row, host):
        """Everything a header's presence or value says about what stands in front."""
        i: cython.int
        code: cython.int
        port: cython.int
        at: cython.Py_ssize_t
        end: cython.Py_ssize_t
        line: cython.pointer(Line)
        capital: cython.bint
        canonical: cython.bint = False
        small: cython.bint = False
        mixed: cython.bint = False
        for i in range(self.count):
            line = cython.address(self.lines[i])
            code = line.code
            at = line.value
            end = line.value_end
            capital = self.buffer.u8[line.name] >= 0x41 and self.buffer.u8[line.name] <= 0x5A
            if code >= H_X_FORWARDED_FOR and code <= H_X_FORWARDED_OTHER and code != H_FORWARDED:
                canonical = canonical or capital
                mixed = mixed or not capital
            elif (
                code == H_OTHER
                or (code >= H_AUTHORIZATION and code < H_TRACE_ID)
                or code < H_CONTENT_LENGTH
                or code == H_CONTENT_TYPE
            ):
                # What ends travel with; a hop's own headers (Host, Connection, X-Real-IP …) may be in any case.
                if code != H_HOST and not starts_folded(self.buffer, line.name, line.name_end, b"x-", 2):
                    small = small or not capital
                    mixed = mixed or capital
            if code == 0 or (self.cut and i == self.count - 1):
                continue
            if code == H_USER_AGENT:
                row.user_agent = self._shown(at, end)
                if row.user_agent and self.cookies.browser(row.user_agent):
                    row.flags |= RQ_BROWSER_UA
            elif code == H_X_FORWARDED_PROTO:
                # The last hop's word is the rightmost one where a list has grown.
                while find_byte(self.buffer, at, end, 0x2C) >= 0:
                    at = find_byte(self.buffer, at, end, 0x2C) + 1
                while at < end and is_blank(self.buffer.u8[at]):
                    at += 1
                if end - at == 5 and starts_folded(self.buffer, at, end, b"https", 5):
                    row.forwarded_proto = 2
                elif end - at == 4 and starts_folded(self.buffer, at, end, b"http", 4):
                    row.forwarded_proto = 1
                elif end > at:
                    row.forwarded_proto = 3
            elif code == H_X_FORWARDED_PORT:
                port = 0
                while at < end and is_digit(self.buffer.u8[at]) and port < 65536:
                    port = port * 10 + (self.buffer.u8[at] - 0x30)
                    at += 1
                row.forwarded_port = port if port < 65536 else 0
            elif code == H_REAL_IP:
                if row.real_ip == 0:
                    row.real_ip = self.addresses.number(at, end)
            elif code == H_VIA:
                row.flags |= RQ_VIA
                row.via = self._shown(at, end)
            elif code == H_AUTHORIZATION:
                row.flags |= RQ_AUTHORIZATION
            elif code == H_SEC_FETCH_SITE:
                row.flags |= RQ_SEC_FETCH
            elif code == H_SEC_CH_UA:
                row.flags |= RQ_SEC_CH_UA
            elif code == H_ACCEPT_ENCODING:
                if self._offers(at, end, b"br", 2) or self._offers(at, end, b"zstd", 4):
                    row.flags |= RQ_BR_ZSTD
            elif code == H_ORIGIN or code == H_REFERER:
                row.flags |= self._own_origin(line, host)
            elif code == H_TRACE_ID:
                if self._trace_id(at, end):
                    row.flags |= RQ_TRACE_ID
            elif code == H_UPGRADE_INSECURE:
                if end - at == 1 and self.buffer.u8[at] == 0x31:
                    row.flags |= RQ_UPGRADE_INSECURE
            elif code == H_UPGRADE:
                if holds_folded(self.buffer, at, end, b"websocket", 9):
                    row.flags |= RQ_WEBSOCKET
                elif holds_folded(self.buffer, at, end, b"h2c", 3):
                    row.flags |= RQ_H2C_UPGRADE
            elif code == H_CONTENT_TYPE:
                if starts_folded(self.buffer, at, end, b"application/grpc", 16):
                    row.flags |= RQ_GRPC
            elif code == H_REQUEST_ID:
                row.flags |= RQ_XREQUEST_ID
            elif code >= H_TLS:
                if self._tls_value(code - H_TLS, at, end):
                    row.flags |= RQ_TLS_HEADER
        if canonical and small and not mixed:
            row.flags |= RQ_MIXED_CASE_FORWARDED
        return 0

    def _offers(self, at, end, coding, length):
        """Is the content coding among those of an Accept-Encoding value?"""
        while at + length <= end:
            while at < end and (is_blank(self.buffer.u8[at]) or self.buffer.u8[at] == 0x2C):
                at += 1
            if starts_folded(self.buffer, at, end, coding, length) and (
                at + length == end
                or self.buffer.u8[at + length] == 0x2C
                or self.buffer.u8[at + length] == 0x3B
                or is_blank(self.buffer.u8[at + length])
            ):
                return True
            at = find_byte(self.buffer, at, end, 0x2C)
            if at < 0:
                return False
        return False

    def _own_origin(self, line, host):
        """RQ_HTTPS_ORIGIN or RQ_HTTP_ORIGIN where the URL's host is the request's own (ports do not matter)."""
        flag: cython.int = RQ_HTTPS_ORIGIN
        at: cython.Py_ssize_t = line.value
        end: cython.Py_ssize_t = line.value_end
        own: cython.Py_ssize_t
        own_end: cython.Py_ssize_t
        if host < 0:
            return 0
        if starts_folded(self.buffer, at, end, b"https://", 8):
            at += 8
        elif starts_folded(self.buffer, at, end, b"http://", 7):
            at += 7
            flag = RQ_HTTP_ORIGIN
        else:
            return 0
        own = self.lines[host].value
        own_end = self.lines[host].value_end
        while own < own_end and at < end and self.buffer.u8[own] | 0x20 == self.buffer.u8[at] | 0x20:
            if self.buffer.u8[own] == 0x3A:
                return flag
            own += 1
            at += 1
        if own < own_end and self.buffer.u8[own] != 0x3A:
            return 0
        if at < end and self.buffer.u8[at] != 0x3A and self.buffer.u8[at] != 0x2F:
            return 0
        return flag

    def _trace_id(self, at, end):
        """X-Amzn-Trace-Id with a Root or Self of the form 1-8 hex-24 hex."""
        i: cython.int
        byte: cython.int
        good: cython.bint
        while at + 40 <= end:
            if (
                starts_folded(self.buffer, at, end, b"root=1-", 7) or starts_folded(self.buffer, at, end, b"self=1-", 7)
            ) and self.buffer.u8[at + 15] == 0x2D:
                good = True
                for i in range(33):
                    byte = self.buffer.u8[at + 7 + i]
                    if i != 8 and not is_digit(byte) and not ((byte | 0x20) >= 0x61 and (byte | 0x20) <= 0x66):
                        good = False
                if good:
                    return True
            at += 1
        return False

    def _tls_value(self, number, at, end):
        """Does the value of the TLS header with this number say that TLS ended here?"""
        with cython.gil:
            wanted = self.tls_values[number]
            return not wanted or wanted in bytes(self.buffer.u8[at : min(end, at + LONGEST_SHOWN)]).lower()

    def _login(self, offset, end):
        """Has the location's path a segment that is a login's?"""
        where = bytes(self.buffer.u8[offset : min(end, offset + LONGEST_SHOWN)]).lower()
        path = where.partition(b"://")[2].partition(b"/")[2] if b"://" in where[:12] else where
        path = path.partition(b"?")[0].partition(b"#")[0]
        return any(segment.startswith(self.context.recognition.login_paths) for segment in path.split(b"/"))
