"""Every way an IP packet can be wrapped leads to the same connection."""

from __future__ import annotations

import struct

import pytest
from lbtop.probes.wire.decoder import Decoder
from lbtop.probes.wire.link import is_known_link

from lbtop.model.observation import End
from tests.wire.segments import ACK, CLIENT, FIN, KEY, SERVER, START_NS, SYN, ipv4, only, packed, tcp, udp

scapy = pytest.importorskip("scapy.layers.inet", reason="scapy crafts the packets")

from scapy.contrib.erspan import ERSPAN_II, ERSPAN_III  # noqa: E402
from scapy.contrib.geneve import GENEVE  # noqa: E402
from scapy.contrib.mpls import MPLS  # noqa: E402
from scapy.layers.inet import IP, TCP, UDP  # noqa: E402
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrRouting  # noqa: E402
from scapy.layers.l2 import GRE, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Ether, Loopback  # noqa: E402
from scapy.layers.ppp import HDLC, PPP, PPPoE  # noqa: E402
from scapy.layers.vxlan import VXLAN  # noqa: E402
from scapy.packet import Packet, Raw  # noqa: E402

MAPPED = b"\0" * 10 + b"\xff\xff"
INNER = IP(src=CLIENT[0], dst=SERVER[0], id=77) / TCP(sport=CLIENT[1], dport=SERVER[1], flags="PA", seq=1, ack=1) / Raw(b"hello")
OUTER = IP(src="192.0.2.1", dst="192.0.2.2")
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")

ONE, RAW, NULL, LOOP, PPP_LINK, SLL, SLL2 = 1, 101, 0, 108, 9, 113, 276
WRAPPED: dict[str, tuple[int, bytes | Packet]] = {
    "ethernet": (ONE, ETHER / INNER),
    "vlan": (ONE, ETHER / Dot1Q(vlan=7) / INNER),
    "qinq": (ONE, ETHER / Dot1AD(vlan=7) / Dot1Q(vlan=8) / INNER),
    "pppoe": (ONE, ETHER / PPPoE() / PPP() / INNER),
    "mpls": (ONE, ETHER / MPLS(label=3, s=0) / MPLS(label=4, s=1) / INNER),
    "cooked": (SLL, CookedLinux(proto=0x0800) / INNER),
    "cooked with a tag": (SLL, CookedLinux(proto=0x8100) / Dot1Q(vlan=7) / INNER),
    "cooked, version 2": (SLL2, CookedLinuxV2(proto=0x0800) / INNER),
    "raw": (RAW, INNER),
    "raw, OpenBSD": (14, INNER),
    "raw, old": (12, INNER),
    "raw IPv4": (228, INNER),
    "null, little-endian": (NULL, struct.pack("<I", 2) + bytes(INNER)),
    "null, big-endian": (NULL, struct.pack(">I", 2) + bytes(INNER)),
    "loop": (LOOP, Loopback(type=2) / INNER),
    "ppp": (PPP_LINK, PPP() / INNER),
    "ppp in hdlc": (PPP_LINK, HDLC() / PPP() / INNER),
    "vxlan": (ONE, ETHER / OUTER / UDP(sport=50000, dport=4789) / VXLAN(vni=5, flags="Instance") / ETHER / INNER),
    "vxlan over ipv6": (ONE, ETHER / IPv6() / UDP(dport=4789) / VXLAN(vni=5, flags="Instance") / ETHER / INNER),
    "vxlan on the old port": (ONE, ETHER / OUTER / UDP(dport=8472) / VXLAN(vni=5, flags="Instance") / ETHER / INNER),
    "vxlan, tag inside": (ONE, ETHER / OUTER / UDP(dport=4789) / VXLAN(flags="Instance") / ETHER / Dot1Q(vlan=7) / INNER),
    "vxlan-gpe": (ONE, bytes(ETHER / OUTER / UDP(dport=4790) / Raw(b"\x0c\0\0\x01\0\0\x05\0") / INNER)),
    "geneve, ethernet": (ONE, ETHER / OUTER / UDP(dport=6081) / GENEVE(proto=0x6558, vni=9) / ETHER / INNER),
    "geneve, ip, options": (ONE, bytes(ETHER / OUTER / UDP(dport=6081) / Raw(b"\x02\0\x08\0\0\0\x09\0" + bytes(8)) / INNER)),
    "gre": (ONE, ETHER / OUTER / GRE() / INNER),
    "gre with a key and a number": (ONE, ETHER / OUTER / GRE(key_present=1, seqnum_present=1, proto=0x0800) / INNER),
    "gre, ethernet": (ONE, ETHER / OUTER / GRE(proto=0x6558) / ETHER / INNER),
    "erspan": (ONE, ETHER / OUTER / GRE(proto=0x88BE) / ETHER / INNER),
    "erspan 2": (ONE, ETHER / OUTER / GRE(proto=0x88BE, seqnum_present=1) / ERSPAN_II() / ETHER / INNER),
    "erspan 3": (ONE, ETHER / OUTER / GRE(proto=0x22EB, seqnum_present=1) / ERSPAN_III(o=0) / ETHER / INNER),
    "ip in ip": (ONE, ETHER / OUTER / INNER),
    "ip in ip6": (ONE, ETHER / IPv6(nh=4) / INNER),
}


@pytest.mark.parametrize("how", WRAPPED)
def test_wrapped(how: str) -> None:
    linktype, packet = WRAPPED[how]
    data = bytes(packet)
    decoder = Decoder(key=KEY)
    decoder.packet(linktype, START_NS, len(data), len(data), data)
    batch = decoder.finish()
    row = only(batch)
    assert batch.addresses[row["client"]] == MAPPED + packed(CLIENT[0])
    assert batch.addresses[row["server"]] == MAPPED + packed(SERVER[0])
    assert (row["client_port"], row["server_port"], row["bytes_c"]) == (CLIENT[1], SERVER[1], 5)
    assert row["vlan"] == (7 if "tag" in how or how in ("vlan", "qinq") else 0)
    assert decoder.undecoded == 0
    for size in range(len(data)):
        cut = Decoder(key=KEY)
        cut.packet(linktype, START_NS, size, len(data), data[:size])
        assert (cut.packets, cut.truncated) == (1, 1)
        assert len(cut.finish()["connections"]) <= 1


OVER_IPV4 = [how for how, (_, packet) in WRAPPED.items() if bytes(packet)[26:30] == packed("192.0.2.1")]


def take_fragments(decoder: Decoder, packet: bytes, size: int, identity: int = 5) -> None:
    """An Ethernet frame's IPv4 packet in fragments of ``size`` bytes, the last one first."""
    body = packet[34:]
    for at in reversed(range(0, len(body), size)):
        more = 0x2000 if at + size < len(body) else 0
        piece = ipv4("192.0.2.1", "192.0.2.2", packet[23], body[at : at + size], identity=identity, fragment=more | at // 8)
        decoder.packet(ONE, START_NS, 14 + len(piece), 14 + len(piece), packet[:14] + piece)


@pytest.mark.parametrize("size", [16, 48])
@pytest.mark.parametrize("how", OVER_IPV4)
def test_what_a_tunnel_carries_is_found_where_its_packets_come_in_fragments(how: str, size: int) -> None:
    """The path to whoever gets the mirrored packets takes less than a packet and its new headers."""
    data = bytes(WRAPPED[how][1])
    decoder = Decoder(key=KEY)
    take_fragments(decoder, data, size)
    batch = decoder.finish()
    row = only(batch)
    assert batch.addresses[row["client"]] == MAPPED + packed(CLIENT[0])
    assert (row["client_port"], row["server_port"], row["bytes_c"]) == (CLIENT[1], SERVER[1], 5)
    assert row["vlan"] == (7 if "tag" in how else 0)
    assert (decoder.packets, decoder.undecoded) == (-(-(len(data) - 34) // size), 0)


def test_fragments_in_a_tunnel_whose_packets_come_in_fragments() -> None:
    whole = bytes(INNER)[20:] + b"x" * 300
    decoder = Decoder(key=KEY)
    for number, at in enumerate(range(0, len(whole), 160)):
        more = 0x2000 if at + 160 < len(whole) else 0
        inner = ipv4(CLIENT[0], SERVER[0], 6, whole[at : at + 160], identity=8, fragment=more | at // 8)
        take_fragments(decoder, bytes(ETHER / OUTER / GRE(proto=0x0800)) + inner, 96, identity=20 + number)
    assert only(decoder.finish())["bytes_c"] == 305
    assert decoder.undecoded == 0


def test_what_no_tunnel_carries_is_still_counted_where_it_comes_in_fragments() -> None:
    datagram, unknown = Decoder(key=KEY), Decoder(key=KEY)
    take_fragments(datagram, bytes(ETHER / OUTER / UDP(sport=50000, dport=4789) / Raw(b"\x08" + b"no tunnel" * 9)), 40)
    row = only(datagram.finish())
    assert (row["proto"], row["server_port"], row["bytes_c"]) == (17, 4789, 82)
    take_fragments(unknown, bytes(ETHER / OUTER / GRE(proto=0x9000) / Raw(b"of another kind" * 5)), 40)
    assert (unknown.packets, unknown.undecoded) == (2, 1)


@pytest.mark.parametrize("at", range(40))
def test_the_short_way_is_the_long_way(at: int) -> None:
    """Ethernet, IPv4 and TCP are read at once where nothing is special, cooked captures layer by layer: the rows are the same."""
    short, long = Decoder(key=KEY), Decoder(key=KEY)
    plain = bytes(IP(src=CLIENT[0], dst=SERVER[0], id=9) / TCP(sport=CLIENT[1], dport=SERVER[1], flags="PA") / b"GET / HTTP")
    for value in range(256):
        packet = bytearray(plain)
        packet[at] = value
        for number, size in enumerate((len(plain) + 6, len(plain), 41, 40, 39)):
            now_ns = START_NS + (5 * value + number) * 10_000_000
            data = bytes(packet).ljust(size, b"\0")
            whole = len(data)
            for decoder, linktype, link in ((short, ONE, bytes(ETHER)), (long, SLL, bytes(CookedLinux(proto=0x0800)))):
                head = link[: 12 if linktype == ONE else 14] + b"\x08\0"
                decoder.packet(linktype, now_ns, len(head) + size, len(head) + whole, head + data[:size])
    rows = [{name: table.tobytes() for name, table in decoder.finish().tables.items()} for decoder in (short, long)]
    assert rows[0] == rows[1]
    for count in ("packets", "undecoded", "truncated", "duplicates"):
        assert getattr(short, count) == getattr(long, count)
    assert rows[0]["connections"]


@pytest.mark.parametrize(
    "chain",
    [
        IPv6ExtHdrDestOpt() / TCP(sport=40000, dport=80) / Raw(b"hello"),
        IPv6ExtHdrRouting() / IPv6ExtHdrDestOpt() / TCP(sport=40000, dport=80) / Raw(b"hello"),
        IPv6ExtHdrFragment() / TCP(sport=40000, dport=80) / Raw(b"hello"),
    ],
    ids=["options", "routing", "a fragment that is whole"],
)
def test_ipv6_extension_headers(chain: Packet) -> None:
    data = bytes(IPv6(src="2001:db8::1", dst="2001:db8::2") / chain)
    decoder = Decoder(key=KEY)
    decoder.packet(RAW, START_NS, len(data), len(data), data)
    row = only(decoder.finish())
    assert (row["client_port"], row["bytes_c"]) == (40000, 5)


def test_ipv6_fragments() -> None:
    whole = bytes(TCP(sport=40000, dport=80, flags="A") / Raw(b"x" * 3000))
    pieces = [(0, whole[:1232]), (1232, whole[1232:2464]), (2464, whole[2464:])]
    decoder = Decoder(key=KEY)
    for at, piece in reversed(pieces):
        more = at + len(piece) < len(whole)
        header = IPv6ExtHdrFragment(nh=6, offset=at // 8, m=more, id=99)
        data = bytes(IPv6(src="2001:db8::1", dst="2001:db8::2") / header / Raw(piece))
        decoder.packet(RAW, START_NS, len(data), len(data), data)
    assert only(decoder.finish())["bytes_c"] == 3000


def test_a_datagram_to_a_tunnel_port_may_be_just_that() -> None:
    packet = ipv4(CLIENT[0], SERVER[0], 17, udp(CLIENT, (SERVER[0], 4789), b"\x08no tunnel, but a flow of datagrams"))
    decoder = Decoder(key=KEY)
    decoder.packet(RAW, START_NS, len(packet), len(packet), packet)
    row = only(decoder.finish())
    assert (row["proto"], row["server_port"], row["bytes_c"]) == (17, 4789, 35)


def test_tunnels_without_end() -> None:
    packet = ipv4(CLIENT[0], SERVER[0], 6, tcp(CLIENT, SERVER, 1, 1, ACK, b"x"))
    for _ in range(100):
        packet = ipv4(CLIENT[0], SERVER[0], 4, packet)
    decoder = Decoder(key=KEY)
    decoder.packet(RAW, START_NS, len(packet), len(packet), packet)
    assert decoder.undecoded == 1


def test_both_copies_of_a_mirrored_connection_count_once() -> None:
    decoder = Decoder(key=KEY)
    steps = [(CLIENT, SERVER, 1, 0, SYN), (SERVER, CLIENT, 9, 2, SYN | ACK), (CLIENT, SERVER, 2, 10, FIN | ACK)]
    for n, (source, target, seq, ack, flags) in enumerate(steps):
        inner = ipv4(source[0], target[0], 6, tcp(source, target, seq, ack, flags), identity=n + 1)
        frame = bytes(ETHER)[:12] + b"\x08\0" + inner
        mirrored = ipv4("192.0.2.1", "192.0.2.2", 17, udp(("192.0.2.1", 1), ("192.0.2.2", 4789), b"\x08" + bytes(7) + frame))
        for data in (frame, frame[:12] + b"\x81\0\0\x07" + frame[12:], frame[:12] + b"\x08\0" + mirrored):
            decoder.packet(ONE, START_NS + n * 10**6, len(data), len(data), data)
    row = only(decoder.finish())
    assert (row["packets_c"], row["packets_s"], row["duplicates"], row["end"]) == (2, 1, 6, End.OPEN)


def test_known_link_types() -> None:
    assert all(is_known_link(linktype) for linktype, _ in WRAPPED.values())
    assert not is_known_link(127)
