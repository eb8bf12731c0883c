"""Payload to observations: what a connection's bytes are, and the heads in them."""

import cython


class Streams:
    """The state of every open connection above TCP and UDP, by slot.

    ``slots`` is the most connections there can be at a time; ``key`` 16 bytes for the keyed hash of sensitive values.
    """

    def __init__(self, buffer, tables, slots, key, recognition=None):
        self.buffer = buffer
        self.tables = tables

    def proof(self, offset, n):
        return SENDER_UNKNOWN

    def open(self, slot, conn, client, server, client_port, server_port, proto, orientation):
        return 0

    def deliver(self, slot, direction, offset, n, ts_ns):
        return 0

    def skip(self, slot, direction, n, ts_ns):
        return 0

    def close(self, slot, ts_ns, end):
        return 0

    def protocol7(self, slot):
        return 0

    def flags(self, slot):
        return 0

    def requests(self, slot):
        return 0

    def responses(self, slot):
        return 0
