"""Protocols that may turn into TLS or a tunnel: mail, MySQL, SOCKS. Only what comes before the change is read."""

import cython
from cython.cimports.lbtop.probes.wire.scan import find_byte, starts_folded


class Preludes:
    """Handlers of the stream, by its rules: the bytes used, 0 for more, AGAIN for a new mode."""

    def __init__(self, context: Context):
        self.context = context
        self.buffer = context.buffer

    def line(self, conn, direction, ts_ns, offset, end):
        """A line of a mail protocol: a password, or the wish to go on in TLS."""
        feed: cython.Py_ssize_t = find_byte(self.buffer, offset, min(end, offset + LONGEST_LINE), 0x0A)
        half: cython.pointer(Half) = cython.address(conn.half[direction])
        at: cython.Py_ssize_t = offset
        last: cython.Py_ssize_t
        if conn.starttls and direction == 0 and sniff(self.buffer, offset, end) == N_CLIENT_HELLO:
            half.mode = M_DETECT
            return AGAIN
        if feed < 0:
            if end - offset < LONGEST_LINE:
                return 0
            half.mode = M_OPAQUE
            return end - offset
        last = feed
        if last > at and self.buffer.u8[last - 1] == 0x0D:
            last -= 1
        half.need += 1
        if direction == 0:
            if starts_folded(self.buffer, at, last, b"pass ", 5):
                self.context.secret(
                    conn, ts_ns, SK_PASSWORD, SENT_BY_CLIENT, self.context.tables.strings.intern(at, 4, False),
                    self.context.sip.of(self.buffer, at + 5, last - at - 5),
                )  # fmt: skip
            elif starts_folded(self.buffer, at, last, b"auth plain ", 11):
                self.context.secret(
                    conn, ts_ns, SK_PASSWORD, SENT_BY_CLIENT, self.context.tables.strings.intern(at, 10, False),
                    self.context.sip.of(self.buffer, at + 11, last - at - 11),
                )  # fmt: skip
            # IMAP puts a tag in front of the command.
            while at < last and self.buffer.u8[at] != 0x20 and not starts_folded(self.buffer, at, last, b"stls", 4):
                if starts_folded(self.buffer, at, last, b"starttls", 8):
                    break
                at += 1
            if at < last and self.buffer.u8[at] == 0x20:
                at += 1
            if starts_folded(self.buffer, at, last, b"starttls", 8) or starts_folded(self.buffer, at, last, b"stls", 4):
                conn.starttls = 1
        if half.need > MOST_LINES_READ:
            half.mode = M_OPAQUE
        return feed + 1 - offset

    def socks(self, conn, direction, offset, end):
        """What SOCKS 5 says before the tunnel stands (RFC 1928, RFC 1929). ``after`` counts the server's answers."""
        half: cython.pointer(Half) = cython.address(conn.half[direction])
        n: cython.Py_ssize_t = end - offset
        first: cython.int = self.buffer.u8[offset]
        size: cython.Py_ssize_t
        kind: cython.int
        if n < 2:
            return 0
        if direction == 1 and half.after < 2:
            half.after = 1 if half.after == 0 and self.buffer.u8[offset + 1] == 2 else 2
            return 2
        if direction == 0 and first == 1:
            size = 2 + self.buffer.u8[offset + 1]
            if n <= size or n < size + 1 + self.buffer.u8[offset + size]:
                return 0
            return size + 1 + self.buffer.u8[offset + size]
        if first != 5:
            half.mode = M_OPAQUE
            if direction == 0 and conn.half[1].mode == M_SOCKS and conn.half[1].after == 0:
                # Nobody answered: what looked like a greeting was none.
                conn.tunnel = 0
                conn.half[1].mode = M_DETECT
            return n
        if n < 5:
            return 0
        kind = self.buffer.u8[offset + 3]
        size = 10 if kind == 1 else 22 if kind == 4 else 7 + self.buffer.u8[offset + 4]
        if n < size:
            return 0
        half.mode = M_DETECT
        return size

    def mysql(self, conn, direction, offset, end):
        """The client's first packet: 32 bytes with CLIENT_SSL set mean that a hello follows."""
        half: cython.pointer(Half) = cython.address(conn.half[direction])
        if end - offset < 8:
            return 0
        if self.buffer.u32[offset] & 0xFFFFFF == 32 and self.buffer.u8[offset + 5] & 8:
            if end - offset < 36:
                return 0
            conn.starttls = 1
            half.mode = M_DETECT
            return 36
        half.mode = M_OPAQUE
        return end - offset
