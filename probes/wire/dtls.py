"""DTLS handshakes (RFC 6347, RFC 9147): the hellos of TLS in datagrams, each message with its own fragments."""

import cython
from cython.cimports.lbtop.probes.wire.buffer import be16, be24
from cython.cimports.lbtop.probes.wire.hello import OVER_DTLS

RECORD_HEAD = cython.declare(cython.int, 13)
MESSAGE_HEAD = cython.declare(cython.int, 12)
LARGEST = cython.declare(cython.int, 16384)


class Dtls:
    """Reads the handshake records of both directions."""

    def __init__(self, context: Context, hellos):
        self.context = context
        self.buffer = context.buffer
        self.hellos = hellos

    def datagram(self, conn, direction, ts_ns, offset, end):
        """True once there is no more to learn of the flow."""
        kind: cython.int
        length: cython.Py_ssize_t
        while end - offset >= RECORD_HEAD:
            kind = self.buffer.u8[offset]
            length = be16(self.buffer, offset + 11)
            if self.buffer.u8[offset + 1] != 0xFE or offset + RECORD_HEAD + length > end:
                return False
            if be16(self.buffer, offset + 3) != 0 or kind == 20:
                # Encrypted from here on; where the server begins with it, the hellos are over.
                return direction == 1 and conn.hello != 0
            if kind == 21 and length == 2 and self.buffer.u8[offset + RECORD_HEAD] == 2 and conn.hello:
                self.hellos.hellos[conn.hello].row.flags |= HL_ALERT
                return True
            if kind == 22 and self._message(conn, direction, ts_ns, offset + RECORD_HEAD, offset + RECORD_HEAD + length):
                return True
            offset += RECORD_HEAD + length
        return False

    def _message(self, conn, direction, ts_ns, at, end):
        """The handshake messages of one record."""
        kind: cython.int
        size: cython.int
        start: cython.int
        length: cython.int
        body: cython.Py_ssize_t
        half: cython.pointer(Half) = cython.address(conn.half[direction])
        while end - at >= MESSAGE_HEAD:
            kind = self.buffer.u8[at]
            size = be24(self.buffer, at + 1)
            start = be24(self.buffer, at + 6)
            length = be24(self.buffer, at + 9)
            if at + MESSAGE_HEAD + length > end or start + length > size or size > LARGEST:
                return False
            if kind == 3 and direction == 1 and conn.hello:
                self.hellos.hellos[conn.hello].row.flags |= HL_RETRY
            if kind == 14 and direction == 1 and conn.hello:
                return True
            if (kind == 1 and direction == 0) or (kind == 2 and direction == 1):
                body = at + MESSAGE_HEAD if length == size else self._fragment(half, at + MESSAGE_HEAD, size, start, length)
                # The hellos' readers expect the four bytes of a TLS message's head in front, and do not look at them.
                if body >= 0 and kind == 1:
                    if not conn.hello or not self.hellos.hellos[conn.hello].row.flags & HL_CLIENT_SEEN:
                        self.hellos.client_hello(conn, ts_ns, body - 4, body + size, OVER_DTLS)
                elif body >= 0:
                    self.hellos.server_hello(conn, ts_ns, body - 4, body + size)
                    if conn.hello and self.hellos.hellos[conn.hello].tls13:
                        return True
            at += MESSAGE_HEAD + length
        return False

    def _fragment(self, half, at, size, start, length):
        """Puts fragments of a message together in the direction's slot; where its body begins once it is whole, else -1."""
        if start == 0 and half.slot < 0:
            half.slot = cython.cast(cython.int, self.buffer.take(size + 4))
            half.held = 0
        # In order only: a fragment that comes early is sent again.
        if half.slot < 0 or start != half.held or self.buffer.capacity(half.slot) < size + 4:
            return -1
        self.buffer.copy(half.slot + 4 + start, at, length)
        half.held += length
        return half.slot + 4 if half.held == size else -1
