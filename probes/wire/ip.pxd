from lbtop.probes.wire.buffer cimport Buffer
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
cdef int ipv6(Buffer buffer, Frame frame) except -1 nogil
# Reads the TCP or UDP header that follows.
cdef int transport(Buffer buffer, Frame frame) except -1 nogil
cdef int tcp_header(Buffer buffer, Frame frame) except -1 nogil
cdef int udp_header(Buffer buffer, Frame frame) except -1 nogil
