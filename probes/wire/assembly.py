"""Puts the bytes of each direction in order, and hands them on exactly once.

Segments that come early wait in slots of the buffer, sorted. A hole is given up when waiting cannot help: the other end
acknowledged what the capture has not got, too much waits behind it, or the connection is over. What then still arrives of it is
counted as late, not as sent again. Sequence numbers wrap: only differences are compared (RFC 9293 section 3.4).
"""

import cython
import numpy as np
from cython.cimports.lbtop.probes.wire.stream import OPAQUE_CLIENT, OPAQUE_SERVER, SWAP
from cython.cimports.libc.stdint import int32_t, uint32_t
from cython.cimports.libc.string import memset
from lbtop.probes.wire.memory import lines

HALF = np.dtype(
    [("silence", "i8"), ("bytes", "u8"), ("next", "u4"), ("acked", "u4"), ("data_end", "u4"), ("data_ack", "u4"),
     ("isn", "u4"), ("fin", "u4"), ("packets", "u4"), ("retransmits", "u4"), ("probes", "u4"), ("held", "u4"),
     ("waiting", "i4"), ("resets", "u2"), ("ttl", "u1"), ("flags", "u1")], align=True)  # fmt: skip
HOLE = np.dtype(
    [("since", "i8"), ("missing", "u8"), ("begin", "u4"), ("end", "u4"), ("ranges", "u4"), ("used", "u4")],
    align=True)  # fmt: skip
RANGE = np.dtype(
    [("ts_ns", "i8"), ("offset", "i8"), ("seq", "u4"), ("length", "u4"), ("captured", "u4"), ("next", "i4")],
    align=True)  # fmt: skip

MOST_RANGES = 1 << 16
HELD_BYTES = cython.declare(cython.Py_ssize_t, 256 << 10)
"""Early bytes of one direction that wait for a hole to be filled: a large receive window on a local path."""
HELD_RANGES = cython.declare(cython.int, 256)
SLOT = cython.declare(cython.Py_ssize_t, 65536)


class Assembly:
    """Both directions of ``slots`` connections."""

    def __init__(self, buffer, streams, slots):
        self.buffer = buffer
        self.streams = streams
        self.halves = lines(2 * slots, HALF)
        self.holes = lines(2 * slots, HOLE)
        self.ranges = np.zeros(MOST_RANGES, RANGE)
        self.free_range = -1
        self.fresh_range = 0

    def clear(self, slot):
        half: cython.size_t = cython.cast(cython.size_t, slot) * 2
        memset(cython.address(self.halves[half]), 0, 2 * cython.sizeof(Half))
        self.halves[half + 1].waiting = -1
        self.halves[half].waiting = -1
        if self.holes[half].used or self.holes[half + 1].used:
            memset(cython.address(self.holes[half]), 0, 2 * cython.sizeof(Hole))
        return 0

    def accept(self, h, seq, offset, captured, length, ts_ns):
        half: cython.pointer(Half) = cython.address(self.halves[h])
        gap: cython.Py_ssize_t = cython.cast(int32_t, seq - half.next)
        learned: cython.int
        self.repeated = False
        if gap > 0:
            self.repeated = self.keep(h, seq, offset, captured, length, ts_ns) == 0
            learned = 0
            while half.held > HELD_BYTES or self.holes[h].ranges > HELD_RANGES:
                learned |= self.give_up(h)
            return learned
        if gap < 0:
            self.late(h, seq, -gap)
            length += gap
            offset -= gap
            captured += gap
            if captured < 0:
                captured = 0
        half.next += cython.cast(uint32_t, length)
        learned = self.hand_over(h, offset, captured, length, ts_ns)
        if half.waiting >= 0:
            learned |= self._advance(h)
        return learned

    def give_up(self, h):
        first: cython.int = self.halves[h].waiting
        if first < 0:
            return 0
        begin: uint32_t = self.halves[h].next
        end: uint32_t = self.ranges[first].seq
        missing: uint32_t = end - begin
        learned: cython.int = 0
        self.holes[h].missing += missing
        self.holes[h].begin = begin
        self.holes[h].end = end
        self.halves[h].next = end
        self.given_up += 1
        if not self.halves[h].flags & OPAQUE:
            learned = self._learn(
                h, self.streams.skip(h >> 1, 0 if self.halves[h].flags & CLIENT else 1, missing, self.ranges[first].ts_ns)
            )
        return learned | self._advance(h)

    def drain(self, h):
        learned: cython.int = 0
        while self.halves[h].waiting >= 0:
            learned |= self.give_up(h)
        return learned

    def end(self, h, known):
        """The connection is over: what was acknowledged of a half, or lies before its FIN, and never came is a hole at its end.

        ``known``: whether Streams has heard of the connection.
        """
        half: cython.pointer(Half) = cython.address(self.halves[h])
        missing: int32_t = 0
        if half.flags & FIN_SEEN:
            missing = cython.cast(int32_t, half.fin - half.next)
        elif half.flags & STARTED and half.flags & ACKED:
            # The last number may be that of a FIN which is not in view.
            missing = cython.cast(int32_t, half.acked - half.next - 1)
        if missing > 0:
            self.holes[h].missing += missing
            self.holes[h].used = 1
            self.given_up += 1
            if known:
                self.streams.miss(h >> 1, 0 if half.flags & CLIENT else 1, missing)
        return 0

    def late(self, h, seq, length):
        begin: cython.Py_ssize_t = cython.cast(int32_t, seq - self.holes[h].begin)
        hole: cython.Py_ssize_t = self.holes[h].end - self.holes[h].begin
        end: cython.Py_ssize_t = begin + length
        if hole == 0 or begin >= hole or end <= 0:
            return 0
        if begin < 0:
            begin = 0
        if end > hole:
            end = hole
        self.halves[h].bytes += end - begin
        self.holes[h].missing -= end - begin
        # Of a hole that is filled in its middle the larger part stays known.
        if begin > hole - end:
            self.holes[h].end = self.holes[h].begin + cython.cast(uint32_t, begin)
        else:
            self.holes[h].begin += cython.cast(uint32_t, end)
        return end - begin

    def keep(self, h, seq, offset, captured, length, ts_ns):
        """Inserts an early segment where it belongs, without what waits there already. The bytes that came first stay."""
        before: cython.int = -1
        at: cython.int = self.halves[h].waiting
        gap: cython.Py_ssize_t
        part: cython.Py_ssize_t
        fresh: cython.int
        slot: cython.Py_ssize_t
        new: cython.Py_ssize_t = 0
        while length > 0:
            while at >= 0:
                gap = cython.cast(int32_t, self.ranges[at].seq - seq)
                if gap > 0:
                    break
                # The range begins at or before the segment: whatever of the segment it covers is known.
                gap += self.ranges[at].length
                if gap > 0:
                    if gap >= length:
                        return new
                    seq += cython.cast(uint32_t, gap)
                    offset += gap
                    length -= gap
                    captured = captured - gap if captured > gap else 0
                before = at
                at = self.ranges[at].next
            part = length
            if at >= 0:
                gap = cython.cast(int32_t, self.ranges[at].seq - seq)
                if gap < part:
                    part = gap
            new += part
            if (
                self.halves[h].flags & OPAQUE
                and before >= 0
                and self.ranges[before].captured == 0
                and self.ranges[before].seq + self.ranges[before].length == seq
            ):
                self.ranges[before].length += cython.cast(uint32_t, part)
                seq += cython.cast(uint32_t, part)
                offset += part
                length -= part
                continue
            fresh = self.free_range
            if fresh >= 0:
                self.free_range = self.ranges[fresh].next
            elif self.fresh_range < self.ranges.shape[0]:
                fresh = self.fresh_range
                self.fresh_range += 1
            else:
                # No room: what is not kept counts as lost.
                self.full = True
                return new + length
            slot = -1
            gap = part if part < captured else captured
            if gap > SLOT:
                gap = SLOT
            if gap > 0 and not self.halves[h].flags & OPAQUE:
                slot = self.buffer.take(gap)
                if slot < 0:
                    self.full = True
                else:
                    self.buffer.copy(slot, offset, gap)
            if slot < 0:
                gap = 0
            self.ranges[fresh].ts_ns = ts_ns
            self.ranges[fresh].offset = slot
            self.ranges[fresh].seq = seq
            self.ranges[fresh].length = cython.cast(uint32_t, part)
            self.ranges[fresh].captured = cython.cast(uint32_t, gap)
            self.ranges[fresh].next = at
            if before >= 0:
                self.ranges[before].next = fresh
            else:
                if at < 0:
                    self.holes[h].since = ts_ns
                self.halves[h].waiting = fresh
            self.holes[h].ranges += 1
            self.holes[h].used = 1
            self.halves[h].held += cython.cast(uint32_t, gap)
            before = fresh
            seq += cython.cast(uint32_t, part)
            offset += part
            length -= part
            captured = captured - part if captured > part else 0
        return new

    def hand_over(self, h, offset, captured, length, ts_ns):
        learned: cython.int = 0
        half: cython.pointer(Half) = cython.address(self.halves[h])
        half.bytes += length
        if captured > 0 and not half.flags & OPAQUE:
            learned = self.streams.deliver(h >> 1, 0 if half.flags & CLIENT else 1, offset, captured, ts_ns)
            if learned:
                self._learn(h, learned)
        if captured < length and not half.flags & OPAQUE:
            learned |= self._learn(
                h, self.streams.skip(h >> 1, 0 if half.flags & CLIENT else 1, length - captured, ts_ns)
            )
        return learned

    def _advance(self, h):
        """Delivers the early ranges whose turn has come."""
        at: cython.int
        gap: cython.Py_ssize_t
        length: cython.Py_ssize_t
        captured: cython.Py_ssize_t
        offset: cython.Py_ssize_t
        learned: cython.int = 0
        while True:
            at = self.halves[h].waiting
            if at < 0:
                break
            gap = cython.cast(int32_t, self.ranges[at].seq - self.halves[h].next)
            if gap > 0:
                self.holes[h].since = self.ranges[at].ts_ns
                break
            length = cython.cast(cython.Py_ssize_t, self.ranges[at].length) + gap
            captured = cython.cast(cython.Py_ssize_t, self.ranges[at].captured) + gap
            offset = self.ranges[at].offset
            self.halves[h].waiting = self.ranges[at].next
            self.holes[h].ranges -= 1
            self.halves[h].held -= self.ranges[at].captured
            self.ranges[at].next = self.free_range
            self.free_range = at
            if length > 0:
                self.halves[h].next += cython.cast(uint32_t, length)
                learned |= self.hand_over(h, offset - gap, captured if captured > 0 else 0, length, self.ranges[at].ts_ns)
            if offset >= 0:
                self.buffer.give(offset)
        return learned

    def _learn(self, h, learned):
        if learned & SWAP:
            self.halves[h].flags ^= CLIENT
            self.halves[h ^ 1].flags ^= CLIENT
        if learned & OPAQUE_CLIENT:
            self.halves[h if self.halves[h].flags & CLIENT else h ^ 1].flags |= OPAQUE
        if learned & OPAQUE_SERVER:
            self.halves[h ^ 1 if self.halves[h].flags & CLIENT else h].flags |= OPAQUE
        return learned
