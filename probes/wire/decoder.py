"""The wire decoder: packets in, observations out. It does no I/O and reads no clock."""

import os

import cython
import numpy as np
from cython.cimports.lbtop.probes.wire.buffer import multiplied
from cython.cimports.lbtop.probes.wire.frame import LINK_ETHERNET, PROTO_TCP, SYN, TYPE_ARP, TYPE_IPV4, TYPE_IPV6
from cython.cimports.lbtop.probes.wire.ip import HEADER_READ, network, transport, usual
from cython.cimports.lbtop.probes.wire.link import network_type
from cython.cimports.lbtop.probes.wire.tcp import datagram, segment
from cython.cimports.lbtop.probes.wire.tunnels import inside_ip, inside_udp, is_tunnel_port
from cython.cimports.libc.stdint import int32_t, int64_t, uint16_t, uint64_t
from lbtop.probes.wire.assembly import Assembly
from lbtop.probes.wire.buffer import AREA_BYTES, POOL_BYTES, Buffer
from lbtop.probes.wire.connections import CAP, HALF_OPEN_CAP, Connections
from lbtop.probes.wire.fragments import Fragments
from lbtop.probes.wire.frame import Frame
from lbtop.probes.wire.interner import ADDRESS_CAP, STRING_CAP, Interner
from lbtop.probes.wire.memory import lines
from lbtop.probes.wire.stream import Streams
from lbtop.probes.wire.tables import LIMIT, Tables

SEEN = np.dtype([("print", "u8", WAYS), ("when", "u8", WAYS)], align=True)
TICK = cython.declare(cython.int, 10)
"""Times are compared in units of 1,024 ns: 48 bits of them last for nine years."""
COPY_TICKS = cython.declare(int64_t, 10_000_000 >> 10)
# Timers that make a sender repeat itself take several milliseconds (RFC 6298, RFC 8985); a copy comes at once.
AT_ONCE_TICKS = cython.declare(int64_t, 1_000_000 >> 10)
CLOCKS_TICKS = cython.declare(int64_t, 1_000_000_000 >> 10)
TIME_MASK = cython.declare(uint64_t, (1 << 48) - 1)
M1 = cython.declare(uint64_t, 0x9E3779B97F4A7C15)
M2 = cython.declare(uint64_t, 0xC2B2AE3D27D4EB4F)
M3 = cython.declare(uint64_t, 0x165667B19E3779F9)
M4 = cython.declare(uint64_t, 0x27D4EB2F165667C5)
M5 = cython.declare(uint64_t, 0x85EBCA77C2B2AE63)
MOST_TUNNELS = cython.declare(cython.int, 4)
NO_TIME = cython.declare(int64_t, -0x7FFFFFFFFFFFFFFF)


class Decoder:
    """Takes packets one by one and keeps what they mean.

    ``key`` (16 bytes) keys the hashes of sensitive values: random unless values are to be comparable between runs.
    ``recognition`` names what the parsers look for; ``limit`` is the number of rows after which a batch is due,
    ``pool`` the most bytes of heads and early segments that wait, ``spare`` bytes of the buffer that the caller has a use for.
    """

    def __init__(
        self,
        key=None,
        recognition=None,
        connections=CAP,
        half_open=HALF_OPEN_CAP,
        areas=1,
        area_size=AREA_BYTES,
        strings=STRING_CAP,
        addresses=ADDRESS_CAP,
        limit=LIMIT,
        pool=POOL_BYTES,
        spare=0,
    ):
        # The seed only places entries in tables; nothing of it shows in the output.
        seed = int.from_bytes(os.urandom(8), "little") | 1
        self.buffer = Buffer(area_size, areas, pool, spare)
        self.tables = Tables(Interner(self.buffer, strings, seed), Interner(self.buffer, addresses, seed), limit)
        self.streams = Streams(self.buffer, self.tables, connections, key or os.urandom(16), recognition)
        self.assembly = Assembly(self.buffer, self.streams, connections)
        self.connections = Connections(connections, seed, half_open)
        self.connections.bind(self.tables, self.streams, self.assembly)
        self.fragments = Fragments()
        self.frame = Frame()
        self.seen = lines(SEEN_SETS + 1, SEEN)
        self.started_ns = NO_TIME
        self.ended_ns = NO_TIME

    def packet(
        self,
        linktype: cython.int,
        ts_ns: cython.longlong,
        captured: cython.Py_ssize_t,
        wire: cython.Py_ssize_t,
        data,
        interface: cython.uint = 0,
    ):
        """Decodes one packet of a live source. ``data``: at least ``captured`` bytes; ``wire``: its length on the wire."""
        size: cython.Py_ssize_t = min(captured, len(data), self.buffer.area_size)
        view = self.buffer.array[self.buffer.area : self.buffer.area + size]
        view[:] = np.frombuffer(data, np.uint8, size)
        self.take(linktype, interface, ts_ns, self.buffer.area, size, max(wire, size))

    def due(self):
        """Whether enough rows wait to be handed over."""
        return self.tables.seq >= self.tables.due

    def flush(self):
        """The rows since the last flush, as a Batch."""
        return self.tables.flush()

    def finish(self):
        """Ends every connection; the last rows, as a final Batch."""
        self.connections.finish(self.ended_ns)
        return self.tables.flush(final=True)

    def live(self):
        """CONNECTION rows of what is alive now, as if it ended now."""
        before = self.tables.waiting(7)
        self.connections.look(self.ended_ns)
        return self.tables.take_back(7, before)

    def caps_reached(self):
        """Sentences about every bound that was met, for a person."""
        caps = []
        if self.connections.evicted:
            caps.append(f"{self.connections.cap} live connections: {self.connections.evicted} were ended early")
        if self.connections.half_open_evicted:
            caps.append(f"{self.connections.half_open_evicted} attempts without an answer were dropped from the table")
        if self.tables.strings.full:
            caps.append(f"{self.tables.strings.cap} different strings: further ones are not told apart")
        if self.tables.addresses.full:
            caps.append(f"{self.tables.addresses.cap} addresses: further ones are not told apart")
        if self.buffer.refused or self.assembly.full:
            caps.append("memory for heads and early segments: some were left out")
        return (*caps, *self.streams.caps_reached())

    def take(self, linktype, interface, ts_ns, offset, captured, wire):
        self.frame.ts_ns = ts_ns
        self.frame.begin = offset
        self.frame.captured = captured
        self.frame.wire = wire
        self.frame.interface = interface
        return self._take(self.frame, self.connections, linktype)

    def _take(self, frame, table, linktype):
        slot: int32_t
        print: uint64_t
        joined: cython.Py_ssize_t = -1
        ts_ns: int64_t = frame.ts_ns
        frame.vlan = 0
        frame.place = (cython.cast(uint64_t, self.origin) << 32) | frame.interface
        frame.tunnels = 0
        frame.fragment = 0
        if ts_ns > self.ended_ns:
            if self.started_ns == NO_TIME:
                self.started_ns = ts_ns
            self.ended_ns = ts_ns
        elif ts_ns < self.started_ns:
            self.started_ns = ts_ns
        if (linktype != LINK_ETHERNET or usual(self.buffer, frame) != HEADER_READ) and not self.parse(frame, linktype):
            if frame.fragment:
                with cython.gil:
                    joined = self._join()
            else:
                self.undecoded += 1
            if joined < 0:
                return self.count(frame)
        table.now_ns = self.ended_ns
        if self.ended_ns >= table.next_sweep_ns:
            table.sweep()
        print = self.mark(frame)
        slot = table.find(frame)
        if self.is_copy(frame, print):
            self.duplicates += 1
            if slot >= 0:
                table.all[slot].duplicates += 1
        else:
            self.count(frame)
            if frame.proto == PROTO_TCP:
                segment(table, frame, slot)
            else:
                datagram(table, frame, slot)
        if joined >= 0:
            self.buffer.give(joined)
        return 0

    def recall(self):
        """Fetches what tells copies. For whoever decodes in turns with other programs: they have driven it out of the caches, and
        packet after packet would wait for its own part of it."""
        fetch(cython.address(self.seen[0]), (SEEN_SETS + 1) * cython.sizeof(Seen))
        return 0

    def count(self, frame):
        self.packets += 1
        self.bytes += frame.wire
        if frame.captured < frame.wire:
            self.truncated += 1
        return 0

    def _join(self):
        """Keeps a fragment; where it completes its packet, that is put in a slot and taken apart: its offset, else -1.

        What comes out of a tunnel may be a fragment again.
        """
        slot: cython.Py_ssize_t = -1
        size: cython.Py_ssize_t
        while self.frame.fragment:
            key = (
                self.frame.source_high,
                self.frame.source_low,
                self.frame.target_high,
                self.frame.target_low,
                self.frame.ip_id,
                self.frame.proto,
            )
            data = bytes(self.buffer.array[self.frame.at : self.frame.end])
            if slot >= 0:
                self.buffer.give(slot)
            whole = self.fragments.add(key, self.frame.fragment & ~7, self.frame.fragment & 1, data, self.frame.ts_ns)
            if whole is None:
                return -1
            size = len(whole)
            slot = self.buffer.take(size)
            if slot < 0:
                self.undecoded += 1
                return -1
            self.buffer.array[slot : slot + size] = np.frombuffer(whole, np.uint8)
            self.frame.at = slot
            self.frame.end = slot + size
            self.frame.wire_end = slot + size
            self.frame.fragment = 0
            if self.unwrap(self.frame):
                return slot
        self.undecoded += 1
        self.buffer.give(slot)
        return -1

    def parse(self, frame, linktype):
        """Takes the headers apart down to TCP or UDP, through tunnels; whether they were all there."""
        kind: cython.int
        frame.at = frame.begin
        frame.end = frame.begin + frame.captured
        frame.wire_end = frame.begin + frame.wire
        frame.vlan = 0
        frame.place = (cython.cast(uint64_t, self.origin) << 32) | frame.interface
        frame.tunnels = 0
        frame.fragment = 0
        kind = network_type(self.buffer, frame, linktype)
        return kind != 0 and network(self.buffer, frame, kind) == HEADER_READ and frame.fragment == 0 and self.unwrap(frame)

    def unwrap(self, frame):
        """The same from what an IP packet carries on."""
        kind: cython.int
        vlan: uint16_t
        place: uint64_t
        while frame.tunnels <= MOST_TUNNELS:
            if transport(self.buffer, frame) == HEADER_READ:
                if frame.proto == PROTO_TCP or not is_tunnel_port(frame.target_port):
                    return True
                vlan = frame.vlan
                place = frame.place
                kind = inside_udp(self.buffer, frame)
                if kind != TYPE_IPV4 and kind != TYPE_IPV6 and kind != TYPE_ARP:
                    # A datagram to a tunnel's port that holds no packet is a datagram.
                    frame.vlan = vlan
                    frame.place = place
                    return True
            else:
                kind = inside_ip(self.buffer, frame)
            frame.tunnels += 1
            if kind == 0 or network(self.buffer, frame, kind) != HEADER_READ or frame.fragment:
                return False
        return False

    def mark(self, frame):
        """What all copies of a packet have in common, as a number."""
        # Not under the run's seed: which packets a full set forgets must not differ between runs.
        a: uint64_t = multiplied(frame.source_low ^ M1, frame.target_low ^ M2)
        ports: uint64_t = cython.cast(uint64_t, frame.source_port) << 16 | frame.target_port
        numbers: uint64_t = cython.cast(uint64_t, frame.seq) << 32 | frame.ack
        a ^= multiplied((ports << 32 | frame.ip_id) ^ M3, numbers ^ M4)
        a += (cython.cast(uint64_t, frame.flags) << 32 | cython.cast(uint64_t, frame.length)) * M5
        if frame.proto == PROTO_TCP:
            if frame.ip_id == 0:
                a = self._mark_unnumbered(frame, a)
        elif frame.payload_captured >= 8:
            # Datagrams have no sequence number: what they carry has to tell them apart.
            a = (a ^ self.buffer.u64[frame.payload] ^ self.buffer.u64[frame.payload + frame.payload_captured - 8] * M2) * M1
        a = multiplied(a ^ M2, M1)
        prefetch(cython.address(self.seen[a & SEEN_SETS]))
        return a

    def _mark_unnumbered(self, frame, a):
        """Of a segment without an IP id: what else a copy repeats, and a segment that is sent again or updates a window does not.

        The options hold its time stamp and what its sender lacks. Those of a SYN may be altered on the way between two copies.
        """
        at: cython.Py_ssize_t = frame.options
        end: cython.Py_ssize_t = at if frame.flags & SYN else at + frame.options_length
        a ^= cython.cast(uint64_t, frame.window + 1) * M5
        while end - at >= 8:
            a = (a ^ self.buffer.u64[at]) * M1
            a ^= a >> 29
            at += 8
        if end - at >= 4:
            a = (a ^ self.buffer.u32[at]) * M2
        return a

    def is_copy(self, frame, print):
        """Whether the frame is a second copy of a packet: from a mirror of both sides of a device, or from every interface."""
        ways: cython.pointer(Seen) = cython.address(self.seen[print & SEEN_SETS])
        when: uint64_t = (cython.cast(uint64_t, frame.ts_ns >> TICK) & TIME_MASK) | (frame.place & ~TIME_MASK)
        copy: cython.bint = False
        way: cython.int = 3
        if ways.print[0] == print or ways.print[1] == print or ways.print[2] == print or ways.print[3] == print:
            way = 0
            while ways.print[way] != print:
                way += 1
            copy = repeats(frame, ways.when[way], when)
        # The latest comes first; what a full set forgets came before all others in it.
        # Spelled out: as a loop it is a call of memmove.
        if way == 3:
            ways.print[3] = ways.print[2]
            ways.when[3] = ways.when[2]
        if way >= 2:
            ways.print[2] = ways.print[1]
            ways.when[2] = ways.when[1]
        if way >= 1:
            ways.print[1] = ways.print[0]
            ways.when[1] = ways.when[0]
        ways.print[0] = print
        ways.when[0] = when
        return copy


def repeats(frame, before, when):
    """Whether what the frame shares with a packet, seen at a time and place ``before``, makes it a copy of that one."""
    apart: int64_t = cython.cast(int64_t, when & TIME_MASK) - cython.cast(int64_t, before & TIME_MASK)
    elsewhere: cython.bint = (before ^ when) & ~TIME_MASK != 0
    # The same packet at another place, or at the same place with a number that no packet sent again has; with both, it
    # is one even where the clocks of two capturing hosts differ. Without such a number (IPv6, and senders that leave the
    # id of what is not to be fragmented zero, RFC 6864), a segment that is there again at once was not sent again.
    if -COPY_TICKS <= apart <= COPY_TICKS:
        return frame.ip_id != 0 or elsewhere or (frame.proto == PROTO_TCP and -AT_ONCE_TICKS <= apart <= AT_ONCE_TICKS)
    return -CLOCKS_TICKS <= apart <= CLOCKS_TICKS and frame.ip_id != 0 and elsewhere
