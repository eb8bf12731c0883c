"""One packet taken apart: link layer, IP, TCP or UDP. Header layouts come from dpkt."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import dpkt  # type: ignore[import-untyped]

from tests.reference.files import Record

V4 = b"\x00" * 10 + b"\xff\xff"
TCP, UDP = 6, 17
VXLAN, VXLAN_GPE, GENEVE = 4789, 4790, 6081
FIN, SYN, RST, ACK = 1, 2, 4, 16
ETHERNET, NULL, PPP, RAW_OLD, RAW_BSD, RAW, LOOP, SLL, SLL2 = 1, 0, 9, 12, 14, 101, 108, 113, 276
VLAN_TYPES = {0x8100, 0x88A8, 0x9100, 0x9200}
IPV4, IPV6 = 0x0800, 0x86DD
KNOWN_LINKS = {ETHERNET, NULL, PPP, RAW_OLD, RAW_BSD, RAW, LOOP, SLL, SLL2, 228, 229}


@dataclass(slots=True)
class Packet:
    """A TCP segment or a datagram. ``length`` is the payload on the wire, ``payload`` what of it was captured."""

    ts_ns: int
    interface: int
    truncated: bool
    proto: int
    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    ttl: int
    ip_id: int
    payload: bytes
    length: int
    vlan: int = 0
    link: bytes = b""  # link-layer addresses: tells copies of one packet from a packet sent again
    seq: int = 0
    ack: int = 0
    flags: int = 0
    window: int = 0
    options: bytes = b""


def decode(record: Record, depth: int = 0) -> Packet | None:
    """None for what is neither TCP nor UDP over IP, or is cut inside its headers. Tunnels are looked into."""
    if depth > 4:
        return None
    try:
        ether_type, at, vlan, link = _link(record)
        wire_left = record.wire_length - at
        if ether_type == IPV4:
            return _ip4(record, record.data[at:], wire_left, vlan, link, depth)
        if ether_type == IPV6:
            return _ip6(record, record.data[at:], wire_left, vlan, link, depth)
    except (dpkt.UnpackError, struct.error, IndexError, ValueError):
        pass
    return None


def _link(record: Record) -> tuple[int, int, int, bytes]:
    """Ethernet type, where its payload starts, outermost VLAN id, link-layer addresses."""
    data, linktype, vlan = record.data, record.linktype, 0
    if linktype == ETHERNET:
        at, link = 12, data[:12]
    elif linktype == SLL:
        at, link = 14, data[:14]
    elif linktype == SLL2:
        kind, at = struct.unpack_from(">H", data)[0], 20
        while kind in VLAN_TYPES:
            tag, kind = struct.unpack_from(">HH", data, at)
            vlan = vlan or tag & 0xFFF
            at += 4
        return kind, at, vlan, data[4:20]
    elif linktype in (NULL, LOOP):
        family = data[:4]
        return {2: IPV4}.get(max(family[0], family[3]), IPV6), 4, 0, b""
    elif linktype == PPP:
        at = 2 if data[:2] == b"\xff\x03" else 0
        return {0x21: IPV4, 0x57: IPV6}.get(struct.unpack_from(">H", data, at)[0], 0), at + 2, 0, b""
    elif linktype in (RAW, RAW_OLD, RAW_BSD, 228, 229):
        return {4: IPV4, 6: IPV6}.get(data[0] >> 4, 0), 0, 0, b""
    else:
        return 0, 0, 0, b""
    ether_type = struct.unpack_from(">H", data, at)[0]
    while ether_type in VLAN_TYPES:
        tag, ether_type = struct.unpack_from(">HH", data, at + 2)
        vlan = vlan or tag & 0xFFF
        at += 4
    if ether_type == 0x8864:  # PPPoE session
        ether_type = {0x21: IPV4, 0x57: IPV6}.get(struct.unpack_from(">H", data, at + 8)[0], 0)
        at += 8
    if ether_type in (0x8847, 0x8848):  # MPLS: the label stack does not say what it carries
        while not data[at + 4] & 1:
            at += 4
        at += 4
        ether_type = {4: IPV4, 6: IPV6}.get(data[at + 2] >> 4, 0)
    return ether_type, at + 2, vlan, link


def _ip4(record: Record, data: bytes, wire_left: int, vlan: int, link: bytes, depth: int) -> Packet | None:
    ip = dpkt.ip.IP(data)
    if ip.v != 4 or ip.offset:
        return None
    header = ip.hl * 4
    total = ip.len or wire_left  # 0: the sender's card was to cut it up (segmentation offload)
    end = header + max(0, total - header)
    carried = Carried(ip.p, V4 + ip.src, V4 + ip.dst, ip.ttl, ip.id, data[header:end], total - header, vlan, link)
    return _transport(record, carried, depth)


def _ip6(record: Record, data: bytes, wire_left: int, vlan: int, link: bytes, depth: int) -> Packet | None:
    source, destination = data[8:24], data[24:40]
    if data[0] >> 4 != 6 or len(data) < 40:
        return None
    total = struct.unpack_from(">H", data, 4)[0] or wire_left - 40
    proto, at, end = data[6], 40, 40 + total
    while proto in (0, 43, 44, 51, 60, 135):
        following, length = data[at], data[at + 1]
        if proto == 44:
            if struct.unpack_from(">H", data, at + 2)[0] >> 3:
                return None
            at += 8
        else:
            at += (length + 2) * 4 if proto == 51 else (length + 1) * 8
        proto = following
    return _transport(record, Carried(proto, source, destination, data[7], 0, data[at:end], end - at, vlan, link), depth)


@dataclass(slots=True)
class Carried:
    """What an IP packet carries, and the fields of its header that matter."""

    proto: int
    source: bytes
    destination: bytes
    ttl: int
    ip_id: int
    body: bytes
    on_wire: int
    vlan: int
    link: bytes


def _transport(record: Record, ip: Carried, depth: int) -> Packet | None:
    truncated = len(record.data) < record.wire_length
    ends = ip.source, ip.destination
    if ip.proto == TCP:
        header = dpkt.tcp.TCP(ip.body)
        size = header.off * 4
        if ip.on_wire < size or size < 20:
            return None
        return Packet(
            record.ts_ns,
            record.interface,
            truncated,
            TCP,
            *ends,
            header.sport,
            header.dport,
            ip.ttl,
            ip.ip_id,
            ip.body[size:],
            ip.on_wire - size,
            ip.vlan,
            ip.link,
            header.seq,
            header.ack,
            header.flags & 0x3F,
            header.win,
            header.opts,
        )
    if ip.proto == UDP and len(ip.body) >= 8:
        sport, dport, declared = struct.unpack_from(">HHH", ip.body)
        length = max(0, (min(declared, ip.on_wire) if declared >= 8 else ip.on_wire) - 8)
        if dport in (VXLAN, VXLAN_GPE, GENEVE) and len(ip.body) > 16:
            return _in_udp(record, ip, dport, depth)
        return Packet(
            record.ts_ns,
            record.interface,
            truncated,
            UDP,
            *ends,
            sport,
            dport,
            ip.ttl,
            ip.ip_id,
            ip.body[8 : 8 + length],
            length,
            ip.vlan,
            ip.link,
        )
    if ip.proto in (4, 41):
        return decode(_within(record, RAW, ip, 0), depth + 1)
    return _in_gre(record, ip, depth) if ip.proto == 47 else None


def _within(record: Record, linktype: int, ip: Carried, at: int) -> Record:
    """The packet inside a tunnel as a record of its own; snap length cuts stay visible."""
    return Record(record.ts_ns, linktype, record.interface, ip.on_wire - at, ip.body[at:])


def _in_udp(record: Record, ip: Carried, port: int, depth: int) -> Packet | None:
    """VXLAN (RFC 7348), its extension with a next protocol (VXLAN-GPE) and GENEVE (RFC 8926), by port and header."""
    body = ip.body
    if port == VXLAN and body[8] & 0x08:
        return decode(_within(record, ETHERNET, ip, 16), depth + 1)
    if port == VXLAN_GPE and body[8] & 0x0C == 0x0C:
        return _by_type(record, ip, {1: IPV4, 2: IPV6, 3: 0x6558}.get(body[11], 0), 16, depth)
    if port == GENEVE and body[8] >> 6 == 0:
        at = 16 + (body[8] & 0x3F) * 4
        return _by_type(record, ip, int.from_bytes(body[10:12], "big"), at, depth)
    return None


def _in_gre(record: Record, ip: Carried, depth: int) -> Packet | None:
    """GRE (RFC 2784, 2890) with IP, Ethernet or ERSPAN inside."""
    flags, kind = struct.unpack_from(">HH", ip.body)
    if flags & 0x4007:
        return None
    at = 4 + 4 * (flags >> 15) + 4 * (flags >> 13 & 1) + 4 * (flags >> 12 & 1)
    if kind == 0x88BE:
        at += 8 if flags >> 12 & 1 else 0
        kind = 0x6558
    elif kind == 0x22EB:
        at += 20 if ip.body[at + 11] & 1 else 12
        kind = 0x6558
    return _by_type(record, ip, kind, at, depth)


def _by_type(record: Record, ip: Carried, kind: int, at: int, depth: int) -> Packet | None:
    if kind == 0x6558:
        return decode(_within(record, ETHERNET, ip, at), depth + 1)
    return decode(_within(record, RAW, ip, at), depth + 1) if kind in (IPV4, IPV6) else None


@dataclass(slots=True)
class SynOptions:
    mss: int = 0
    scale: int | None = None
    tsval: int = 0
    layout: str = ""

    def stack(self, window: int) -> bytes:
        return f"{self.mss},{window},{'-' if self.scale is None else self.scale},{self.layout}".encode()


def syn_options(options: bytes) -> SynOptions:
    found, at = SynOptions(), 0
    while at < len(options):
        kind = options[at]
        found.layout += {0: "E", 1: "N", 2: "M", 3: "W", 4: "S", 8: "T"}.get(kind, "?")
        if kind == 0:
            break
        if kind == 1:
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if length < 2 or at + length > len(options):
            break
        value = options[at + 2 : at + length]
        if kind == 2 and length == 4:
            found.mss = int.from_bytes(value, "big")
        elif kind == 3 and length == 3:
            found.scale = value[0]
        elif kind == 8 and length == 10:
            found.tsval = int.from_bytes(value[:4], "big")
        at += length
    return found
