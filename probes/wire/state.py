"""What the parsers share: the state of a connection's two directions, the queue of unanswered requests, the tables."""

import cython
import numpy as np
from cython.cimports.libc.string import memset
from lbtop.probes.wire.names import header_names, parameter_names
from lbtop.probes.wire.recognition import Recognition

MOST_OUTSTANDING = cython.declare(cython.int, 64)
MOST_PENDING = 1 << 20
_PENDING = np.dtype(
    [("request", "u8"), ("at_ns", "i8"), ("values", "u8", (4,)), ("names", "u4", (4,)), ("next", "u4"),
     ("presented", "u1"), ("sessions", "u1"), ("head", "u1"), ("connect", "u1")],
    align=True,
)  # fmt: skip


class Context:
    """``sip`` hashes sensitive values; ``recognition`` says what is known by name."""

    def __init__(self, buffer, tables, sip, recognition=None):
        self.buffer = buffer
        self.tables = tables
        self.sip = sip
        self.recognition = recognition or Recognition()
        self.headers = header_names(buffer, self.recognition)
        self.parameters = parameter_names(buffer, self.recognition)
        self.pending = np.zeros(256, _PENDING)
        self.fresh_pending = 1

    def enqueue(self, conn):
        """A new entry at the end of the connection's queue, zeroed. The oldest one is forgotten when there are too many."""
        place: cython.uint = self.free_pending
        if conn.outstanding >= MOST_OUTSTANDING:
            self.dequeue(conn)
            place = self.free_pending
        if place:
            self.free_pending = self.pending[place].next
        else:
            place = self.fresh_pending
            if place == self.pending.shape[0]:
                with cython.gil:
                    self._grow()
            if place == self.pending.shape[0]:
                return 0
            self.fresh_pending += 1
        memset(cython.address(self.pending[place]), 0, cython.sizeof(Pending))
        if conn.last:
            self.pending[conn.last].next = place
        else:
            conn.first = place
        conn.last = place
        conn.outstanding += 1
        return place

    def dequeue(self, conn):
        """Forgets the oldest outstanding request."""
        place: cython.uint = conn.first
        if place == 0:
            return 0
        conn.first = self.pending[place].next
        if conn.first == 0:
            conn.last = 0
        conn.outstanding -= 1
        self.pending[place].next = self.free_pending
        self.free_pending = place
        return 0

    def forget(self, conn, place):
        """Takes one entry out of the connection's queue, wherever it stands."""
        before: cython.uint = conn.first
        if place == 0 or before == 0:
            return 0
        if before == place:
            return self.dequeue(conn)
        while self.pending[before].next != place:
            before = self.pending[before].next
            if before == 0:
                return 0
        self.pending[before].next = self.pending[place].next
        if conn.last == place:
            conn.last = before
        conn.outstanding -= 1
        self.pending[place].next = self.free_pending
        self.free_pending = place
        return 0

    def secret(self, conn, ts_ns, kind, sender, name, value):
        """One SECRET row."""
        row: cython.pointer(SecretRow) = cython.address(self.tables.secrets[self.tables.add_secret()])
        row.at_ns = ts_ns
        row.conn = conn.conn
        row.value = value
        row.client = conn.client
        row.server = conn.server
        row.client_port = conn.client_port
        row.server_port = conn.server_port
        row.name = name
        row.kind = kind
        row.sender = sender
        if conn.keyed == INSIDE:
            row.flags = SC_DECRYPTED
        return 0

    def _grow(self):
        old = np.asarray(self.pending)
        if len(old) < MOST_PENDING:
            grown = np.zeros(2 * len(old), _PENDING)
            grown[: len(old)] = old
            self.pending = grown
        return 0
