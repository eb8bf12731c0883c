"""Payload to observations: what a connection's bytes are, and the heads in them.

Each direction of a connection is in one *mode* that says what its next bytes are. A handler takes as many bytes as make
one unit (a head, a record, a line) and answers how many; 0 means that the unit goes on beyond the bytes there are, and they
wait in a slot for the next segment. Handlers see the same bytes however they were split into segments, so the rows do
not depend on it.
"""

import cython
import numpy as np
from cython.cimports.lbtop.probes.wire.buffer import be16, fetch
from cython.cimports.lbtop.probes.wire.chunked import chunk_line
from cython.cimports.lbtop.probes.wire.http2 import PREFACE_SIZE, looks_like_frames
from cython.cimports.lbtop.probes.wire.scan import find_byte
from cython.cimports.libc.stdint import int64_t, uint32_t
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
UDP = cython.declare(cython.int, 17)


class Streams:
    """The state of every open connection above TCP and UDP, by slot.

    ``slots`` is the most connections there can be at a time; ``key`` 16 bytes for the keyed hash of sensitive values.
    """

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

    def proof(self, offset, n):
        return sender(sniff(self.buffer, offset, offset + n))

    def proof_of_datagram(self, offset, n):
        what: cython.int = sniff_datagram(self.buffer, offset, offset + n)
        if what == N_DNS:
            return SENDER_SERVER if self.buffer.u8[offset + 2] & 0x80 else SENDER_CLIENT
        if what == N_DTLS:
            if self.buffer.u8[offset] != 22 or n < 14:
                return SENDER_UNKNOWN
            return (
                SENDER_CLIENT
                if self.buffer.u8[offset + 13] == 1
                else SENDER_SERVER
                if self.buffer.u8[offset + 13] == 2
                else SENDER_UNKNOWN
            )
        if what == N_NEGOTIATION:
            return SENDER_SERVER
        if what == N_QUIC:
            with cython.gil:
                return SENDER_CLIENT if self.quic.from_client(offset, offset + n) else SENDER_UNKNOWN
        return SENDER_CLIENT if starts_head(self.buffer, offset, offset + n, True, True) else SENDER_UNKNOWN

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

    def deliver(self, slot, direction, offset, n, ts_ns):
        conn: cython.pointer(Conn) = self._conn(slot)
        half: cython.pointer(Half) = cython.address(conn.half[direction])
        end: cython.Py_ssize_t = offset + n
        at: cython.Py_ssize_t = offset
        used: cython.Py_ssize_t
        before: cython.Py_ssize_t
        taken: cython.Py_ssize_t
        self.answer = 0
        self.direction = direction
        self.slot = slot
        self.fresh = True
        half.spoke = 1
        # What a late segment completes was complete when the latest of its packets had come.
        if ts_ns < half.clock:
            ts_ns = half.clock
        half.clock = ts_ns
        self.unsealed = offset
        if conn.proto == UDP:
            self._datagram(conn, ts_ns, offset, end)
            return self._told(conn)
        while at < end:
            if half.slot < 0:
                self.within = end
                used = self._run(conn, ts_ns, at, end)
                at += used
                half = cython.address(conn.half[self.direction])
                if at < end:
                    self._keep(conn, at, end, ts_ns)
                    at = end
            else:
                # Bytes wait already: the new ones go behind them, as many as fit.
                before = half.held
                taken = min(end - at, self.buffer.capacity(half.slot) - before)
                self.buffer.copy(half.slot + before, at, taken)
                half.held += cython.cast(cython.int, taken)
                self.within = at + taken
                used = self._run(conn, ts_ns, half.slot, half.slot + half.held)
                half = cython.address(conn.half[self.direction])
                if used >= before and used > 0:
                    # What stood there is done with; the rest is read where it came from.
                    self._release(half)
                    at += used - before
                else:
                    if used:
                        self.buffer.copy(half.slot, half.slot + used, half.held - used)
                        half.held -= cython.cast(cython.int, used)
                    at += taken
                    if half.held == self.buffer.capacity(half.slot):
                        self._keep(conn, end, end, ts_ns)
            self.fresh = False
        if conn.keyed == FOLLOWED:
            with cython.gil:
                self._unseal(conn, slot, self.unsealed, end - self.unsealed, ts_ns, False)
        return self._told(conn)

    def skip(self, slot, direction, n, ts_ns):
        conn: cython.pointer(Conn) = self._conn(slot)
        half: cython.pointer(Half) = cython.address(conn.half[direction])
        missing: int64_t = cython.cast(int64_t, n)
        self.answer = 0
        self.direction = direction
        half.spoke = 1
        if half.mode == M_FORM:
            if half.slot >= 0:
                self.messages.scan(conn, half, ts_ns, half.slot, half.slot + half.held)
                half.need -= half.held
            half.mode = M_BODY
        if half.mode == M_BODY and half.need >= missing:
            half.need -= missing
            if half.need == 0:
                half.mode = half.after
        elif (
            half.mode == M_HEAD
            or half.mode == M_BODY
            or half.mode == M_CHUNK
            or half.mode == M_CHUNK_END
            or half.mode == M_TRAILER
        ):
            half.lost = 1
            if half.mode == M_HEAD and half.slot >= 0:
                self.http1.cut(conn, ts_ns, self.direction == 0, half.slot, half.slot + half.held)
            if conn.protocol7 == P7_HTTP1:
                half.mode = M_RESYNC
            else:
                half.mode = M_OPAQUE
                if conn.protocol7 == P7_HTTP2:
                    self.http2.give_up(conn)
        elif half.mode != M_OPAQUE and half.mode != M_RESYNC:
            half.lost = 1
            if half.mode == M_HTTP2:
                self.http2.give_up(conn)
            if half.mode != M_DETECT:
                half.mode = M_OPAQUE
        self._release(half)
        if conn.keyed == FOLLOWED:
            with cython.gil:
                self._unseal(conn, slot, 0, missing, ts_ns, True)
        return self._told(conn)

    def close(self, slot, ts_ns, end):
        conn: cython.pointer(Conn) = self._conn(slot)
        half: cython.pointer(Half)
        i: cython.int
        for i in range(2):
            half = cython.address(conn.half[i])
            self.direction = i
            if half.slot >= 0:
                if half.mode == M_FORM:
                    self.messages.scan(conn, half, ts_ns, half.slot, half.slot + half.held)
                elif half.mode == M_HEAD:
                    self.http1.cut(conn, ts_ns, self.direction == 0, half.slot, half.slot + half.held)
            self._release(half)
        if conn.hello:
            self.tls.finish(conn)
        self.http2.end(conn)
        if conn.protocol7 == P7_QUIC:
            self.quic.end(conn)
        # Without a byte from the server, or with some lost, nobody knows whether it answered.
        if conn.half[1].mode == M_RESYNC or conn.half[1].lost or conn.flags & CN_NOT_DECODABLE:
            while conn.first:
                self.context.dequeue(conn)
        self.http1.unanswered(conn, ts_ns)
        if self.keyed and slot < self.slots and self._conn(slot + self.slots).keyed == INSIDE:
            self.close(slot + self.slots, ts_ns, end)
            if conn.keyed == FOLLOWED:
                with cython.gil:
                    self.sessions.pop(conn.conn, None)
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

    def _conn(self, slot):
        """The state of a slot. Raises IndexError for one that does not exist."""
        at: cython.Py_ssize_t = cython.cast(cython.Py_ssize_t, slot) * cython.sizeof(Conn)
        return cython.cast(cython.pointer(Conn), cython.address(self.memory[at]))

    def inside(self, slot, direction, passed, offset, n, ts_ns, whole, broken):
        outer: cython.pointer(Conn) = self._conn(slot)
        inner: cython.pointer(Conn)
        answer: cython.int
        if not self.keyed or outer.keyed == FOLLOWED or (outer.protocol7 != P7_TLS and outer.protocol7 != P7_UNKNOWN):
            return REFUSED
        inner = self._conn(slot + self.slots)
        if inner.keyed != INSIDE:
            self._begin_inside(outer, slot)
            inner.joined = not whole
            inner.proven = outer.proven
        if passed:
            self.skip(slot + self.slots, direction, passed, ts_ns)
        if broken and inner.half[direction].mode == M_HTTP2:
            self.http2.give_up(inner)
        if n == 0:
            return 0
        answer = self.deliver(slot + self.slots, direction, offset, n, ts_ns) & SWAP
        if answer:
            self.direction = direction
            self._swap(outer)
        return answer

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

    def _unseal(self, conn, slot, offset, n, ts_ns, lost):
        """Hands on what the next n bytes have inside. The caller's own state stands again afterwards."""
        at: cython.Py_ssize_t
        answer: cython.int = self.answer
        direction: cython.int = self.direction
        session = self.sessions[conn.conn]
        if lost:
            found = session.skip(direction, n)
        else:
            found = session.read(direction, bytes(self.buffer.array[offset : offset + n]))
        for sender, inside in found:
            if isinstance(inside, int):
                self.skip(slot + self.slots, sender, inside, ts_ns)
                continue
            at = self.buffer.take(len(inside))
            if at < 0:
                self.skip(slot + self.slots, sender, len(inside), ts_ns)
                continue
            self.buffer.array[at : at + len(inside)] = memoryview(inside)
            try:
                self.deliver(slot + self.slots, sender, at, len(inside), ts_ns)
            finally:
                self.buffer.give(at)
        if session.over:
            conn.keyed = 0
            del self.sessions[conn.conn]
        self.answer = answer
        self.direction = direction
        return 0

    def _told(self, conn):
        """The bits for the caller; what waits for nobody is given back."""
        if conn.keyed == FOLLOWED:
            return self.answer
        if conn.half[0].mode == M_OPAQUE:
            self._release(cython.address(conn.half[0]))
            self.answer |= OPAQUE_CLIENT
        if conn.half[1].mode == M_OPAQUE:
            self._release(cython.address(conn.half[1]))
            self.answer |= OPAQUE_SERVER
        return self.answer

    def _release(self, half):
        if half.slot >= 0:
            self.buffer.give(half.slot)
            half.slot = -1
        half.held = 0
        if half.mode != M_TLS:
            half.seen = 0
        return 0

    def _keep(self, conn, offset, end, ts_ns):
        """Lets [offset, end) wait, behind what waits already, in a slot that has room for more than that."""
        half: cython.pointer(Half) = cython.address(conn.half[self.direction])
        size: cython.Py_ssize_t = half.held + end - offset
        slot: cython.Py_ssize_t
        if half.slot >= 0 and size < self.buffer.capacity(half.slot):
            self.buffer.copy(half.slot + half.held, offset, end - offset)
            half.held = cython.cast(cython.int, size)
            return 0
        if size >= LONGEST_HEAD:
            return self._overflow(conn, ts_ns)
        slot = self.buffer.take(size + 1)
        if slot < 0:
            # No slot is free: for this direction that is a loss like any other.
            half.lost = 1
            half.mode = M_RESYNC if half.mode == M_HEAD or half.mode == M_RESYNC else M_OPAQUE
            return self._release(half)
        if half.slot >= 0:
            self.buffer.copy(slot, half.slot, half.held)
            self.buffer.give(half.slot)
        self.buffer.copy(slot + half.held, offset, end - offset)
        half.slot = cython.cast(cython.int, slot)
        half.held = cython.cast(cython.int, size)
        return 0

    def _overflow(self, conn, ts_ns):
        """A unit longer than the longest slot: its beginning counts, the rest is passed over."""
        half: cython.pointer(Half) = cython.address(conn.half[self.direction])
        if half.mode == M_HEAD and half.slot >= 0:
            self.context.truncated_heads += 1
            self.http1.cut(conn, ts_ns, self.direction == 0, half.slot, half.slot + half.held)
            half.mode = M_RESYNC
        else:
            half.mode = M_OPAQUE
        half.lost = 1
        return self._release(half)

    def _swap(self, conn):
        """The bytes at hand come from the other end than was thought."""
        half: Half = conn.half[0]
        client: uint32_t = conn.client
        port: cython.ushort = conn.client_port
        conn.half[0] = conn.half[1]
        conn.half[1] = half
        conn.client = conn.server
        conn.server = client
        conn.client_port = conn.server_port
        conn.server_port = port
        self.direction ^= 1
        self.answer ^= SWAP
        return 0

    def _run(self, conn, ts_ns, offset, end):
        """Hands the bytes to handlers until they are used up or need company. Answers how many were used."""
        at: cython.Py_ssize_t = offset
        used: cython.Py_ssize_t
        while at < end:
            used = self._step(conn, cython.address(conn.half[self.direction]), ts_ns, at, end)
            if used == 0:
                break
            if used > 0:
                at += used
                self.fresh = False
        return at - offset

    def _step(self, conn, half, ts_ns, offset, end):
        mode: cython.int = half.mode
        used: cython.Py_ssize_t
        if mode == M_BODY:
            used = min(end - offset, half.need)
            half.need -= used
            if half.need == 0:
                half.mode = half.after
            return used if used else AGAIN
        if mode == M_HEAD:
            return self.messages.head(conn, self.direction, ts_ns, offset, end)
        if mode == M_OPAQUE:
            return end - offset
        if mode == M_TURN:
            conn.turn_ns = max(ts_ns - conn.answered_ns, 1)
            half.mode = M_OPAQUE
            return end - offset
        if mode == M_TLS:
            return self.tls.records(conn, self.direction, ts_ns, offset, end)
        if mode == M_CHUNK or mode == M_CHUNK_END or mode == M_TRAILER:
            return chunk_line(self.buffer, half, offset, end)
        if mode == M_FORM:
            return self.messages.form(conn, self.direction, ts_ns, offset, end)
        if mode == M_DETECT:
            return self._detect(conn, ts_ns, offset, end)
        if mode == M_RESYNC:
            if self.fresh and starts_head(self.buffer, offset, end, self.direction == 0, False):
                half.mode = M_HEAD
                half.seen = 0
                if self.direction == 1:
                    # What was lost answered the older requests: hardly anybody sends a second one before the first is answered.
                    while conn.outstanding > 1:
                        self.context.dequeue(conn)
                return AGAIN
            return end - offset
        if mode == M_HTTP2:
            return self.http2.frames(conn, self.direction, ts_ns, offset, end)
        if mode == M_SEARCH:
            if self.fresh and self._anything_known(offset, end):
                half.mode = M_DETECT
                return AGAIN
            return end - offset
        if mode == M_LINES:
            return self.preludes.line(conn, self.direction, ts_ns, offset, end)
        if mode == M_SOCKS:
            return self.preludes.socks(conn, self.direction, offset, end)
        if mode == M_MYSQL:
            return self.preludes.mysql(conn, self.direction, offset, end)
        half.mode = M_OPAQUE
        return end - offset

    def _detect(self, conn, ts_ns, offset, end):
        """The first bytes of a direction, or the first ones inside a tunnel."""
        what: cython.int = sniff(self.buffer, offset, end)
        who: cython.int = sender(what)
        half: cython.pointer(Half)
        used: cython.Py_ssize_t
        if what == N_MORE:
            return 0
        if who:
            if who - 1 == self.direction:
                conn.proven = 1
                self.answer |= PROVEN
            elif conn.proven:
                # It looks like something that only the other end says: then it is something else.
                what = N_TEXT if what != N_SERVER_HELLO else N_TLS
            else:
                self._swap(conn)
                conn.proven = 1
                self.answer |= PROVEN
        half = cython.address(conn.half[self.direction])

        if what == N_PROXY1 or what == N_PROXY2:
            if conn.proxies >= 2:
                used = -2
            elif what == N_PROXY1:
                used = self.proxies.v1(conn, ts_ns, offset, end)
            else:
                used = self.proxies.v2(conn, ts_ns, offset, end)
            if used >= 0:
                return used
            what = N_TEXT
        if what == N_REQUEST or what == N_RESPONSE:
            self._both(conn, P7_HTTP1, M_HEAD)
            return AGAIN
        if what == N_CLIENT_HELLO or what == N_SERVER_HELLO:
            if conn.starttls or conn.tunnel:
                conn.flags |= CN_UPGRADED
            if conn.starttls:
                conn.flags |= CN_STARTTLS
            self._both(conn, P7_TLS, M_TLS)
            half.seen = 0
            if self.keyed and not conn.keyed:
                with cython.gil:
                    if self.begin_session is not None:
                        self._follow(conn, offset, end)
            return AGAIN
        if what == N_SSLV2_HELLO:
            used = 2 + (be16(self.buffer, offset) & 0x7FFF)
            if end - offset < used:
                return 0
            self._both(conn, P7_TLS, M_TLS)
            self.hellos.sslv2(conn, ts_ns, offset, offset + used)
            return used
        if what == N_TLS:
            self._both(conn, P7_TLS, M_OPAQUE)
            return AGAIN
        if what == N_PREFACE:
            self._both(conn, P7_HTTP2, M_HTTP2)
            self.http2.begin(conn, False)
            return PREFACE_SIZE
        if what == N_SETTINGS and not conn.joined:
            # A server need not wait for the client's preface.
            conn.protocol7 = P7_HTTP2
            half.mode = M_HTTP2
            self.http2.begin(conn, False)
            return AGAIN
        if conn.joined and conn.protocol7 == P7_UNKNOWN and looks_like_frames(self.buffer, offset, end):
            self._both(conn, P7_HTTP2, M_OPAQUE)
            self.http2.give_up(conn)
            return AGAIN
        if what == N_SMTP or what == N_SMTP_CLIENT:
            self._both(conn, P7_SMTP, M_LINES)
            return AGAIN
        if what == N_MAIL or what == N_MAIL_CLIENT:
            self._both(conn, P7_OTHER_CLEAR, M_LINES)
            return AGAIN
        if what == N_POSTGRES_SSL and conn.half[1].mode == M_DETECT:
            # The server answers with one byte; what follows is a hello, or the startup message in clear.
            conn.protocol7 = P7_POSTGRES
            conn.starttls = 1
            conn.half[1].mode = M_BODY
            conn.half[1].need = 1
            conn.half[1].after = M_DETECT
            return 8
        if what == N_MYSQL:
            conn.protocol7 = P7_MYSQL
            conn.half[0].mode = M_MYSQL
            half.mode = M_BODY
            half.need = self.buffer.u8[offset] + 4
            half.after = M_DETECT
            return AGAIN
        if what == N_SOCKS5:
            conn.tunnel = 1
            conn.half[0].mode = M_SOCKS
            conn.half[1].mode = M_SOCKS
            return 2 + self.buffer.u8[offset + 1]
        if what == N_SOCKS4:
            conn.tunnel = 1
            conn.half[1].mode = M_BODY
            conn.half[1].need = 8
            conn.half[1].after = M_DETECT
            used = find_byte(self.buffer, offset + 8, end, 0) + 1 - offset
            if self.buffer.u32[offset + 4] & 0xFFFFFF == 0:
                # 4a: a name follows.
                used = find_byte(self.buffer, offset + used, end, 0) + 1 - offset
            return used if used > 0 else 0
        if conn.protocol7 == P7_UNKNOWN:
            if what == N_SSH:
                conn.protocol7 = P7_SSH
            elif what == N_POSTGRES or what == N_POSTGRES_SSL:
                conn.protocol7 = P7_POSTGRES
            elif what == N_REDIS or what == N_REDIS_SERVER:
                conn.protocol7 = P7_REDIS
            elif what == N_MQTT:
                conn.protocol7 = P7_MQTT
            elif what == N_NATS or what == N_NATS_CLIENT:
                conn.protocol7 = P7_NATS
            elif what == N_SYSLOG:
                conn.protocol7 = P7_SYSLOG
            elif what == N_TEXT:
                conn.protocol7 = P7_OTHER_CLEAR
        half.mode = M_OPAQUE
        if (conn.joined or half.lost) and (what == N_TEXT or what == N_BINARY) and not conn.starttls:
            half.mode = M_SEARCH
        if conn.protocol7 != P7_UNKNOWN and what != N_TEXT and what != N_BINARY:
            conn.half[self.direction ^ 1].mode = M_OPAQUE
        return end - offset

    def _both(self, conn, protocol, mode):
        """The connection speaks ``protocol``: its sender's direction, and the other one unless it has gone further."""
        other: cython.pointer(Half) = cython.address(conn.half[self.direction ^ 1])
        conn.protocol7 = protocol
        conn.half[self.direction].mode = mode
        conn.half[self.direction].seen = 0
        if other.mode == M_SEARCH:
            other.mode = M_RESYNC if mode == M_HEAD else mode
        elif other.mode == M_DETECT or other.mode == M_LINES or mode == M_OPAQUE or (other.mode == M_OPAQUE and mode == M_TLS):
            other.mode = mode
            other.seen = 0
        return 0

    def _anything_known(self, offset, end):
        """Does a segment in the middle of something begin with a head or a hello?"""
        what: cython.int
        if starts_head(self.buffer, offset, end, True, True) or starts_head(self.buffer, offset, end, False, True):
            return True
        what = sniff(self.buffer, offset, end)
        return what == N_CLIENT_HELLO or what == N_SERVER_HELLO or what == N_TLS

    def _datagram(self, conn, ts_ns, offset, end):
        """One datagram. Only QUIC and DTLS are looked at for longer than the first of them."""
        over: cython.bint = True
        if conn.protocol7 == P7_UNKNOWN:
            self._first_datagram(conn, offset, end)
        if conn.protocol7 == P7_QUIC:
            with cython.gil:
                over = self.quic.datagram(conn, self.direction, ts_ns, offset, end)
        elif conn.protocol7 == P7_DTLS:
            over = self.dtls.datagram(conn, self.direction, ts_ns, offset, end)
        if over:
            self.tls.finish(conn)
        return 0

    def _first_datagram(self, conn, offset, end):
        """What a flow is, and where the bytes prove it, who began it."""
        what: cython.int = sniff_datagram(self.buffer, offset, end)
        who: cython.int
        if what == N_DNS:
            conn.protocol7 = P7_DNS
        elif what == N_QUIC or what == N_NEGOTIATION:
            conn.protocol7 = P7_QUIC
        elif what == N_DTLS:
            conn.protocol7 = P7_DTLS
        elif what == N_SYSLOG:
            conn.protocol7 = P7_SYSLOG
        elif what == N_TEXT:
            conn.protocol7 = P7_OTHER_CLEAR
        if not conn.proven:
            who = self.proof_of_datagram(offset, end - offset)
            if who:
                if who - 1 != self.direction:
                    self._swap(conn)
                conn.proven = 1
                self.answer |= PROVEN
        return 0
