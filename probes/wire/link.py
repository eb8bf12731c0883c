"""Link layers: from the first byte of a record to the IP header.

Ethernet with any number of VLAN tags (IEEE 802.1Q, 802.1ad), PPPoE sessions (RFC 2516), Linux cooked captures v1 and v2, BSD
null and loop, PPP (RFC 1661), and raw IP under its several numbers.
"""

import cython
from cython.cimports.lbtop.probes.wire.buffer import Octets, be16, be32, span, swap16, word16
from cython.cimports.lbtop.probes.wire.frame import (
    LINK_ETHERNET,
    LINK_IPV4,
    LINK_IPV6,
    LINK_LOOP,
    LINK_NULL,
    LINK_PPP,
    LINK_RAW,
    LINK_RAW_BSD,
    LINK_RAW_OLD,
    LINK_SLL,
    LINK_SLL2,
    TYPE_IPV4,
    TYPE_IPV6,
    TYPE_MPLS,
    TYPE_MPLS_MULTICAST,
    TYPE_PPPOE,
    TYPE_QINQ,
    TYPE_QINQ_OLD,
    TYPE_QINQ_OLDER,
    TYPE_VLAN,
    link_addresses,
    mixed,
)

MOST_TAGS = cython.declare(cython.int, 8)


def is_known_link(linktype):
    """Whether packets of this link type can be decoded at all."""
    return linktype in (LINK_ETHERNET, LINK_NULL, LINK_LOOP, LINK_PPP, LINK_RAW, LINK_RAW_OLD, LINK_RAW_BSD, LINK_IPV4,
                        LINK_IPV6, LINK_SLL, LINK_SLL2)  # fmt: skip


def network_type(buffer, frame, linktype):
    left: cython.Py_ssize_t = frame.end - frame.at
    first: cython.int
    if linktype == LINK_ETHERNET:
        return ethernet(buffer, frame)
    if linktype == LINK_SLL:
        if left < 16:
            return 0
        frame.place = mixed(frame.place, buffer.u64[frame.at] ^ (buffer.u64[frame.at + 6] * 31))
        frame.at += 16
        return after_tags(buffer, frame, be16(buffer, frame.at - 2))
    if linktype == LINK_SLL2:
        if left < 20:
            return 0
        frame.place = mixed(frame.place, buffer.u64[frame.at + 4] ^ (buffer.u64[frame.at + 12] * 31))
        frame.at += 20
        return after_tags(buffer, frame, be16(buffer, frame.at - 20))
    if linktype in (LINK_NULL, LINK_LOOP):
        # The address family in the byte order of the host that captured; IPv6 has another number on every BSD.
        if left < 5:
            return 0
        frame.at += 4
        first = buffer.u8[frame.at] >> 4
        return TYPE_IPV4 if first == 4 else TYPE_IPV6 if first == 6 else 0
    if linktype == LINK_PPP:
        if left >= 2 and be16(buffer, frame.at) == 0xFF03:
            frame.at += 2
            left -= 2
        if left < 2:
            return 0
        frame.at += 2
        first = be16(buffer, frame.at - 2)
        return TYPE_IPV4 if first == 0x21 else TYPE_IPV6 if first == 0x57 else 0
    if left < 1:
        return 0
    if (
        linktype in (LINK_RAW, LINK_RAW_OLD, LINK_RAW_BSD, LINK_IPV4, LINK_IPV6)
    ):
        first = buffer.u8[frame.at] >> 4
        return TYPE_IPV4 if first == 4 else TYPE_IPV6 if first == 6 else 0
    return 0


def ethernet(buffer, frame):
    octets: Octets
    ether_type: cython.int
    if frame.end - frame.at < 14:
        return 0
    octets = span(buffer, frame.at, 14)
    frame.place = mixed(frame.place, link_addresses(octets))
    frame.at += 14
    ether_type = swap16(word16(octets + 12))
    if ether_type == TYPE_IPV4 or ether_type == TYPE_IPV6:
        return ether_type
    return after_tags(buffer, frame, ether_type)


def after_tags(buffer, frame, ether_type):
    tags: cython.int = 0
    while ether_type in (TYPE_VLAN, TYPE_QINQ, TYPE_QINQ_OLD, TYPE_QINQ_OLDER):
        tags += 1
        if tags > MOST_TAGS or frame.end - frame.at < 4:
            return 0
        if frame.vlan == 0:
            frame.vlan = be16(buffer, frame.at) & 0xFFF
        frame.place = mixed(frame.place, be16(buffer, frame.at))
        frame.at += 4
        ether_type = be16(buffer, frame.at - 2)
    if ether_type == TYPE_PPPOE:
        if frame.end - frame.at < 8:
            return 0
        frame.at += 8
        tags = be16(buffer, frame.at - 2)
        return TYPE_IPV4 if tags == 0x21 else TYPE_IPV6 if tags == 0x57 else 0
    if ether_type in (TYPE_MPLS, TYPE_MPLS_MULTICAST):
        while True:
            tags += 1
            if tags > MOST_TAGS or frame.end - frame.at < 5:
                return 0
            frame.at += 4
            if be32(buffer, frame.at - 4) & 0x100:
                break
        # The label stack does not say what it carries (RFC 4928): the first nibble has to.
        tags = buffer.u8[frame.at] >> 4
        return TYPE_IPV4 if tags == 4 else TYPE_IPV6 if tags == 6 else 0
    return ether_type
