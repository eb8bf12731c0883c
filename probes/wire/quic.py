"""The hellos in QUIC's Initial packets (RFC 9001 section 5, RFC 9369), which anyone on the path can decrypt.

The ciphers come from the `cryptography` package, imported with the first Initial; without it a flow is named QUIC and no more.
"""

import cython
from cython.cimports.lbtop.probes.wire.buffer import be32
from cython.cimports.lbtop.probes.wire.hello import OVER_QUIC

MOST_CONVERSATIONS = 4096


class Quic:
    """Follows a flow until both hellos are known or cannot be."""

    def __init__(self, context: Context, hellos):
        self.context = context
        self.buffer = context.buffer
        self.hellos = hellos
        self.conversations = {}

    def from_client(self, offset, end):
        """Does the datagram decrypt as a client's first one, or ask for a version that no server has? That proves who is who."""
        from lbtop.probes.wire.initial import Conversation

        self._load()
        if be32(self.buffer, offset + 1) & 0x0F0F0F0F == 0x0A0A0A0A:
            return True
        return bool(self.ciphers) and Conversation(self.ciphers).read(0, bytes(self.buffer.u8[offset:end]))

    def datagram(self, conn, direction, ts_ns, offset, end):
        """Reads the Initial packets of one datagram. True once there is no more to learn of the flow."""
        conversation = self._conversation(conn.conn)
        if conversation is None:
            return True
        conversation.read(direction, bytes(self.buffer.u8[offset:end]))
        message = conversation.hello(direction)
        if message is not None:
            self._hello(conn, direction, ts_ns, message)
            if direction == 1:
                self.hellos.write(conn)
        if conversation.over or (direction == 1 and message is not None):
            self.conversations.pop(conn.conn, None)
            return True
        return False

    def end(self, conn):
        """Forgets what was remembered of the flow."""
        with cython.gil:
            self.conversations.pop(conn.conn, None)
        return 0

    def _load(self):
        from lbtop.probes.wire.initial import ciphers

        if self.ciphers is None:
            self.ciphers = ciphers()

    def _conversation(self, number):
        from lbtop.probes.wire.initial import Conversation

        self._load()
        if not self.ciphers:
            return None
        found = self.conversations.get(number)
        if found is None and len(self.conversations) < MOST_CONVERSATIONS:
            found = self.conversations[number] = Conversation(self.ciphers)
        return found

    def _hello(self, conn, direction, ts_ns, message):
        size: cython.Py_ssize_t = len(message)
        slot: cython.Py_ssize_t = self.buffer.take(size)
        if slot < 0:
            return 0
        self.buffer.array[slot : slot + size] = memoryview(message)
        if direction == 0:
            self.hellos.client_hello(conn, ts_ns, slot, slot + size, OVER_QUIC)
        else:
            self.hellos.server_hello(conn, ts_ns, slot, slot + size)
        self.buffer.give(slot)
        return 0
