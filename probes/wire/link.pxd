from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.frame cimport Frame

# The Ethernet type of what begins at frame.at afterwards; 0 = not known to this decoder, or cut.
cdef int network_type(Buffer buffer, Frame frame, int linktype) except -1 nogil
cdef int after_tags(Buffer buffer, Frame frame, int ether_type) except -1 nogil
cdef int ethernet(Buffer buffer, Frame frame) except -1 nogil
cpdef bint is_known_link(int linktype)
