from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.decoder cimport Decoder


cdef class Blocks:
    cdef Decoder decoder
    cdef Buffer buffer
    cdef object owner                   # keeps the mapping alive
    cdef uint8_t[::1] ring
    cdef readonly Py_ssize_t block_size
    cdef readonly Py_ssize_t count
    cdef readonly Py_ssize_t current
    cdef readonly uint64_t delivered    # packets handed to the decoder
    cdef readonly uint64_t skipped      # of interfaces nobody asked for
    cdef readonly uint64_t damaged      # blocks whose fields do not add up
    cdef uint32_t leave_out             # number of an interface that is not wanted; 0 none

    cdef int _walk(self) except -1 nogil
    cdef int _block(self, Py_ssize_t at) except -1 nogil
    cdef int _packet(self, Py_ssize_t at, Py_ssize_t end) except -1 nogil
    cdef uint16_t _u16(self, Py_ssize_t at) except? 0xFFFE nogil
    cdef uint32_t _u32(self, Py_ssize_t at) except? 0xFFFFFFFE nogil
