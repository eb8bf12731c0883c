"""One packet taken apart: link layer, IP, TCP or UDP. Header layouts come from dpkt."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

import dpkt  # type: ignore[import-untyped]

from tests.reference.files import Record
from tests.reference.fragments import Fragments

V4 = b"\x00" * 10 + b"\xff\xff"
TCP, UDP = 6, 17
VXLAN, VXLAN_LINUX, VXLAN_GPE, GENEVE = 4789, 8472, 4790, 6081
FIN, SYN, RST, ACK = 1, 2, 4, 16
ETHERNET, NULL, PPP, RAW_OLD, RAW_BSD, RAW, LOOP, SLL, SLL2 = 1, 0, 9, 12, 14, 101, 108, 113, 276
VLAN_TYPES = {0x8100, 0x88A8, 0x9100, 0x9200}
IPV4, IPV6, ARP, BRIDGED = 0x0800, 0x86DD, 0x0806, 0x6558
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


def decode(record: Record, fragments: Fragments | None = None, depth: int = 0) -> Packet | None:
    """None for what is neither TCP nor UDP over IP, is cut inside its headers, or is a fragment. Tunnels are looked into.

    With ``fragments`` the one that completes a packet is that packet.
    """
    if depth > 4:
        return None
    try:
        ether_type, at, vlan, link = _link(record)
        wire_left = record.wire_length - at
        if ether_type == IPV4:
            ip = _ip4(record.data[at:], wire_left, vlan, link)
        elif ether_type == IPV6:
            ip = _ip6(record.data[at:], wire_left, vlan, link)
        else:
            return None
        if ip is not None and (ip.offset or ip.more):
            ip = ip.joined(fragments, record.ts_ns)
        return _transport(record, ip, fragments, depth) if ip is not None else None
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


def _ip4(data: bytes, wire_left: int, vlan: int, link: bytes) -> Carried | None:
    ip = dpkt.ip.IP(data)
    if ip.v != 4:
        return None
    header = ip.hl * 4
    total = ip.len or wire_left  # 0: the sender's card was to cut it up (segmentation offload)
    end = header + max(0, total - header)
    place = struct.unpack_from(">H", data, 6)[0]
    ends = V4 + ip.src, V4 + ip.dst
    return Carried(
        ip.p, *ends, ip.ttl, ip.id, data[header:end], total - header, vlan, link, (place & 0x1FFF) * 8, bool(place & 0x2000)
    )


def _ip6(data: bytes, wire_left: int, vlan: int, link: bytes) -> Carried | None:
    source, destination = data[8:24], data[24:40]
    if data[0] >> 4 != 6 or len(data) < 40:
        return None
    total = struct.unpack_from(">H", data, 4)[0] or wire_left - 40
    proto, at, end, number, offset, more = data[6], 40, 40 + total, 0, 0, False
    while proto in (0, 43, 44, 51, 60, 135) and not offset and not more:
        following, length = data[at], data[at + 1]
        if proto == 44:
            place, number = struct.unpack_from(">HI", data, at + 2)
            offset, more = place & ~7, bool(place & 1)
            at += 8
        else:
            at += (length + 2) * 4 if proto == 51 else (length + 1) * 8
        proto = following
    number = number if offset or more else 0
    return Carried(proto, source, destination, data[7], number, data[at:end], end - at, vlan, link, offset, more)


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
    offset: int  # where in the packet it stands, of a fragment
    more: bool  # and whether others follow it

    def joined(self, fragments: Fragments | None, ts_ns: int) -> Carried | None:
        """The packet, where this is the last of its fragments to come."""
        if fragments is None:
            return None
        key = (self.source, self.destination, self.ip_id, self.proto)
        whole = fragments.add(key, self.offset, self.more, self.body, ts_ns)
        return None if whole is None else replace(self, body=whole, on_wire=len(whole), offset=0, more=False)


def _transport(record: Record, ip: Carried, fragments: Fragments | None, depth: int) -> Packet | None:
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
        kind, at = _in_udp(ip.body[: 8 + length], dport)
        inner = _by_type(record, ip, kind, at)
        if inner is not None and _is_packet(inner):
            return decode(inner, fragments, depth + 1)
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
    kind, at = {4: (IPV4, 0), 41: (IPV6, 0), 47: _in_gre(ip.body)}.get(ip.proto, (0, 0))
    inner = _by_type(record, ip, kind, at)
    return decode(inner, fragments, depth + 1) if inner is not None else None


def _in_udp(body: bytes, port: int) -> tuple[int, int]:
    """What is inside VXLAN (RFC 7348), its extension with a next protocol (VXLAN-GPE) or GENEVE (RFC 8926), and where it begins.

    By port and header; 0 for a datagram that is just that.
    """
    if len(body) < 24:
        return 0, 0
    if port in (VXLAN, VXLAN_LINUX) and body[8] & 0x08 and not body[15]:
        return BRIDGED, 16
    if port == VXLAN_GPE and body[8] & 0x0C == 0x0C:
        return {1: IPV4, 2: IPV6, 3: BRIDGED}.get(body[11], 0), 16
    if port == GENEVE and body[8] >> 6 == 0:
        return int.from_bytes(body[10:12], "big"), 16 + (body[8] & 0x3F) * 4
    return 0, 0


def _in_gre(body: bytes) -> tuple[int, int]:
    """The same for GRE (RFC 2784, 2890) with IP, Ethernet or ERSPAN inside."""
    if len(body) < 16:
        return 0, 0
    flags, kind = struct.unpack_from(">HH", body)
    if flags & 0x4007:
        return 0, 0
    at = 4 + 4 * (flags >> 15) + 4 * (flags >> 13 & 1) + 4 * (flags >> 12 & 1)
    if kind == 0x88BE:
        return BRIDGED, at + (8 if flags >> 12 & 1 else 0)
    if kind == 0x22EB:
        return BRIDGED, at + (20 if body[at + 11] & 1 else 12)
    return kind, at


def _by_type(record: Record, ip: Carried, kind: int, at: int) -> Record | None:
    """The packet inside a tunnel as a record of its own; snap length cuts stay visible."""
    if kind not in (IPV4, IPV6, BRIDGED) or at >= len(ip.body):
        return None
    linktype = ETHERNET if kind == BRIDGED else RAW
    return Record(record.ts_ns, linktype, record.interface, ip.on_wire - at, ip.body[at:])


def _is_packet(record: Record) -> bool:
    """Whether a link layer says that IP follows it."""
    try:
        return record.linktype == RAW or _link(record)[0] in (IPV4, IPV6, ARP)
    except (struct.error, IndexError):
        return False


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
