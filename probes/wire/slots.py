"""Slots of connections: found by five-tuple, queued by when they were last looked at."""

import cython
import numpy as np
from cython.cimports.lbtop.probes.wire.buffer import multiplied
from cython.cimports.libc.stdint import int32_t, uint32_t, uint64_t
from lbtop.probes.wire.memory import lines

CONNECTION = np.dtype(
    [("low_high", "u8"), ("low_low", "u8"), ("high_high", "u8"), ("high_low", "u8"),
     ("last_ns", "i8"), ("silence", "i8"), ("last_silence", "i8"), ("longest", "i8"),
     ("low_port", "u2"), ("high_port", "u2"), ("proto", "u1"), ("queue", "u1"), ("state", "u1"), ("orientation", "u1"),
     ("first_closer", "u1"), ("first_sender", "u1"), ("last_sender", "u1"), ("pad", "u1"), ("flags", "u4"),
     ("ack_ns", "i8"), ("first_data_ns", "i8"), ("survived", "i8"), ("queued_ns", "i8"),
     ("hash", "u4"), ("previous", "i4"), ("following", "i4"), ("interface", "u2"), ("vlan", "u2"),
     ("number", "u8"), ("opened_ns", "i8"), ("syn_ns", "i8"), ("synack_ns", "i8"), ("before_end", "i8"),
     ("low", "u4"), ("high", "u4"), ("stack", "u4"), ("duplicates", "u4"), ("tsval", "u4"), ("mss", "u2"), ("window", "u2")],
    align=True)  # fmt: skip

M1 = cython.declare(uint64_t, 0x9E3779B97F4A7C15)


class Slots:
    """Room for ``cap`` connections, of which only those ever used cost memory. ``seed`` keeps hashes unpredictable."""

    def __init__(self, cap, seed):
        self.cap = cap
        self.seed = seed
        self.port_seed = multiplied(seed, M1)
        self.all = lines(cap, CONNECTION)
        self.index = np.zeros(1 << 12, np.uint64)
        self.free = -1
        for queue in range(QUEUES):
            self.head[queue] = -1
            self.tail[queue] = -1

    def find(self, frame):
        """Slot of the frame's connection, -1 when there is none; notes its hash and which end sent it."""
        source: uint64_t = frame.source_low
        target: uint64_t = frame.target_low
        hashed: uint64_t
        found: uint64_t
        straight: uint64_t
        crossed: uint64_t
        slot: int32_t
        conn: cython.pointer(Connection)
        # Products are the same for both directions. Every field meets the seed, or a capture could choose what collides.
        hashed = multiplied(self.seed ^ source, self.seed ^ target)
        hashed ^= multiplied(self.port_seed ^ frame.source_port, self.port_seed ^ frame.target_port)
        if frame.source_high | frame.target_high:
            hashed ^= multiplied(self.port_seed ^ frame.source_high, self.port_seed ^ frame.target_high)
        self.hash = cython.cast(uint32_t, hashed ^ frame.proto)
        mask: cython.size_t = self.index.shape[0] - 1
        place: cython.size_t = self.hash & mask
        while True:
            found = self.index[place]
            if found == 0:
                # The lower end comes first.
                self.end = source > target or (
                    source == target
                    and (
                        frame.source_high > frame.target_high
                        or (frame.source_high == frame.target_high and frame.source_port > frame.target_port)
                    )
                )
                return -1
            if cython.cast(uint32_t, found >> 32) == self.hash:
                slot = cython.cast(int32_t, cython.cast(uint32_t, found)) - 1
                conn = cython.address(self.all[slot])
                # Without a branch between the two: directions take turns in no order that a processor could learn.
                straight = differ(conn.low_high, conn.low_low, conn.low_port, frame.source_high, source, frame.source_port)
                straight |= differ(conn.high_high, conn.high_low, conn.high_port, frame.target_high, target, frame.target_port)
                crossed = differ(conn.high_high, conn.high_low, conn.high_port, frame.source_high, source, frame.source_port)
                crossed |= differ(conn.low_high, conn.low_low, conn.low_port, frame.target_high, target, frame.target_port)
                if (straight == 0 or crossed == 0) and conn.proto == frame.proto:
                    self.end = straight != 0
                    return slot
            place = (place + 1) & mask

    def reserve(self, hashed):
        """A free slot, entered in the index under the hash that find noted."""
        slot: int32_t
        place: cython.size_t
        mask: cython.size_t
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
        mask = self.index.shape[0] - 1
        place = hashed & mask
        while self.index[place]:
            place = (place + 1) & mask
        self.index[place] = (cython.cast(uint64_t, hashed) << 32) | cython.cast(uint64_t, slot + 1)
        return slot

    def release(self, slot):
        """Gives a slot back."""
        self._dequeue(slot)
        self._forget(slot)
        self.all[slot].queue = UNUSED
        self.all[slot].following = self.free
        self.free = slot
        self.live -= 1
        return 0

    def requeue(self, slot, queue):
        """Moves a slot to the end of a queue."""
        self._dequeue(slot)
        self.enqueue(slot, queue)
        return 0

    def enqueue(self, slot, queue):
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
