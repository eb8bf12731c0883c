"""Walks the blocks of a TPACKET_V3 ring (Documentation/networking/packet_mmap.rst); every packet goes to the decoder.

The kernel fills a block and sets its status to "user"; when all its packets are decoded the status is set back. A packet is
copied into the decoder's buffer before a byte of it is parsed: nothing here depends on what the kernel may still write.
"""

import cython
import numpy as np
from cython.cimports.lbtop.probes.live.blocks import MARK_FOREVER, MARK_NONE, MARK_UNTIL
from cython.cimports.lbtop.probes.wire.assembly import CLIENT, OPAQUE
from cython.cimports.lbtop.probes.wire.buffer import AHEAD, fetch
from cython.cimports.lbtop.probes.wire.frame import PROTO_TCP, TYPE_VLAN
from cython.cimports.lbtop.probes.wire.slots import DELIVERING
from cython.cimports.lbtop.probes.wire.state import M_BODY, Conn
from cython.cimports.libc.stdint import int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from cython.cimports.libc.string import memcpy, memmove

# struct tpacket_block_desc, from the beginning of a block
STATUS = cython.declare(cython.Py_ssize_t, 8)
PACKETS = cython.declare(cython.Py_ssize_t, 12)
FIRST = cython.declare(cython.Py_ssize_t, 16)
# struct tpacket3_hdr, from the beginning of a packet
NEXT = cython.declare(cython.Py_ssize_t, 0)
SECONDS = cython.declare(cython.Py_ssize_t, 4)
NANOSECONDS = cython.declare(cython.Py_ssize_t, 8)
CAPTURED = cython.declare(cython.Py_ssize_t, 12)
LENGTH = cython.declare(cython.Py_ssize_t, 16)
PACKET_STATUS = cython.declare(cython.Py_ssize_t, 20)
MAC = cython.declare(cython.Py_ssize_t, 24)
NET = cython.declare(cython.Py_ssize_t, 26)
TAG_CONTROL = cython.declare(cython.Py_ssize_t, 32)
TAG_TYPE = cython.declare(cython.Py_ssize_t, 36)
# struct sockaddr_ll, after it
INTERFACE = cython.declare(cython.Py_ssize_t, 48 + 4)
HARDWARE = cython.declare(cython.Py_ssize_t, 48 + 8)
ADDRESS_END = cython.declare(cython.Py_ssize_t, 48 + 20)

WORTH_RECALLING = cython.declare(uint32_t, 256)
"""Packets of a block from which on it pays to fetch in one go what most of them will ask for."""

USER = cython.declare(uint32_t, 1)
VLAN_VALID = cython.declare(uint32_t, 1 << 4)
VLAN_TYPE_VALID = cython.declare(uint32_t, 1 << 6)
MAC_ADDRESSES = cython.declare(cython.Py_ssize_t, 12)
TAG = cython.declare(cython.Py_ssize_t, 4)
ARPHRD_ETHER = cython.declare(cython.int, 1)
ARPHRD_LOOPBACK = cython.declare(cython.int, 772)
LINKTYPE_ETHERNET = cython.declare(cython.int, 1)
LINKTYPE_RAW = cython.declare(cython.int, 101)
TRUNCATED = cython.declare(uint32_t, 1 << 5)  # ConnFlag.TRUNCATED
WORTH_MARKING = cython.declare(cython.Py_ssize_t, 512)  # bytes of payload in a packet
# Bytes left of a body: writing a mark costs what copying so many does, and much of it is on its way already.
WORTH_CUTTING = cython.declare(int64_t, 262_144)
MOST_AHEAD = cython.declare(int64_t, 1 << 30)  # sequence numbers are compared within half of their circle

MARK = np.dtype(
    [
        ("number", "u8"), ("low", "u4"), ("high", "u4"), ("until", "u4", 2), ("low_port", "u2"), ("high_port", "u2"),
        ("mode", "u1", 2), ("pad", "u2"),
    ],
    align=True,
)  # fmt: skip
MARKS = 4096
SECOND = cython.declare(int64_t, 1_000_000_000)


class Blocks:
    """The ring of one socket. ``ring`` is its mapping, ``leave_out`` the number of an interface whose packets are not wanted."""

    def __init__(self, decoder, ring, block_size: cython.Py_ssize_t, leave_out: cython.uint = 0, filtered: cython.bint = False):
        self.decoder = decoder
        self.buffer = decoder.buffer
        self.owner = ring
        self.ring = np.frombuffer(ring, np.uint8)
        self.shorts = np.frombuffer(ring, np.uint16)
        self.words = np.frombuffer(ring, np.uint32)
        self.block_size = block_size
        self.count = len(self.ring) // block_size
        self.leave_out = leave_out
        self.filtered = filtered
        halves: cython.Py_ssize_t = 2 * decoder.connections.cap if filtered else 0
        self.rows = np.zeros(MARKS if filtered else 0, MARK)
        self.marks = self.rows
        self.marked = np.zeros(halves, np.uint64)
        self.until = np.zeros(halves, np.uint32)
        self.mode = np.zeros(halves, np.uint8)
        self.truncated = np.zeros(halves // 2, np.uint64)

    def walk(self):
        """Decodes the blocks that are ready. Returns how many there were; stops early when enough rows wait."""
        with cython.nogil:
            done = self._walk()
        return done

    def take_marks(self):
        """What the decoder no longer needs, as rows of MARK, since the last call."""
        found = self.rows[: self.waiting].copy()
        self.waiting = 0
        return found

    def release(self):
        """Lets go of the mapping, so that it can be unmapped."""
        self.ring = np.zeros(0, np.uint8)
        self.shorts = np.zeros(0, np.uint16)
        self.words = np.zeros(0, np.uint32)
        self.owner = None
        self.count = 0

    def _walk(self):
        done: cython.int = 0
        while done < self.count and self._u32(self.current * self.block_size + STATUS) & USER:
            self._block(self.current * self.block_size)
            self.words[(self.current * self.block_size + STATUS) >> 2] = 0  # the kernel's again
            self.current += 1
            if self.current == self.count:
                self.current = 0
            done += 1
            if self.decoder.tables.rows >= self.decoder.tables.limit:
                break
        return done

    def _block(self, at):
        left: uint32_t = self._u32(at + PACKETS)
        end: cython.Py_ssize_t = at + self.block_size
        step: cython.Py_ssize_t
        packet: cython.Py_ssize_t = at + self._u32(at + FIRST)
        if left >= WORTH_RECALLING:
            self.decoder.recall()
        while left > 0:
            if packet < at or packet + ADDRESS_END > end or packet & 3:
                self.damaged += 1
                return 0
            step = self._u32(packet + NEXT)
            if packet + step + AHEAD <= end:
                # What another processor has written is on its way while this packet is decoded: all of it is copied.
                fetch(cython.address(self.ring[packet + step]), AHEAD)
            self._packet(packet, end)
            left -= 1
            if step == 0 and left > 0:
                self.damaged += 1
                return 0
            packet += step
        return 0

    def _packet(self, at, end):
        interface: uint32_t = self._u32(at + INTERFACE)
        captured: cython.Py_ssize_t = self._u32(at + CAPTURED)
        length: cython.Py_ssize_t = self._u32(at + LENGTH)
        data: cython.Py_ssize_t = at + self._u16(at + MAC)
        hardware: cython.int = self._u16(at + HARDWARE)
        linktype: cython.int = LINKTYPE_ETHERNET
        when: int64_t = cython.cast(int64_t, self._u32(at + SECONDS)) * SECOND + self._u32(at + NANOSECONDS)
        ahead: cython.Py_ssize_t
        copies: uint64_t
        tagged: cython.bint = False
        if interface == self.leave_out:
            self.skipped += 1
            return 0
        if hardware != ARPHRD_ETHER and hardware != ARPHRD_LOOPBACK:
            # Tunnels and other links: from the network header on, wherever the kernel says that it is.
            ahead = at + self._u16(at + NET) - data
            if ahead < 0 or ahead > captured:
                ahead = 0
            data += ahead
            captured -= ahead
            length -= ahead
            linktype = LINKTYPE_RAW
        elif self._u32(at + PACKET_STATUS) & VLAN_VALID:
            tagged = True
            length += TAG
        if captured > self.buffer.area_size:
            captured = self.buffer.area_size
        if data + captured > end:
            self.damaged += 1
            return 0
        if captured > 0:
            # Both ends are checked: by the test above and by the size of the area.
            memcpy(cython.address(self.buffer.u8[self.buffer.area]), cython.address(self.ring[data]), captured)
        if tagged and captured >= MAC_ADDRESSES and captured + TAG <= self.buffer.area_size:
            self._put_tag_back(at, captured)
            captured += TAG
        self.delivered += 1
        copies = self.decoder.duplicates
        self.decoder.take(linktype, interface, when, self.buffer.area, captured, max(length, captured))
        if not self.filtered:
            return 0
        if self.decoder.duplicates != copies:
            # Seen before at another interface: nothing of it was read or counted.
            if captured < length:
                self.cut += 1
        elif captured < length or captured > WORTH_MARKING:
            self._after_filter(captured < length)
        return 0

    def _put_tag_back(self, at, captured):
        """The VLAN tag that the kernel or the network card took off, where capture files have it: behind the addresses."""
        area: cython.Py_ssize_t = self.buffer.area
        kind: uint16_t = TYPE_VLAN
        if self._u32(at + PACKET_STATUS) & VLAN_TYPE_VALID:
            kind = self._u16(at + TAG_TYPE)
        memmove(
            cython.address(self.buffer.u8[area + MAC_ADDRESSES + TAG]),
            cython.address(self.buffer.u8[area + MAC_ADDRESSES]),
            captured - MAC_ADDRESSES,
        )
        self.buffer.u8[area + 12] = cython.cast(uint8_t, kind >> 8)
        self.buffer.u8[area + 13] = cython.cast(uint8_t, kind & 0xFF)
        self.buffer.u8[area + 14] = self.ring[at + TAG_CONTROL + 1]
        self.buffer.u8[area + 15] = self.ring[at + TAG_CONTROL]
        return 0

    def _after_filter(self, short_of_payload):
        """Tells what was cut on purpose from what was cut although it was wanted, and notes what may be cut from now on."""
        conn: cython.pointer(Conn)
        slot: int32_t
        h: cython.size_t
        mode: cython.int = MARK_NONE
        until: uint32_t = 0
        end: uint32_t
        ahead: int64_t
        number: uint64_t
        side: cython.int
        ours: cython.bint
        if self.decoder.frame.tunnels or self.decoder.frame.fragment or self.decoder.frame.proto != PROTO_TCP:
            return 0
        slot = self.decoder.connections.find(self.decoder.frame)
        if slot < 0:
            return 0
        h = cython.cast(cython.size_t, slot) * 2 + self.decoder.connections.end
        number = self.decoder.connections.all[slot].number
        ours = self.marked[h] == number
        if self.decoder.assembly.halves[h].flags & OPAQUE:
            mode = MARK_FOREVER
        elif self.decoder.connections.all[slot].state & DELIVERING:
            conn = self.decoder.streams._conn(slot)
            side = 0 if self.decoder.assembly.halves[h].flags & CLIENT else 1
            ahead = conn.half[side].need if conn.half[side].mode == M_BODY else 0
            if ahead > WORTH_CUTTING:
                mode = MARK_UNTIL
                until = self.decoder.assembly.halves[h].next + cython.cast(uint32_t, min(ahead, MOST_AHEAD))
        if short_of_payload:
            end = self.decoder.frame.seq + cython.cast(uint32_t, self.decoder.frame.length)
            if mode == MARK_FOREVER or (ours and self.mode[h] == MARK_UNTIL and cython.cast(int32_t, end - self.until[h]) <= 0):
                # Cut by our own filter: neither the packet nor its connection lacks anything that was wanted.
                self.cut += 1
                self.decoder.truncated -= 1
                if self.truncated[slot] != number:
                    self.decoder.connections.all[slot].flags &= ~TRUNCATED
                return 0
            self.truncated[slot] = number
            if self.sparing:
                self.spared += 1
                return 0
            # An older connection's mark, written after this one had begun.
            self.stale += 1
            if ours and self.mode[h] == MARK_NONE:
                return 0
            mode = MARK_NONE
        elif mode == MARK_NONE:
            # Sequence numbers come round: a mark long passed must go before they do.
            if not ours or self.mode[h] != MARK_UNTIL:
                return 0
            if cython.cast(int32_t, self.decoder.assembly.halves[h].next - self.until[h]) < MOST_AHEAD // 2:
                return 0
        elif ours and self.mode[h] == mode and self.until[h] == until:
            return 0
        if self.waiting >= self.marks.shape[0]:
            return 0
        self.marked[h] = number
        self.mode[h] = mode
        self.until[h] = until
        self._mark(slot, number)
        return 0

    def _mark(self, slot, number):
        """Puts what is known of both directions of a connection among the marks to be written."""
        low: cython.size_t = cython.cast(cython.size_t, slot) * 2
        self.marks[self.waiting].number = number
        self.marks[self.waiting].low = self.decoder.connections.all[slot].low
        self.marks[self.waiting].high = self.decoder.connections.all[slot].high
        self.marks[self.waiting].low_port = self.decoder.connections.all[slot].low_port
        self.marks[self.waiting].high_port = self.decoder.connections.all[slot].high_port
        self.marks[self.waiting].mode[0] = self.mode[low] if self.marked[low] == number else MARK_NONE
        self.marks[self.waiting].mode[1] = self.mode[low + 1] if self.marked[low + 1] == number else MARK_NONE
        self.marks[self.waiting].until[0] = self.until[low]
        self.marks[self.waiting].until[1] = self.until[low + 1]
        self.waiting += 1
        return 0

    def _u16(self, at):
        return self.shorts[at >> 1]

    def _u32(self, at):
        return self.words[at >> 2]
