"""HTTP/1 messages as a direction's bytes bring them: a head, then a body that is passed over by its length."""

import cython
from cython.cimports.lbtop.probes.wire.scan import find_byte, starts_folded


class Messages:
    """Handlers of the stream, by its rules: the bytes used, 0 for more, AGAIN for a new mode."""

    def __init__(self, context: Context, http1, http2, secrets):
        self.context = context
        self.buffer = context.buffer
        self.http1 = http1
        self.http2 = http2
        self.secrets = secrets

    def head(self, conn, direction, ts_ns, offset, end):
        """A request or response head, whole or not at all."""
        half: cython.pointer(Half) = cython.address(conn.half[direction])
        size: cython.Py_ssize_t
        framing: cython.int
        early: cython.bint
        feed: cython.Py_ssize_t
        stop: cython.Py_ssize_t = min(end, offset + LONGEST_HEAD)
        if half.seen == 0 and not self._plausible(direction, offset, end):
            half.mode = M_RESYNC
            half.lost = 1
            return AGAIN
        if half.seen > 3:
            # Most of a long head has been searched before: look for its end only in what is new.
            feed = offset + half.seen - 3
            while True:
                feed = find_byte(self.buffer, feed, stop, 0x0A)
                if feed < 0 or feed + 1 >= stop:
                    feed = -1
                    break
                if self.buffer.u8[feed + 1] == 0x0A or (
                    feed + 2 < stop and self.buffer.u8[feed + 1] == 0x0D and self.buffer.u8[feed + 2] == 0x0A
                ):
                    break
                feed += 1
            size = self.http1.head.measure(offset, stop) if feed >= 0 else 0
        else:
            size = self.http1.head.measure(offset, stop)
        if size == 0:
            half.seen = cython.cast(cython.int, stop - offset)
            if end - offset >= LONGEST_HEAD:
                self.context.truncated_heads += 1
                self.http1.cut(conn, ts_ns, direction == 0, offset, stop)
                half.mode = M_RESYNC
                half.lost = 1
                return end - offset
            return 0
        half.seen = 0
        if direction == 0:
            if conn.first and conn.half[1].mode == M_RESYNC:
                # Their answers were in what was lost.
                while conn.first:
                    self.context.dequeue(conn)
            early = conn.responses > conn.requests and not conn.joined and not half.lost
            framing = self.http1.request(conn, ts_ns, False)
            if early:
                # Its answer came before it.
                self.context.dequeue(conn)
            half.body = self.http1.head.body
        else:
            framing = self.http1.response(conn, ts_ns, False, conn.first)
            half.body = BODY_OTHER
        self._after_head(conn, half, framing)
        return size

    def form(self, conn, direction, ts_ns, offset, end):
        """The beginning of a body that may hold secrets."""
        half: cython.pointer(Half) = cython.address(conn.half[direction])
        wanted: cython.Py_ssize_t = min(half.need, BODY_PREFIX)
        if end - offset < wanted:
            return 0
        self.scan(conn, half, ts_ns, offset, offset + wanted)
        half.mode = M_BODY
        return AGAIN

    def scan(self, conn, half, ts_ns, offset, end):
        end = min(end, offset + min(half.need, BODY_PREFIX))
        if half.body == BODY_FORM:
            self.secrets.pairs(conn, ts_ns, offset, end)
        else:
            self.secrets.json(conn, ts_ns, offset, end)
        half.body = BODY_OTHER
        return 0

    def _plausible(self, direction, offset, end):
        """Can the bytes begin a head? Anything else means that a message was longer or shorter than it said."""
        at: cython.Py_ssize_t = offset
        stop: cython.Py_ssize_t = min(end, offset + 24)
        byte: cython.int
        while at < stop and (self.buffer.u8[at] == 0x0D or self.buffer.u8[at] == 0x0A):
            at += 1
        if direction == 1:
            return starts_folded(self.buffer, at, min(end, at + 7), b"http/1.", cython.cast(cython.int, min(end - at, 7)))
        while at < stop:
            byte = self.buffer.u8[at]
            if byte == 0x20:
                return at > offset
            if not ((byte | 0x20) >= 0x61 and (byte | 0x20) <= 0x7A) and byte != 0x2D and byte != 0x5F:
                return False
            at += 1
        return at - offset < 24

    def _after_head(self, conn, half, framing):
        """The mode that a head's framing leads to."""
        if framing == F_NONE or framing == F_INTERIM:
            half.mode = M_HEAD
        elif framing == F_LENGTH:
            half.need = self.http1.head.length
            half.after = M_HEAD
            half.mode = M_FORM if half.body != BODY_OTHER else M_BODY
        elif framing == F_CHUNKED:
            half.mode = M_CHUNK
        elif framing == F_CLOSE:
            half.mode = M_OPAQUE
        elif framing == F_UPGRADED:
            conn.flags |= CN_UPGRADED
            if self.http1.head.upgraded == U_HTTP2:
                conn.protocol7 = P7_HTTP2
                conn.half[0].mode = M_DETECT
                conn.half[1].mode = M_HTTP2
                self.http2.begin(conn, True)
                return 0
            if self.http1.head.upgraded == U_WEBSOCKET:
                conn.protocol7 = P7_WEBSOCKET
            conn.half[0].mode = M_OPAQUE
            conn.half[1].mode = M_OPAQUE
        elif framing == F_TUNNEL:
            conn.flags |= CN_UPGRADED
            conn.tunnel = 1
            conn.half[0].mode = M_DETECT
            conn.half[1].mode = M_DETECT
        else:
            half.mode = M_RESYNC
            half.lost = 1
        return 0
