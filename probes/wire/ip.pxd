from libc.stdint cimport uint64_t

from lbtop.probes.wire.buffer cimport Buffer, Octets, swap16, swap32, word16, word32
from lbtop.probes.wire.frame cimport Frame

cdef enum:
    UNDECODED = 0
    HEADER_READ = 1

# Reads all headers of a packet as most are: Ethernet without tags, IPv4 without options and not a fragment, TCP. Says what the
# functions for each layer say, with one check of bounds; where it is UNDECODED it changed nothing, and those have to look.
cdef int usual(Buffer buffer, Frame frame) except -1 nogil
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
