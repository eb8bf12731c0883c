"""The state of every open connection above TCP and UDP, by slot: what its bytes were found to be, and what they led to.

What is inside a connection's TLS is a conversation of its own, where the operator has the keys or a process told it: its
state stands behind the others, in the same order.
"""

import cython
import numpy as np
from cython.cimports.lbtop.probes.wire.buffer import fetch
from cython.cimports.libc.stdint import uint32_t
from cython.cimports.libc.string import memset
from lbtop.probes.wire.addresses import AddressText
from lbtop.probes.wire.cookies import Cookies
from lbtop.probes.wire.dtls import Dtls
from lbtop.probes.wire.hello import Hellos
from lbtop.probes.wire.http1 import Http1
from lbtop.probes.wire.http2 import Http2
from lbtop.probes.wire.message import Messages
from lbtop.probes.wire.prelude import Preludes
from lbtop.probes.wire.proxyproto import ProxyHeaders
from lbtop.probes.wire.quic import Quic
from lbtop.probes.wire.secrets import Secrets
from lbtop.probes.wire.siphash import SipHash
from lbtop.probes.wire.state import Context
from lbtop.probes.wire.tls import Tls

PROOF = cython.declare(cython.int, 3)  # Orientation.PAYLOAD: from here on nothing is guessed


class Conversations:
    """``slots`` is the most connections there can be at a time; ``key`` 16 bytes for the keyed hash of sensitive values."""

    def __init__(self, buffer, tables, slots, key=None, recognition=None):
        self.buffer = buffer
        self.tables = tables
        self.context = Context(buffer, tables, SipHash(key), recognition)
        secrets = Secrets(self.context)
        addresses = AddressText(buffer, tables.addresses)
        self.http1 = Http1(self.context, Cookies(self.context, secrets), secrets, addresses)
        self.hellos = Hellos(self.context)
        self.tls = Tls(self.context, self.hellos)
        self.preludes = Preludes(self.context)
        self.http2 = Http2(self.context, self.http1)
        self.messages = Messages(self.context, self.http1, self.http2, secrets)
        self.quic = Quic(self.context, self.hellos)
        self.dtls = Dtls(self.context, self.hellos)
        self.proxies = ProxyHeaders(self.context, addresses)
        # Zeroed lazily by the kernel: memory is used as slots are. Bytes, because a view cannot have structs in its structs.
        self.memory = np.zeros(slots * cython.sizeof(Conn), np.uint8)
        self.slots = slots
        self.sessions = {}

    def unseal_with(self, log):
        """From here on what is inside TLS is read where this KeyLog has the keys; of connections already open nothing is."""
        from lbtop.probes.wire.unsealing import Session  # costs start-up time that few runs need

        self.begin_session = lambda: Session(log)
        self.read_inside()

    def read_inside(self):
        """Makes room for what is inside TLS. Its state stands ``slots`` behind the connection's."""
        if not self.keyed:
            memory = np.zeros(2 * self.slots * cython.sizeof(Conn), np.uint8)
            memory[: len(self.memory)] = self.memory
            self.memory = memory
            self.keyed = True

    def caps_reached(self):
        """Sentences about every bound of the parsers that was met, for a person."""
        cut = self.context.truncated_heads
        return (f"64 KB of an HTTP head: {cut} were longer and counted as cut",) if cut else ()

    def open(self, slot, conn, client, server, client_port, server_port, proto, orientation):
        state: cython.pointer(Conn) = self._conn(slot)
        memset(state, 0, cython.sizeof(Conn))
        state.conn = conn
        state.client = client
        state.server = server
        state.client_port = client_port
        state.server_port = server_port
        state.proto = proto
        state.proven = orientation >= PROOF
        state.joined = orientation <= PROOF
        state.half[0].slot = -1
        state.half[1].slot = -1
        if self.keyed and slot < self.slots:
            memset(self._conn(slot + self.slots), 0, cython.sizeof(Conn))
        return 0

    def fetch(self, slot):
        fetch(self._conn(slot), cython.sizeof(Conn))
        return 0

    def protocol7(self, slot):
        return self._conn(slot).protocol7

    def flags(self, slot):
        inside: cython.pointer(Conn)
        if self.keyed and self._conn(slot + self.slots).protocol7:
            inside = self._conn(slot + self.slots)
            return self._conn(slot).flags | inside.flags | CN_DECRYPTED
        return self._conn(slot).flags

    def turn_ns(self, slot):
        return self._conn(slot).turn_ns

    def requests(self, slot):
        inside: uint32_t = self._conn(slot + self.slots).requests if self.keyed else 0
        return self._conn(slot).requests + inside

    def responses(self, slot):
        inside: uint32_t = self._conn(slot + self.slots).responses if self.keyed else 0
        return self._conn(slot).responses + inside

    def lost(self, slot: cython.uint):
        """Bits (1 client, 2 server): this direction lost its place; what is seen of it from then on depends on its segments."""
        conn: cython.pointer(Conn) = self._conn(slot)
        return conn.half[0].lost | conn.half[1].lost << 1

    def _begin_inside(self, conn, slot):
        """The state of what is inside a connection, as at its beginning."""
        inside: cython.pointer(Conn) = self._conn(slot + self.slots)
        memset(inside, 0, cython.sizeof(Conn))
        inside.conn = conn.conn
        inside.client = conn.client
        inside.server = conn.server
        inside.client_port = conn.client_port
        inside.server_port = conn.server_port
        inside.proxy_source = conn.proxy_source
        inside.proto = conn.proto
        inside.proven = 1
        inside.keyed = INSIDE
        inside.half[0].slot = -1
        inside.half[1].slot = -1
        return inside

    def _follow(self, conn, offset, end):
        """TLS begins at ``offset``: a session that reads it, and the state of what is inside."""
        other: cython.pointer(Half) = cython.address(conn.half[self.direction ^ 1])
        self._begin_inside(conn, self.slot)
        session = self.begin_session()
        self.sessions[conn.conn] = session
        conn.keyed = FOLLOWED
        # What has been held back is part of a hello: nothing comes of it yet.
        session.read(self.direction, bytes(self.buffer.array[offset:end]))
        if other.slot >= 0:
            session.read(self.direction ^ 1, bytes(self.buffer.array[other.slot : other.slot + other.held]))
        self.unsealed = self.within
        return 0
