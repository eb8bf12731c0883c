"""What may happen to traffic on its way into a capture, done to records: loss, copies, cuts, other numbers, other links.

Every function takes records and returns new ones; none changes what a person would say about the traffic.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import random
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tests.reference.files import Record
from tests.reference.packets import ETHERNET, RAW, SLL, VXLAN, decode

Records = list[Record]
ADDRESS = re.compile(rb"(?<![\w.:])(?:(?:\d{1,3}\.){3}\d{1,3}(?![\d.])|[0-9a-f]{1,4}:[0-9a-f:]*:[0-9a-f:]+)")
COOKIES = re.compile(rb"(?im)^(?:set-)?cookie[ ]*:[^\r\n]*")
WORD = re.compile(rb"[A-Za-z0-9+/]{12,}={0,2}")
FORWARDING = re.compile(
    rb"(?im)^(?:(?:x-forwarded-for|forwarded|x-real-ip|host|true-client-ip|cf-connecting-ip)[ ]*:|PROXY TCP4)[^\r\n]*"
)
PROXY_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
KEPT_PORTS = frozenset({53, 4789, 4790, 6081})


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the headers of an Ethernet, cooked or raw IP frame start; ``transport`` is 0 for what is neither TCP nor UDP."""

    network: int
    version: int
    transport: int
    proto: int
    payload: int


TAGS = (b"\x81\x00", b"\x88\xa8")
"""Types of Ethernet frames that a VLAN tag precedes."""


def layout(record: Record) -> Layout | None:
    data = record.data
    network = {ETHERNET: 14, SLL: 16, 276: 20, RAW: 0}.get(record.linktype)
    if network is None or len(data) < network + 20:
        return None
    if record.linktype == ETHERNET:
        while data[network - 2 : network] in TAGS:
            network += 4
    version = data[network] >> 4
    if version == 4:
        transport, proto = network + (data[network] & 15) * 4, data[network + 9]
        first = struct.unpack_from(">H", data, network + 6)[0] & 0x1FFF == 0
    elif version == 6 and len(data) >= network + 40:
        transport, proto, first = network + 40, data[network + 6], True
    else:
        return None
    if proto not in (6, 17) or not first or len(data) < transport + (20 if proto == 6 else 8):
        return Layout(network, version, 0, proto, 0)
    payload = transport + ((data[transport + 12] >> 4) * 4 if proto == 6 else 8)
    return Layout(network, version, transport, proto, payload)


# Other numbers


def new_octet(octet: int) -> int:
    """Another number with as many decimal digits, so that addresses in text keep their length. One to one."""
    for low, high in ((0, 10), (10, 100), (100, 256)):
        if octet < high:
            return low + (octet - low + 3) % (high - low)
    raise ValueError(octet)


def new_address(packed: bytes) -> bytes:
    """Another address of the same network class and the same text length: IPv4 keeps its first two octets, IPv6 its zeros."""
    if len(packed) == 4:
        return packed[:2] + bytes(new_octet(octet) for octet in packed[2:])
    digits = packed.hex()
    return bytes.fromhex(digits[:16] + "".join(f"{int(digit, 16) % 15 + 1:x}" if digit != "0" else "0" for digit in digits[16:]))


def new_port(port: int) -> int:
    """Another port: ephemeral ones rotate among themselves, the others move up by one, so that who is lower stays lower."""
    if port in KEPT_PORTS:
        return port
    return 32768 + (port - 32768 + 4321) % 32768 if port >= 32768 else min(port + 1, 32767)


def new_text(text: str) -> str:
    """The same addresses and ports in a result: ``10.0.0.1``, ``10.0.0.1:80``, ``[2001:db8::1]:80``, ``port 80``."""

    def swap(found: re.Match[str]) -> str:
        address, port = found["v6"] or found["v4"] or found["bare"], found["port"]
        try:
            changed = str(ipaddress.ip_address(new_address(ipaddress.ip_address(address).packed)))
        except ValueError:
            return found[0]
        changed = f"[{changed}]" if found["v6"] else changed
        return f"{changed}:{new_port(int(port))}" if port else changed

    pattern = (
        r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?<![\d.\w])(?P<v4>\d{1,3}(?:\.\d{1,3}){3})(?![\d.]))(?::(?P<port>\d{1,5}))?"
        r"|(?<![\w:.])(?P<bare>[0-9a-f]{1,4}:[0-9a-f:]*:[0-9a-f:]+)(?![\w:.])"
    )
    named = r"(?<!name port )(?<=port )\d{1,5}\b|(?<= = :)\d{1,5}\b|(?<=port==)\d{1,5}\b|(?<=port == )\d{1,5}\b"
    return re.sub(named, lambda found: str(new_port(int(found[0]))), re.sub(pattern, swap, text))


def renumbered(records: Records) -> Records:
    """All addresses and ports changed one to one, in headers, PROXY headers and forwarding header fields; checksums set right."""
    return [_renumber(record) for record in records]


def _renumber(record: Record) -> Record:
    place = layout(record)
    if place is None:
        return record
    data = bytearray(record.data)
    size = 4 if place.version == 4 else 16
    start = place.network + (12 if size == 4 else 8)
    for at in (start, start + size):
        data[at : at + size] = new_address(bytes(data[at : at + size]))
    if place.transport:
        for at in (place.transport, place.transport + 2):
            struct.pack_into(">H", data, at, new_port(struct.unpack_from(">H", data, at)[0]))
        if place.proto == 17 and struct.unpack_from(">H", data, place.transport + 2)[0] == VXLAN:
            inner = place.payload + 8
            frame = Record(record.ts_ns, ETHERNET, 0, record.wire_length - inner, bytes(data[inner:]))
            data[inner:] = _renumber(frame).data
        else:
            data[place.payload :] = _renumber_payload(bytes(data[place.payload :]))
    fix_checksums(data, place, record.wire_length == len(record.data))
    return replace(record, data=bytes(data))


def _renumber_payload(payload: bytes) -> bytes:
    def line(found: re.Match[bytes]) -> bytes:
        return ADDRESS.sub(lambda one: _new_text(one[0]), found[0])

    def cookies(found: re.Match[bytes]) -> bytes:
        return WORD.sub(lambda word: _renumber_word(word[0]), found[0])

    payload = COOKIES.sub(cookies, FORWARDING.sub(line, payload))
    if payload.startswith(PROXY_V2) and len(payload) >= 28 and payload[13] >> 4 == 1 and payload[12] & 1:
        changed = new_address(payload[16:20]) + new_address(payload[20:24])
        port = new_port(struct.unpack_from(">H", payload, 24)[0])
        payload = payload[:16] + changed + struct.pack(">H", port) + payload[26:]  # 443 there says more than a number
    return payload


def _new_text(address: bytes) -> bytes:
    """Another address in text form, of the same length; what is none stays."""
    try:
        packed = ipaddress.ip_address(address.decode()).packed
    except ValueError:
        return address
    return str(ipaddress.ip_address(new_address(packed))).encode()


def _renumber_word(word: bytes) -> bytes:
    """A cookie's value whose base64 holds ``address:port``, as some balancers write it."""
    try:
        held = base64.b64decode(word, validate=True)
    except binascii.Error:
        return word
    found = re.search(rb"(\d{1,3}(?:\.\d{1,3}){3}):(\d{1,5})", held)
    if not found:
        return word
    changed = _new_text(found[1]) + b":%d" % new_port(int(found[2]))
    return base64.b64encode(held[: found.start()] + changed + held[found.end() :])


def fix_checksums(data: bytearray, place: Layout, whole: bool) -> None:
    """Of IPv4 and, where the packet is whole, of TCP and UDP (RFC 1071)."""
    network, transport = place.network, place.transport
    if place.version == 4:
        end = network + (data[network] & 15) * 4
        data[network + 10 : network + 12] = b"\0\0"
        struct.pack_into(">H", data, network + 10, checksum(bytes(data[network:end])))
    if not transport or not whole:
        return
    end = network + struct.unpack_from(">H", data, network + 2)[0] if place.version == 4 else len(data)
    addresses = data[network + 12 : network + 20] if place.version == 4 else data[network + 8 : network + 40]
    at = transport + (16 if place.proto == 6 else 6)
    data[at : at + 2] = b"\0\0"
    body = bytes(data[transport : min(end, len(data))])
    struct.pack_into(">H", data, at, checksum(bytes(addresses) + struct.pack(">HH", place.proto, len(body)) + body))


def checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


# Loss and cuts


def dropped(records: Records, share: float = 0.1, seed: int = 1) -> Records:
    rng = random.Random(seed)
    return [record for record in records if rng.random() >= share]


def without_start(records: Records, share: float = 0.3) -> Records:
    return records[int(len(records) * share) :]


def one_direction(records: Records, to_server: bool = True) -> Records:
    """Only what goes towards (or comes from) the ends that a SYN was sent to."""
    servers = set()
    for record in records:
        packet = decode(record)
        if packet is not None and packet.proto == 6 and packet.flags & 0x12 == 0x02:
            servers.add((packet.destination, packet.destination_port))
    kept = []
    for record in records:
        packet = decode(record)
        if packet is None or ((packet.destination, packet.destination_port) in servers) == to_server:
            kept.append(record)
    return kept


def answers_early(records: Records, by_ns: int = 2_000_000) -> Records:
    """A tap for each direction, and the clock of the one that shows the servers is behind."""
    asked = one_direction(records, True)
    kept = {id(record) for record in asked}
    answers = [replace(record, ts_ns=record.ts_ns - by_ns) for record in records if id(record) not in kept]
    return sorted(asked + answers, key=lambda record: record.ts_ns)


def snapped(records: Records, length: int = 96) -> Records:
    return [replace(record, data=record.data[:length]) for record in records]


# Copies and order


def doubled(records: Records, delay_ns: int = 20_000) -> Records:
    """Each packet a second time as a router's other interface shows it: other link addresses, a TTL less by one."""
    copies: Records = []
    for record in records:
        place = layout(record)
        copies.append(record)
        if place is None or record.linktype != ETHERNET:
            continue
        data = bytearray(record.data)
        data[0:12] = bytes(byte ^ 0x10 for byte in data[0:12])
        at = place.network + (8 if place.version == 4 else 7)
        data[at] = max(1, data[at] - 1)
        fix_checksums(data, place, record.wire_length == len(record.data))
        copies.append(replace(record, ts_ns=record.ts_ns + delay_ns, data=bytes(data)))
    return sorted(copies, key=lambda record: record.ts_ns)


def mirrored_twice(records: Records, delay_ns: int = 3_000) -> Records:
    """Each packet a second time to the byte, as from a switch port that is mirrored both as it receives and as it sends."""
    return sorted(
        (copy for record in records for copy in (record, replace(record, ts_ns=record.ts_ns + delay_ns))),
        key=lambda record: record.ts_ns,
    )


def reordered(records: Records, seed: int = 1) -> Records:
    """Neighbouring data segments of one direction change places now and then; time stamps stay with the places."""
    rng = random.Random(seed)
    result = list(records)
    for at in range(len(result) - 1):
        one, two = decode(result[at]), decode(result[at + 1])
        if one is None or two is None or one.proto != 6 or not one.length or not two.length or (one.flags | two.flags) & 7:
            continue
        same = (one.source, one.source_port, one.destination_port) == (two.source, two.source_port, two.destination_port)
        if same and rng.random() < 0.5:
            first, second = result[at], result[at + 1]
            result[at], result[at + 1] = replace(second, ts_ns=first.ts_ns), replace(first, ts_ns=second.ts_ns)
    return result


# Segments


def split(records: Records, most: int = 100) -> Records:
    """TCP payload in pieces of at most ``most`` bytes, all with the time stamp of the whole."""
    result: Records = []
    for record in records:
        place = layout(record)
        if place is None or place.proto != 6 or not place.transport or record.wire_length != len(record.data):
            result.append(record)
            continue
        end = place.network + _network_length(record.data, place)
        payload = record.data[place.payload : end]
        pieces = [payload[at : at + most] for at in range(0, len(payload), most)] or [b""]
        for number, piece in enumerate(pieces):
            last = number == len(pieces) - 1
            data = _segment(record.data, place, piece, number * most, number, last)
            result.append(replace(record, data=data, wire_length=len(data)))
    return result


def _network_length(data: bytes, place: Layout) -> int:
    at = place.network + (2 if place.version == 4 else 4)
    total = int.from_bytes(data[at : at + 2], "big")
    return total if place.version == 4 else total + 40


def _segment(data: bytes, place: Layout, piece: bytes, offset: int, number: int, last: bool) -> bytes:
    head = bytearray(data[: place.payload])
    seq = struct.unpack_from(">I", head, place.transport + 4)[0]
    if offset:
        seq += head[place.transport + 13] >> 1 & 1
        head[place.transport + 13] &= ~2
    struct.pack_into(">I", head, place.transport + 4, (seq + offset) & 0xFFFFFFFF)
    if not last:
        head[place.transport + 13] &= ~1  # the FIN goes with the last piece
    total = len(head) - place.network + len(piece)
    if place.version == 4:
        struct.pack_into(">H", head, place.network + 2, total)
        identity = struct.unpack_from(">H", head, place.network + 4)[0]
        struct.pack_into(">H", head, place.network + 4, (identity + number * 7919) & 0xFFFF)
    else:
        struct.pack_into(">H", head, place.network + 4, total - 40)
    whole = head + piece
    fix_checksums(whole, place, True)
    return bytes(whole)


# Other links


def _mapped(records: Sequence[Record], change: Callable[[bytes], bytes], linktype: int = ETHERNET) -> Records:
    result = []
    for record in records:
        if record.linktype != ETHERNET or len(record.data) < 14:
            raise ValueError("only Ethernet frames can be put on another link")
        data = change(record.data)
        grown = len(data) - len(record.data)
        result.append(replace(record, data=data, wire_length=record.wire_length + grown, linktype=linktype))
    return result


def in_vlan(records: Records, tag: int = 42) -> Records:
    return _mapped(records, lambda data: data[:12] + struct.pack(">HH", 0x8100, tag) + data[12:])


def cooked(records: Records) -> Records:
    """Linux cooked capture, version 1: as ``tcpdump -i any`` writes it."""
    return _mapped(records, lambda data: struct.pack(">HHH", 0, 1, 6) + data[6:12] + b"\0\0" + data[12:], SLL)


def cooked2(records: Records) -> Records:
    return _mapped(
        records, lambda data: data[12:14] + b"\0\0" + struct.pack(">IHBB", 2, 1, 0, 6) + data[6:12] + b"\0\0" + data[14:], 276
    )


def raw_ip(records: Records) -> Records:
    """Without link layer and VLAN tags."""

    def strip(data: bytes) -> bytes:
        at = 14
        while data[at - 2 : at] in TAGS:
            at += 4
        return data[at:]

    return _mapped(records, strip, RAW)


def in_vxlan(records: Records) -> Records:
    """As a cloud's traffic mirror sends it: Ethernet, IPv4, UDP 4789, VXLAN, then the frame."""

    def wrap(data: bytes) -> bytes:
        vxlan = b"\x08\0\0\0" + struct.pack(">I", 7 << 8)
        udp = struct.pack(">HHHH", 50000, 4789, 8 + len(vxlan) + len(data), 0)
        total = 20 + len(udp) + len(vxlan) + len(data)
        ip = bytearray(struct.pack(">BBHHHBBH4s4s", 0x45, 0, total, 1, 0, 64, 17, 0, bytes([10, 9, 9, 1]), bytes([10, 9, 9, 2])))
        struct.pack_into(">H", ip, 10, checksum(bytes(ip)))
        return b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\0" + bytes(ip) + udp + vxlan + data

    return _mapped(records, wrap)


def in_fragments(records: Records, size: int = 480) -> Records:
    """IPv4 packets as a path with a smaller MTU takes them, in fragments of at most ``size`` bytes, a multiple of 8."""
    result = []
    for number, record in enumerate(records):
        place = layout(record)
        if place is None or place.version != 4 or len(record.data) <= place.network + 20 + size:
            result.append(record)
            continue
        head, body = record.data[: place.network + 20], record.data[place.network + 20 :]
        for at in range(0, len(body), size):
            piece = bytearray(head + body[at : at + size])
            more = 0x2000 if at + size < len(body) else 0
            struct.pack_into(">HHH", piece, place.network + 2, len(piece) - place.network, number & 0xFFFF or 1, more | at // 8)
            result.append(replace(record, data=bytes(piece), wire_length=len(piece)))
    return result
