"""Walks the records of capture files in place and gives each packet to the decoder, several files merged by time.

Formats: pcap (draft-ietf-opsawg-pcap) and pcapng (draft-ietf-opsawg-pcapng). What is rare (section headers, interface
descriptions, statistics, keys) is left to Python code: the walk stops in front of such a block.
"""

import cython
import numpy as np
from cython.cimports.lbtop.probes.wire.buffer import Octets, span, swap16, swap32, word32
from cython.cimports.libc.stdint import int64_t, uint32_t, uint64_t
from lbtop.probes.files.comments import Comments

INPUT = np.dtype(
    [("ts_ns", "i8"), ("area", "i8"), ("position", "i8"), ("end", "i8"), ("data", "i8"), ("captured", "i8"),
     ("wire", "i8"), ("following", "i8"), ("skip", "u8"), ("before", "u8"), ("fraction_ns", "i8"), ("linktype", "i4"),
     ("interface", "u4"), ("first_interface", "u4"), ("interfaces", "u4"), ("format", "u1"), ("swapped", "u1"),
     ("looked", "u1"), ("active", "u1"), ("reader", "i4"), ("extra", "u4"),
     ("options", "i8"), ("options_end", "i8")], align=True)  # fmt: skip
INTERFACE = np.dtype(
    [("offset_ns", "i8"), ("factor", "i8"), ("linktype", "i4"), ("snaplen", "u4"), ("kind", "u4"), ("host_side", "u4")],
    align=True)  # fmt: skip

BILLION = cython.declare(int64_t, 1_000_000_000)
LARGEST = cython.declare(uint32_t, 128 << 20)
"""No link type allows larger packets: a greater length is damage, and nothing after it can be trusted."""
LONGEST_BLOCK = cython.declare(uint32_t, 1 << 28)
UNKNOWN_LINK = cython.declare(cython.int, -2)
PAST_END = cython.declare(int64_t, 60_000_000_000)
FOREVER = cython.declare(int64_t, 0x7FFFFFFFFFFFFFFF)
MOST_REFILLS = cython.declare(cython.int, 128)
"""Chunks after which the walk comes back although few rows wait."""

SECTION = cython.declare(uint32_t, 0x0A0D0D0A)
DESCRIPTION = cython.declare(uint32_t, 1)
OLD_PACKET = cython.declare(uint32_t, 2)
SIMPLE_PACKET = cython.declare(uint32_t, 3)
STATISTICS = cython.declare(uint32_t, 5)
ENHANCED_PACKET = cython.declare(uint32_t, 6)
SECRETS = cython.declare(uint32_t, 10)


class Records:
    """``count`` inputs, of which those that are active each fill a read area of the decoder's buffer, or are read ahead."""

    def __init__(self, decoder, count, readers):
        self.decoder = decoder
        self.buffer = decoder.buffer
        self.readers = readers
        self.comments = Comments(decoder)
        self.inputs = np.zeros(count, INPUT)
        self.interfaces = np.zeros(64, INTERFACE)
        self.count = count
        self.since_ns = -FOREVER
        self.until_ns = FOREVER
        self.activate_ns = FOREVER

    def walk(self):
        """Decodes until something is needed; one of DONE, BATCH, NEED, BLOCK, DAMAGED, ACTIVATE, with ``which`` set."""
        code: cython.int
        self.refills = 0
        with cython.nogil:
            code = self._walk()
        return code

    def activate(
        self,
        i: cython.uint,
        area: cython.Py_ssize_t,
        position: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
        format: cython.int,
        swapped: cython.bint,
        fraction_ns: cython.longlong = 0,
        linktype: cython.int = 0,
        extra: cython.uint = 0,
        reader: cython.int = -1,
    ):
        """Starts input ``i``: bytes [position, end) of the buffer are its first, behind the file header for pcap.

        ``reader``: the number under which it is read ahead.
        """
        self.inputs[i].area = area
        self.inputs[i].position = position
        self.inputs[i].end = end
        self.inputs[i].format = format
        self.inputs[i].swapped = swapped
        self.inputs[i].fraction_ns = fraction_ns
        self.inputs[i].linktype = linktype
        self.inputs[i].extra = extra
        self.inputs[i].reader = reader
        self.inputs[i].active = 1
        self.inputs[i].looked = 0

    def room(self, i: cython.uint):
        """Moves what input ``i`` has not consumed to the front of its area; (offset, length) of the free space behind."""
        area: cython.Py_ssize_t = self.inputs[i].area
        kept: cython.Py_ssize_t = self.inputs[i].end - self.inputs[i].position
        self.buffer.copy(area, self.inputs[i].position, kept)
        self.inputs[i].before += self.inputs[i].position - area
        self.inputs[i].position = area
        self.inputs[i].end = area + kept
        self.inputs[i].looked = 0
        return area + kept, self.buffer.area_size - kept

    def extend(self, i: cython.uint, size: cython.Py_ssize_t):
        """``size`` more bytes were read into the free space."""
        self.inputs[i].end += size

    def close(self, i: cython.uint):
        """Input ``i`` is at its end: the byte at which an incomplete record begins, None when it ended with a whole one."""
        left: cython.Py_ssize_t = self.inputs[i].end - self.inputs[i].position
        self.inputs[i].active = 0
        if left or self.inputs[i].skip:
            return self.inputs[i].before + (self.inputs[i].position - self.inputs[i].area)
        return None

    def position(self, i: cython.uint):
        """Bytes of input ``i`` consumed so far."""
        return self.inputs[i].before + (self.inputs[i].position - self.inputs[i].area)

    def block(self, i: cython.uint):
        """The pcapng block that input ``i`` stands at, whole, as bytes; moves behind it."""
        begin: cython.Py_ssize_t = self.inputs[i].position
        found = bytes(self.buffer.array[begin : self.inputs[i].following])
        self.inputs[i].position = self.inputs[i].following
        self.inputs[i].looked = 0
        return found

    def begin_section(self, i: cython.uint, swapped: cython.bint):
        """A pcapng section begins: interfaces are numbered afresh."""
        self.inputs[i].swapped = swapped
        self.inputs[i].first_interface = self.interfaces_used
        self.inputs[i].interfaces = 0

    def add_interface(
        self,
        i: cython.uint,
        linktype: cython.int,
        snaplen: cython.uint,
        kind: cython.uint,
        factor: cython.longlong,
        offset_ns: cython.longlong,
        host_side: cython.bint = False,
    ):
        """The next interface of input ``i``'s section. False when there are too many."""
        at: uint32_t = self.inputs[i].first_interface + self.inputs[i].interfaces
        if at >= 1 << 16:
            return False
        # Sections of several files take turns here: a section whose neighbours are taken moves to the end of the table.
        if at != self.interfaces_used:
            old = np.asarray(self.interfaces)[self.inputs[i].first_interface : at].copy()
            self._reserve(self.interfaces_used + len(old) + 1)
            np.asarray(self.interfaces)[self.interfaces_used : self.interfaces_used + len(old)] = old
            self.inputs[i].first_interface = self.interfaces_used
            at = self.interfaces_used + len(old)
        self._reserve(at + 1)
        self.interfaces[at].linktype = linktype
        self.interfaces[at].snaplen = snaplen
        self.interfaces[at].kind = kind
        self.interfaces[at].factor = factor
        self.interfaces[at].offset_ns = offset_ns
        self.interfaces[at].host_side = host_side
        self.inputs[i].interfaces += 1
        self.interfaces_used = at + 1
        return True

    def _reserve(self, size):
        if size > self.interfaces.shape[0]:
            grown = np.zeros(2 * size, INTERFACE)
            grown[: self.interfaces.shape[0]] = np.asarray(self.interfaces)
            self.interfaces = grown

    def _walk(self):
        return self._alone(cython.address(self.inputs[0])) if self.count == 1 else self._merged()

    def _alone(self, entry):
        """Walks the only input."""
        code: cython.int
        while entry.active:
            code = self._look_pcap(entry) if entry.format == PCAP and entry.skip == 0 else self._look(entry)
            if code == DONE:
                if self._take(entry, 0) == BATCH:
                    return BATCH
            elif code == NEED and entry.reader >= 0 and self._refill(entry):
                if self.refills > MOST_REFILLS:
                    return BATCH
            elif code != AGAIN:
                self.which = 0
                return code
        return DONE

    def _merged(self):
        """Walks several inputs in order of time."""
        i: uint32_t
        best: uint32_t
        code: cython.int
        ts_ns: int64_t
        entry: cython.pointer(Input)
        chosen: cython.pointer(Input) = cython.address(self.inputs[0])
        while True:
            best = self.count
            ts_ns = FOREVER
            for i in range(self.count):
                entry = cython.address(self.inputs[i])
                if not entry.active:
                    continue
                if not entry.looked:
                    code = self._look(entry)
                    while code == NEED and entry.reader >= 0 and self._refill(entry):
                        if self.refills > MOST_REFILLS:
                            return BATCH
                        code = self._look(entry)
                    if code != DONE:
                        self.which = i
                        return code
                    entry.looked = 1
                if best == self.count or entry.ts_ns < ts_ns:
                    best = i
                    chosen = entry
                    ts_ns = entry.ts_ns
            if ts_ns >= self.activate_ns and self.activate_ns != FOREVER:
                return ACTIVATE
            if best == self.count:
                return DONE
            if self._take(chosen, best) == BATCH:
                return BATCH

    def _take(self, entry, origin):
        """Gives the record at hand to the decoder; BATCH when enough rows wait, else DONE."""
        entry.position = entry.following
        entry.looked = 0
        if self.since_ns <= entry.ts_ns < self.until_ns:
            self.decoder.origin = origin
            self.decoder.take(entry.linktype, entry.interface, entry.ts_ns, entry.data, entry.captured, entry.wire)
            if entry.options:
                self.comments.take(entry.linktype, entry.options, entry.options_end, entry.swapped, self._host_side(entry))
            if self.decoder.tables.seq >= self.decoder.tables.due:
                return BATCH
        elif entry.ts_ns - PAST_END > self.until_ns:
            # Far behind the end: packets are out of order by less than this.
            entry.active = 0
        return DONE

    def _look(self, entry):
        """Finds the next record of an input; DONE when there is one."""
        code: cython.int = AGAIN
        left: cython.Py_ssize_t
        while code == AGAIN:
            if entry.skip:
                left = entry.end - entry.position
                if cython.cast(uint64_t, left) < entry.skip:
                    entry.skip -= left
                    entry.position = entry.end
                    return NEED
                entry.position += cython.cast(cython.Py_ssize_t, entry.skip)
                entry.skip = 0
            code = self._look_pcap(entry) if entry.format == PCAP else self._look_pcapng(entry)
        return code

    def _refill(self, entry):
        """The next chunk of an input that is read ahead, behind what is left of the last one. False at its end."""
        begin: cython.Py_ssize_t = 0
        left: cython.Py_ssize_t = entry.end - entry.position
        size: cython.Py_ssize_t = self.readers.next(entry.reader, cython.address(begin))
        if size == 0:
            return False
        # An incomplete record is smaller than an area, and that is what is kept free in front of a chunk.
        self.buffer.copy(begin - left, entry.position, left)
        self.readers.release(entry.reader)
        entry.before += entry.position - entry.area
        entry.position = begin - left
        entry.area = entry.position
        entry.end = begin + size
        self.refills += 1
        return True

    def _look_pcap(self, entry):
        at: cython.Py_ssize_t = entry.position
        left: cython.Py_ssize_t = entry.end - at
        header: cython.Py_ssize_t = 16 + cython.cast(cython.Py_ssize_t, entry.extra)
        swapped: cython.bint = entry.swapped
        captured: uint32_t
        wire: uint32_t
        seconds: uint32_t
        fraction: uint32_t
        octets: Octets
        if left < header:
            return NEED
        octets = span(self.buffer, at, 16)
        seconds = word32(octets)
        fraction = word32(octets + 4)
        captured = word32(octets + 8)
        wire = word32(octets + 12)
        if swapped:
            seconds, fraction, captured, wire = swap32(seconds), swap32(fraction), swap32(captured), swap32(wire)
        if captured > LARGEST:
            return DAMAGED
        if header + captured > self.buffer.area_size:
            self.oversized += 1
            entry.skip = header + captured
            return AGAIN
        if left < header + captured:
            return NEED
        entry.ts_ns = seconds * BILLION + fraction * entry.fraction_ns
        entry.data = at + header
        entry.captured = captured
        entry.wire = wire if wire > captured else captured
        entry.following = at + header + captured
        fetch_ahead(octets, header + captured)
        return DONE

    def _look_pcapng(self, entry):
        at: cython.Py_ssize_t
        left: cython.Py_ssize_t
        kind: uint32_t
        length: uint32_t
        captured: uint32_t
        wire: uint32_t
        interface: uint32_t
        header: cython.Py_ssize_t
        units: uint64_t
        while True:
            at = entry.position
            left = entry.end - at
            if left < 12:
                return NEED
            kind = field(self.buffer, at, entry.swapped)
            if kind == SECTION:
                # A section chooses its own byte order.
                entry.swapped = self.buffer.u32[at + 8] != cython.cast(uint32_t, 0x1A2B3C4D)
            length = field(self.buffer, at + 4, entry.swapped)
            if length < 12 or length > LONGEST_BLOCK:
                return DAMAGED
            length = (length + 3) & ~cython.cast(uint32_t, 3)
            if length > self.buffer.area_size:
                if kind in (ENHANCED_PACKET, OLD_PACKET, SIMPLE_PACKET):
                    self.oversized += 1
                entry.skip = length
                return AGAIN
            if left < length:
                return NEED
            entry.following = at + length
            if kind in (ENHANCED_PACKET, OLD_PACKET):
                header = 28
                if length < 32:
                    return DAMAGED
                if kind == ENHANCED_PACKET:
                    interface = field(self.buffer, at + 8, entry.swapped)
                else:
                    interface = swap16(self.buffer.u16[at + 8]) if entry.swapped else self.buffer.u16[at + 8]
                units = (cython.cast(uint64_t, field(self.buffer, at + 12, entry.swapped)) << 32) | field(
                    self.buffer, at + 16, entry.swapped
                )
                captured = field(self.buffer, at + 20, entry.swapped)
                wire = field(self.buffer, at + 24, entry.swapped)
            elif kind == SIMPLE_PACKET:
                header = 12
                if length < 16:
                    return DAMAGED
                interface = 0
                units = 0
                wire = field(self.buffer, at + 8, entry.swapped)
                captured = wire
                if entry.interfaces:
                    captured = self.interfaces[entry.first_interface].snaplen
                    if captured == 0 or captured > wire:
                        captured = wire
            elif kind in (SECTION, DESCRIPTION, STATISTICS, SECRETS):
                return BLOCK
            else:
                entry.position = at + length
                continue
            entry.options = 0
            if kind != SIMPLE_PACKET and captured < length - 4 - header:
                entry.options = at + header + ((captured + 3) & ~cython.cast(uint32_t, 3))
                entry.options_end = at + length - 4
                if entry.options_end - entry.options < 8:
                    entry.options = 0
            if captured > length - 4 - header:
                captured = cython.cast(uint32_t, length - 4 - header)
            entry.interface = interface
            if interface < entry.interfaces:
                interface += entry.first_interface
                entry.linktype = self.interfaces[interface].linktype
                if kind != SIMPLE_PACKET:
                    # A simple packet has no time: it keeps that of the packet before it.
                    entry.ts_ns = self._time(interface, units)
            else:
                entry.linktype = UNKNOWN_LINK
            entry.data = at + header
            entry.captured = captured
            entry.wire = wire if wire > captured else captured
            fetch_ahead(cython.address(self.buffer.u8[at]), length)
            return DONE

    def _host_side(self, entry):
        return entry.interface < entry.interfaces and self.interfaces[entry.first_interface + entry.interface].host_side

    def _time(self, interface, units):
        kind: uint32_t = self.interfaces[interface].kind
        factor: int64_t = self.interfaces[interface].factor
        seconds: uint64_t
        rest: uint64_t
        if kind == 0:
            return cython.cast(int64_t, units * cython.cast(uint64_t, factor)) + self.interfaces[interface].offset_ns
        if kind == 1:
            return cython.cast(int64_t, units // cython.cast(uint64_t, factor)) + self.interfaces[interface].offset_ns
        seconds = units >> factor
        rest = units - (seconds << factor)
        if factor > 33:
            rest >>= factor - 33
            factor = 33
        return (
            cython.cast(int64_t, seconds * cython.cast(uint64_t, BILLION) + ((rest * cython.cast(uint64_t, BILLION)) >> factor))
            + self.interfaces[interface].offset_ns
        )
