"""What ledger.c does, said a second time in Python, and a packet ring built in memory for whoever walks one."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from lbtop.probes.ebpf.program import Effort
from lbtop.probes.live.blocks import Blocks
from lbtop.probes.wire.decoder import Decoder

from lbtop.catalog.recognition import recognition
from lbtop.model.observation import Batch
from tests.reference.files import Record

WHOLE = 0xFFFFFFFF
NONE, UNTIL, FOREVER = 0, 1, 2
TCP, UDP = 6, 17
ETHERNET, RAW = 1, 101
VLAN, IPV4, IPV6 = 0x8100, 0x0800, 0x86DD
WORTH_CUTTING, HANDSHAKE_BYTES = 128, 8192
LINK_LEAST, LINK_MOST = 18, 64
WINDOW = (1 << 30) + (1 << 20)
KEY = bytes(range(16))

End = tuple[bytes, int]
FlowName = tuple[int, End, End]
Marks = dict[tuple[FlowName, End], tuple[int, int]]
"""Per flow and sender: how it is marked, and until where."""


@dataclass
class Filter:
    """The socket filter. ``marks`` is what user space has written."""

    marks: Marks = field(default_factory=dict)
    effort: Effort = Effort.HEADS
    sent: dict[tuple[FlowName, End], int] = field(default_factory=dict)
    packets: dict[FlowName, int] = field(default_factory=dict)
    cut: int = 0
    not_parsed: int = 0

    def length(self, frame: bytes, at: int, kind: int, size: int) -> int:
        """Bytes of a packet that reach user space. ``at``: where its network header begins, ``kind``: of what it is, ``size``:
        of the whole packet."""
        found = parse(frame, at, kind, size)
        if found is None:
            self.not_parsed += 1
            return WHOLE
        flow, sender, header, payload, seq, flags, total = found
        key = (flow, sender)
        before = self.sent.get(key, 0)
        self.sent[key] = before + payload
        self.packets[flow] = self.packets.get(flow, 0) + 1
        if flow[0] == TCP and flags & 18 == 2:
            for end in flow[1:]:
                self.marks.pop((flow, end), None)
        link = max(0, size - total)
        if payload < WORTH_CUTTING or link > LINK_MOST:
            return WHOLE
        spared = self.effort is Effort.LEDGER or (self.effort is Effort.HANDSHAKES and before >= HANDSHAKE_BYTES)
        if not spared and not self._bulk(key, seq + payload, flags):
            return WHOLE
        self.cut += 1
        return max(link, LINK_LEAST) + header

    def _bulk(self, key: tuple[FlowName, End], end: int, flags: int) -> bool:
        mode, until = self.marks.get(key, (NONE, 0))
        if key[0][0] != TCP or flags & 7 or mode == NONE:
            return False
        beyond = (end - until + (1 << 31)) % (1 << 32) - (1 << 31)
        return mode == FOREVER or -WINDOW <= beyond <= 0


def parse(frame: bytes, at: int, kind: int, size: int) -> tuple[FlowName, End, int, int, int, int, int] | None:
    """Flow, sender, bytes of headers, payload, sequence number, flags and IP length; None: not TCP or UDP over IP, or a part."""
    if kind == IPV4:
        if len(frame) < at + 20 or frame[at] >> 4 != 4:
            return None
        ip_header, total = (frame[at] & 15) * 4, int.from_bytes(frame[at + 2 : at + 4], "big")
        if ip_header < 20 or frame[at + 6] & 0x3F or frame[at + 7]:
            return None
        proto, source, target = frame[at + 9], frame[at + 12 : at + 16], frame[at + 16 : at + 20]
        source, target = (bytes(10) + b"\xff\xff" + address for address in (source, target))
    elif kind == IPV6:
        if len(frame) < at + 40 or frame[at] >> 4 != 6:
            return None
        ip_header, total = 40, 40 + int.from_bytes(frame[at + 4 : at + 6], "big")
        proto, source, target = frame[at + 6], frame[at + 8 : at + 24], frame[at + 24 : at + 40]
        total = 0 if total == 40 else total
    else:
        return None
    least = {TCP: 20, UDP: 8}.get(proto)
    begin = at + ip_header
    if least is None or len(frame) < begin + least:
        return None
    total = total or size
    sport, dport = struct.unpack_from(">HH", frame, begin)
    seq = flags = 0
    if proto == TCP:
        seq = int.from_bytes(frame[begin + 4 : begin + 8], "big")
        least, flags = (frame[begin + 12] >> 4) * 4, frame[begin + 13]
        if least < 20:
            return None
    one, other = (source, sport), (target, dport)
    header = ip_header + least
    return flow_name(proto, one, other), one, header, max(0, total - header), seq, flags, total


def flow_name(proto: int, one: End, other: End) -> FlowName:
    return (proto, *((one, other) if one <= other else (other, one)))


def network(record: Record) -> tuple[int, int]:
    """Where the network header of a record begins and what it is, as the kernel tells a socket filter."""
    data = record.data
    if record.linktype == RAW:
        return 0, {4: IPV4, 6: IPV6}.get(data[0] >> 4 if data else 0, 0)
    at, kind = 14, int.from_bytes(data[12:14], "big")
    if kind == VLAN:  # the kernel has taken the outermost tag off
        at, kind = 18, int.from_bytes(data[16:18], "big")
    return at, kind


_BLOCK = struct.Struct("<II4I")
_PACKET = struct.Struct("<6IHH")
_PLACE = 96


class MemoryRing:
    """One block of a TPACKET_V3 ring in memory, as the kernel would fill it (linux/if_packet.h)."""

    def __init__(self, decoder: Decoder, *, filtered: bool, size: int = 1 << 20) -> None:
        self.memory = bytearray(size)
        self.blocks = Blocks(decoder, self.memory, size, 0xFFFFFFFF, filtered)

    def put(self, packets: Iterable[tuple[Record, int]]) -> None:
        """Packets with the bytes of each that the filter let through; walked at once. The outermost VLAN tag lies beside
        the packet, as the kernel has it."""
        at, count, before = 48, 0, 48
        for record, length in packets:
            data, wire, tag, status = record.data, record.wire_length, 0, 1
            if record.linktype == ETHERNET and data[12:14] == VLAN.to_bytes(2, "big") and len(data) >= 16:
                tag, status = int.from_bytes(data[14:16], "big"), 1 | 1 << 4 | 1 << 6
                data, wire = data[:12] + data[16:], wire - 4
            data = data[:length]
            size = (_PLACE + len(data) + 15) & ~15
            if at + size > len(self.memory):
                raise ValueError("the block is full")
            if count:
                struct.pack_into("<I", self.memory, before, at - before)
            hardware = 1 if record.linktype == ETHERNET else 65534
            seconds, nanoseconds = divmod(record.ts_ns, 10**9)
            _PACKET.pack_into(self.memory, at, 0, seconds, nanoseconds, len(data), wire, status, _PLACE, _PLACE)
            struct.pack_into("<IIH", self.memory, at + 28, 0, tag, VLAN)
            struct.pack_into("<HHiHBB8s", self.memory, at + 48, 17, 0, record.interface, hardware, 0, 6, bytes(8))
            self.memory[at + _PLACE : at + _PLACE + len(data)] = data
            before, at, count = at, at + size, count + 1
        _BLOCK.pack_into(self.memory, 0, 3, 0, 1, count, 48, at)
        if self.blocks.walk() != 1 or self.memory[8]:
            raise AssertionError("the block was not taken")


Write = Callable[[FlowName, dict[End, tuple[int, int]]], None]


def through(
    records: Sequence[Record],
    filter_: Filter | None,
    *,
    together: int = 50,
    also: Callable[[Record, int], None] | None = None,
    write: Write | None = None,
    sparing: bool = False,
) -> tuple[Batch, Blocks]:
    """The rows of records that pass the filter, ``together`` at a time before its marks are written; None: no filter.

    ``also`` is told every decision, ``write`` every mark.
    """
    decoder = Decoder(key=KEY, recognition=recognition(), limit=1 << 40)
    ring = MemoryRing(decoder, filtered=filter_ is not None)
    ring.blocks.sparing = sparing
    at = 0
    while at < len(records):
        block: list[tuple[Record, int]] = []
        room = 900_000
        while at < len(records) and len(block) < together and (not block or room > len(records[at].data) + 200):
            record = records[at]
            length = WHOLE
            if filter_ is not None:
                at_, kind = network(record)
                size = record.wire_length - (4 if at_ == 18 else 0)
                length = filter_.length(record.data, at_, kind, size)
                if also is not None:
                    also(record, length)
            block.append((record, length))
            room -= len(record.data) + 200
            at += 1
        ring.put(block)
        if filter_ is not None and ring.blocks.waiting:
            for flow, ends in marks_of(ring.blocks, decoder):
                filter_.marks.update({(flow, end): mark for end, mark in ends.items()})
                if write is not None:
                    write(flow, ends)
    return decoder.finish(), ring.blocks


def marks_of(blocks: Blocks, decoder: Decoder) -> list[tuple[FlowName, dict[End, tuple[int, int]]]]:
    addresses = decoder.tables.addresses
    found = []
    for row in blocks.take_marks():
        ends = [
            (bytes(addresses[int(row["low"])]), int(row["low_port"])),
            (bytes(addresses[int(row["high"])]), int(row["high_port"])),
        ]
        marks = {end: (int(row["mode"][i]), int(row["until"][i])) for i, end in enumerate(ends)}
        found.append((flow_name(TCP, *ends), marks))
    return found


def unlike(one: Batch, other: Batch) -> list[str]:
    """Tables in which two readings differ in any byte."""
    return [
        f"{name}: {len(rows)} rows against {len(other[name])}"
        for name, rows in one.tables.items()
        if len(rows) != len(other[name]) or not np.array_equal(rows, other[name])
    ]
