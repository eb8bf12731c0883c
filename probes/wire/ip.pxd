from lbtop.probes.wire.buffer cimport Buffer, Octets
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
# From the source address on.
cdef int ipv4_addresses(Frame frame, Octets octets) except -1 nogil
cdef int ipv6(Buffer buffer, Frame frame) except -1 nogil
# Reads the TCP or UDP header that follows.
cdef int transport(Buffer buffer, Frame frame) except -1 nogil
cdef int tcp_header(Buffer buffer, Frame frame) except -1 nogil
# A TCP header of ``header`` bytes, of which 20 are there, at frame.at.
cdef int segment_fields(Frame frame, Octets octets, Py_ssize_t header) except -1 nogil
cdef int udp_header(Buffer buffer, Frame frame) except -1 nogil
