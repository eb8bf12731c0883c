"""The cold parts of pcap and pcapng: file headers, section headers, interface descriptions, statistics."""

from __future__ import annotations

import struct

from lbtop.probes.files.feed import Feed

from lbtop.model.errors import LbtopError
from lbtop.model.record import dataclass

SECTION, DESCRIPTION, STATISTICS, SECRETS = 0x0A0D0D0A, 1, 5, 10
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
# magic -> struct byte order, nanoseconds per unit of the fraction, bytes that a record header has beyond 16
_PCAP_MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000, 0),
    b"\xa1\xb2\xc3\xd4": (">", 1000, 0),
    b"\x4d\x3c\xb2\xa1": ("<", 1, 0),
    b"\xa1\xb2\x3c\x4d": (">", 1, 0),
    b"\x34\xcd\xb2\xa1": ("<", 1000, 8),  # "modified" pcap: interface, protocol and packet type behind each header
    b"\xa1\xb2\xcd\x34": (">", 1000, 8),
}
_OTHERS = {
    b"snoop\x00": "a Solaris snoop file: convert it with editcap -F pcapng",
    b"RTSS": "a Microsoft Network Monitor file: convert it with editcap -F pcapng",
    b"GMBU": "a Microsoft Network Monitor file: convert it with editcap -F pcapng",
    b"TRSNIFF": "a Sniffer file: convert it with editcap -F pcapng",
    b"BZh": "compressed with bzip2: unpack it first",
    b"\xfd7zXZ": "compressed with xz: unpack it first",
    b"PK\x03\x04": "a zip archive: unpack it first",
    b"\x04\x22\x4d\x18": "compressed with lz4: unpack it first",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it first",
}
_LINK_NAMES = {
    105: "IEEE 802.11", 119: "Prism 802.11", 127: "radiotap 802.11", 192: "PPI", 195: "IEEE 802.15.4", 230: "IEEE 802.15.4",
    187: "Bluetooth", 201: "Bluetooth", 189: "USB", 220: "USB", 227: "CAN", 143: "DOCSIS", 122: "IP over Fibre Channel",
    7: "ARCNET", 6: "Token Ring", 10: "FDDI", 239: "netfilter log", 253: "netlink", 258: "PKTAP", 149: "PKTAP",
}  # fmt: skip
_LARGEST_SECRETS = 1 << 20
_HOST_SIDE = (b"veth", b"cali", b"lxc", b"cni", b"docker", b"br-", b"virbr", b"vnet", b"tap", b"gke", b"azv", b"eni")
"""How container engines, their network plug-ins and hypervisors name the host's end of a link, and the bridge between them."""


@dataclass(frozen=True, slots=True)
class PcapHeader:
    swapped: bool
    fraction_ns: int
    extra: int
    linktype: int


@dataclass(frozen=True, slots=True)
class Description:
    """An interface of a pcapng section: how its times are counted, see Records.add_interface.

    ``host_side``: its name is that of the host's end of a container's or guest's link. What leaves the process comes in there.
    """

    linktype: int
    snaplen: int
    kind: int
    factor: int
    offset_ns: int
    host_side: bool = False


def link_name(linktype: int) -> str:
    """ "link type 127 (radiotap 802.11)"."""
    known = _LINK_NAMES.get(linktype)
    return f"link type {linktype} ({known})" if known else f"link type {linktype}"


def pcap_header(feed: Feed) -> PcapHeader | None:
    """The header of a pcap file, consumed; None for pcapng. Raises LbtopError for anything else."""
    head = feed.look(24)
    if not head and feed.cut:
        raise LbtopError(f"{feed.name} ends inside its compressed data: it holds no packets")
    if not head:
        raise LbtopError(f"{feed.name} is empty: nothing was captured, or the capture has not been written yet")
    if head[:4] == PCAPNG_MAGIC:
        return None
    found = _PCAP_MAGICS.get(head[:4])
    if found is None:
        for magic, what in _OTHERS.items():
            if head.startswith(magic):
                raise LbtopError(f"{feed.name} is {what}")
        raise LbtopError(f"{feed.name} is {_guess(feed)}")
    if len(head) < 24:
        raise LbtopError(f"{feed.name} ends inside its header: it holds no packets")
    feed.drop(24)
    order, fraction_ns, extra = found
    linktype = struct.unpack_from(order + "I", head, 20)[0] & 0xFFFF
    return PcapHeader(order == ">", fraction_ns, extra, linktype)


def _guess(feed: Feed) -> str:
    """What a file that is no capture may be, and what to do about it."""
    head = feed.look(512)
    if feed.path.lower().endswith(".etl"):
        return "an event trace of Windows: convert it with pktmon etl2pcap (or etl2pcapng), or record with dumpcap"
    if head[257:262] == b"ustar":
        return "a tar archive: unpack it first"
    if all(byte >= 0x20 or byte in b"\t\r\n\x1b" for byte in head):
        return "text, not a capture: the packets themselves are needed, as tcpdump -w writes them"
    return "not a capture: pcap or pcapng is needed, as tcpdump -w writes it"


def section_swapped(block: bytes) -> bool:
    """Whether a section (pcapng section header block) is big-endian."""
    return block[8:12] == b"\x1a\x2b\x3c\x4d"


def block_type(block: bytes, swapped: bool) -> int:
    return int(struct.unpack_from(">I" if swapped else "<I", block)[0])


def description(block: bytes, swapped: bool) -> Description:
    """An interface description block. Without options: microseconds."""
    order = ">" if swapped else "<"
    if len(block) < 20:
        return Description(-2, 0, 0, 1000, 0)
    linktype, _, snaplen = struct.unpack_from(order + "HHI", block, 8)
    kind, factor, offset_ns, host_side = 0, 1000, 0, False
    for code, value in options(block[16:-4], order):
        if code == 9 and value:
            kind, factor = _resolution(value[0])
        elif code == 2:
            host_side = value.startswith(_HOST_SIDE)
        elif code == 14 and len(value) == 8:
            seconds = struct.unpack(order + "q", value)[0]
            if abs(seconds) < 1 << 33:
                offset_ns = seconds * 10**9
    return Description(linktype, snaplen, kind, factor, offset_ns, host_side)


def dropped(block: bytes, swapped: bool) -> int | None:
    """Packets dropped according to an interface statistics block."""
    order = ">" if swapped else "<"
    counts = [
        struct.unpack(order + "Q", value)[0]
        for code, value in options(block[20:-4], order)
        if code in (5, 7) and len(value) == 8
    ]
    return sum(counts) if counts else None


def secrets(block: bytes, swapped: bool) -> bytes | None:
    """The key log of a decryption secrets block, when it is one for TLS and of sane size."""
    order = ">" if swapped else "<"
    if len(block) < 24:
        return None
    kind, length = struct.unpack_from(order + "II", block, 8)
    if kind != 0x544C534B or length > min(_LARGEST_SECRETS, len(block) - 20):
        return None
    return block[16 : 16 + length]


def _resolution(value: int) -> tuple[int, int]:
    """kind and factor of if_tsresol: a negative power of ten, or of two where the highest bit is set."""
    if value & 0x80:
        return 2, min(value & 0x7F, 63)
    if value <= 9:
        return 0, 10 ** (9 - value)
    return 1, 10 ** min(value - 9, 18)


def options(data: bytes, order: str) -> list[tuple[int, bytes]]:
    """Code and value of every option (draft-ietf-opsawg-pcapng section 3.5); ``order``: "<" or ">", as in struct."""
    found = []
    at = 0
    while at + 4 <= len(data):
        code, length = struct.unpack_from(order + "HH", data, at)
        if code == 0 or at + 4 + length > len(data):
            break
        found.append((code, data[at + 4 : at + 4 + length]))
        at += 4 + (length + 3 & ~3)
    return found


def first_time_ns(feed: Feed) -> int | None:
    """Time of the first packet, without consuming it; None when it is not within the first 64 KB. Raises LbtopError."""
    head = feed.look(1 << 16)
    found = _PCAP_MAGICS.get(head[:4])
    if found is not None:
        if len(head) < 40:
            return None
        order, fraction_ns, _ = found
        seconds, fraction = struct.unpack_from(order + "II", head, 24)
        return int(seconds * 10**9 + fraction * fraction_ns)
    if head[:4] != PCAPNG_MAGIC:
        pcap_header(feed)  # says what is wrong
    return _first_pcapng_time(head)


def _first_pcapng_time(head: bytes) -> int | None:
    at, swapped = 0, False
    interfaces: list[Description] = []
    while at + 12 <= len(head):
        if head[at : at + 4] == PCAPNG_MAGIC:
            swapped = section_swapped(head[at : at + 12])
            interfaces = []
        order = ">" if swapped else "<"
        kind, length = struct.unpack_from(order + "II", head, at)
        if length < 12 or at + length > len(head):
            return None
        block = head[at : at + length]
        if kind == DESCRIPTION:
            interfaces.append(description(block, swapped))
        elif kind in (2, 6) and length >= 32:
            number, high, low = struct.unpack_from(order + "III", block, 8)
            if kind == 2:
                number = struct.unpack_from(order + "H", block, 8)[0]
            if number < len(interfaces):
                return _time(interfaces[number], high << 32 | low)
        elif kind == 3:
            return None
        at += length + 3 & ~3
    return None


def _time(interface: Description, units: int) -> int:
    if interface.kind == 0:
        return units * interface.factor + interface.offset_ns
    if interface.kind == 1:
        return units // interface.factor + interface.offset_ns
    return (units * 10**9 >> interface.factor) + interface.offset_ns
