"""The table of live connections and datagram flows: found by five-tuple, expired by capture time, bounded.

A connection keeps its slot until it is over and its late packets have had time to arrive; then its CONNECTION row is written.
Queues hold the connections in the order in which they were last looked at: a connection that turns out to have been active goes
to the end again, so that a packet costs nothing here and an expiry is found within one more period. When the table is full, half-open
connections go first, then closed ones, then whichever was silent for long.
"""

import cython
import numpy as np
from cython.cimports.lbtop.probes.wire.assembly import CLIENT, FIN_SEEN, RESENT, ACKED, STARTED
from cython.cimports.lbtop.probes.wire.frame import PROTO_TCP, PROTO_UDP
from cython.cimports.libc.stdint import int32_t, int64_t, uint16_t, uint32_t, uint64_t
from cython.cimports.libc.string import memset

from lbtop.model.observation import ConnFlag, End, Orientation

CONNECTION = np.dtype(
    [("low_high", "u8"), ("low_low", "u8"), ("high_high", "u8"), ("high_low", "u8"), ("number", "u8"),
     ("opened_ns", "i8"), ("syn_ns", "i8"), ("synack_ns", "i8"), ("connect_ns", "i8"), ("ack_ns", "i8"),
     ("first_data_ns", "i8"), ("last_ns", "i8"), ("last_silence", "i8"), ("silence", "i8"), ("survived", "i8"), ("longest", "i8"),
     ("before_end", "i8"), ("queued_ns", "i8"),
     ("hash", "u4"), ("previous", "i4"), ("following", "i4"), ("low", "u4"), ("high", "u4"),
     ("stack", "u4"), ("flags", "u4"), ("probes", "u4"), ("duplicates", "u4"), ("tsval", "u4"),
     ("low_port", "u2"), ("high_port", "u2"), ("mss", "u2"), ("window", "u2"), ("interface", "u2"), ("vlan", "u2"),
     ("proto", "u1"), ("queue", "u1"), ("state", "u1"), ("orientation", "u1"),
     ("first_closer", "u1"), ("first_sender", "u1"), ("last_sender", "u1"), ("pad", "u1")], align=True)  # fmt: skip

CAP = 1 << 18
HALF_OPEN_CAP = 1 << 16
LISTENERS = cython.declare(uint32_t, 1 << 13)
CLOSED_CAP = cython.declare(uint32_t, 1 << 15)
SECOND = cython.declare(int64_t, 1_000_000_000)
# How long a silent connection is kept: TCP two hours, the default of a keepalive timer; datagrams as the contract defines a
# flow; closed ones for the time late segments take (Linux's TIME_WAIT).
TCP_EXPIRY = cython.declare(int64_t, 7_200_000_000_000)
UDP_EXPIRY = cython.declare(int64_t, 120_000_000_000)
LINGER = cython.declare(int64_t, 60_000_000_000)

M1 = cython.declare(uint64_t, 0x9E3779B97F4A7C15)
M2 = cython.declare(uint64_t, 0xC2B2AE3D27D4EB4F)

END_OPEN = cython.declare(cython.int, int(End.OPEN))
END_FIN = cython.declare(cython.int, int(End.FIN))
END_RST = cython.declare(cython.int, int(End.RST))
END_EXPIRED = cython.declare(cython.int, int(End.EXPIRED))
END_EVICTED = cython.declare(cython.int, int(End.EVICTED))
BY_PAYLOAD = cython.declare(cython.int, int(Orientation.PAYLOAD))
FLAG_GAPS = cython.declare(uint32_t, int(ConnFlag.GAPS))
FLAG_ONE_DIRECTION = cython.declare(uint32_t, int(ConnFlag.ONE_DIRECTION))
FLAG_SILENT_END = cython.declare(uint32_t, int(ConnFlag.SILENT_END))


class Connections:
    """At most ``cap`` live connections, of which at most ``half_open_cap`` never carried a byte."""

    def __init__(self, buffer, tables, streams, assembly, seed, cap=CAP, half_open_cap=HALF_OPEN_CAP):
        self.buffer = buffer
        self.tables = tables
        self.streams = streams
        self.assembly = assembly
        self.seed = seed
        self.cap = cap
        self.half_open_cap = min(half_open_cap, cap)
        self.all = np.zeros(cap, CONNECTION)  # zeroed lazily by the kernel: slots cost memory from their first use on
        self.index = np.zeros(1 << 12, np.uint64)
        self.listeners = np.zeros(2 * LISTENERS, np.uint64)
        self.free = -1
        for queue in range(QUEUES):
            self.head[queue] = -1
            self.tail[queue] = -1

    def finish(self, ended_ns: cython.longlong):
        """Ends everything that is still there, in order of its first packet."""
        slots = [(self.all[slot].number, slot) for slot in range(self.fresh) if self.all[slot].queue != UNUSED]
        for _, slot in sorted(slots):
            self.remove(slot, END_OPEN, ended_ns)

    def look(self, now_ns: cython.longlong):
        """Writes a row for every connection that is alive, as if it ended now, and forgets nothing."""
        slot: int32_t
        for slot in range(cython.cast(int32_t, self.fresh)):
            if self.all[slot].queue != UNUSED:
                self.row(slot, END_OPEN, now_ns)

    def find(self, frame):
        """Slot of the frame's connection, -1 when there is none; notes its hash and which end sent it."""
        a_high: uint64_t = frame.source_high
        a_low: uint64_t = frame.source_low
        b_high: uint64_t = frame.target_high
        b_low: uint64_t = frame.target_low
        a_port: uint64_t = frame.source_port
        b_port: uint64_t = frame.target_port
        other: uint64_t
        hashed: uint64_t
        found: uint64_t
        slot: int32_t
        if a_low > b_low or (a_low == b_low and (a_high > b_high or (a_high == b_high and a_port > b_port))):
            self.end = 1
            other = a_high
            a_high = b_high
            b_high = other
            other = a_low
            a_low = b_low
            b_low = other
            other = a_port
            a_port = b_port
            b_port = other
        else:
            self.end = 0
        hashed = (a_low ^ self.seed) * M1
        hashed = (hashed ^ (hashed >> 32) ^ b_low) * M2
        hashed = (hashed ^ (hashed >> 29) ^ ((a_port << 32) | (b_port << 16) | frame.proto)) * M1
        if a_high | b_high:
            hashed = ((hashed ^ a_high) * M2) ^ ((b_high ^ (hashed >> 31)) * M1)
        hashed ^= hashed >> 32
        self.hash = cython.cast(uint32_t, hashed)
        mask: cython.size_t = self.index.shape[0] - 1
        place: cython.size_t = self.hash & mask
        while True:
            found = self.index[place]
            if found == 0:
                return -1
            if cython.cast(uint32_t, found >> 32) == self.hash:
                slot = cython.cast(int32_t, cython.cast(uint32_t, found)) - 1
                if (
                    self.all[slot].low_low == a_low
                    and self.all[slot].high_low == b_low
                    and self.all[slot].low_port == a_port
                    and self.all[slot].high_port == b_port
                    and self.all[slot].low_high == a_high
                    and self.all[slot].high_high == b_high
                    and self.all[slot].proto == frame.proto
                ):
                    return slot
            place = (place + 1) & mask

    def create(self, frame, client_end, orientation):
        """A slot for the frame's connection, which find did not find."""
        slot: int32_t
        half: cython.size_t
        place: cython.size_t
        mask: cython.size_t
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
        if self.free >= 0:
            slot = self.free
            self.free = self.all[slot].following
        else:
            slot = cython.cast(int32_t, self.fresh)
            self.fresh += 1
        self.live += 1
        if cython.cast(cython.Py_ssize_t, 2) * self.live > self.index.shape[0]:
            with cython.gil:
                self._grow_index()
        self.opened += 1
        memset(cython.address(self.all[slot]), 0, cython.sizeof(Connection))
        half = cython.cast(cython.size_t, 2) * slot
        memset(cython.address(self.assembly.halves[half]), 0, cython.sizeof(Half))
        memset(cython.address(self.assembly.halves[half + 1]), 0, cython.sizeof(Half))
        self.assembly.halves[half].waiting = -1
        self.assembly.halves[half + 1].waiting = -1
        self.assembly.halves[half + client_end].flags = CLIENT
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
        mask = self.index.shape[0] - 1
        place = self.hash & mask
        while self.index[place]:
            place = (place + 1) & mask
        self.index[place] = (cython.cast(uint64_t, self.hash) << 32) | cython.cast(uint64_t, slot + 1)
        self._enqueue(slot, HALF_OPEN if tcp else DATAGRAMS)
        return slot

    def remove(self, slot, end, ended_ns):
        """Ends a connection: what waits is delivered, its row written, its slot free. end: used where the packets show none."""
        half: uint32_t = cython.cast(uint32_t, slot) * 2
        state: cython.int = self.all[slot].state
        if self.assembly.halves[half].waiting >= 0:
            self.assembly.drain(half)
        if self.assembly.halves[half + 1].waiting >= 0:
            self.assembly.drain(half + 1)
        if not self.ended(slot):
            pass
        elif self.all[slot].state & RESET:
            end = END_RST
        else:
            end = END_FIN
        if state & DELIVERING:
            self.streams.close(slot, self.all[slot].last_ns, end)
        self.row(slot, end, ended_ns)
        self._dequeue(slot)
        self._forget(slot)
        self.all[slot].queue = UNUSED
        self.all[slot].following = self.free
        self.free = slot
        self.live -= 1
        return 0

    def evict(self, queue):
        """Makes room: the oldest of a queue goes. Active ones that were heard of since they were queued get up to 64 second chances."""
        slot: int32_t = self.head[queue]
        chances: cython.int = 0
        if queue == HALF_OPEN:
            # No row: an attempt nobody answered is only a number once there are more of them than the table holds.
            self.half_open_evicted += 1
            self._dequeue(slot)
            self._forget(slot)
            self.all[slot].queue = UNUSED
            self.all[slot].following = self.free
            self.free = slot
            self.live -= 1
            return 0
        if queue != CLOSED:
            while chances < 64 and self.all[slot].last_ns > self.all[slot].queued_ns:
                self.requeue(slot, queue)
                slot = self.head[queue]
                chances += 1
            self.evicted += 1
        self.remove(slot, END_EVICTED, self.now_ns)
        return 0

    def sweep(self, now_ns):
        """Once a second of capture time: ends what was silent for too long."""
        queue: cython.int
        slot: int32_t
        period: int64_t
        self.now_ns = now_ns
        self.next_sweep_ns = now_ns + SECOND
        for queue in range(QUEUES):
            period = LINGER if queue == CLOSED else UDP_EXPIRY if queue == DATAGRAMS else TCP_EXPIRY
            while True:
                slot = self.head[queue]
                if slot < 0 or self.all[slot].queued_ns + period > now_ns:
                    break
                if self.all[slot].last_ns + period > now_ns:
                    self.requeue(slot, queue)
                else:
                    self.remove(slot, END_EXPIRED, self.all[slot].last_ns + period)
        return 0

    def requeue(self, slot, queue):
        self._dequeue(slot)
        self._enqueue(slot, queue)
        if queue == CLOSED and self.queued[CLOSED] > CLOSED_CAP:
            self.evict(CLOSED)
        return 0

    def ended(self, slot):
        """Whether the packets show an end: an RST, both FINs, or one where only one direction is in view."""
        half: cython.size_t = cython.cast(cython.size_t, slot) * 2
        one: cython.int = self.assembly.halves[half].flags & FIN_SEEN
        two: cython.int = self.assembly.halves[half + 1].flags & FIN_SEEN
        if self.all[slot].state & RESET or (one and two):
            return True
        if one or two:
            return self.assembly.halves[half].packets == 0 or self.assembly.halves[half + 1].packets == 0
        return False

    def client_end(self, slot):
        return 0 if self.assembly.halves[cython.cast(cython.size_t, slot) * 2].flags & CLIENT else 1

    def intern_ends(self, slot):
        if self.all[slot].low == 0:
            self.all[slot].low = self.tables.addresses.address(self.all[slot].low_high, self.all[slot].low_low)
            self.all[slot].high = self.tables.addresses.address(self.all[slot].high_high, self.all[slot].high_low)
        return 0

    def first_payload(self, slot, frame):
        """The connection counts from here on: its OPENED row, and Streams gets to know it."""
        half: cython.size_t = cython.cast(cython.size_t, slot) * 2
        client: cython.int = self.client_end(slot)
        row: cython.Py_ssize_t
        self.intern_ends(slot)
        self.all[slot].first_data_ns = frame.ts_ns
        self.all[slot].first_sender = 1 + self.end
        self.all[slot].state |= DELIVERING
        if self.all[slot].queue == HALF_OPEN:
            self.requeue(slot, ACTIVE)
        row = self.tables.add_opened()
        self.tables.opened[row].at_ns = frame.ts_ns
        self.tables.opened[row].conn = self.all[slot].number
        self.tables.opened[row].syn_ns = self.all[slot].syn_ns
        self.tables.opened[row].client = self.all[slot].high if client else self.all[slot].low
        self.tables.opened[row].server = self.all[slot].low if client else self.all[slot].high
        self.tables.opened[row].client_port = self.all[slot].high_port if client else self.all[slot].low_port
        self.tables.opened[row].server_port = self.all[slot].low_port if client else self.all[slot].high_port
        self.tables.opened[row].isn_c = self.assembly.halves[half + client].isn
        self.tables.opened[row].stack = self.all[slot].stack
        self.tables.opened[row].mss = self.all[slot].mss
        self.tables.opened[row].window = self.all[slot].window
        self.tables.opened[row].proto = self.all[slot].proto
        self.tables.opened[row].orientation = self.all[slot].orientation
        self.tables.opened[row].ttl_c = self.assembly.halves[half + client].ttl
        self.tables.opened[row].ttl_s = self.assembly.halves[half + (1 - client)].ttl
        self.tables.opened[row].interface = self.all[slot].interface
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

    def row(self, slot, end, ended_ns):
        """The CONNECTION row as of now. ended_ns closes the last silence where no end was seen."""
        low: cython.size_t = cython.cast(cython.size_t, slot) * 2
        client: cython.int = self.client_end(slot)
        c: cython.size_t = low + client
        s: cython.size_t = low + (1 - client)
        half: cython.size_t
        r: cython.Py_ssize_t
        flags: uint32_t = self.all[slot].flags
        if self.ended(slot):
            end = END_RST if self.all[slot].state & RESET else END_FIN
        self.intern_ends(slot)
        r = self.tables.add_connection()
        self.tables.connections[r].at_ns = self.all[slot].last_ns
        self.tables.connections[r].conn = self.all[slot].number
        self.tables.connections[r].opened_ns = self.all[slot].opened_ns
        self.tables.connections[r].first_data_ns = self.all[slot].first_data_ns
        self.tables.connections[r].last_ns = self.all[slot].last_ns
        self.tables.connections[r].bytes_c = self.assembly.halves[c].bytes
        self.tables.connections[r].bytes_s = self.assembly.halves[s].bytes
        self.tables.connections[r].connect_ns = self.all[slot].connect_ns
        self.tables.connections[r].ack_ns = self.all[slot].ack_ns
        self.tables.connections[r].idle_survived_ns = self.all[slot].survived
        if self.all[slot].before_end >= 0:
            self.tables.connections[r].idle_before_end_ns = self.all[slot].before_end
        elif ended_ns > self.all[slot].last_ns:
            self.tables.connections[r].idle_before_end_ns = ended_ns - self.all[slot].last_ns
        self.tables.connections[r].missing_bytes = self.assembly.halves[c].missing + self.assembly.halves[s].missing
        self.tables.connections[r].client = self.all[slot].high if client else self.all[slot].low
        self.tables.connections[r].server = self.all[slot].low if client else self.all[slot].high
        self.tables.connections[r].client_port = self.all[slot].high_port if client else self.all[slot].low_port
        self.tables.connections[r].server_port = self.all[slot].low_port if client else self.all[slot].high_port
        self.tables.connections[r].isn_c = self.assembly.halves[c].isn
        self.tables.connections[r].stack = self.all[slot].stack
        self.tables.connections[r].packets_c = self.assembly.halves[c].packets
        self.tables.connections[r].packets_s = self.assembly.halves[s].packets
        self.tables.connections[r].retransmits_c = self.assembly.halves[c].retransmits
        self.tables.connections[r].retransmits_s = self.assembly.halves[s].retransmits
        self.tables.connections[r].keepalive_probes = self.all[slot].probes
        self.tables.connections[r].tsval_c = self.all[slot].tsval
        self.tables.connections[r].duplicates = self.all[slot].duplicates
        self.tables.connections[r].mss = self.all[slot].mss
        self.tables.connections[r].window = self.all[slot].window
        self.tables.connections[r].resets_c = self.assembly.halves[c].resets
        self.tables.connections[r].resets_s = self.assembly.halves[s].resets
        self.tables.connections[r].interface = self.all[slot].interface
        self.tables.connections[r].vlan = self.all[slot].vlan
        self.tables.connections[r].proto = self.all[slot].proto
        self.tables.connections[r].orientation = self.all[slot].orientation
        self.tables.connections[r].end = end
        self.tables.connections[r].ttl_c = self.assembly.halves[c].ttl
        self.tables.connections[r].ttl_s = self.assembly.halves[s].ttl
        # Ends of the key are 1 and 2, so are client and server (Side): the same unless the client is the higher address.
        if self.all[slot].first_closer:
            self.tables.connections[r].first_closer = self.all[slot].first_closer ^ (3 if client else 0)
        if self.all[slot].first_sender:
            self.tables.connections[r].data_order = self.all[slot].first_sender ^ (3 if client else 0)
        if self.all[slot].state & DELIVERING:
            self.tables.connections[r].protocol7 = self.streams.protocol7(slot)
            self.tables.connections[r].requests = self.streams.requests(slot)
            self.tables.connections[r].responses = self.streams.responses(slot)
            flags |= self.streams.flags(slot)
        if self.assembly.halves[c].missing | self.assembly.halves[s].missing:
            flags |= FLAG_GAPS
        if self.assembly.halves[c].packets == 0 or self.assembly.halves[s].packets == 0:
            flags |= FLAG_ONE_DIRECTION
        for half in range(low, low + 2):
            if self.assembly.halves[half].flags & RESENT and (
                not self.assembly.halves[half].flags & ACKED
                or cython.cast(int32_t, self.assembly.halves[half].acked - self.assembly.halves[half].next) < 0
            ):
                flags |= FLAG_SILENT_END
        self.tables.connections[r].flags = flags
        return 0

    def prove_listener(self, slot):
        """Remembers that the server's address and port accept connections."""
        client: cython.int = self.client_end(slot)
        known: uint64_t
        mask: cython.size_t = self.listeners.shape[0] - 1
        place: cython.size_t
        if client:
            known = self._endpoint(self.all[slot].proto, self.all[slot].low_high, self.all[slot].low_low, self.all[slot].low_port)
        else:
            known = self._endpoint(
                self.all[slot].proto, self.all[slot].high_high, self.all[slot].high_low, self.all[slot].high_port
            )
        place = known & mask
        while self.listeners[place]:
            if self.listeners[place] == known:
                return 0
            place = (place + 1) & mask
        if self.listening < LISTENERS:
            self.listeners[place] = known
            self.listening += 1
        return 0

    def is_listener(self, proto, high, low, port):
        known: uint64_t = self._endpoint(proto, high, low, port)
        mask: cython.size_t = self.listeners.shape[0] - 1
        place: cython.size_t = known & mask
        while self.listeners[place]:
            if self.listeners[place] == known:
                return True
            place = (place + 1) & mask
        return False

    def _endpoint(self, proto, high, low, port):
        hashed: uint64_t = (high ^ self.seed) * M1
        hashed = (hashed ^ (hashed >> 32) ^ low) * M2
        hashed = (hashed ^ (hashed >> 29) ^ ((cython.cast(uint64_t, port) << 8) | cython.cast(uint64_t, proto))) * M1
        return (hashed ^ (hashed >> 32)) | 1

    def _enqueue(self, slot, queue):
        last: int32_t = self.tail[queue]
        self.all[slot].queue = queue
        # Queued at the latest time seen, not at the packet's: the queue has to be in order of time.
        self.all[slot].queued_ns = self.now_ns
        self.all[slot].previous = last
        self.all[slot].following = -1
        if last >= 0:
            self.all[last].following = slot
        else:
            self.head[queue] = slot
        self.tail[queue] = slot
        self.queued[queue] += 1
        return 0

    def _dequeue(self, slot):
        queue: cython.int = self.all[slot].queue
        before: int32_t = self.all[slot].previous
        after: int32_t = self.all[slot].following
        if before >= 0:
            self.all[before].following = after
        else:
            self.head[queue] = after
        if after >= 0:
            self.all[after].previous = before
        else:
            self.tail[queue] = before
        self.queued[queue] -= 1
        return 0

    def _forget(self, slot):
        """Takes a slot out of the index; entries behind it move up so that no search stops short (linear probing)."""
        mask: cython.size_t = self.index.shape[0] - 1
        place: cython.size_t = self.all[slot].hash & mask
        wanted: uint64_t = (cython.cast(uint64_t, self.all[slot].hash) << 32) | cython.cast(uint64_t, slot + 1)
        hole: cython.size_t
        home: cython.size_t
        while self.index[place] != wanted:
            if self.index[place] == 0:
                return 0
            place = (place + 1) & mask
        hole = place
        while True:
            place = (place + 1) & mask
            if self.index[place] == 0:
                break
            home = cython.cast(cython.size_t, self.index[place] >> 32) & mask
            if ((place - home) & mask) >= ((place - hole) & mask):
                self.index[hole] = self.index[place]
                hole = place
        self.index[hole] = 0
        return 0

    def _grow_index(self):
        old = np.asarray(self.index)
        self.index = np.zeros(2 * len(old), np.uint64)
        view: uint64_t[::1] = old
        mask: cython.size_t = self.index.shape[0] - 1
        place: cython.size_t
        entry: uint64_t
        i: cython.Py_ssize_t
        for i in range(view.shape[0]):
            entry = view[i]
            if entry:
                place = cython.cast(cython.size_t, entry >> 32) & mask
                while self.index[place]:
                    place = (place + 1) & mask
                self.index[place] = entry
        return 0
