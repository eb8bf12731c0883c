"""IPv4 (RFC 791), IPv6 (RFC 8200), TCP (RFC 9293) and UDP (RFC 768) headers.

Lengths come from the headers, not from the capture: Ethernet padding is left out, and what the snap length cut off is known to
have been there. A length of zero is a packet that the sender's card was still to cut up (segmentation offload, jumbograms):
there the record's own length counts.
"""

import cython
from cython.cimports.lbtop.probes.wire.buffer import Octets, be16, be32, span, swap16, word16
from cython.cimports.lbtop.probes.wire.frame import PROTO_TCP, PROTO_UDP, TYPE_IPV4, TYPE_IPV6, mixed

MOST_EXTENSIONS = cython.declare(cython.int, 12)


def network(buffer, frame, ether_type):
    if ether_type == TYPE_IPV4:
        return ipv4(buffer, frame)
    if ether_type == TYPE_IPV6:
        return ipv6(buffer, frame)
    return UNDECODED


def ipv4(buffer, frame):
    at: cython.Py_ssize_t = frame.at
    left: cython.Py_ssize_t = frame.end - at
    header: cython.Py_ssize_t
    total: cython.Py_ssize_t
    fragment: cython.uint
    octets: Octets
    if left < 20:
        return UNDECODED
    octets = span(buffer, at, 20)
    if octets[0] >> 4 != 4:
        return UNDECODED
    header = (octets[0] & 15) * 4
    if header < 20 or header > left:
        return UNDECODED
    total = swap16(word16(octets + 2))
    if total == 0:
        total = frame.wire_end - at
    if total < header:
        return UNDECODED
    frame.ip_id = swap16(word16(octets + 4))
    fragment = swap16(word16(octets + 6))
    frame.fragment = ((fragment & 0x1FFF) << 3) | (1 if fragment & 0x2000 else 0)
    frame.ttl = octets[8]
    frame.proto = octets[9]
    frame.place = mixed(frame.place, frame.ttl)
    ipv4_addresses(frame, octets + 12)
    frame.wire_end = at + total
    if frame.end > frame.wire_end:
        frame.end = frame.wire_end
    frame.at = at + header
    return HEADER_READ


def ipv6(buffer, frame):
    at: cython.Py_ssize_t = frame.at
    left: cython.Py_ssize_t = frame.end - at
    total: cython.Py_ssize_t
    step: cython.Py_ssize_t
    proto: cython.int
    extensions: cython.int = 0
    fragment: cython.uint
    if left < 40 or buffer.u8[at] >> 4 != 6:
        return UNDECODED
    total = be16(buffer, at + 4)
    total = frame.wire_end - at if total == 0 else total + 40
    proto = buffer.u8[at + 6]
    frame.ttl = buffer.u8[at + 7]
    frame.ip_id = 0
    frame.fragment = 0
    frame.place = mixed(frame.place, frame.ttl)
    frame.source_high = buffer.u64[at + 8]
    frame.source_low = buffer.u64[at + 16]
    frame.target_high = buffer.u64[at + 24]
    frame.target_low = buffer.u64[at + 32]
    frame.wire_end = at + total
    if frame.end > frame.wire_end:
        frame.end = frame.wire_end
    at += 40
    # Hop-by-hop, routing, fragment, authentication, destination options, mobility.
    while proto == 0 or proto == 43 or proto == 44 or proto == 51 or proto == 60 or proto == 135:
        extensions += 1
        if extensions > MOST_EXTENSIONS or frame.end - at < 8:
            return UNDECODED
        if proto == 44:
            fragment = be16(buffer, at + 2)
            frame.fragment = (fragment & 0xFFF8) | (fragment & 1)
            frame.ip_id = be32(buffer, at + 4) if frame.fragment else 0
            step = 8
        elif proto == 51:
            step = (cython.cast(cython.Py_ssize_t, buffer.u8[at + 1]) + 2) * 4
        else:
            step = (cython.cast(cython.Py_ssize_t, buffer.u8[at + 1]) + 1) * 8
        proto = buffer.u8[at]
        at += step
        if at > frame.end:
            return UNDECODED
        if frame.fragment:
            # What follows begins in the first fragment.
            break
    frame.proto = proto
    frame.at = at
    return HEADER_READ


def transport(buffer, frame):
    if frame.proto == PROTO_TCP:
        return tcp_header(buffer, frame)
    if frame.proto == PROTO_UDP:
        return udp_header(buffer, frame)
    return UNDECODED


def tcp_header(buffer, frame):
    at: cython.Py_ssize_t = frame.at
    left: cython.Py_ssize_t = frame.end - at
    header: cython.Py_ssize_t
    octets: Octets
    if left < 20:
        return UNDECODED
    octets = span(buffer, at, 20)
    header = (octets[12] >> 4) * 4
    if header < 20 or frame.wire_end - at < header:
        return UNDECODED
    segment_fields(frame, octets, header)
    return HEADER_READ


def udp_header(buffer, frame):
    at: cython.Py_ssize_t = frame.at
    left: cython.Py_ssize_t = frame.end - at
    declared: cython.Py_ssize_t
    on_wire: cython.Py_ssize_t = frame.wire_end - at - 8
    if left < 8 or on_wire < 0:
        return UNDECODED
    frame.source_port = be16(buffer, at)
    frame.target_port = be16(buffer, at + 2)
    declared = be16(buffer, at + 4)
    frame.length = declared - 8 if 8 <= declared < on_wire + 8 else on_wire
    frame.payload = at + 8
    frame.payload_captured = left - 8 if left - 8 < frame.length else frame.length
    frame.seq = 0
    frame.ack = 0
    frame.flags = 0
    frame.window = 0
    frame.options_length = 0
    return HEADER_READ
