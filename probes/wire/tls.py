"""TLS records (RFC 8446 section 5) to one HANDSHAKE row per connection.

A handshake message may be spread over records and those over segments, and a post-quantum client hello always is over
segments. Whole messages are read in place; only one that crosses a record boundary is put together in a slot. The row is
written when nothing more can be learned: TLS 1.3 at the server hello, below at its end of the hellos.
"""

import cython
from cython.cimports.lbtop.probes.wire.buffer import SCRATCH, be16, be24
from cython.cimports.lbtop.probes.wire.certificate import validity
from cython.cimports.lbtop.probes.wire.hello import OVER_TCP
from cython.cimports.libc.stdint import int64_t

CHANGE_CIPHER_SPEC = cython.declare(cython.int, 20)
ALERT = cython.declare(cython.int, 21)
HANDSHAKE = cython.declare(cython.int, 22)
LARGEST_RECORD = cython.declare(cython.int, 16384 + 2048)
NANO = cython.declare(int64_t, 1_000_000_000)


class Tls:
    """Follows the records of both directions until the row is written."""

    def __init__(self, context: Context, hellos):
        self.context = context
        self.buffer = context.buffer
        self.hellos = hellos

    def finish(self, conn):
        """Writes the row of the handshake in progress, if there is one; nothing more of the connection is looked at."""
        conn.half[0].mode = M_OPAQUE
        conn.half[1].mode = M_OPAQUE
        return self.hellos.write(conn)

    def answered(self, conn, ts_ns):
        """The server's hellos are done: writes the row, and waits for the client's next byte to see how long it takes."""
        waits: cython.bint = conn.half[0].mode == M_TLS and conn.half[0].slot < 0
        self.finish(conn)
        if waits:
            conn.half[0].mode = M_TURN
            conn.answered_ns = ts_ns
        return 0

    def records(self, conn, direction, ts_ns, offset, end):
        """Takes the records at ``offset``; answers with the bytes used, 0 when the first one needs more."""
        half: cython.pointer(Half) = cython.address(conn.half[direction])
        kind: cython.int
        length: cython.int
        if end - offset < 5:
            return 0
        kind = self.buffer.u8[offset]
        length = be16(self.buffer, offset + 3)
        if kind < CHANGE_CIPHER_SPEC or kind > 24 or self.buffer.u8[offset + 1] != 3 or length > LARGEST_RECORD:
            half.mode = M_OPAQUE
            return end - offset
        if kind == HANDSHAKE:
            return self._handshakes(conn, direction, ts_ns, offset, end)
        if kind == ALERT:
            if end - offset < 7:
                return 0
            if length == 2 and self.buffer.u8[offset + 5] == 2 and conn.hello:
                self.hellos.hellos[conn.hello].row.flags |= HL_ALERT
                self.finish(conn)
                return end - offset
        elif kind == CHANGE_CIPHER_SPEC:
            if conn.hello and self.hellos.hellos[conn.hello].server and not self.hellos.hellos[conn.hello].tls13:
                if direction == 1:
                    # The server turns to encryption without having shown a certificate: the session is an old one.
                    if not self.hellos.hellos[conn.hello].leaf:
                        self.hellos.hellos[conn.hello].row.flags |= HL_RESUMED
                    self.answered(conn, ts_ns)
                else:
                    half.mode = M_OPAQUE
                return end - offset
        elif not (direction == 0 and conn.hello and not self.hellos.hellos[conn.hello].server):
            # Early data is the only application data that a hello may follow (the second one, after a retry).
            half.mode = M_OPAQUE
            return end - offset
        half.need = length
        half.mode = M_BODY
        half.after = M_TLS
        if length == 0:
            half.mode = M_TLS
        return 5

    def _handshakes(self, conn, direction, ts_ns, offset, end):
        """Handshake records. ``seen`` of the direction: bytes of the first record's messages that are done already."""
        half: cython.pointer(Half) = cython.address(conn.half[direction])
        record: cython.Py_ssize_t = offset
        inside: cython.Py_ssize_t = half.seen
        length: cython.Py_ssize_t
        message: cython.Py_ssize_t
        size: cython.Py_ssize_t
        have: cython.Py_ssize_t
        slot: cython.Py_ssize_t
        half.seen = 0
        while end - record >= 5:
            if self.buffer.u8[record] != HANDSHAKE:
                return record - offset
            length = be16(self.buffer, record + 3)
            if length == 0 or length > LARGEST_RECORD or self.buffer.u8[record + 1] != 3:
                half.mode = M_OPAQUE
                return end - offset
            have = min(end, record + 5 + length)
            message = record + 5 + inside
            size = 4 + cython.cast(cython.Py_ssize_t, be24(self.buffer, message + 1)) if message + 4 <= have else 0
            if size and message + size <= have:
                self._message(conn, direction, ts_ns, message, message + size)
                if half.mode != M_TLS:
                    return end - offset
                inside += size
            elif have == record + 5 + length and inside < length:
                slot = self._gather(cython.address(record), cython.address(inside), end)
                if slot == -1:
                    half.seen = inside
                    return record - offset
                if slot < 0:
                    half.mode = M_OPAQUE
                    return end - offset
                size = 4 + be24(self.buffer, slot + 1)
                try:
                    self._message(conn, direction, ts_ns, slot, slot + size)
                finally:
                    self.buffer.give(slot)
                if half.mode != M_TLS:
                    return end - offset
                length = be16(self.buffer, record + 3)
            else:
                half.seen = inside
                return record - offset
            if inside == length:
                record += 5 + length
                inside = 0
        return record - offset

    def _gather(self, record, inside, end):
        """Puts a message that crosses records together in a slot and moves on behind it. -1: needs more; -2: impossible."""
        at: cython.Py_ssize_t = record[0]
        start: cython.Py_ssize_t = inside[0]
        size: cython.Py_ssize_t = 4
        held: cython.Py_ssize_t = 0
        part: cython.Py_ssize_t
        length: cython.Py_ssize_t
        _: cython.int
        known: cython.bint = False
        slot: cython.Py_ssize_t = SCRATCH
        # First its four bytes of header, into scratch; then, with the size known, all of it.
        for _ in range(2):
            at = record[0]
            start = inside[0]
            held = 0
            while held < size:
                if end - at < 5:
                    break
                length = be16(self.buffer, at + 3)
                if self.buffer.u8[at] != HANDSHAKE or length == 0 or length > LARGEST_RECORD:
                    held = -1
                    break
                part = min(min(length - start, size - held), end - at - 5 - start)
                if part > 0:
                    self.buffer.copy(slot + held, at + 5 + start, part)
                    held += part
                    start += part
                if start < length:
                    break
                if held < size:
                    at += 5 + length
                    start = 0
            if held < size:
                if known:
                    self.buffer.give(slot)
                return -2 if held < 0 else -1
            if not known:
                known = True
                size = 4 + cython.cast(cython.Py_ssize_t, be24(self.buffer, SCRATCH + 1))
                if size > LONGEST_MESSAGE:
                    return -2
                slot = self.buffer.take(size)
                if slot < 0:
                    return -2
        record[0] = at
        inside[0] = start
        return slot

    def _message(self, conn, direction, ts_ns, offset, end):
        """One handshake message, its four bytes of header included."""
        kind: cython.int = self.buffer.u8[offset]
        hello: cython.pointer(Hello)
        if direction == 0:
            if kind != 1:
                conn.half[0].mode = M_OPAQUE
            elif not conn.hello or not self.hellos.hellos[conn.hello].row.flags & HL_CLIENT_SEEN:
                self.hellos.client_hello(conn, ts_ns, offset, end, OVER_TCP)
            return 0
        if kind == 2:
            self.hellos.server_hello(conn, ts_ns, offset, end)
        if not conn.hello:
            if kind != 0:
                conn.half[1].mode = M_OPAQUE
            return 0
        hello = cython.address(self.hellos.hellos[conn.hello])
        if kind == 2:
            if hello.tls13:
                self.answered(conn, ts_ns)
        elif kind == 11:
            self._certificate(hello, offset + 4, end)
        elif kind == 13:
            hello.row.flags |= HL_CLIENT_CERT_REQUESTED
        elif kind == 14:
            self.answered(conn, ts_ns)
        return 0

    def _certificate(self, hello, offset, end):
        """The leaf of a Certificate message (RFC 5246 section 7.4.2): keyed hash and validity (RFC 5280 section 4.1)."""
        size: cython.Py_ssize_t
        at: cython.Py_ssize_t
        dates: int64_t[2]
        hello.leaf = 1
        hello.row.flags &= ~HL_RESUMED
        if end - offset < 6:
            return 0
        size = be24(self.buffer, offset + 3)
        at = offset + 6
        if size == 0 or at + size > end:
            return 0
        hello.row.certificate = self.context.sip.of(self.buffer, at, size)
        validity(self.buffer, at, at + size, dates)
        hello.row.not_before_ns = dates[0] * NANO
        hello.row.not_after_ns = dates[1] * NANO
        return 0
