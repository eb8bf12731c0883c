from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.frame cimport Frame

cdef enum:
    UNDECODED = 0
    HEADER_READ = 1

# Reads the IP header at frame.at: addresses, protocol, length. HEADER_READ, or UNDECODED when damaged, cut or not IP.
cdef int network(Buffer buffer, Frame frame, int ether_type) except -1 nogil
cdef int ipv4(Buffer buffer, Frame frame) except -1 nogil
cdef int ipv6(Buffer buffer, Frame frame) except -1 nogil
# Reads the TCP or UDP header that follows.
cdef int transport(Buffer buffer, Frame frame) except -1 nogil
cdef int tcp_header(Buffer buffer, Frame frame) except -1 nogil
cdef int udp_header(Buffer buffer, Frame frame) except -1 nogil
