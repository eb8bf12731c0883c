"""Packets inside packets: what a mirror or an overlay network wraps around the traffic.

VXLAN (RFC 7348, AWS traffic mirroring), VXLAN-GPE (draft-ietf-nvo3-vxlan-gpe), GENEVE (RFC 8926, AWS gateway balancers), GRE (RFC
2784, RFC 2890), ERSPAN (draft-foschiano-erspan) and IP in IP (RFC 2003, RFC 4213).
"""

import cython
from cython.cimports.lbtop.probes.wire.buffer import be16
from cython.cimports.lbtop.probes.wire.frame import TYPE_IPV4, TYPE_IPV6, TYPE_TRANSPARENT_BRIDGE
from cython.cimports.lbtop.probes.wire.link import ethernet

VXLAN = cython.declare(cython.int, 4789)
VXLAN_LINUX = cython.declare(cython.int, 8472)  # the port Linux used before one was assigned
VXLAN_GPE = cython.declare(cython.int, 4790)
GENEVE = cython.declare(cython.int, 6081)
ERSPAN_2 = cython.declare(cython.int, 0x88BE)
ERSPAN_3 = cython.declare(cython.int, 0x22EB)


def is_tunnel_port(port):
    return port in (VXLAN, VXLAN_LINUX, VXLAN_GPE, GENEVE)


def inside_udp(buffer, frame):
    at: cython.Py_ssize_t = frame.payload
    port: cython.int = frame.target_port
    flags: cython.int
    if frame.payload_captured < 16:
        return 0
    flags = buffer.u8[at]
    if port in (VXLAN, VXLAN_LINUX):
        # The flag says that the network identifier is valid; the bits around it are reserved.
        if flags & 0x08 == 0 or buffer.u8[at + 7] != 0:
            return 0
        frame.at = at + 8
        return ethernet(buffer, frame)
    if port == VXLAN_GPE:
        if flags & 0x0C != 0x0C:
            return 0
        frame.at = at + 8
        flags = buffer.u8[at + 3]
        return by_type(
            buffer,
            frame,
            TYPE_IPV4 if flags == 1 else TYPE_IPV6 if flags == 2 else TYPE_TRANSPARENT_BRIDGE if flags == 3 else 0,
        )
    if flags >> 6:
        return 0
    frame.at = at + 8 + (flags & 0x3F) * 4
    if frame.at > frame.end:
        return 0
    return by_type(buffer, frame, be16(buffer, at + 2))


def inside_ip(buffer, frame):
    at: cython.Py_ssize_t = frame.at
    flags: cython.int
    kind: cython.int
    if frame.proto == 4:
        return TYPE_IPV4
    if frame.proto == 41:
        return TYPE_IPV6
    if frame.proto != 47 or frame.end - at < 16:
        return 0
    flags = be16(buffer, at)
    kind = be16(buffer, at + 2)
    if flags & 0x4007:
        # Source routes were never used; version 1 is PPTP, which carries compressed PPP.
        return 0
    at += 4 + 4 * (flags >> 15 & 1) + 4 * (flags >> 13 & 1) + 4 * (flags >> 12 & 1)
    if kind == ERSPAN_2:
        # Version 1 of it has no header of its own and no sequence number.
        at += 8 if flags & 0x1000 else 0
        kind = TYPE_TRANSPARENT_BRIDGE
    elif kind == ERSPAN_3:
        if frame.end - at < 12:
            return 0
        at += 20 if buffer.u8[at + 11] & 1 else 12
        kind = TYPE_TRANSPARENT_BRIDGE
    frame.at = at
    return by_type(buffer, frame, kind)


def by_type(buffer, frame, ether_type):
    if frame.at >= frame.end:
        return 0
    if ether_type == TYPE_TRANSPARENT_BRIDGE:
        return ethernet(buffer, frame)
    return ether_type if ether_type in (TYPE_IPV4, TYPE_IPV6) else 0
