"""HTTP heads to REQUEST, RESPONSE, COOKIE and SECRET rows (RFC 9112; HTTP/2's heads come here in the same form).

The rows of a request stand in this order: the request, its cookies directly after it, its secrets after those. Bodies
are only measured; the stream passes over them.
"""

import cython
from cython.cimports.lbtop.probes.wire.buffer import SCRATCH
from cython.cimports.lbtop.probes.wire.scan import find_byte, is_blank, is_digit, starts_folded
from lbtop.probes.wire.head import Head
from lbtop.probes.wire.tells import Tells


class Http1:
    """``head.measure`` the bytes first; then :meth:`request` or :meth:`response` writes the rows of what it found."""

    def __init__(self, context: Context, cookies, secrets, addresses):
        self.context = context
        self.buffer = context.buffer
        self.tables = context.tables
        self.cookies = cookies
        self.secrets = secrets
        self.head = Head(context)
        self.tells = Tells(context, self.head, cookies, addresses)

    def request(self, conn, ts_ns, truncated):
        """Rows of the request head measured last. Answers with its framing."""
        i: cython.int
        host: cython.int
        version: cython.int
        target: cython.Py_ssize_t = find_byte(self.buffer, self.head.start, self.head.start_end, 0x20) + 1
        end: cython.Py_ssize_t = self.head.start_end
        row: cython.pointer(RequestRow)
        if target <= 0:
            return F_BROKEN
        while end > target and not is_blank(self.buffer.u8[end - 1]):
            end -= 1
        version = self._version(end, self.head.start_end)
        if version == 0:
            if not truncated:
                return F_BROKEN
            version = 11
            end = self.head.start_end
        while end > target and is_blank(self.buffer.u8[end - 1]):
            end -= 1
        self.head.split()

        conn.requests += 1
        self.context.numbered += 1
        self.queued = self.context.enqueue(conn)
        row = cython.address(self.tables.requests[self.tables.add_request()])
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
        if truncated:
            row.flags |= RQ_TRUNCATED
        if self.queued:
            self.context.pending[self.queued].request = self.context.numbered
            self.context.pending[self.queued].at_ns = ts_ns
        self._method(row, cython.address(self.context.pending[self.queued]), target - 1)
        row.path = self._path(target, end, row.flags & RQ_CONNECT != 0)
        row.header_shape = self.head.shape()
        host = self.head.find(H_HOST)
        if host >= 0:
            row.host = self.head.shown(self.head.lines[host].value, self.head.lines[host].value_end)
        self.tells.fill(row)
        self.head.framing(True)
        if version == 20 or (version == 11 and not self.head.close) or (version == 10 and self.head.keep):
            row.flags |= RQ_KEEPALIVE

        self.cookies.begin()
        for i in range(self.head.count + self.head.cut if self.head.has(H_COOKIE) else 0):
            if self.head.lines[i].code == H_COOKIE:
                self.cookies.request(
                    conn, ts_ns, row.request, row.forwarded0, self.queued, self.head.lines[i].value, self.head.lines[i].value_end,
                    i == self.head.count,
                )  # fmt: skip
        row.cookies = self.cookies.count
        row.flags |= self.cookies.flags
        self._secrets(conn, ts_ns, target, end)
        if truncated:
            return F_BROKEN
        if self.head.chunked:
            return F_CHUNKED
        if self.head.length > 0:
            return F_LENGTH
        return F_BROKEN if self.head.length < -1 else F_NONE

    def response(self, conn, ts_ns, truncated, pending):
        """Rows of the response head measured last, which answers ``pending``. Answers with its framing."""
        i: cython.int
        status: cython.int = 0
        at: cython.Py_ssize_t
        version: cython.int = self._version(self.head.start, self.head.start_end)
        row: cython.pointer(ResponseRow)
        answers_head: cython.bint = False
        grants: cython.bint = False
        if version == 0 or self.head.start_end - self.head.start < 12:
            return F_BROKEN
        for at in range(self.head.start + 9, self.head.start + 12):
            if not is_digit(self.buffer.u8[at]):
                return F_BROKEN
            status = status * 10 + (self.buffer.u8[at] - 0x30)
        if status < 200 and status != 101:
            return F_INTERIM
        self.head.split()
        self.head.framing(False)
        if pending:
            answers_head = self.context.pending[pending].head != 0
            grants = self.context.pending[pending].connect != 0 and status // 100 == 2
        row = self._row(conn, ts_ns, pending)
        row.status = status
        conn.responses += 1
        if truncated:
            row.flags |= RS_TRUNCATED
        if (version == 11 and self.head.close) or (version == 10 and not self.head.keep):
            row.flags |= RS_CLOSES
        self.cookies.begin()
        for i in range(self.head.count + self.head.cut):
            if self.head.lines[i].code == H_SET_COOKIE:
                self.cookies.response(
                    conn,
                    ts_ns,
                    row.request,
                    pending,
                    self.head.lines[i].value,
                    self.head.lines[i].value_end,
                    i == self.head.count,
                )
            elif i == self.head.count:
                break
            elif self.head.lines[i].code == H_SERVER:
                row.server_header = self.head.shown(self.head.lines[i].value, self.head.lines[i].value_end)
            elif self.head.lines[i].code == H_LOCATION and status // 100 == 3:
                with cython.gil:
                    if self._login(self.head.lines[i].value, self.head.lines[i].value_end):
                        row.flags |= RS_LOGIN_REDIRECT
        row.set_cookies = self.cookies.count
        row.flags |= self.cookies.flags
        self.cookies.secrets(conn, ts_ns, SENT_BY_SERVER)
        self.context.forget(conn, pending)
        if truncated:
            if status == 101 or grants:  # whatever follows, and whether or not its name was cut off
                conn.flags |= CN_UPGRADED
                if self.head.upgraded == U_WEBSOCKET:
                    conn.protocol7 = P7_WEBSOCKET
            return F_BROKEN
        if status == 101:
            return F_UPGRADED
        if grants:
            return F_TUNNEL
        if answers_head or status == 204 or status == 304:
            return F_NONE
        if self.head.chunked:
            return F_CHUNKED
        if self.head.length >= 0:
            return F_LENGTH if self.head.length else F_NONE
        return F_CLOSE

    def cut(self, conn, ts_ns, request, offset, end):
        """Rows of a head whose rest will not come, if its first line is there."""
        self.head.measure(offset, end)
        if not starts_head(self.buffer, self.head.start, end, request, False):
            return 0
        if request:
            self.request(conn, ts_ns, True)
        else:
            self.response(conn, ts_ns, True, conn.first)
        return 0

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

    def _version(self, at, end):
        """10, 11 or 20; 0 where no HTTP version stands."""
        if starts_folded(self.buffer, at, end, b"http/1.", 7):
            return 10 if self.buffer.u8[at + 7] == 0x30 else 11
        return 20 if starts_folded(self.buffer, at, end, b"http/2.", 7) else 0

    def _method(self, row, entry, end):
        """The method, and for two of them that the answer's length means something else."""
        start: cython.Py_ssize_t = self.head.start
        row.method = self.tables.strings.intern(start, min(end - start, 32), False)
        if end - start == 7 and starts_folded(self.buffer, start, end, b"connect", 7):
            row.flags |= RQ_CONNECT
            entry.connect = self.queued != 0
        elif end - start == 4 and starts_folded(self.buffer, start, end, b"head", 4):
            entry.head = self.queued != 0
        return 0

    def _secrets(self, conn, ts_ns, target, end):
        """Credentials in headers, session cookies, what the query holds: in this order."""
        i: cython.int
        line: cython.pointer(Line)
        query: cython.Py_ssize_t
        for i in range(self.head.count if self.head.has(H_AUTHORIZATION) or self.head.has(H_API_KEY) else 0):
            line = cython.address(self.head.lines[i])
            if line.code == H_AUTHORIZATION:
                self.secrets.authorization(conn, ts_ns, self.head.shown(line.name, line.name_end), line.value, line.value_end)
            elif line.code == H_API_KEY:
                self.secrets.api_key(conn, ts_ns, self.head.shown(line.name, line.name_end), line.value, line.value_end)
        self.cookies.secrets(conn, ts_ns, SENT_BY_CLIENT)
        query = find_byte(self.buffer, target, end, 0x3F)
        if query >= 0:
            self.secrets.pairs(conn, ts_ns, query + 1, end)
        return 0

    def _path(self, offset, end, authority):
        """The target up to its query or fragment; of an absolute target its path."""
        at: cython.Py_ssize_t = offset
        if not authority and at < end and self.buffer.u8[at] != 0x2F and self.buffer.u8[at] != 0x2A:
            if starts_folded(self.buffer, at, end, b"http://", 7) or starts_folded(self.buffer, at, end, b"https://", 8):
                at = find_byte(self.buffer, at + 8, end, 0x2F)
                if at < 0:
                    # A URL without a path names the root.
                    self.buffer.u8[SCRATCH] = 0x2F
                    return self.tables.strings.intern(SCRATCH, 1, True)
        offset = at
        if end > at + LONGEST_SHOWN:
            end = at + LONGEST_SHOWN
        while at < end and self.buffer.u8[at] != 0x3F and self.buffer.u8[at] != 0x23:
            at += 1
        return self.tables.strings.intern(offset, at - offset, True)

    def _login(self, offset, end):
        """Has the location's path a segment that is a login's?"""
        where = bytes(self.buffer.u8[offset : min(end, offset + LONGEST_SHOWN)]).lower()
        path = where.partition(b"://")[2].partition(b"/")[2] if b"://" in where[:12] else where
        path = path.partition(b"?")[0].partition(b"#")[0]
        return any(segment.startswith(self.context.recognition.login_paths) for segment in path.split(b"/"))
