cimport cython
from libc.stdint cimport int32_t, uint32_t, uint64_t

from lbtop.probes.wire.decoder cimport Decoder
from lbtop.probes.wire.frame cimport Frame


# Options of a packet block (draft-ietf-opsawg-pcapng section 3.5 and 4.3).
cdef enum:
    OPTION_END = 0
    OPTION_COMMENT = 1
    OPTION_FLAGS = 2
    INBOUND = 1
    OUTBOUND = 2


@cython.final
cdef class Comments:
    cdef Decoder decoder
    cdef uint64_t[::1] told             # per connection's slot and end: hash of the comments that were understood last
    cdef uint64_t[::1] written          # per connection's slot and end: hash of the facts that a row was written of
    cdef dict known                     # options to the process that they name

    cdef int take(self, int linktype, Py_ssize_t begin, Py_ssize_t end, bint swapped, bint host_side) except -1 nogil
    cdef int _write(self, int32_t slot, size_t at, int owner, Py_ssize_t begin, Py_ssize_t end, bint swapped) except -1
