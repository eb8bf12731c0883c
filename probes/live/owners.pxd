from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbtop.probes.wire.decoder cimport Decoder


cdef class Owners:
    cdef Decoder decoder
    cdef uint8_t[::1] ports             # by number: whether anybody listens there
    cdef dict known                     # (address, port): pid, process, container
    cdef dict told                      # (address's number, port): connections so far
    cdef uint64_t after                 # rows before this number were looked at

    cdef int _look(self) except -1 nogil
    cdef int _tell(self, Py_ssize_t row) except -1
