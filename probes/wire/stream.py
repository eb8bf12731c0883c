"""Payload to observations: the bytes of a connection, in order, to the handlers that find the heads in them.

Each direction of a connection is in one *mode* that says what its next bytes are. A handler takes as many bytes as make
one unit (a head, a record, a line) and answers how many; 0 means that the unit goes on beyond the bytes there are, and they
wait in a slot for the next segment. Handlers see the same bytes however they were split into segments, so the rows do
not depend on it.
"""

import cython
from cython.cimports.lbtop.probes.wire.chunked import chunk_line
from cython.cimports.libc.stdint import int64_t

UDP = cython.declare(cython.int, 17)


class Streams:
    """Takes the payload of every connection and hands it to whoever reads it."""

    def deliver(self, slot, direction, offset, n, ts_ns):
        conn: cython.pointer(Conn) = self._conn(slot)
        half: cython.pointer(Half) = cython.address(conn.half[direction])
        end: cython.Py_ssize_t = offset + n
        at: cython.Py_ssize_t = offset
        used: cython.Py_ssize_t
        before: cython.Py_ssize_t
        taken: cython.Py_ssize_t
        half.spoke = 1
        # What a late segment completes was complete when the latest of its packets had come.
        if ts_ns < half.clock:
            ts_ns = half.clock
        half.clock = ts_ns
        if half.mode == M_BODY and n < half.need:
            # The midst of a body, as most bytes are: nothing is learned from it.
            half.need -= n
            return 0
        self.answer = 0
        self.direction = direction
        self.slot = slot
        self.fresh = True
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

    def miss(self, slot, direction, n):
        conn: cython.pointer(Conn) = self._conn(slot)
        half: cython.pointer(Half) = cython.address(conn.half[direction])
        if half.mode == M_FORM:
            n += half.held
        if half.mode != M_OPAQUE and ((half.mode != M_BODY and half.mode != M_FORM) or half.need < n):
            half.lost = 1
        if conn.keyed == FOLLOWED:
            self._conn(slot + self.slots).half[direction].lost = 1
        return 0

    def close(self, slot, ts_ns, heard):
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
        # Without a packet from the server, or with bytes lost, nobody knows whether it answered.
        if not heard or conn.half[1].mode == M_RESYNC or conn.half[1].lost or conn.flags & CN_NOT_DECODABLE:
            while conn.first:
                self.context.dequeue(conn)
        self.http1.unanswered(conn, ts_ns)
        if self.keyed and slot < self.slots and self._conn(slot + self.slots).keyed == INSIDE:
            self.close(slot + self.slots, ts_ns, heard or conn.keyed != FOLLOWED)
            if conn.keyed == FOLLOWED:
                with cython.gil:
                    self.sessions.pop(conn.conn, None)
        return 0

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

    def _datagram(self, conn, ts_ns, offset, end):
        """One datagram. Only QUIC and DTLS are looked at once it is known what a flow is."""
        over: cython.bint = True
        if conn.protocol7 == P7_UNKNOWN:
            self._datagram_of(conn, offset, end)
        if conn.protocol7 == P7_QUIC:
            with cython.gil:
                over = self.quic.datagram(conn, self.direction, ts_ns, offset, end)
        elif conn.protocol7 == P7_DTLS:
            over = self.dtls.datagram(conn, self.direction, ts_ns, offset, end)
        if over:
            self.tls.finish(conn)
        return 0
