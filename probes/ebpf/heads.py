"""Reads the ring into which plaintext.c puts heads (Documentation/bpf/ringbuf.rst); each goes straight to the decoder.

Nothing of it becomes a Python object: bytes are copied from the ring into the decoder's buffer, where values are hashed.
"""

import cython
import numpy as np
from cython.cimports.lbtop.probes.wire.assembly import CLIENT
from cython.cimports.lbtop.probes.wire.frame import PROTO_TCP
from cython.cimports.lbtop.probes.wire.slots import DELIVERING
from cython.cimports.lbtop.probes.wire.stream import REFUSED, SWAP
from cython.cimports.libc.stdint import int32_t, int64_t, uint64_t
from cython.cimports.libc.string import memcpy

BUSY = cython.declare(cython.uint, 1 << 31)
DISCARDED = cython.declare(cython.uint, 1 << 30)
RECORD_HEAD = cython.declare(cython.Py_ssize_t, 8)
CLOCKS_NS = cython.declare(int64_t, 50_000_000)  # a packet's time and an event's may differ by so much
BY_PAYLOAD = cython.declare(cython.int, 3)  # Orientation.PAYLOAD


class Heads:
    """``consumed`` and ``ring`` are the mappings of a ring of ``size`` bytes, ``page`` the size of a page."""

    def __init__(self, decoder, consumed, ring, size: cython.ulonglong, page: cython.Py_ssize_t):
        self.decoder = decoder
        self.buffer = decoder.buffer
        self.frame = self.decoder.frame
        self.owners = (consumed, ring)
        self.consumed = np.frombuffer(consumed, np.uint8)
        self.ring = np.frombuffer(ring, np.uint8)
        self.size = size
        self.page = page

    def drain(self, offset_ns: cython.longlong, until_ns: cython.longlong, everything: cython.bint):
        """Hands over the events up to ``until_ns`` of the monotonic clock; ``offset_ns`` later is the time of day.

        Stops early when enough rows wait, unless ``everything`` is wanted. How many there were.
        """
        with cython.nogil:
            done = self._drain(offset_ns, until_ns, everything)
        return done

    def release(self):
        """Lets go of the mappings, so that they can be unmapped."""
        self.consumed = np.zeros(8, np.uint8)
        self.ring = np.zeros(8, np.uint8)
        self.size = 0
        self.owners = None

    def _drain(self, offset_ns, until_ns, everything):
        event: Event
        done: cython.int = 0
        length: cython.uint
        position: cython.Py_ssize_t
        written: uint64_t
        if self.size == 0:
            return 0
        written = self._u64(0)
        barrier()
        while self.at < written:
            position = self.page + cython.cast(cython.Py_ssize_t, self.at & (self.size - 1))
            length = cython.cast(cython.uint, self._u64(position))
            if length & BUSY:
                break
            barrier()
            if length & DISCARDED == 0:
                if length < cython.sizeof(Event) or position + RECORD_HEAD + length > self.ring.shape[0]:
                    self.damaged += 1
                else:
                    # Both ends are checked: by the test above and by the size of the ring.
                    memcpy(cython.address(event), cython.address(self.ring[position + RECORD_HEAD]), cython.sizeof(Event))
                    if cython.cast(int64_t, event.at_ns) > until_ns:
                        break
                    if cython.sizeof(Event) + event.size > length:
                        self.damaged += 1
                    else:
                        self._event(
                            cython.address(event),
                            position + RECORD_HEAD + cython.sizeof(Event),
                            cython.cast(int64_t, event.at_ns) + offset_ns,
                        )
                    done += 1
            self.at += (RECORD_HEAD + (length & ~(BUSY | DISCARDED)) + 7) & ~cython.cast(uint64_t, 7)
            barrier()
            memcpy(cython.address(self.consumed[0]), cython.address(self.at), 8)
            if not everything and self.decoder.tables.rows >= self.decoder.tables.limit:
                break
        return done

    def _event(self, event, data, when):
        slot: int32_t
        h: cython.size_t
        answer: cython.int
        number: uint64_t
        self.taken += 1
        self.frame.source_high = event.remote_high
        self.frame.source_low = event.remote_low
        self.frame.target_high = event.local_high
        self.frame.target_low = event.local_low
        self.frame.source_port = event.remote_port
        self.frame.target_port = event.local_port
        if event.written:
            self.frame.source_high = event.local_high
            self.frame.source_low = event.local_low
            self.frame.target_high = event.remote_high
            self.frame.target_low = event.remote_low
            self.frame.source_port = event.local_port
            self.frame.target_port = event.remote_port
        self.frame.proto = PROTO_TCP
        slot = self.decoder.connections.find(self.frame)
        if slot < 0 or not self.decoder.connections.all[slot].state & DELIVERING:
            self.unknown += 1
            return 0
        if when + CLOCKS_NS < self.decoder.connections.all[slot].opened_ns:
            self.unknown += 1  # of an older connection with the same ports
            return 0
        if event.size > self.buffer.area_size:
            self.damaged += 1
            return 0
        h = cython.cast(cython.size_t, slot) * 2 + self.decoder.connections.end
        if event.size:
            memcpy(cython.address(self.buffer.u8[self.buffer.area]), cython.address(self.ring[data]), event.size)
        number = event.passed
        answer = self.decoder.streams.inside(
            slot,
            0 if self.decoder.assembly.halves[h].flags & CLIENT else 1,
            number,
            self.buffer.area,
            event.size,
            when,
            event.flags & EVENT_WHOLE != 0,
            event.flags & EVENT_LOST != 0,
        )
        if answer == REFUSED:
            self.refused += 1
        elif answer & SWAP:
            self.decoder.assembly.halves[h].flags ^= CLIENT
            self.decoder.assembly.halves[h ^ 1].flags ^= CLIENT
            if self.decoder.connections.all[slot].orientation < BY_PAYLOAD:
                self.decoder.connections.all[slot].orientation = BY_PAYLOAD
                self.decoder.connections.prove_listener(slot)
        return 0

    def _u64(self, at):
        word: uint64_t = 0
        # Both ends are checked.
        if at >= 0 and at + 8 <= self.ring.shape[0]:
            memcpy(cython.address(word), cython.address(self.ring[at]), 8)
        return word
