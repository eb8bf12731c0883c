from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.frame cimport Frame

# Moves the frame to the packet that its IP packet or datagram carries; the Ethernet type of that, 0 = it is no tunnel.
cdef int inside_ip(Buffer buffer, Frame frame) except -1 nogil
cdef int inside_udp(Buffer buffer, Frame frame) except -1 nogil
cdef int by_type(Buffer buffer, Frame frame, int ether_type) except -1 nogil
cdef bint is_tunnel_port(int port) noexcept nogil
