"""The table of live connections and datagram flows: begun, expired by capture time, bounded.

A connection keeps its slot until it is over and its late packets have had time to arrive; then its CONNECTION row is written.
Queues hold the connections in the order in which they were last looked at: a connection that turns out to have been active
goes to the end again, so that a packet costs nothing here and an expiry is found within one more period. When the table is
full, half-open connections go first, then closed ones, then whichever was silent for long.
"""

import cython
import numpy as np
from cython.cimports.lbtop.probes.wire.assembly import CLIENT, Half, Hole
from cython.cimports.lbtop.probes.wire.buffer import fetch, prefetch
from cython.cimports.lbtop.probes.wire.frame import PROTO_TCP
from cython.cimports.lbtop.probes.wire.slots import (
    ACTIVE,
    CLOSED,
    DATAGRAMS,
    DELIVERING,
    HALF_OPEN,
    QUEUES,
    RESET,
    UNUSED,
    Connection,
)
from cython.cimports.libc.stdint import int32_t, int64_t, uint16_t, uint32_t
from cython.cimports.libc.string import memset
from lbtop.probes.wire.listeners import Listeners

from lbtop.model.observation import End

CAP = 1 << 18
HALF_OPEN_CAP = 1 << 16
# Closed connections wait for late packets, but no more of them than the processor's caches hold.
CLOSED_CAP = cython.declare(uint32_t, 1 << 13)
SECOND = cython.declare(int64_t, 1_000_000_000)
# How long a silent connection is kept: TCP two hours, the default of a keepalive timer; datagrams as the contract defines a
# flow; closed ones for the time late segments take (Linux's TIME_WAIT).
TCP_EXPIRY = cython.declare(int64_t, 7_200_000_000_000)
UDP_EXPIRY = cython.declare(int64_t, 120_000_000_000)
LINGER = cython.declare(int64_t, 60_000_000_000)
CHANCES = cython.declare(cython.int, 64)

END_OPEN = cython.declare(cython.int, int(End.OPEN))
END_FIN = cython.declare(cython.int, int(End.FIN))
END_RST = cython.declare(cython.int, int(End.RST))
END_EXPIRED = cython.declare(cython.int, int(End.EXPIRED))
END_EVICTED = cython.declare(cython.int, int(End.EVICTED))


class Connections:
    """At most ``cap`` live connections, of which at most ``half_open_cap`` never carried a byte."""

    def __init__(self, cap, seed, half_open_cap=HALF_OPEN_CAP):
        super().__init__(cap, seed)
        self.listeners = Listeners(seed)
        self.half_open_cap = min(half_open_cap, cap)

    def finish(self, ended_ns: cython.longlong):
        """Ends everything that is still there, in order of its first packet."""
        used = np.asarray(self.all)[: self.fresh]
        alive = np.flatnonzero(used["queue"] != UNUSED)
        order: int64_t[::1] = alive[np.argsort(used["number"][alive])].astype(np.int64)
        i: cython.Py_ssize_t
        with cython.nogil:
            for i in range(order.shape[0]):
                self.remove(cython.cast(int32_t, order[i]), END_OPEN, ended_ns)

    def look(self, now_ns: cython.longlong):
        """Writes a row for every connection that is alive, as if it ended now, and forgets nothing."""
        slot: int32_t
        for slot in range(cython.cast(int32_t, self.fresh)):
            if self.all[slot].queue != UNUSED:
                self.write_connection(slot, END_OPEN, now_ns)

    def create(self, frame, client_end, orientation):
        """A slot for the frame's connection, which find did not find."""
        slot: int32_t
        tcp: cython.bint = frame.proto == PROTO_TCP
        if tcp and self.queued[HALF_OPEN] >= self.half_open_cap:
            self.evict(HALF_OPEN)
        if self.live >= self.cap:
            if self.head[HALF_OPEN] >= 0:
                self.evict(HALF_OPEN)
            elif self.head[CLOSED] >= 0:
                self.evict(CLOSED)
            elif self.queued[DATAGRAMS] > self.queued[ACTIVE]:
                self.evict(DATAGRAMS)
            else:
                self.evict(ACTIVE)
        slot = self.reserve(self.hash)
        self.opened += 1
        memset(cython.address(self.all[slot]), 0, cython.sizeof(Connection))
        self.assembly.clear(slot)
        self.assembly.halves[2 * cython.cast(cython.size_t, slot) + client_end].flags = CLIENT
        if self.end == 0:
            self.all[slot].low_high = frame.source_high
            self.all[slot].low_low = frame.source_low
            self.all[slot].low_port = frame.source_port
            self.all[slot].high_high = frame.target_high
            self.all[slot].high_low = frame.target_low
            self.all[slot].high_port = frame.target_port
        else:
            self.all[slot].low_high = frame.target_high
            self.all[slot].low_low = frame.target_low
            self.all[slot].low_port = frame.target_port
            self.all[slot].high_high = frame.source_high
            self.all[slot].high_low = frame.source_low
            self.all[slot].high_port = frame.source_port
        self.all[slot].proto = frame.proto
        self.all[slot].number = self.opened
        self.all[slot].opened_ns = frame.ts_ns
        self.all[slot].last_ns = frame.ts_ns
        self.all[slot].before_end = -1
        self.all[slot].interface = cython.cast(uint16_t, frame.interface)
        self.all[slot].vlan = frame.vlan
        self.all[slot].orientation = orientation
        self.all[slot].hash = self.hash
        self.enqueue(slot, HALF_OPEN if tcp else DATAGRAMS)
        return slot

    def remove(self, slot, end, ended_ns):
        """Ends a connection: what waits is delivered, its row written, its slot free. end: used where the packets show none."""
        half: uint32_t = cython.cast(uint32_t, slot) * 2
        state: cython.int = self.all[slot].state
        if self.assembly.halves[half].waiting >= 0:
            self.assembly.drain(half)
        if self.assembly.halves[half + 1].waiting >= 0:
            self.assembly.drain(half + 1)
        if self.ended(slot):
            end = END_RST if self.all[slot].state & RESET else END_FIN
        self.assembly.end(half, state & DELIVERING)
        self.assembly.end(half + 1, state & DELIVERING)
        if state & DELIVERING:
            half += 1 - self.client_end(slot)
            self.streams.close(slot, self.all[slot].last_ns, self.assembly.halves[half].packets != 0)
        self.write_connection(slot, end, ended_ns)
        return self.release(slot)

    def evict(self, queue):
        """Makes room: the oldest of a queue goes. One that was heard of since it was queued gets another chance, up to 64."""
        slot: int32_t = self.head[queue]
        chances: cython.int = 0
        if queue == HALF_OPEN:
            # No row: an attempt nobody answered is only a number once there are more of them than the table holds.
            self.half_open_evicted += 1
            self.release(slot)
            return 0
        if queue != CLOSED:
            while chances < CHANCES and self.all[slot].last_ns > self.all[slot].queued_ns:
                self.requeue(slot, queue)
                slot = self.head[queue]
                chances += 1
            self.evicted += 1
        self.remove(slot, END_EVICTED, self.now_ns)
        return 0

    def sweep(self):
        """Once a second of capture time: ends what was silent for too long."""
        queue: cython.int
        slot: int32_t
        period: int64_t
        now_ns: int64_t = self.now_ns
        self.next_sweep_ns = now_ns + SECOND
        for queue in range(QUEUES):
            period = LINGER if queue == CLOSED else UDP_EXPIRY if queue == DATAGRAMS else TCP_EXPIRY
            while True:
                slot = self.head[queue]
                if slot < 0 or self.all[slot].queued_ns + period > now_ns:
                    break
                if self.all[slot].last_ns + period > now_ns:
                    self.requeue(slot, queue)
                elif queue == CLOSED and not self.ended(slot):
                    # One direction's FIN was taken for the end before the other direction came in view.
                    self.requeue(slot, ACTIVE)
                else:
                    self.remove(slot, END_EXPIRED, self.all[slot].last_ns + period)
        return 0

    def close(self, slot):
        """The packets show an end: from now on only late ones are waited for."""
        self.requeue(slot, CLOSED)
        if self.queued[CLOSED] > CLOSED_CAP:
            self.evict(CLOSED)
            self.fetch_next()
        return 0

    def fetch_next(self):
        """What ended long ago is in no cache: the connection after the next to go is fetched now, and the next one's place."""
        slot: int32_t = self.head[CLOSED]
        prefetch(cython.address(self.index[self.all[slot].hash & (self.index.shape[0] - 1)]))
        slot = self.all[slot].following
        if slot >= 0:
            fetch(cython.address(self.all[slot]), cython.sizeof(Connection))
            fetch(cython.address(self.assembly.halves[2 * slot]), 2 * cython.sizeof(Half))
            fetch(cython.address(self.assembly.holes[2 * slot]), 2 * cython.sizeof(Hole))
            self.streams.fetch(slot)
        return 0

    def first_payload(self, slot, frame):
        """The connection counts from here on: its OPENED row, and Streams gets to know it."""
        row: cython.Py_ssize_t
        self.all[slot].first_data_ns = frame.ts_ns
        self.all[slot].first_sender = 1 + self.end
        self.all[slot].state |= DELIVERING
        if self.all[slot].queue == HALF_OPEN:
            self.requeue(slot, ACTIVE)
        row = self.write_opened(slot, frame.ts_ns)
        self.streams.open(
            slot,
            self.all[slot].number,
            self.tables.opened[row].client,
            self.tables.opened[row].server,
            self.tables.opened[row].client_port,
            self.tables.opened[row].server_port,
            self.all[slot].proto,
            self.all[slot].orientation,
        )
        return 0

    def prove_listener(self, slot):
        """Remembers that the server's address and port accept connections."""
        if self.client_end(slot):
            return self.listeners.add(
                self.all[slot].proto, self.all[slot].low_high, self.all[slot].low_low, self.all[slot].low_port
            )
        return self.listeners.add(
            self.all[slot].proto, self.all[slot].high_high, self.all[slot].high_low, self.all[slot].high_port
        )
