from libc.stdint cimport uint32_t, uint64_t

from lbtop.probes.wire.buffer cimport Buffer, Octets, span, swap16, swap32, word16, word32
from lbtop.probes.wire.frame cimport PROTO_TCP, Frame, link_addresses, mixed

cdef enum:
    UNDECODED = 0
    HEADER_READ = 1

# Reads the IP header at frame.at: addresses, protocol, length. HEADER_READ, or UNDECODED when damaged, cut or not IP.
cdef int network(Buffer buffer, Frame frame, int ether_type) except -1 nogil
cdef int ipv4(Buffer buffer, Frame frame) except -1 nogil

cdef enum:
    MAPPED = 0xFFFF0000     # bytes 8 to 11 of an IPv4-mapped address (RFC 4291 section 2.5.5.2), as a little-endian word

# From the source address on.
cdef inline void ipv4_addresses(Frame frame, Octets octets) noexcept nogil:
    frame.source_high = 0
    frame.target_high = 0
    frame.source_low = <uint64_t>MAPPED | (<uint64_t>word32(octets) << 32)
    frame.target_low = <uint64_t>MAPPED | (<uint64_t>word32(octets + 4) << 32)

cdef int ipv6(Buffer buffer, Frame frame) except -1 nogil
# Reads the TCP or UDP header that follows.
cdef int transport(Buffer buffer, Frame frame) except -1 nogil
cdef int tcp_header(Buffer buffer, Frame frame) except -1 nogil
# A TCP header of ``header`` bytes, of which 20 are there, at frame.at.
cdef inline void segment_fields(Frame frame, Octets octets, Py_ssize_t header) noexcept nogil:
    cdef Py_ssize_t left = frame.end - frame.at
    frame.source_port = swap16(word16(octets))
    frame.target_port = swap16(word16(octets + 2))
    frame.seq = swap32(word32(octets + 4))
    frame.ack = swap32(word32(octets + 8))
    frame.flags = octets[13] & 0x3F
    frame.window = swap16(word16(octets + 14))
    frame.options = frame.at + 20
    frame.options_length = (header if header < left else left) - 20
    frame.length = frame.wire_end - frame.at - header
    frame.payload = frame.at + header
    frame.payload_captured = left - header if left > header else 0

cdef int udp_header(Buffer buffer, Frame frame) except -1 nogil

# Four bytes each, as little-endian words: Ethernet's type, then IPv4's version, header length (20 bytes) and type of service;
# IPv4's fragment field (neither part nor beginning of a longer packet), time to live and protocol.
cdef enum:
    ETHERNET_IPV4 = 0x00450008
    WITHOUT_TOS = 0x00FFFFFF
    WHOLE_TCP = PROTO_TCP << 24
    WITHOUT_TTL = 0xFF00FF3F

# Reads all headers of a packet as most are: Ethernet without tags, IPv4 without options and not a fragment, TCP. Says what the
# functions for each layer say, with one check of bounds; where it is UNDECODED it changed nothing, and those have to look.
cdef inline int usual(Buffer buffer, Frame frame) except -1 nogil:
    cdef Py_ssize_t at = frame.begin
    cdef Py_ssize_t end = at + frame.captured
    cdef Py_ssize_t wire_end
    cdef Py_ssize_t header
    cdef Octets octets
    if frame.captured < 54:
        return UNDECODED
    octets = span(buffer, at, 54)
    if word32(octets + 12) & <uint32_t>WITHOUT_TOS != <uint32_t>ETHERNET_IPV4:
        return UNDECODED
    if word32(octets + 20) & <uint32_t>WITHOUT_TTL != <uint32_t>WHOLE_TCP:
        return UNDECODED
    wire_end = at + 14 + swap16(word16(octets + 16))
    if end > wire_end:
        end = wire_end
    at += 34
    header = (octets[46] >> 4) * 4
    if end - at < 20 or header < 20 or wire_end - at < header:
        return UNDECODED
    frame.at = at
    frame.end = end
    frame.wire_end = wire_end
    frame.ip_id = swap16(word16(octets + 18))
    frame.ttl = octets[22]
    frame.proto = PROTO_TCP
    frame.place = mixed(mixed(frame.place, link_addresses(octets)), octets[22])
    ipv4_addresses(frame, octets + 26)
    segment_fields(frame, octets + 34, header)
    return HEADER_READ
