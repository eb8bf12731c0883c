"""The wire decoder: packets in, observations out. It does no I/O and reads no clock."""

import os

import cython
import numpy as np
from cython.cimports.lbtop.probes.wire.frame import PROTO_TCP, TYPE_ARP, TYPE_IPV4, TYPE_IPV6
from cython.cimports.lbtop.probes.wire.ip import HEADER_READ, network, transport
from cython.cimports.lbtop.probes.wire.link import network_type
from cython.cimports.lbtop.probes.wire.tcp import datagram, segment
from cython.cimports.lbtop.probes.wire.tunnels import inside_ip, inside_udp, is_tunnel_port
from cython.cimports.libc.stdint import int32_t, int64_t, uint64_t
from lbtop.probes.wire.assembly import Assembly
from lbtop.probes.wire.buffer import AREA_BYTES, POOL_BYTES, Buffer
from lbtop.probes.wire.connections import CAP, HALF_OPEN_CAP, Connections
from lbtop.probes.wire.fragments import Fragments
from lbtop.probes.wire.frame import Frame
from lbtop.probes.wire.interner import ADDRESS_CAP, STRING_CAP, Interner
from lbtop.probes.wire.memory import lines
from lbtop.probes.wire.stream import Streams
from lbtop.probes.wire.tables import LIMIT, Tables

SEEN = np.dtype([("print", "u8"), ("when", "u8")], align=True)
# Sets of four that share a cache line; 64 KB, as more would push other things out of the caches.
WAYS = cython.declare(cython.size_t, 4)
SEEN_SETS = cython.declare(cython.size_t, (1 << 10) - 1)
COPY_US = cython.declare(int64_t, 10_000)
CLOCKS_US = cython.declare(int64_t, 1_000_000)
TIME_MASK = cython.declare(uint64_t, (1 << 48) - 1)
M1 = cython.declare(uint64_t, 0x9E3779B97F4A7C15)
M2 = cython.declare(uint64_t, 0xC2B2AE3D27D4EB4F)
MOST_TUNNELS = cython.declare(cython.int, 4)
NO_TIME = cython.declare(int64_t, -0x7FFFFFFFFFFFFFFF)


class Decoder:
    """Takes packets one by one and keeps what they mean.

    ``key`` (16 bytes) keys the hashes of sensitive values: random unless values are to be comparable between runs.
    ``recognition`` names what the parsers look for; ``limit`` is the number of rows after which a batch is due,
    ``pool`` the most bytes of heads and early segments that wait.
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
    ):
        # The seed only places entries in tables; nothing of it shows in the output.
        seed = int.from_bytes(os.urandom(8), "little") | 1
        self.buffer = Buffer(area_size, areas, pool)
        self.tables = Tables(Interner(self.buffer, strings, seed), Interner(self.buffer, addresses, seed), limit)
        self.streams = Streams(self.buffer, self.tables, connections, key or os.urandom(16), recognition)
        self.assembly = Assembly(self.buffer, self.streams, connections)
        self.connections = Connections(connections, seed, half_open)
        self.connections.bind(self.tables, self.streams, self.assembly)
        self.fragments = Fragments()
        self.frame = Frame()
        self.seen = lines(WAYS * (SEEN_SETS + 1), SEEN)
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
        slot: int32_t
        joined: cython.Py_ssize_t = -1
        self.frame.ts_ns = ts_ns
        self.frame.begin = offset
        self.frame.captured = captured
        self.frame.wire = wire
        self.frame.interface = interface
        if ts_ns > self.ended_ns:
            if self.started_ns == NO_TIME:
                self.started_ns = ts_ns
            self.ended_ns = ts_ns
        elif ts_ns < self.started_ns:
            self.started_ns = ts_ns
        if not self.parse(linktype, True):
            if self.frame.fragment:
                with cython.gil:
                    joined = self._join()
            else:
                self.undecoded += 1
            if joined < 0:
                return self.count()
        self.connections.now_ns = self.ended_ns
        if self.ended_ns >= self.connections.next_sweep_ns:
            self.connections.sweep()
        slot = self.connections.find(self.frame)
        if self.is_copy():
            self.duplicates += 1
            if slot >= 0:
                self.connections.all[slot].duplicates += 1
        else:
            self.count()
            if self.frame.proto == PROTO_TCP:
                segment(self.connections, self.frame, slot)
            else:
                datagram(self.connections, self.frame, slot)
        if joined >= 0:
            self.buffer.give(joined)
        return 0

    def count(self):
        self.packets += 1
        self.bytes += self.frame.wire
        if self.frame.captured < self.frame.wire:
            self.truncated += 1
        return 0

    def _join(self):
        """Keeps a fragment; where it completes its packet, that is put in a slot and parsed: its offset, else -1."""
        slot: cython.Py_ssize_t
        size: cython.Py_ssize_t
        key = (
            self.frame.source_high,
            self.frame.source_low,
            self.frame.target_high,
            self.frame.target_low,
            self.frame.ip_id,
            self.frame.proto,
        )
        data = bytes(self.buffer.array[self.frame.at : self.frame.end])
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
        if transport(self.buffer, self.frame) != HEADER_READ:
            self.undecoded += 1
            self.buffer.give(slot)
            return -1
        return slot

    def parse(self, linktype, tunnels):
        """Takes the headers apart down to TCP or UDP, through tunnels; whether they were all there."""
        kind: cython.int
        carried: cython.bint
        self.frame.at = self.frame.begin
        self.frame.end = self.frame.begin + self.frame.captured
        self.frame.wire_end = self.frame.begin + self.frame.wire
        self.frame.vlan = 0
        self.frame.place = (cython.cast(uint64_t, self.origin) << 32) | self.frame.interface
        self.frame.tunnels = 0
        kind = network_type(self.buffer, self.frame, linktype)
        self.frame.fragment = 0
        while kind != 0 and network(self.buffer, self.frame, kind) == HEADER_READ and self.frame.fragment == 0:
            carried = transport(self.buffer, self.frame) == HEADER_READ
            if carried:
                if self.frame.proto == PROTO_TCP or not tunnels or not is_tunnel_port(self.frame.target_port):
                    return True
                kind = inside_udp(self.buffer, self.frame)
            else:
                kind = inside_ip(self.buffer, self.frame)
            self.frame.tunnels += 1
            if self.frame.tunnels > MOST_TUNNELS:
                return False
            if carried and kind != TYPE_IPV4 and kind != TYPE_IPV6 and kind != TYPE_ARP:
                # A datagram to a tunnel's port that holds no packet is a datagram.
                return self.parse(linktype, False)
        return False

    def is_copy(self):
        """Whether the frame is a second copy of a packet: from a mirror of both sides of a device, or from every interface."""
        place: cython.size_t
        way: cython.size_t
        oldest: cython.size_t
        copy: cython.bint = False
        elsewhere: cython.bint
        when: uint64_t
        apart: int64_t
        # Not under the run's seed: which packets a full set forgets must not differ between runs.
        a: uint64_t = (self.frame.source_low * M1) ^ self.frame.target_low
        a = (a ^ (a >> 32) ^ (cython.cast(uint64_t, self.frame.source_port) << 16 | self.frame.target_port)) * M2
        a = (a ^ (a >> 29) ^ (cython.cast(uint64_t, self.frame.seq) << 32 | self.frame.ack)) * M1
        a = (
            a
            ^ (a >> 31)
            ^ (cython.cast(uint64_t, self.frame.ip_id) << 40 | cython.cast(uint64_t, self.frame.flags) << 32 | self.frame.length)
        ) * M2
        if self.frame.proto != PROTO_TCP and self.frame.payload_captured >= 8:
            # Datagrams have no sequence number: what they carry has to tell them apart.
            a = (
                a
                ^ self.buffer.u64[self.frame.payload]
                ^ self.buffer.u64[self.frame.payload + self.frame.payload_captured - 8] * M2
            ) * M1
        a ^= a >> 32
        when = (cython.cast(uint64_t, self.frame.ts_ns // 1000) & TIME_MASK) | (self.frame.place & ~TIME_MASK)
        place = (a & SEEN_SETS) * WAYS
        oldest = place
        for way in range(place, place + WAYS):
            if self.seen[way].print == a:
                oldest = way
                apart = cython.cast(int64_t, when & TIME_MASK) - cython.cast(int64_t, self.seen[way].when & TIME_MASK)
                elsewhere = (self.seen[way].when ^ when) & ~TIME_MASK != 0
                # The same packet at another place, or at the same place with a number that no packet sent again has; with both,
                # it is one even where the clocks of two capturing hosts differ.
                if -COPY_US <= apart <= COPY_US:
                    copy = self.frame.ip_id != 0 or elsewhere
                elif -CLOCKS_US <= apart <= CLOCKS_US:
                    copy = self.frame.ip_id != 0 and elsewhere
                break
            if self.seen[way].when & TIME_MASK < self.seen[oldest].when & TIME_MASK:
                oldest = way
        self.seen[oldest].print = a
        self.seen[oldest].when = when
        return copy
