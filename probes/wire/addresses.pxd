cimport cython
from libc.stdint cimport uint16_t, uint32_t, uint64_t

from lbtop.probes.wire.buffer cimport Buffer
from lbtop.probes.wire.interner cimport Interner


@cython.final
cdef class AddressText:
    cdef Buffer buffer
    cdef Interner addresses
    cdef uint16_t port            # of the address read last, 0 none

    cdef uint32_t number(self, Py_ssize_t offset, Py_ssize_t end) except? 0xFFFFFFFE nogil
    cdef uint32_t v4(self, Py_ssize_t offset) except? 0xFFFFFFFE nogil
    cdef uint32_t v6(self, Py_ssize_t offset) except? 0xFFFFFFFE nogil
    cdef int _dotted(self, Py_ssize_t offset, Py_ssize_t end, uint64_t *low) except -1 nogil
    cdef int _colons(self, Py_ssize_t offset, Py_ssize_t end, uint64_t *high, uint64_t *low) except -1 nogil
