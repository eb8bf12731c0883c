cimport cython
from libc.stdint cimport uint64_t

from lbtop.probes.wire.buffer cimport Buffer


@cython.final
cdef class SipHash:
    cdef uint64_t a, b, c, d
    cdef uint64_t of(self, Buffer buffer, Py_ssize_t offset, Py_ssize_t length) except? 1 nogil
